"""Set and verify against the real Coordinator with simulated evidence, honest and not."""

import json
import socketserver
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.api.errors import CoordinatorNotReady, RequestRefused
from contrast_tasks.atls.server import serve
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.coordinator import Reach
from contrast_tasks.client.session import Session
from contrast_tasks.client.set import run_set
from contrast_tasks.client.verify import run_verify
from contrast_tasks.errors import (
    CoordinatorUnreachable,
    EvidenceRejected,
    MismatchError,
    NotAuthorised,
    UsageError,
)
from contrast_tasks.files import sha256_hex
from contrast_tasks.manifest.keys import generate_workload_owner
from contrast_tasks.manifest.model import PolicyEntry
from contrast_tasks.manifest.validate import ManifestError
from tests.fakes.atls import echo
from tests.fakes.deployment import (
    COORDINATOR,
    WEB,
    WEB_POLICY,
    Project,
    running_coordinator,
)
from tests.fakes.liar import Liar

OWNER = generate_workload_owner()
STRANGER = generate_workload_owner()


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("set") / "processor"


@pytest.fixture(scope="module")
def simulated(processor: Path) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(processor)


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    project = Project(tmp_path, simulated)
    project.write_owner(OWNER)
    return project


@pytest.fixture
def coordinator(project: Project, processor: Path) -> Iterator[str]:
    with running_coordinator(project, processor=processor) as address:
        yield address


@pytest.fixture
def said() -> list[str]:
    return []


def no_pause(_seconds: float) -> None:
    raise AssertionError("nothing to wait for")


def test_set_writes_the_certificates_and_verify_the_history(
    project: Project, coordinator: str, said: list[str]
) -> None:
    done = run_set(
        project.settings, say=said.append, coordinator=coordinator, reach=Reach(pause=no_pause)
    )

    found = run_verify(
        project.settings, say=said.append, coordinator=coordinator, reach=Reach(pause=no_pause)
    )

    assert (done.generation, found.generations) == (1, 1)
    assert done.mesh_ca_sha256 == found.mesh_ca_sha256
    assert done.files == ("coordinator-root-ca.pem", "mesh-ca.pem", "verify/latest-transition")
    verify = project.root / "verify"
    assert sorted(path.name for path in verify.iterdir()) == sorted(
        [
            "coordinator-root-ca.pem",
            "latest-transition",
            "manifest.0.json",
            "mesh-ca.pem",
            f"policy.{COORDINATOR}.rego",
            f"policy.{WEB}.rego",
        ]
    )
    assert (verify / "manifest.0.json").read_bytes() == project.manifest.read_bytes()
    assert (verify / f"policy.{WEB}.rego").read_bytes() == WEB_POLICY
    assert (verify / "mesh-ca.pem").read_bytes() == (project.root / "mesh-ca.pem").read_bytes()


def test_the_first_set_keeps_the_seed_shares_for_their_owners(
    project: Project, coordinator: str, said: list[str]
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    owner = key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1).hex()
    project.seedshare_owners = (owner,)
    project.write_manifest()

    done = run_set(project.settings, say=said.append, coordinator=coordinator)

    document = json.loads((project.root / "seed-shares.json").read_bytes())
    assert done.files[-1] == "seed-shares.json"
    assert document["SeedShares"][0]["PublicKey"] == owner


def test_one_line_tells_that_evidence_is_simulated(
    project: Project, coordinator: str, said: list[str]
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator)

    run_verify(project.settings, say=said.append, coordinator=coordinator)

    line = "manifest.json trusts evidence of a simulated processor: for development only"
    assert said == [line, line]


def test_an_update_changes_the_mesh_ca_and_keeps_the_root(
    project: Project, coordinator: str, said: list[str]
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator)
    before = run_verify(project.settings, say=said.append, coordinator=coordinator)
    project.entries[WEB] = project.entries[WEB].replace(sans=("web", "*", "127.77.0.6"))
    project.write_manifest()

    done = run_set(project.settings, say=said.append, coordinator=coordinator)

    after = run_verify(project.settings, say=said.append, coordinator=coordinator)
    assert done.generation == 2
    assert done.files == ("mesh-ca.pem", "verify/latest-transition")
    assert after.root_ca_sha256 == before.root_ca_sha256
    assert after.mesh_ca_sha256 != before.mesh_ca_sha256
    assert (project.root / "verify" / "manifest.1.json").exists()


