"""A Coordinator that was restarted, and the owner's share that brings it back."""

import base64
import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.recover import fetch_shares, recover_local, run_recover
from contrast_tasks.client.set import run_set
from contrast_tasks.client.verify import run_verify
from contrast_tasks.errors import (
    ContrastError,
    CoordinatorUnreachable,
    MismatchError,
    NotAuthorised,
    UsageError,
)
from contrast_tasks.files import sha256_hex
from contrast_tasks.manifest.keys import generate_workload_owner
from tests.fakes.deployment import Project, running_coordinator

OWNER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public_hex(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1).hex()


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recover") / "processor"
    SimulatedProcessor.load_or_create(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, processor: Path) -> Project:
    project = Project(tmp_path, SimulatedProcessor.load(processor))
    project.seedshare_owners = (public_hex(OWNER),)
    project.write_owner(generate_workload_owner())
    (tmp_path / "seedshare-owner.pem").write_bytes(pem(OWNER))
    return project


def quiet(_line: str) -> None:
    pass


@contextmanager
def restarted(project: Project, processor: Path) -> Iterator[str]:
    """Set a manifest, stop the Coordinator, and start another one on its history."""
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
    with running_coordinator(project, processor=processor) as address:
        yield address


def test_a_restarted_coordinator_is_in_recovery_until_it_gets_its_seed(
    project: Project, processor: Path
) -> None:
    project.write_record("web")
    with restarted(project, processor) as address:
        with pytest.raises(CoordinatorUnreachable, match="recovery mode") as caught:
            run_verify(project.settings, say=quiet, coordinator=address)

        done = run_recover(project.settings, say=quiet, coordinator=address)

        found = run_verify(project.settings, say=quiet, coordinator=address)
    assert done.mesh_ca_sha256 == found.mesh_ca_sha256
    assert done.restart == ("Deployment/web",)
    assert done.files[-2:] == ("verify/mesh-ca.pem", "mesh-ca.pem")
    kept = project.root / "verify" / "mesh-ca.pem"
    assert (project.root / "mesh-ca.pem").read_bytes() == kept.read_bytes()
    assert caught.value.exit_code == 40
    assert "'contrast-tasks recover'" in caught.value.hint
    assert "'contrast-tasks deploy --fresh'" in caught.value.hint


@pytest.mark.parametrize(
    ("changed", "wrote"), [(b"", ["wrote mesh-ca.pem"]), (b"\n", [])], ids=["same", "another"]
)
def test_the_local_coordinator_is_recovered_with_what_is_here(
    project: Project,
    processor: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: bytes,
    wrote: list[str],
) -> None:
    said: list[str] = []
    with restarted(project, processor) as address:
        host, _, port = address.rpartition(":")
        monkeypatch.setattr("contrast_tasks.client.recover.USER_API_PORT", int(port))
        project.manifest.write_bytes(project.manifest.read_bytes() + changed)
        before = (project.root / "mesh-ca.pem").read_bytes()

        how = recover_local(project.settings, host=host, say=said.append, timeout_s=20)

    assert how == "seed-shares.json and seedshare-owner.pem"
    assert said == wrote
    assert ((project.root / "mesh-ca.pem").read_bytes() != before) is bool(wrote)


def test_setting_a_manifest_in_recovery_mode_names_both_ways_out(
    project: Project, processor: Path
) -> None:
    with (
        restarted(project, processor) as address,
        pytest.raises(CoordinatorUnreachable, match="recovery mode") as caught,
    ):
        run_set(project.settings, say=quiet, coordinator=address)

    assert caught.value.exit_code == 40
    assert "'contrast-tasks recover'" in caught.value.hint
    assert "'contrast-tasks deploy --fresh'" in caught.value.hint


def test_a_coordinator_that_needs_no_recovery_says_so(project: Project, processor: Path) -> None:
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)

        with pytest.raises(UsageError) as caught:
            run_recover(project.settings, say=quiet, coordinator=address)

    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        f"coordinator {address} is not in recovery mode, there is nothing to recover"
    )
    assert caught.value.hint == "see what it has in force with 'contrast-tasks verify'"


