"""HTTP attestation from the outside: curl asks, and the construction of docs/internals/coordinator.md 12 is computed here."""

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.errors import EvidenceRejected
from coordinator.attest import Attestation
from coordinator.listener import HttpListener
from coordinator.state import Guard, Keys
from coordinator.store.memory import MemoryStore
from coordinator.userapi import get_manifests, set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    Caller,
    FakeIssuer,
    make_guard,
    tiny_manifest,
)

NONCE = bytes(range(32))
HOST_DATA = bytes.fromhex(POLICY_HASH)
BODY = json.dumps({"nonce": base64.b64encode(NONCE).decode()})


@dataclass(frozen=True, kw_only=True)
class Got:
    """What curl received."""

    status: int
    document: dict[str, Any]
    headers: str


@dataclass(frozen=True)
class Curl:
    """Asks the listener at a port."""

    port: int
    folder: Path

    def __call__(self, *words: str, path: str = "/attest") -> Got:
        files = [self.folder / name for name in ("body", "headers")]
        done = subprocess.run(
            [
                *("curl", "-sS", "--noproxy", "*", "--max-time", "10", "-w", "%{http_code}"),
                *("-o", str(files[0]), "-D", str(files[1])),
                *(*words, f"http://127.0.0.1:{self.port}{path}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        body, headers = (file.read_text() for file in files)
        return Got(status=int(done.stdout), document=json.loads(body or "{}"), headers=headers)

    def post(self, body: str, *words: str) -> Got:
        """Post a body as JSON."""
        return self("-H", "Content-Type: application/json", "-d", body, *words)


def start(guard: Guard, issuer: Any = None) -> HttpListener:
    answers = Attestation(guard, issuer or FakeIssuer(host_data=HOST_DATA))
    listener = HttpListener(("127.0.0.1", 0), answers, threads=4, option="--http-api")
    listener.start()
    return listener


@pytest.fixture
def curl(guard: Guard, tmp_path: Path) -> Iterator[Curl]:
    listener = start(guard)
    yield Curl(listener.port, tmp_path)
    listener.stop()


def put(guard: Guard, manifest: bytes, *policies: bytes, by: Caller | None = None) -> None:
    request = pb.SetManifestRequest(Manifest=manifest, Policies=policies)
    set_manifest(request, NOBODY if by is None else by.identity, guard)


def decoded(document: dict[str, Any], name: str) -> list[bytes]:
    value = document[name]
    return [base64.b64decode(each) for each in (value if isinstance(value, list) else [value])]


def test_the_answer_binds_nonce_history_and_both_cas(
    guard: Guard, curl: Curl, owner: Caller
) -> None:
    first = tiny_manifest(owners=[owner.digest_hex])
    second = tiny_manifest({OTHER_POLICY_HASH: {"SANs": ["web"]}}, owners=[owner.digest_hex])
    put(guard, first, POLICY)
    put(guard, second, OTHER_POLICY, by=owner)

    got = curl.post(BODY)

    assert got.status == 200
    assert "\nContent-Type: application/json\n" in got.headers
    assert decoded(got.document, "manifests") == [first, second]
    assert sorted(decoded(got.document, "policies")) == sorted([POLICY, OTHER_POLICY])
    (root_ca,), (mesh_ca,) = (decoded(got.document, name) for name in ("root_ca", "mesh_ca"))
    content = get_manifests(pb.GetManifestsRequest(), NOBODY, guard)
    over_grpc = pb.GetManifestsResponse.FromString(content)
    assert (root_ca, mesh_ca) == (over_grpc.RootCA, over_grpc.MeshCA)
    transition = bytes(32)
    for manifest in (first, second):
        transition = hashlib.sha256(hashlib.sha256(manifest).digest() + transition).digest()
    bound = hashlib.sha256(
        NONCE + transition + hashlib.sha256(root_ca).digest() + hashlib.sha256(mesh_ca).digest()
    )
    # The fake issuer's documents are host data and report data.
    (evidence,) = decoded(got.document, "raw_attestation_doc")
    assert evidence == HOST_DATA + bound.digest() + bytes(32)
    assert got.document["attestation_type"] == [1, 3, 9901, 2, 1]
    assert got.document["version"]


def test_fault_17_6_every_update_is_in_the_next_answer(
    guard: Guard, curl: Curl, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    put(guard, manifest, POLICY)
    before = curl.post(BODY).document

    put(guard, manifest, POLICY, by=owner)

    after = curl.post(BODY).document
    assert len(after["manifests"]) == 2
    assert before["mesh_ca"] != after["mesh_ca"]
    assert before["raw_attestation_doc"] != after["raw_attestation_doc"]


def test_members_that_are_not_known_are_ignored(guard: Guard, curl: Curl) -> None:
    put(guard, tiny_manifest(), POLICY)

    got = curl.post(json.dumps({**json.loads(BODY), "later": True}))

    assert got.status == 200


def test_without_a_manifest_it_is_a_failed_precondition(curl: Curl) -> None:
    got = curl.post(BODY)

    assert got.status == 412
    assert (got.document["code"], got.document["error"]) == (
        "no_manifest",
        "no manifest configured",
    )


def test_a_restarted_coordinator_needs_recovery(store: MemoryStore, tmp_path: Path) -> None:
    put(make_guard(store), tiny_manifest(), POLICY)
    listener = start(make_guard(store))

    got = Curl(listener.port, tmp_path).post(BODY)

    listener.stop()
    assert got.status == 412
    assert got.document["code"] == "needs_recovery"
    assert got.document["error"] == "coordinator is in recovery mode"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "ODD"])
def test_only_post_is_a_method(guard: Guard, curl: Curl, method: str) -> None:
    put(guard, tiny_manifest(), POLICY)

    assert curl("-X", method).status == 405


@pytest.mark.parametrize("path", ["/", "/attest/", "/attestx", "/v1/attest", "/verify", "/metrics"])
def test_other_paths_are_not_found(curl: Curl, path: str) -> None:
    assert curl("-d", BODY, path=path).status == 404


@pytest.mark.parametrize(
    ("content_type", "wanted"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("json", 400),
        ("", 400),
    ],
)
def test_a_request_says_that_it_is_json(
    guard: Guard, curl: Curl, content_type: str, wanted: int
) -> None:
    put(guard, tiny_manifest(), POLICY)

    assert curl("-H", f"Content-Type: {content_type}", "-d", BODY).status == wanted


def padded(size: int) -> str:
    return BODY + " " * (size - len(BODY))


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        pytest.param(padded(1024), 200, id="largest"),
        pytest.param(padded(1025), 413, id="too large"),
        pytest.param(padded(60_000), 413, id="much too large"),
        pytest.param("", 400, id="empty"),
        pytest.param("{}", 400, id="no nonce"),
        pytest.param("[]", 400, id="a list"),
        pytest.param("null", 400, id="null"),
        pytest.param("{", 400, id="cut"),
        pytest.param('{"nonce": 1}', 400, id="a number"),
        pytest.param('{"nonce": ""}', 400, id="empty nonce"),
        pytest.param('{"nonce": "%%%%"}', 400, id="not base64"),
        pytest.param(json.dumps({"nonce": base64.b64encode(bytes(31)).decode()}), 400, id="31"),
        pytest.param(json.dumps({"nonce": base64.b64encode(bytes(33)).decode()}), 400, id="33"),
        pytest.param(json.dumps({"nonce": NONCE.hex()}), 400, id="hex"),
    ],
)
def test_a_body_is_a_nonce_of_32_bytes_in_json(
    guard: Guard, curl: Curl, body: str, wanted: int
) -> None:
    put(guard, tiny_manifest(), POLICY)

    got = curl.post(body)

    assert got.status == wanted
    if wanted != 200:
        assert got.document["status_code"] == wanted
        assert got.document["code"] == "invalid_argument"
        assert body[:20] not in got.document["error"] or not body


