"""What set makes of answers that get lost, of somebody who sets at the same time, and of a CA that is not its own."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.api.errors import CoordinatorFailed, CoordinatorNotReady
from contrast_tasks.api.userapi import ManifestHistory, SetManifestResult
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.coordinator import Reach
from contrast_tasks.client.history import newest_transition
from contrast_tasks.client.session import Session
from contrast_tasks.client.set import SetResult, run_set
from contrast_tasks.errors import (
    ContrastError,
    CoordinatorUnreachable,
    MismatchError,
    NotAuthorised,
)
from tests.fakes.deployment import Project
from tests.fakes.liar import Liar, new_authority

SHARES = {"SeedShares": [{"PublicKey": "00", "EncryptedSeed": "c2VlZA=="}], "salt": "AA=="}
# Nobody has the private half; no more than the form counts here.
OWNER = (
    rsa.RSAPublicNumbers(65537, 2**2047 + 1)
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.PKCS1)
    .hex()
)


class Server:
    """A Coordinator that carries out what it is asked for, and whose answers can be lost.

    lost: the names of calls whose next answer is lost. refusal: of the seed shares.
    """

    def __init__(self, *, lost: Sequence[str] = ()) -> None:
        self.authority = new_authority()
        self.manifests: tuple[bytes, ...] = ()
        self.lost = list(lost)
        self.refusal: ContrastError | None = None
        self.sets = 0

    def set_manifest(
        self, manifest: bytes, policies: Any, previous: bytes, signature: bytes
    ) -> SetManifestResult:
        del policies, signature
        self.sets += 1
        if previous != newest_transition(self._history()):
            raise CoordinatorNotReady("does not match latest state")
        is_first = not self.manifests
        self.manifests += (manifest,)
        self.authority = new_authority()
        self._maybe_lose("set")
        return SetManifestResult(
            root_ca_pem=self.authority.root_ca_pem,
            mesh_ca_pem=self.authority.mesh_ca_pem,
            seed_shares=SHARES if is_first else None,
        )

    def get_manifests(self) -> ManifestHistory:
        if self.sets:
            self._maybe_lose("get")
        if not self.manifests:
            raise CoordinatorNotReady("no manifest configured", reason="no_manifest")
        return self._history()

    def get_seed_shares(self) -> dict[str, Any]:
        if self.refusal is not None:
            raise self.refusal
        return {**SHARES, "SeedShares": [{"PublicKey": OWNER, "EncryptedSeed": "ZnJlc2g="}]}

    def recover(self, *, seed: bytes, salt: bytes, force: bool, known: bytes) -> None:
        raise AssertionError

    @contextmanager
    def connect(self, host: str, port: int, *, manifest: Any, client_key: Any) -> Iterator[Session]:
        del host, port, manifest, client_key
        yield self

    def _history(self) -> ManifestHistory:
        return Liar(
            manifests=self.manifests,
            policies=(),
            root_ca_pem=self.authority.root_ca_pem,
            mesh_ca_pem=self.authority.mesh_ca_pem,
        ).get_manifests()

    def _maybe_lose(self, call: str) -> None:
        if call in self.lost:
            self.lost.remove(call)
            raise CoordinatorUnreachable("the connection broke")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("setting") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    project = Project(tmp_path, simulated)
    project.seedshare_owners = (OWNER,)
    project.write_manifest()
    return project


@pytest.fixture
def said() -> list[str]:
    return []


def set_at(server: Server, project: Project, said: list[str]) -> SetResult:
    return run_set(
        project.settings,
        say=said.append,
        coordinator="host:1",
        reach=Reach(connect=server.connect, clock=lambda: 0.0, pause=lambda _seconds: None),
    )


def test_an_update_whose_answer_was_lost_is_not_made_twice(
    project: Project, said: list[str]
) -> None:
    server = Server()
    set_at(server, project, said)
    server.lost = ["set"]

    done = set_at(server, project, said)

    assert (done.generation, len(server.manifests)) == (2, 2)
    assert (project.root / "mesh-ca.pem").read_bytes() == server.authority.mesh_ca_pem
    assert said[-1] == "the coordinator had set it, only its answer was lost"


def test_seed_shares_that_were_lost_with_the_answer_are_asked_for_again(
    project: Project, said: list[str]
) -> None:
    done = set_at(Server(lost=["set"]), project, said)

    assert done.generation == 1
    assert done.files[-1] == "seed-shares.json"
    document = json.loads((project.root / "seed-shares.json").read_bytes())
    assert document["salt"] == SHARES["salt"]
    assert [line for line in said if line.startswith("warning: seed-shares.json")] == []


def test_seed_shares_that_an_earlier_run_lost_come_with_the_next_set(
    project: Project, said: list[str]
) -> None:
    server = Server()
    set_at(server, project, said)
    (project.root / "seed-shares.json").unlink()

    done = set_at(server, project, said)

    assert done.generation == 2
    assert done.files[-1] == "seed-shares.json"


def test_seed_shares_of_the_same_seed_are_left_as_they_are(
    project: Project, said: list[str]
) -> None:
    server = Server()
    set_at(server, project, said)

    done = set_at(server, project, said)

    assert "seed-shares.json" not in done.files
    assert json.loads((project.root / "seed-shares.json").read_bytes()) == SHARES


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        (NotAuthorised("no owner"), "an owner of the seed writes it with"),
        (CoordinatorFailed("no such call"), "begin a new history"),
    ],
)
def test_seed_shares_that_nobody_gets_again_are_told(
    project: Project, said: list[str], refusal: ContrastError, hint: str
) -> None:
    server = Server(lost=["set"])
    server.refusal = refusal

    done = set_at(server, project, said)

    assert done.generation == 1
    assert said[-2].startswith("warning: seed-shares.json is not here")
    assert hint in said[-1]
    assert not (project.root / "seed-shares.json").exists()


def test_shares_of_an_earlier_coordinator_are_no_reason_to_be_silent(
    project: Project, said: list[str]
) -> None:
    server = Server(lost=["set"])
    server.refusal = CoordinatorFailed("no such call")
    (project.root / "seed-shares.json").write_text("of another coordinator")

    set_at(server, project, said)

    assert said[-2].startswith("warning: seed-shares.json is of an earlier coordinator")
    assert (project.root / "seed-shares.json").read_text() == "of another coordinator"


def test_seed_shares_are_kept_before_anything_else_can_fail(
    project: Project, said: list[str]
) -> None:
    server = Server(lost=["get"])

    done = set_at(server, project, said)

    document = json.loads((project.root / "seed-shares.json").read_bytes())
    assert document == SHARES
    assert (done.generation, len(server.manifests)) == (1, 1)
    assert done.files == (
        "coordinator-root-ca.pem",
        "mesh-ca.pem",
        "verify/latest-transition",
        "seed-shares.json",
    )
    assert [line for line in said if line.startswith("warning: seed-shares.json")] == []


def test_the_shares_of_an_earlier_coordinator_stay_beside_those_of_a_new_one(
    project: Project, said: list[str]
) -> None:
    (project.root / "seed-shares.json").write_text("of another coordinator")

    done = set_at(Server(), project, said)

    assert json.loads((project.root / "seed-shares.json").read_bytes()) == SHARES
    backup = project.root / "seed-shares.json.backup"
    assert backup.read_text() == "of another coordinator"
    assert "seed-shares.json.backup" in done.files


def test_new_shares_are_kept_although_the_earlier_ones_cannot_be(
    project: Project, said: list[str]
) -> None:
    (project.root / "seed-shares.json").write_text("of another coordinator")
    (project.root / "seed-shares.json.backup").mkdir()

    set_at(Server(), project, said)

    assert json.loads((project.root / "seed-shares.json").read_bytes()) == SHARES


def test_a_manifest_that_somebody_sets_in_between_is_not_overwritten(
    project: Project, said: list[str]
) -> None:
    class Overtaken(Server):
        def set_manifest(
            self, manifest: bytes, policies: Any, previous: bytes, signature: bytes
        ) -> SetManifestResult:
            self.manifests += (b"{}",)
            return super().set_manifest(manifest, policies, previous, signature)

    server = Overtaken()

    with pytest.raises(CoordinatorNotReady, match="does not match latest state"):
        run_set(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=server.connect, limit_s=0),
        )

    assert server.manifests == (b"{}",)


@dataclasses.dataclass
class Then:
    """What somebody else does right after our set."""

    manifest: bytes | None
    message: str


@pytest.mark.parametrize(
    "then",
    [
        pytest.param(Then(b"{}", "has another manifest in force"), id="another manifest"),
        pytest.param(Then(None, "has another CA in force"), id="the same once more"),
    ],
)
def test_what_is_in_force_right_after_must_be_what_was_set(
    project: Project, said: list[str], then: Then
) -> None:
    class Followed(Server):
        def set_manifest(
            self, manifest: bytes, policies: Any, previous: bytes, signature: bytes
        ) -> SetManifestResult:
            done = super().set_manifest(manifest, policies, previous, signature)
            self.manifests += (then.manifest or manifest,)
            self.authority = new_authority()
            return done

    with pytest.raises(MismatchError, match=then.message) as caught:
        set_at(Followed(), project, said)

    assert caught.value.exit_code == 42
    assert (project.root / "seed-shares.json").exists()
    assert not (project.root / "mesh-ca.pem").exists()


def test_sources_stand_for_what_was_generated_from_them(project: Project, said: list[str]) -> None:
    source = project.root / "deployment" / "web.yml"
    source.parent.mkdir()
    source.write_text("apiVersion: v1\nkind: Service\nmetadata:\n  name: web-svc\n")
    server = Server()

    done = run_set(
        project.settings,
        say=said.append,
        coordinator="host:1",
        reach=Reach(connect=server.connect),
        paths=[source.parent],
    )

    assert done.generation == 1
    assert "deployment has no policies, those of build/deployment are taken" in said


def test_a_ca_that_cannot_be_one_is_not_written(project: Project, said: list[str]) -> None:
    class Broken(Server):
        def set_manifest(
            self, manifest: bytes, policies: Any, previous: bytes, signature: bytes
        ) -> SetManifestResult:
            done = super().set_manifest(manifest, policies, previous, signature)
            return dataclasses.replace(done, mesh_ca_pem=b"nonsense")

    with pytest.raises(MismatchError, match="mesh ca that cannot be trusted"):
        set_at(Broken(), project, said)

    assert not (project.root / "mesh-ca.pem").exists()
