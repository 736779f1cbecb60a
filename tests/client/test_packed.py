"""Set, verify and plan in packs: with our Coordinator, with one that has none, and with one that sends bad ones."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi, userapi_pb2
from contrast_tasks.api.errors import CoordinatorFailed, RequestRefused
from contrast_tasks.api.packs import read_pack
from contrast_tasks.client.kept_packs import KeptPacks
from contrast_tasks.client.session import Session
from contrast_tasks.errors import UsageError
from coordinator.state import Guard
from coordinator.userapi import get_manifests, get_packed, set_manifest, set_packed
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    make_guard,
    tiny_manifest,
)
from tests.fakes.packs import pack_of

MANIFEST = tiny_manifest()
POLICIES = {POLICY_HASH: POLICY}


class Channel:
    """A gRPC channel to a guard in this process. packed: whether it knows packs; asked: the calls, bytes of their answers."""

    def __init__(self, guard: Guard, *, packed: bool = True) -> None:
        user, extension = f"/{userapi.SERVICES[0]}/", f"/{userapi.EXTENSION}/"
        self.guard = guard
        self.asked: list[str] = []
        self.received = 0
        self.methods: dict[str, tuple[Any, Callable[..., Any]]] = {
            f"{user}SetManifest": (userapi_pb2.SetManifestRequest, set_manifest),
            f"{user}GetManifests": (userapi_pb2.GetManifestsRequest, get_manifests),
        }
        if packed:
            self.methods[f"{extension}SetPacked"] = (ext.PackedManifest, set_packed)
            self.methods[f"{extension}GetPacked"] = (ext.GetPackedRequest, get_packed)

    def unary_unary(self, path: str, *, request_serializer: Any, response_deserializer: Any) -> Any:
        def call(request: Any, timeout: float) -> Any:
            del timeout
            self.asked.append(path.rpartition("/")[2])
            if path not in self.methods:
                raise Unknown
            kind, method = self.methods[path]
            answer = method(kind.FromString(request_serializer(request)), NOBODY, self.guard)
            content = answer if isinstance(answer, bytes) else answer.SerializeToString()
            self.received += len(content)
            return response_deserializer(content)

        return call


class Unknown(grpc.RpcError):
    """What a server answers to a call that it does not have."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNIMPLEMENTED

    def details(self) -> str:
        return "unknown service"

    def trailing_metadata(self) -> tuple[()]:
        return ()


@pytest.fixture
def guard() -> Guard:
    return make_guard()


@pytest.fixture
def kept(tmp_path: Path) -> KeptPacks:
    (tmp_path / ".contrast").mkdir()
    return KeptPacks(tmp_path)


def set_first(session: Session) -> None:
    session.set_manifest(MANIFEST, POLICIES, bytes(32), ())


def test_a_coordinator_with_packs_is_asked_for_nothing_else(guard: Guard) -> None:
    session = Session(channel := Channel(guard))  # type: ignore[arg-type]  # what Session uses of one

    set_first(session)
    history = session.get_manifests()

    assert channel.asked == ["SetPacked", "GetPacked"]
    assert history.manifests == (MANIFEST,)
    assert list(history.policies) == [POLICY]
    assert history.policy_hashes() == {POLICY_HASH}
    assert POLICY in history.policies
    plain = userapi.get_manifests(Channel(guard), 1)  # type: ignore[arg-type]
    assert plain.policies == (POLICY,)
    assert plain.latest_transition == history.latest_transition
    assert (plain.root_ca_pem, plain.mesh_ca_pem) == (history.root_ca_pem, history.mesh_ca_pem)


def test_a_coordinator_without_packs_is_asked_for_them_once(guard: Guard) -> None:
    session = Session(channel := Channel(guard, packed=False))  # type: ignore[arg-type]

    set_first(session)
    history = session.get_manifests()
    session.get_manifests()

    assert channel.asked == ["SetPacked", "SetManifest", "GetManifests", "GetManifests"]
    assert list(history.policies) == [POLICY]


@pytest.mark.parametrize(
    ("manifest", "policy", "text"),
    [
        (bytes(1024 * 1024), b"", "the manifest has 1048576 bytes, expected at most 1048575"),
        (b"", bytes(1024 * 1024), "policy aa has 1048576 bytes, expected at most 1048575"),
    ],
)
def test_what_is_too_large_for_a_coordinator_without_packs_is_not_sent_to_it(
    guard: Guard, manifest: bytes, policy: bytes, text: str
) -> None:
    session = Session(channel := Channel(guard, packed=False))  # type: ignore[arg-type]

    with pytest.raises(UsageError, match=text):
        session.set_manifest(manifest, {"aa": policy}, bytes(32), ())

    assert channel.asked == ["SetPacked"]