@dataclass(frozen=True)
class Broken:
    """An issuer without hardware."""

    error: Exception
    oid: str = "1.3.9901.2.1"

    def issue(self, report_data: bytes) -> bytes:
        del report_data
        raise self.error


@pytest.mark.parametrize(
    "error", [EvidenceRejected("/dev/sev-guest"), RuntimeError("/dev/sev-guest")]
)
def test_what_fails_inside_is_told_by_the_log_only(
    guard: Guard, tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    put(guard, tiny_manifest(), POLICY)
    listener = start(guard, Broken(error))

    got = Curl(listener.port, tmp_path).post(BODY)

    listener.stop()
    assert got.status == 500
    assert got.document["error"] == "internal server error"
    assert "/dev/sev-guest" in caplog.text


def test_a_history_that_is_too_large_for_an_answer_is_told(
    guard: Guard, curl: Curl, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(guard, tiny_manifest(), POLICY)
    monkeypatch.setattr("coordinator.userapi.MAX_HISTORY_BYTES", 10)

    got = curl.post(BODY)

    assert (got.status, got.document["code"]) == (412, "answer_too_large")
    assert got.document["error"].endswith("attestation over http returns at most 10")


def test_a_document_that_is_missing_in_the_store_is_no_answer(
    guard: Guard, store: MemoryStore, curl: Curl
) -> None:
    put(guard, tiny_manifest(), POLICY)
    state = guard.current()
    for name in store.names("packs"):
        store.set(f"packs/{name}", b"changed")
    state.mark_stale()
    guard.reset(guard.unrecovered(), lambda _: Keys(state.engine))

    assert curl.post(BODY).status == 500