def test_a_manifest_that_differs_in_one_byte_is_a_mismatch_that_names_both(
    project: Project, coordinator: str, said: list[str]
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator)
    active = project.manifest.read_bytes()
    other = active.replace(b'"web"', b'"wEb"', 1)
    project.manifest.write_bytes(other)

    with pytest.raises(MismatchError) as caught:
        run_verify(project.settings, say=said.append, coordinator=coordinator)

    line = active[: active.index(b'"web"')].count(b"\n") + 1
    assert caught.value.exit_code == 42
    assert str(caught.value) == (
        f"coordinator {coordinator} has another manifest in force\n"
        f"  expected  {sha256_hex(other)}   manifest.json\n"
        f"  presented {sha256_hex(active)}   verify/manifest.0.json\n"
        f"  first difference in line {line}"
    )
    assert (project.root / "verify" / "manifest.0.json").read_bytes() == active


def test_a_manifest_that_is_in_force_already_is_told_before_it_is_set_again(
    project: Project, coordinator: str, said: list[str]
) -> None:
    first = run_set(project.settings, say=said.append, coordinator=coordinator)
    said.clear()

    second = run_set(project.settings, say=said.append, coordinator=coordinator)

    assert (first.is_repeat, second.is_repeat, second.generation) == (False, True, 2)
    assert said[1:] == [
        "manifest.json is in force already, setting it again rotates the mesh CA all the same"
    ]
    assert second.mesh_ca_sha256 != first.mesh_ca_sha256


CERTIFICATES = ("coordinator-root-ca.pem", "mesh-ca.pem")


def test_a_refused_verify_writes_what_can_be_compared_and_no_ca(
    project: Project, coordinator: str, said: list[str]
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator)
    project.manifest.write_bytes(project.manifest.read_bytes() + b"\n")

    with pytest.raises(MismatchError):
        run_verify(project.settings, say=said.append, coordinator=coordinator)

    verify = project.root / "verify"
    assert (verify / "manifest.0.json").is_file()
    assert [name for name in CERTIFICATES if (verify / name).exists()] == []


def test_a_refused_verify_leaves_the_cas_of_an_accepted_one(
    project: Project, coordinator: str, said: list[str], processor: Path, tmp_path: Path
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator)
    accepted = run_verify(project.settings, say=said.append, coordinator=coordinator)
    verify = project.root / "verify"
    before = {name: (verify / name).read_bytes() for name in CERTIFICATES}
    run_set(project.settings, say=said.append, coordinator=coordinator)
    project.manifest.write_bytes(project.manifest.read_bytes() + b"\n")

    with pytest.raises(MismatchError):
        run_verify(project.settings, say=said.append, coordinator=coordinator)

    assert set(CERTIFICATES) <= set(accepted.files)
    assert (verify / "manifest.1.json").is_file()
    assert {name: (verify / name).read_bytes() for name in CERTIFICATES} == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the workload owner key: no such file"),
        (b"nonsense", "holds no PEM block"),
    ],
    ids=["absent", "nonsense"],
)
def test_a_given_owner_key_is_named_as_given(
    project: Project, said: list[str], content: bytes | None, message: str
) -> None:
    path = project.root / "keys" / "mine.pem"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsageError, match=message) as caught:
        run_set(
            project.settings,
            say=said.append,
            coordinator="127.0.0.1:1",
            owner_key=path,
            owner_key_name="../elsewhere/keys/mine.pem",
        )

    assert str(caught.value.where) == "../elsewhere/keys/mine.pem"


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes], str]]:
    """Return a function that starts a server which answers everybody with the same bytes."""
    with ExitStack() as stack:

        def start(answer: bytes) -> str:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    self.request.recv(4096)
                    self.request.sendall(answer)

            server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
            thread = Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"127.0.0.1:{server.server_address[1]}"

        yield start


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"],
    ids=["web-server", "ssh"],
)
def test_a_server_that_speaks_something_else_is_no_coordinator_and_not_waited_for(
    project: Project, said: list[str], stranger: Callable[[bytes], str], answer: bytes
) -> None:
    address = stranger(answer)

    with pytest.raises(CoordinatorUnreachable) as caught:
        run_verify(
            project.settings, say=said.append, coordinator=address, reach=Reach(pause=no_pause)
        )

    assert str(caught.value).startswith(f"this is no coordinator: {address}: ")
    assert "1313" in caught.value.hint


def test_a_tls_server_without_evidence_is_no_coordinator(
    project: Project, said: list[str], tmp_path: Path
) -> None:
    with serve(echo, listen=("127.0.0.1", 0), issuer=None, require_client=None) as server:
        address = f"127.0.0.1:{server.port}"

        with pytest.raises(EvidenceRejected) as caught:
            run_verify(
                project.settings, say=said.append, coordinator=address, reach=Reach(pause=no_pause)
            )

    assert str(caught.value).startswith(f"this is no coordinator: {address}: ")