def test_what_does_not_fit_into_a_request_in_packs_is_not_sent(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrast_tasks.api.packed.MAX_REQUEST_BYTES", 1100)
    session = Session(channel := Channel(guard))  # type: ignore[arg-type]

    with pytest.raises(RequestRefused, match="bytes in 2 packs, a coordinator takes at most 1100"):
        set_first(session)

    assert channel.asked == []


def test_an_update_sends_the_policies_that_the_history_lacks(guard: Guard) -> None:
    sent: list[ext.PackedManifest] = []
    session = Session(channel := Channel(guard))  # type: ignore[arg-type]
    set_first(session)
    session.get_manifests()
    path = f"/{userapi.EXTENSION}/SetPacked"
    channel.methods[path] = (
        ext.PackedManifest,
        lambda request, *_: sent.append(request) or userapi_pb2.SetManifestResponse(),
    )

    policies = {**POLICIES, OTHER_POLICY_HASH: OTHER_POLICY}
    session.set_manifest(b"{}", policies, bytes(32), [b"signature"])

    (request,) = sent
    names = [name for content in request.Packs for name in read_pack(content).sizes]
    assert sorted(names) == sorted([hashlib.sha256(b"{}").hexdigest(), OTHER_POLICY_HASH])
    assert list(request.Signatures) == [b"signature"]


def test_whoever_asks_again_receives_no_packs(guard: Guard, kept: KeptPacks) -> None:
    first = Session(Channel(guard), kept)  # type: ignore[arg-type]
    set_first(first)
    history = first.get_manifests()
    again = Session(channel := Channel(guard), kept)  # type: ignore[arg-type]

    assert list(again.get_manifests().policies) == list(history.policies)

    hashes = fetch(guard).Hashes
    assert len(hashes) == len(kept.load()) == 2
    assert channel.received == fetch(guard, *hashes).ByteSize()


def fetch(guard: Guard, *known: bytes) -> ext.GetPackedResponse:
    return get_packed(ext.GetPackedRequest(Known=known), NOBODY, guard)


@pytest.mark.parametrize("damage", [b"", b"no pack", pack_of(b"of another history")])
def test_kept_packs_that_were_changed_are_received_again(
    guard: Guard, kept: KeptPacks, tmp_path: Path, damage: bytes
) -> None:
    first = Session(Channel(guard), kept)  # type: ignore[arg-type]
    set_first(first)
    first.get_manifests()
    for path in (tmp_path / ".contrast" / "packs").iterdir():
        path.write_bytes(damage)

    history = Session(Channel(guard), kept).get_manifests()  # type: ignore[arg-type]

    assert list(history.policies) == [POLICY]
    assert history.manifests == (MANIFEST,)
    assert len(kept.load()) == 2


def test_packs_of_another_history_are_not_kept(guard: Guard, kept: KeptPacks) -> None:
    stale = read_pack(pack_of(b"of another history"))
    kept.keep({stale.digest: stale})
    session = Session(Channel(guard), kept)  # type: ignore[arg-type]
    set_first(session)

    session.get_manifests()

    assert stale.digest not in kept.load()


def test_without_a_project_nothing_is_kept(guard: Guard, tmp_path: Path) -> None:
    session = Session(Channel(guard), KeptPacks(tmp_path))  # type: ignore[arg-type]
    set_first(session)

    session.get_manifests()

    assert list(tmp_path.iterdir()) == []


ANSWERS = {
    "bad pack": (ext.GetPackedResponse(Packs=[b"no pack"]), "a pack that is malformed"),
    "withheld": (ext.GetPackedResponse(Hashes=[bytes(32)]), "does not send 1 of its packs"),
    "others": (
        ext.GetPackedResponse(Hashes=[bytes(32)], Packs=[pack_of(b"other")]),
        "does not send 1 of its packs",
    ),
}


@pytest.mark.parametrize(("answer", "text"), ANSWERS.values(), ids=ANSWERS)
def test_a_coordinator_that_sends_bad_packs_fails(
    guard: Guard, answer: ext.GetPackedResponse, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrast_tasks.api.packed.MAX_PACKED_HISTORY_BYTES", 10)
    session = Session(channel := Channel(guard))  # type: ignore[arg-type]
    channel.methods[f"/{userapi.EXTENSION}/GetPacked"] = (ext.GetPackedRequest, lambda *_: answer)

    with pytest.raises(CoordinatorFailed, match=text):
        session.get_manifests()


def test_a_manifest_that_no_pack_holds_is_lost(guard: Guard) -> None:
    named = tiny_manifest({"aa": {}})
    answer = ext.GetPackedResponse(
        Manifests=[bytes(32), hashlib.sha256(named).digest()],
        LostPolicies=[b"\xaa"],
        LostBefore=b"before",
        Hashes=[hashlib.sha256(pack_of(named)).digest()],
        Packs=[pack_of(named)],
    )
    session = Session(channel := Channel(guard))  # type: ignore[arg-type]
    channel.methods[f"/{userapi.EXTENSION}/GetPacked"] = (ext.GetPackedRequest, lambda *_: answer)

    history = session.get_manifests()

    assert history.manifests == (b"", named)
    assert history.lost_manifests == {0: bytes(32)}
    assert history.lost_policies == {"aa"}
    assert history.lost_before == b"before"
    assert history.latest_transition is None
