"""HTTP attestation: one POST request, whose answer holds evidence and everything that the evidence vouches for.

Anybody may terminate TLS in between, so nothing of the connection counts: the evidence is bound to the caller's nonce, to the
history of manifests and to both CAs. Source: docs/internals/coordinator.md 12.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.evidence_documents import REPORT_DATA_BYTES

PATH = "/attest"
CONTENT_TYPE = "application/json"
NONCE_BYTES = 32
MAX_REQUEST_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """An answer. document: the evidence; oid: of its kind, None if the answer does not tell.

    manifests: oldest first; policies: all that they name.
    """

    document: bytes
    oid: str | None
    manifests: tuple[bytes, ...]
    policies: tuple[bytes, ...]
    root_ca_pem: bytes
    mesh_ca_pem: bytes


def report_data(
    nonce: bytes, transition_hash: bytes, root_ca_pem: bytes, mesh_ca_pem: bytes
) -> bytes:
    """Return the report data that the evidence must hold, 64 bytes: a SHA-256 and zeros.

    transition_hash: 32 bytes, the last of the chain over all manifests.
    """
    digest = hashlib.sha256(
        nonce
        + transition_hash
        + hashlib.sha256(root_ca_pem).digest()
        + hashlib.sha256(mesh_ca_pem).digest()
    ).digest()
    return digest.ljust(REPORT_DATA_BYTES, b"\0")


def render_request(nonce: bytes) -> bytes:
    """Return the body of a request."""
    return json.dumps({"nonce": _encoded(nonce)}).encode()


def parse_request(body: bytes) -> bytes:
    """Return the nonce, 32 bytes. Raises DecodeError; other members are ignored."""
    nonce = parse_json(body).at("nonce").base64()
    if len(nonce) != NONCE_BYTES:
        raise DecodeError(f"/nonce: found {len(nonce)} bytes, wanted {NONCE_BYTES}")
    return nonce


def render_evidence(version: str, oid: str, document: bytes) -> bytes:
    """Return the part of an answer that differs from one request to the next; `state_parts` follow it."""
    head = {
        "version": version,
        "attestation_type": [int(arc) for arc in oid.split(".")],
        "raw_attestation_doc": _encoded(document),
    }
    return json.dumps(head)[:-1].encode() + b", "


def state_parts(
    manifests: Iterable[bytes], policies: Iterable[bytes], root_ca_pem: bytes, mesh_ca_pem: bytes
) -> Iterator[bytes]:
    """Yield the rest of an answer, a document at a time."""
    yield b'"manifests": ['
    yield from _items(manifests)
    yield b'], "policies": ['
    yield from _items(policies)
    cas = {"root_ca": _encoded(root_ca_pem), "mesh_ca": _encoded(mesh_ca_pem)}
    yield b"], " + json.dumps(cas)[1:].encode() + b"\n"


def state_bytes(sizes: Sequence[Sequence[int]], root_ca_pem: bytes, mesh_ca_pem: bytes) -> int:
    """Return how many bytes `state_parts` yields; sizes: bytes of each manifest, and of each policy."""
    empty = sum(map(len, state_parts((), (), root_ca_pem, mesh_ca_pem)))
    return empty + sum(
        sum((size + 2) // 3 * 4 + len('""') for size in of_kind)
        + max(len(of_kind) - 1, 0) * len(", ")
        for of_kind in sizes
    )


def _items(contents: Iterable[bytes]) -> Iterator[bytes]:
    before = b'"'
    for content in contents:
        yield b"".join((before, base64.b64encode(content), b'"'))
        before = b', "'


def parse_answer(body: bytes) -> Attested:
    """Return an answer. Raises DecodeError; members that are not known are ignored."""
    document = parse_json(body)
    kind = document.filled("attestation_type")
    return Attested(
        document=document.at("raw_attestation_doc").base64(),
        oid=None if kind is None else ".".join(str(arc.integer()) for arc in kind.items()),
        manifests=_list(document, "manifests"),
        policies=_list(document, "policies"),
        root_ca_pem=document.at("root_ca").base64(),
        mesh_ca_pem=document.at("mesh_ca").base64(),
    )


def parse_refusal(body: bytes) -> tuple[str, str]:
    """Return code and text of a refusal, each "" if the body does not hold it."""
    try:
        document = parse_json(body)
        texts = [document.filled(name) for name in ("code", "error")]
        code, text = ("" if each is None else each.text() for each in texts)
    except DecodeError:
        return "", ""
    return code, text


def _list(document: Json, name: str) -> tuple[bytes, ...]:
    found = document.filled(name)
    items: Sequence[Json] = () if found is None else found.items()
    return tuple(item.base64() for item in items)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