def test_an_api_that_wants_our_evidence_is_not_the_user_api(
    project: Project, said: list[str], simulated: SimulatedProcessor
) -> None:
    with serve(
        echo,
        listen=("127.0.0.1", 0),
        issuer=simulated.issuer(bytes.fromhex(COORDINATOR)),
        require_client=lambda: ((), None),
    ) as server:
        address = f"127.0.0.1:{server.port}"

        with pytest.raises(CoordinatorUnreachable) as caught:
            run_verify(
                project.settings, say=said.append, coordinator=address, reach=Reach(pause=no_pause)
            )

    assert str(caught.value).startswith(f"this is no coordinator's user api: {address}: ")


def test_a_manifest_that_is_longer_by_one_space_is_a_mismatch(
    project: Project, coordinator: str, said: list[str]
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator)
    project.manifest.write_bytes(project.manifest.read_bytes() + b" ")

    with pytest.raises(MismatchError, match="first difference in line"):
        run_verify(project.settings, say=said.append, coordinator=coordinator)


def test_a_coordinator_with_another_policy_is_refused(
    project: Project, processor: Path, said: list[str]
) -> None:
    with (
        running_coordinator(project, host_data=WEB, processor=processor) as address,
        pytest.raises(MismatchError) as caught,
    ):
        run_set(project.settings, say=said.append, coordinator=address, reach=Reach(pause=no_pause))

    assert caught.value.exit_code == 42
    assert str(caught.value).startswith(f"coordinator {address}: ")
    assert WEB in str(caught.value)
    assert COORDINATOR in str(caught.value)


def test_evidence_under_another_root_is_refused_and_both_roots_are_named(
    project: Project, coordinator: str, said: list[str], simulated: SimulatedProcessor
) -> None:
    project.root_sha256_hex = "ab" * 32
    project.write_manifest()

    with pytest.raises(EvidenceRejected) as caught:
        run_verify(
            project.settings, say=said.append, coordinator=coordinator, reach=Reach(pause=no_pause)
        )

    assert caught.value.exit_code == 41
    assert str(caught.value).startswith(f"coordinator {coordinator}: ")
    assert "ab" * 32 in str(caught.value)
    assert simulated.root_sha256_hex in str(caught.value)


def test_a_refused_coordinator_gets_nothing_written(
    project: Project, coordinator: str, said: list[str]
) -> None:
    project.root_sha256_hex = "ab" * 32
    project.write_manifest()

    with pytest.raises(EvidenceRejected):
        run_verify(project.settings, say=said.append, coordinator=coordinator)
    with pytest.raises(EvidenceRejected):
        run_set(project.settings, say=said.append, coordinator=coordinator)

    assert not (project.root / "verify").exists()
    assert not (project.root / "mesh-ca.pem").exists()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        (STRANGER, "the manifest in force does not list the key in workload-owner.pem"),
        (None, "a manifest is in force and needs an owner's key to change; found none"),
    ],
    ids=["other-key", "no-key"],
)
def test_an_update_without_the_owners_key_is_not_authorised(
    project: Project, coordinator: str, said: list[str], key: bytes | None, hint: str
) -> None:
    run_set(project.settings, say=said.append, coordinator=coordinator)
    before = project.manifest.read_bytes()
    project.entries[WEB] = PolicyEntry(sans=("web",))
    project.write_manifest()
    (project.root / "workload-owner.pem").unlink()
    if key is not None:
        (project.root / "workload-owner.pem").write_bytes(key)

    with pytest.raises(NotAuthorised) as caught:
        run_set(
            project.settings, say=said.append, coordinator=coordinator, reach=Reach(pause=no_pause)
        )

    assert caught.value.exit_code == 43
    assert caught.value.hint.startswith(hint)
    project.manifest.write_bytes(before)
    assert run_verify(project.settings, say=said.append, coordinator=coordinator).generations == 1


def test_a_deployed_policy_that_the_manifest_lacks_stops_set(
    project: Project, said: list[str]
) -> None:
    project.write_workload("extra", "Deployment", b"package agent_policy\n# extra\n")
    extra = sha256_hex(b"package agent_policy\n# extra\n")

    with pytest.raises(MismatchError) as caught:
        run_set(
            project.settings,
            say=said.append,
            coordinator="127.0.0.1:1",
            reach=Reach(pause=no_pause),
        )

    assert str(caught.value).endswith(
        f"a deployed pod has policy {extra}, manifest.json does not name it"
    )


def test_a_policy_of_the_manifest_that_no_pod_has_stops_set(
    project: Project, said: list[str]
) -> None:
    (project.root / "build" / "deployment" / "web.yml").unlink()

    with pytest.raises(MismatchError) as caught:
        run_set(
            project.settings,
            say=said.append,
            coordinator="127.0.0.1:1",
            reach=Reach(pause=no_pause),
        )

    assert str(caught.value).endswith(
        f"manifest.json names {WEB} (web, *), no deployed pod has this policy"
    )