def test_an_owner_gets_lost_seed_shares_again(project: Project, processor: Path) -> None:
    shares = project.root / "seed-shares.json"
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
        shares.unlink()

        assert fetch_shares(project.settings, say=quiet, coordinator=address) == (shares.name,)
        assert fetch_shares(project.settings, say=quiet, coordinator=address) == ()

        damaged = json.loads(shares.read_bytes())
        damaged["SeedShares"][0]["EncryptedSeed"] = "AAAA"
        shares.write_text(json.dumps(damaged))
        assert shares.name in fetch_shares(project.settings, say=quiet, coordinator=address)

        (project.root / "seedshare-owner.pem").write_bytes(pem(STRANGER))
        with pytest.raises(NotAuthorised):
            fetch_shares(project.settings, say=quiet, coordinator=address)
        (project.root / "seedshare-owner.pem").write_bytes(pem(OWNER))
    with running_coordinator(project, processor=processor) as address:
        assert run_recover(project.settings, say=quiet, coordinator=address).generation == 1


def test_a_restored_older_history_is_recovered_only_on_purpose(
    project: Project, processor: Path
) -> None:
    """Whoever can write to the store restores a manifest that was replaced; only a client knows of the newer one."""
    latest = project.root / "state" / "transitions" / "latest"
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
        older = latest.read_bytes()
        revoked = project.manifest.read_bytes()
        project.manifest.write_bytes(revoked + b"\n")
        run_set(project.settings, say=quiet, coordinator=address)
    latest.write_bytes(older)
    with running_coordinator(project, processor=processor) as address:
        with pytest.raises(CoordinatorUnreachable, match="was rolled back") as caught:
            run_recover(project.settings, say=quiet, coordinator=address)
        with pytest.raises(CoordinatorUnreachable, match="recovery mode"):
            run_verify(project.settings, say=quiet, coordinator=address)

        project.manifest.write_bytes(revoked)
        done = run_recover(project.settings, say=quiet, coordinator=address, accept_rollback=True)
        run_verify(project.settings, say=quiet, coordinator=address)

    assert caught.value.exit_code == 40
    assert "--accept-rollback" in caught.value.hint
    assert done.generation == 1


def test_a_coordinator_that_is_recovered_with_another_manifest_is_said_to_be_recovered(
    project: Project, processor: Path
) -> None:
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
    project.manifest.write_bytes(project.manifest.read_bytes() + b"\n")
    said: list[str] = []
    with (
        running_coordinator(project, processor=processor) as address,
        pytest.raises(MismatchError, match="another manifest in force"),
    ):
        run_recover(project.settings, say=said.append, coordinator=address)

    assert f"coordinator {address} has its seed again, but does not serve what was expected" in said


def test_a_history_with_a_gap_is_recovered_and_the_gap_is_told(
    project: Project, processor: Path
) -> None:
    state, verified = project.root / "state", project.root / "verify"
    said: list[str] = []
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
        old = project.manifest.read_bytes()
        project.manifest.write_bytes(old + b"\n")
        run_set(project.settings, say=quiet, coordinator=address)
        run_verify(project.settings, say=quiet, coordinator=address)
    (state / "manifests" / sha256_hex(old)).write_bytes(b"{}")
    with running_coordinator(project, processor=processor) as address:
        assert run_recover(project.settings, say=quiet, coordinator=address).generation == 2
        again = run_verify(project.settings, say=said.append, coordinator=address)
        # Where nothing is kept, a file is missing.
        elsewhere = project.root / "elsewhere"
        run_verify(project.settings, say=quiet, coordinator=address, folder=elsewhere)
        run_verify(project.settings, say=quiet, coordinator=address, folder=elsewhere)
        run_set(project.settings, say=quiet, coordinator=address)

    told = f"lost a part of its history: manifest 0 with SHA-256 {sha256_hex(old)}"
    assert len([line for line in said if told in line]) == 1
    assert again.generations == 2
    assert (verified / "manifest.0.json").read_bytes() == old
    assert not (elsewhere / "manifest.0.json").exists()
    assert (elsewhere / "manifest.1.json").read_bytes() == old + b"\n"


