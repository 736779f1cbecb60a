"""How a pod's policy reaches its guest: the document that is hashed, and the annotation that carries it.

    channel    document                annotation
    plain      the policy's text       base64 of the document
    gzip       the text in gzip        base64 of the document
    initdata   TOML with the text      base64 of the document in gzip

The document's hash is the key of the manifest and the guest's host data; the Coordinator keeps the documents themselves.
Source: docs/internals/releases.md 1.1, 1.3.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping

from contrast_tasks.annotations import INITDATA, POLICY
from contrast_tasks.manifest.compression import MAGIC, compress, decompress
from contrast_tasks.manifest.initdata import (
    BEFORE_POLICY,
    POLICY_FILE,
    parse_initdata,
    render_initdata,
)
from contrast_tasks.records import Record
from contrast_tasks.releases.table import Channel

ANNOTATIONS: Mapping[Channel, str] = {"plain": POLICY, "gzip": POLICY, "initdata": INITDATA}
"""The annotation of the pod template that each channel uses."""
DESCRIBED: Mapping[Channel, str] = {
    "plain": "the policy as text",
    "gzip": "the policy in gzip",
    "initdata": "an initdata document",
}
# Far more than a Coordinator takes, and little enough to hold many.
_MAX_BYTES = 8 * 1024 * 1024
_HOST_DATA_BYTES = 32
# No TOML document begins with a name that no equals sign follows.
_REGO = rb"(?:\s|#[^\n]*(?:\n|\Z))*+package\s"


class DocumentError(ValueError):
    """An annotation or a file holds no policy; the message says what was found and expected."""


class PolicyDocument(Record):
    """A policy in its document.

    content: the hashed bytes. algorithm, digest: of the hash over content. others: name and text
    of the files that initdata has besides the policy.
    """

    channel: Channel
    content: bytes
    algorithm: str
    digest: bytes
    others: tuple[tuple[str, str], ...] = ()

    @property
    def policy(self) -> bytes:
        """Return the text inside, taken out anew each time: whoever holds thousands of documents rarely needs it."""
        match self.channel:
            case "plain":
                return self.content
            case "gzip":
                return decompress(self.content, _MAX_BYTES)
            case "initdata":
                return parse_initdata(self.content).data[POLICY_FILE].encode()

    @property
    def key_hex(self) -> str:
        """Return the policy's key in the manifest, the host data of a SEV-SNP guest: 64 hex digits."""
        return self.host_data(_HOST_DATA_BYTES).hex()

    def host_data(self, size_bytes: int) -> bytes:
        """Return what evidence of the guest has: the digest, cut or padded with zeros (SEV-SNP: 32 bytes, TDX: 48)."""
        return self.digest[:size_bytes].ljust(size_bytes, b"\0")


def make_document(policy: bytes, channel: Channel) -> bytes:
    """Return the document of a policy, in UTF-8."""
    match channel:
        case "plain":
            return policy
        case "gzip":
            return compress(policy)
        case "initdata":
            return render_initdata({POLICY_FILE: policy})


def annotation_of(document: bytes, channel: Channel) -> tuple[str, str]:
    """Return the annotation of the pod template, key and value."""
    carried = compress(document) if channel == "initdata" else document
    return ANNOTATIONS[channel], base64.b64encode(carried).decode()


def document_in(annotations: Mapping[str, object]) -> PolicyDocument | None:
    """Return the document in a pod's annotations, of any channel; None if there is none. Raises DocumentError."""
    found = [key for key in (POLICY, INITDATA) if annotations.get(key)]
    if not found:
        return None
    if len(found) > 1:
        raise DocumentError(f"found the annotations {' and '.join(found)}, expected one of them")
    (key,) = found
    try:
        return _read(key, annotations[key])
    except ValueError as err:
        raise DocumentError(f"annotation {key}: {err}") from err


def _read(key: str, value: object) -> PolicyDocument:
    if not isinstance(value, str):
        raise DocumentError(f"found {type(value).__name__}, expected a string")
    try:
        carried = binascii.a2b_base64(value, strict_mode=True)
    except ValueError as err:
        raise DocumentError("found no base64, expected base64 with padding on one line") from err
    if key == INITDATA:
        return _of_initdata(decompress(carried, _MAX_BYTES))
    return _of_gzip(carried) if carried.startswith(MAGIC) else _of_text(carried)


def parse_document(content: bytes) -> PolicyDocument:
    """Return the document in a file or from a Coordinator, of whichever channel it is. Raises DocumentError."""
    try:
        if content.startswith(MAGIC):
            return _of_gzip(content)
        if re.match(_REGO, content) is not None:
            return _of_text(content)
        return _of_initdata(content)
    except ValueError as err:
        raise DocumentError(f"neither a policy nor initdata with one: {err}") from err


def channel_of(content: bytes) -> Channel | None:
    """Return the channel of a document, None if it holds no policy; one that begins as documents do is not read to its end."""
    if content.startswith(BEFORE_POLICY):
        return "initdata"
    if re.match(_REGO, content) is not None:
        return "plain"
    try:
        return parse_document(content).channel
    except DocumentError:
        return None


def _of_text(content: bytes) -> PolicyDocument:
    return _hashed("plain", content)


def _of_gzip(content: bytes) -> PolicyDocument:
    # Whether it can be read is said here.
    decompress(content, _MAX_BYTES)
    return _hashed("gzip", content)


def _hashed(channel: Channel, content: bytes) -> PolicyDocument:
    digest = hashlib.sha256(content).digest()
    return PolicyDocument(channel=channel, content=content, algorithm="sha256", digest=digest)


def _of_initdata(content: bytes) -> PolicyDocument:
    read = parse_initdata(content)
    return PolicyDocument(
        channel="initdata",
        content=content,
        algorithm=read.algorithm,
        digest=read.digest,
        others=tuple(item for item in sorted(read.data.items()) if item[0] != POLICY_FILE),
    )