def test_sans_other_than_the_generated_ones_are_allowed_and_told(
    project: Project, coordinator: str, said: list[str]
) -> None:
    project.write_record("web", sans=["web", "*", "shop.example"])

    run_set(project.settings, say=said.append, coordinator=coordinator)

    assert said[1:] == [
        "warning: manifest.json has SANs web * for Deployment/web, generated was web * shop.example",
        "  hint: declare it in contrast.toml; the next generate writes the manifest anew",
    ]


@pytest.mark.parametrize(
    ("owners", "key", "warning"),
    [
        (None, OWNER, "the manifest lists no workload owner keys: it can never be updated"),
        ((), OWNER, "the manifest lists no workload owner keys: it can never be updated"),
        (("d4" * 32,), OWNER, "this locks us out of updates"),
        (("d4" * 32,), None, "no workload owner key is here"),
    ],
    # A key that is made anew has no place in a name.
    ids=["null", "empty", "others", "no-key"],
)
def test_a_lock_out_is_told_before_it_happens(
    project: Project,
    coordinator: str,
    said: list[str],
    owners: tuple[str, ...] | None,
    key: bytes | None,
    warning: str,
) -> None:
    project.owner_digests = owners
    project.write_manifest()
    if key is None:
        (project.root / "workload-owner.pem").unlink()

    run_set(project.settings, say=said.append, coordinator=coordinator)

    assert warning in said[1]


def test_verify_before_set_says_that_there_is_no_manifest(
    project: Project, coordinator: str, said: list[str]
) -> None:
    with pytest.raises(CoordinatorUnreachable, match="no manifest") as caught:
        run_verify(
            project.settings, say=said.append, coordinator=coordinator, reach=Reach(pause=no_pause)
        )

    assert caught.value.exit_code == 40


def test_a_manifest_with_an_extra_key_is_refused_before_dialling(
    project: Project, said: list[str]
) -> None:
    document = json.loads(project.manifest.read_bytes())
    project.manifest.write_text(json.dumps({**document, "Extra": 1}))

    with pytest.raises(ManifestError) as caught:
        run_verify(
            project.settings,
            say=said.append,
            coordinator="127.0.0.1:1",
            reach=Reach(pause=no_pause),
        )

    assert caught.value.exit_code == 12


def test_a_missing_manifest_is_named(project: Project, said: list[str]) -> None:
    project.manifest.unlink()

    with pytest.raises(UsageError, match="cannot read the manifest: no such file") as caught:
        run_set(project.settings, say=said.append, coordinator="127.0.0.1:1")

    assert str(caught.value.where) == "manifest.json"


@pytest.mark.parametrize("address", ["", ":1", "host:", "host:x", "host:0", "host:65536"])
def test_a_malformed_coordinator_address_is_refused(
    project: Project, said: list[str], address: str
) -> None:
    with pytest.raises(UsageError, match="wanted host:port"):
        run_verify(project.settings, say=said.append, coordinator=address)


class Patience:
    """A clock that moves when somebody pauses, and a Coordinator that comes after some attempts."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds

    @contextmanager
    def connect(self, host: str, port: int, *, manifest: Any, client_key: Any) -> Iterator[Session]:
        if self.failures:
            raise self.failures.pop(0)
        yield Liar(manifests=(), policies=())


def test_a_coordinator_that_starts_slowly_is_waited_for_and_told_once(
    project: Project, said: list[str]
) -> None:
    patience = Patience(*[CoordinatorUnreachable("cannot connect")] * 5)

    with pytest.raises(MismatchError, match="has no manifest in force"):
        run_verify(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=patience.connect, clock=patience.clock, pause=patience.pause),
        )

    assert patience.now == 5.0
    assert said[1:] == ["waiting for the coordinator: cannot connect"]


def test_patience_ends_after_the_limit(project: Project, said: list[str]) -> None:
    patience = Patience(*[CoordinatorUnreachable("cannot connect")] * 500)

    with pytest.raises(CoordinatorUnreachable, match="cannot connect"):
        run_set(
            project.settings,
            say=said.append,
            coordinator="host:1",
            reach=Reach(connect=patience.connect, clock=patience.clock, pause=patience.pause),
        )

    assert patience.now == 180.0


def recovering() -> CoordinatorNotReady:
    return CoordinatorNotReady("coordinator is in recovery mode", reason="needs_recovery")


@pytest.mark.parametrize(
    "error",
    [
        EvidenceRejected("measurement differs"),
        NotAuthorised("no"),
        RequestRefused("bad manifest"),
        recovering(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_waiting_cannot_cure_is_not_tried_again(
    project: Project, said: list[str], error: Exception
) -> None:
    patience = Patience(error)

    with pytest.raises(type(error)):
        run_set(
            project.settings, say=said.append, coordinator="host:1", reach=Reach(connect=patience.connect, pause=no_pause),
        )  # fmt: skip