def test_a_coordinator_without_a_history_has_nothing_to_recover(
    project: Project, processor: Path
) -> None:
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
    shutil.rmtree(project.root / "state")
    with (
        running_coordinator(project, processor=processor) as address,
        pytest.raises(CoordinatorUnreachable, match="no state to recover from") as caught,
    ):
        run_recover(project.settings, say=quiet, coordinator=address)

    assert caught.value.hint == "set a manifest first"


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What somebody with access to the state did, and what is said about it."""

    pattern: str
    change: Callable[[bytes], bytes]
    error: type[ContrastError]
    texts: tuple[str, ...]


DAMAGES = [
    pytest.param(
        Damage(
            pattern="transitions/latest",
            change=lambda raw: raw + b"\0",
            error=CoordinatorUnreachable,
            texts=(
                "history object transitions/latest was changed",
                "bytes after the transition hash, wanted an ecdsa signature in der",
            ),
        ),
        id="head-longer",
    ),
    pytest.param(
        Damage(
            pattern="transitions/latest",
            change=lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
            error=UsageError,
            texts=(
                "history object transitions/latest is not signed by the key of this seed",
                "found a signature over ",
                "wanted one by the key with sha256 ",
            ),
        ),
        id="head-signed-otherwise",
    ),
    pytest.param(
        Damage(
            pattern="manifests/*",
            change=lambda raw: raw + b" ",
            error=CoordinatorUnreachable,
            texts=(
                "history object manifests/",
                "was changed: found content with sha256 ",
                ", wanted ",
            ),
        ),
        id="manifest",
    ),
]


@pytest.mark.first(1)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_history_that_was_changed_is_not_recovered_and_the_object_is_named(
    project: Project, processor: Path, damage: Damage
) -> None:
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
    (path,) = (project.root / "state").glob(damage.pattern)
    path.write_bytes(damage.change(path.read_bytes()))

    with (
        running_coordinator(project, processor=processor) as address,
        pytest.raises(damage.error) as caught,
    ):
        run_recover(project.settings, say=quiet, coordinator=address)

    assert [text for text in damage.texts if text not in str(caught.value)] == []


def test_the_log_of_the_local_coordinator_is_named_when_its_history_was_changed(
    project: Project, processor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contrast_tasks.client import coordinator as reaching

    logs = project.root / ".contrast" / "local" / "logs"
    logs.mkdir(parents=True)
    (logs / "coordinator-coordinator.log").touch()
    with running_coordinator(project, processor=processor) as address:
        run_set(project.settings, say=quiet, coordinator=address)
    latest = project.root / "state" / "transitions" / "latest"
    latest.write_bytes(latest.read_bytes() + b"\0")

    with running_coordinator(project, processor=processor) as address:
        host, _, port = address.rpartition(":")
        monkeypatch.setattr(reaching, "coordinator_address", lambda *_: (host, int(port)))
        with pytest.raises(CoordinatorUnreachable) as caught:
            run_recover(project.settings, say=quiet)

    assert ".contrast/local/logs/coordinator-coordinator.log" in caught.value.hint
    assert ".contrast/local/state" in caught.value.hint


def test_another_key_with_the_right_share_is_not_authorised(
    project: Project, processor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with restarted(project, processor) as address:
        from contrast_tasks.client import recover

        monkeypatch.setattr(recover, "open_share", lambda *_: (bytes(64), bytes(32)))
        (project.root / "seedshare-owner.pem").write_bytes(pem(STRANGER))

        with pytest.raises(NotAuthorised):
            run_recover(project.settings, say=quiet, coordinator=address)


def of_no_known_kind() -> bytes:
    """Return a private key whose curve nobody knows."""
    der = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    # 1.2.840.10045.3.1.7 becomes another number of the same length.
    changed = der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017e"))
    assert changed != der
    body = base64.encodebytes(changed)
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"


def share(key: str, seed: bytes = b"x", salt: bytes = bytes(32)) -> str:
    row = {"PublicKey": key, "EncryptedSeed": base64.b64encode(seed).decode()}
    return json.dumps({"SeedShares": [row], "salt": base64.b64encode(salt).decode()})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the seed shares: no such file or directory"),
        ("{", "is not a seed share document"),
        ("[" * 100_000, "is not a seed share document"),
        ('{"SeedShares": [{}], "salt": ""}', "is not a seed share document"),
        (
            share(public_hex(STRANGER)),
            "none of 1 seed shares is for the key in seedshare-owner.pem",
        ),
        (share(public_hex(OWNER)), "does not open with the key in seedshare-owner.pem"),
    ],
    ids=["absent", "no-json", "deep", "no-share", "of-another", "damaged"],
)
def test_a_share_that_cannot_be_used_is_named(
    project: Project, text: str | None, message: str
) -> None:
    if text is not None:
        (project.root / "seed-shares.json").write_text(text)

    with pytest.raises(UsageError, match=message) as caught:
        run_recover(project.settings, say=quiet, coordinator="127.0.0.1:1")

    assert str(caught.value.where) == "seed-shares.json"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the seed share owner key: no such file or directory"),
        (b"nonsense", "is not an unencrypted private key in PEM form"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "holds no RSA key"),
        (of_no_known_kind(), "is not an unencrypted private key in PEM form"),
    ],
    ids=["absent", "nonsense", "other-type", "unknown-type"],
)
def test_a_key_that_cannot_be_used_is_named(
    project: Project, content: bytes | None, message: str
) -> None:
    path = project.root / "seedshare-owner.pem"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsageError, match=message) as caught:
        run_recover(project.settings, say=quiet, coordinator="127.0.0.1:1")

    assert str(caught.value.where) == "seedshare-owner.pem"


def test_a_second_coordinator_on_the_same_history_is_recovered_by_the_first(
    project: Project, processor: Path
) -> None:
    class Helped(logging.Handler):
        """Notices when a peer has helped."""

        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "Recovered from a peer":
                helped.set()

    helped = threading.Event()
    handler = Helped()
    log = logging.getLogger("coordinator.peers")
    log.addHandler(handler)
    with ExitStack() as stack:
        stack.callback(log.removeHandler, handler)
        first = stack.enter_context(running_coordinator(project, processor=processor))
        done = run_set(project.settings, say=quiet, coordinator=first)
        with running_coordinator(project, processor=processor) as second:
            assert helped.wait(20)
            with pytest.raises(UsageError, match="is not in recovery mode"):
                run_recover(project.settings, say=quiet, coordinator=second)
            found = run_verify(project.settings, say=quiet, coordinator=second)

    assert found.manifest_sha256 == done.manifest_sha256


def test_a_coordinator_that_its_peers_cannot_help_is_recovered_by_force_only(
    project: Project, processor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.peers.PeerRecovery.attempt", lambda _self: False)
    with running_coordinator(project, processor=processor) as first:
        done = run_set(project.settings, say=quiet, coordinator=first)
        with running_coordinator(project, processor=processor) as second:
            with pytest.raises(CoordinatorUnreachable, match="recovered peers") as caught:
                run_recover(project.settings, say=quiet, coordinator=second)

            forced = run_recover(project.settings, say=quiet, coordinator=second, force=True)

    assert caught.value.exit_code == 40
    assert "--force" in caught.value.hint
    assert forced.manifest_sha256 == done.manifest_sha256
    assert forced.mesh_ca_sha256 != done.mesh_ca_sha256
