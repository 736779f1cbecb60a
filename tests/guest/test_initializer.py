"""The initializer against Coordinators that answer honestly, late, or with nonsense."""

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from contrast_tasks.api.meshapi import MeshCert
from contrast_tasks.errors import CoordinatorUnreachable, NotAuthorised, SettingsError
from contrast_tasks.guest import initializer
from contrast_tasks.guest.commands import Finished
from contrast_tasks.guest.credentials import BadCredentials, verify_credentials
from contrast_tasks.guest.initializer import obtain, parse_options
from contrast_tasks.guest.secret_files import Reader, SecretFiles, write_credentials
from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.guest.volumes.volume import Places
from tests.fakes.mesh_pki import NOW, Authority, pem

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = Authority()
STRANGER = Authority()
HONEST = AUTHORITY.issue(KEY.public_key())
LONG_AGO, LATER = NOW - timedelta(days=30), NOW + timedelta(days=30)

LIES: Mapping[str, tuple[MeshCert, str]] = {
    "other-key": (
        AUTHORITY.issue(OTHER_KEY.public_key()),
        "the leaf certificate is for another key than ours",
    ),
    "other-mesh-ca": (
        replace(HONEST, mesh_ca_pem=pem(STRANGER.mesh_ca)),
        "the intermediate has another key than the mesh CA",
    ),
    "other-root": (
        replace(HONEST, root_ca_pem=pem(STRANGER.root)),
        "the intermediate is not signed by the root CA",
    ),
    "leaf-of-another-authority": (
        replace(
            HONEST,
            cert_chain_pem=pem(STRANGER.leaf(KEY.public_key()), AUTHORITY.intermediate),
        ),
        "the leaf certificate is not signed by the mesh CA",
    ),
    "no-intermediate": (
        replace(HONEST, cert_chain_pem=pem(AUTHORITY.leaf(KEY.public_key()))),
        "the certificate chain has 1 certificates, wanted leaf and intermediate",
    ),
    "three-in-the-chain": (
        replace(HONEST, cert_chain_pem=HONEST.cert_chain_pem + HONEST.root_ca_pem),
        "the certificate chain has 3 certificates, wanted leaf and intermediate",
    ),
    "root-in-the-place-of-the-intermediate": (
        replace(HONEST, cert_chain_pem=pem(AUTHORITY.leaf(KEY.public_key()), AUTHORITY.root)),
        "the intermediate has another key than the mesh CA",
    ),
    "intermediate-as-mesh-ca": (
        replace(HONEST, mesh_ca_pem=pem(AUTHORITY.intermediate)),
        "the mesh CA is not signed by itself",
    ),
    "leaf-is-an-authority": (
        replace(
            HONEST,
            cert_chain_pem=pem(
                AUTHORITY.leaf(KEY.public_key(), is_authority=True), AUTHORITY.intermediate
            ),
        ),
        "the leaf certificate is a certificate authority",
    ),
    "expired-leaf": (
        replace(
            HONEST,
            cert_chain_pem=pem(
                AUTHORITY.leaf(KEY.public_key(), begins=LONG_AGO, ends=NOW - timedelta(hours=2)),
                AUTHORITY.intermediate,
            ),
        ),
        (
            "the leaf certificate is valid from 2025-12-03 03:04 to 2026-01-02 01:04 UTC, "
            "and it is 2026-01-02 03:04 UTC"
        ),
    ),
    "leaf-of-the-future": (
        replace(
            HONEST,
            cert_chain_pem=pem(
                AUTHORITY.leaf(KEY.public_key(), begins=NOW + timedelta(hours=2), ends=LATER),
                AUTHORITY.intermediate,
            ),
        ),
        (
            "the leaf certificate is valid from 2026-01-02 05:04 to 2026-02-01 03:04 UTC, "
            "and it is 2026-01-02 03:04 UTC"
        ),
    ),
    "garbage": (
        replace(HONEST, cert_chain_pem=b"-----BEGIN CERTIFICATE-----\nAAAA\n"),
        "the certificate chain is not a PEM certificate",
    ),
    "empty-mesh-ca": (replace(HONEST, mesh_ca_pem=b""), "the mesh CA is not a PEM certificate"),
    "two-roots": (
        replace(HONEST, root_ca_pem=HONEST.root_ca_pem + pem(STRANGER.root)),
        "the root CA holds 2 certificates, wanted one",
    ),
}


def test_honest_credentials_are_accepted() -> None:
    verify_credentials(HONEST, KEY, NOW)


@pytest.mark.parametrize(("credentials", "message"), LIES.values(), ids=LIES.keys())
def test_a_lying_coordinator_is_found_out(credentials: MeshCert, message: str) -> None:
    with pytest.raises(BadCredentials) as caught:
        verify_credentials(credentials, KEY, NOW)

    assert str(caught.value) == message


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    return SecretFiles.below(tmp_path / "contrast")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_file_has_its_content_and_mode(files: SecretFiles) -> None:
    write_credentials(files, HONEST, KEY)

    assert files.mesh_ca.read_bytes() == HONEST.mesh_ca_pem
    assert files.cert_chain.read_bytes() == HONEST.cert_chain_pem
    assert files.root_ca.read_bytes() == HONEST.root_ca_pem
    assert files.workload_secret.read_bytes() == bytes(range(64)).hex().encode()
    assert files.key.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    loaded = load_pem_private_key(files.key.read_bytes(), password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    assert loaded.public_key() == KEY.public_key()
    assert {path.name: mode(path) for path in files.key.parent.iterdir()} == {
        "mesh-ca.pem": 0o444,
        "certChain.pem": 0o444,
        "key.pem": 0o400,
        "coordinator-root-ca.pem": 0o444,
    }
    assert files.complete.read_text() == hashlib.sha256(HONEST.cert_chain_pem).hexdigest()
    assert mode(files.workload_secret) == 0o400
    assert (mode(files.key.parent), mode(files.workload_secret.parent)) == (0o755, 0o755)


def test_without_a_workload_secret_an_old_one_is_removed(files: SecretFiles) -> None:
    write_credentials(files, HONEST, KEY)

    write_credentials(files, replace(HONEST, workload_secret=None), KEY)

    assert not files.workload_secret.exists()


def test_a_second_set_of_credentials_replaces_the_first(files: SecretFiles) -> None:
    write_credentials(files, HONEST, KEY)
    second = STRANGER.issue(OTHER_KEY.public_key())

    write_credentials(files, second, OTHER_KEY)

    assert files.cert_chain.read_bytes() == second.cert_chain_pem
    assert files.mesh_ca.read_bytes() == second.mesh_ca_pem


def test_a_group_may_be_let_in(files: SecretFiles) -> None:
    write_credentials(files, HONEST, KEY, reader=Reader(gid=os.getgid()))

    assert mode(files.key) == 0o440
    assert mode(files.workload_secret) == 0o440


def test_the_private_files_belong_to_the_user_whom_the_pod_names(
    files: SecretFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, *ids: given.append((path, ids)))

    write_credentials(files, HONEST, KEY, reader=Reader(uid=1000))

    assert given == [(files.key, (1000, -1)), (files.workload_secret, (1000, -1))]
    assert mode(files.key) == 0o400


class Answers:
    """A Coordinator that gives its answers in turn; an exception is raised."""

    def __init__(self, *answers: MeshCert | Exception) -> None:
        self._answers = list(answers)
        self.said: list[str] = []
        self.pauses = 0

    def fetch(self, _key: ec.EllipticCurvePrivateKey) -> MeshCert:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pause(self) -> None:
        self.pauses += 1

    def obtain(self) -> MeshCert:
        return obtain(self.fetch, key=KEY, now=lambda: NOW, pause=self.pause, say=self.said.append)


def test_it_asks_again_until_the_coordinator_is_honest() -> None:
    coordinator = Answers(
        CoordinatorUnreachable("cannot connect"),
        LIES["other-key"][0],
        NotAuthorised("policy hash not in manifest"),
        HONEST,
    )

    assert coordinator.obtain() is HONEST

    assert coordinator.pauses == 3
    assert coordinator.said == [
        "attempt 1: cannot connect",
        "attempt 2: the leaf certificate is for another key than ours",
        "attempt 3: policy hash not in manifest",
    ]


def test_the_same_error_is_told_first_and_then_every_twelfth_time() -> None:
    coordinator = Answers(*[CoordinatorUnreachable("cannot connect")] * 25, HONEST)

    coordinator.obtain()

    assert coordinator.said == [f"attempt {n}: cannot connect" for n in (1, 13, 25)]


def test_secrets_are_never_told() -> None:
    coordinator = Answers(*(credentials for credentials, _ in LIES.values()), HONEST)

    coordinator.obtain()

    assert bytes(range(64)).hex()[:16] not in "".join(coordinator.said)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("coordinator-ready", "coordinator-ready", 7777),
        ("coordinator-ready.shop:7778", "coordinator-ready.shop", 7778),
        ("127.77.0.2:7777", "127.77.0.2", 7777),
        ("[fd00::1]:7777", "fd00::1", 7777),
        ("[fd00::1]", "fd00::1", 7777),
    ],
)
def test_the_coordinators_host_may_carry_a_port(text: str, host: str, port: int) -> None:
    options = parse_options({"COORDINATOR_HOST": text})

    assert (options.host, options.port) == (host, port)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "COORDINATOR_HOST is not set, wanted the coordinator's host"),
        ({"COORDINATOR_HOST": "a:b"}, "COORDINATOR_HOST is 'a:b', wanted host or host:port"),
        ({"COORDINATOR_HOST": ":1"}, "COORDINATOR_HOST is ':1', wanted host or host:port"),
        ({"COORDINATOR_HOST": "a:0"}, "COORDINATOR_HOST is 'a:0', wanted host or host:port"),
        (
            {"COORDINATOR_HOST": "a:65536"},
            "COORDINATOR_HOST is 'a:65536', wanted host or host:port",
        ),
        (
            {"COORDINATOR_HOST": "a", "CONTRAST_KEY_GID": "root"},
            "CONTRAST_KEY_GID is 'root', wanted a number up to 4294967294",
        ),
        (
            {"COORDINATOR_HOST": "a", "CONTRAST_KEY_UID": "4294967295"},
            "CONTRAST_KEY_UID is '4294967295', wanted a number up to 4294967294",
        ),
        (
            {"COORDINATOR_HOST": "a", "CONTRAST_RETRY_SECONDS": "0"},
            "CONTRAST_RETRY_SECONDS is '0', wanted seconds up to 3600",
        ),
        (
            {"COORDINATOR_HOST": "a", "CONTRAST_RETRY_SECONDS": "soon"},
            "CONTRAST_RETRY_SECONDS is 'soon', wanted seconds up to 3600",
        ),
    ],
)
def test_a_bad_environment_is_refused_by_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_options(environ)

    assert str(caught.value) == message


def test_the_process_ends_with_status_1_without_configuration(
    run_module: Callable[..., tuple[int, str]],
) -> None:
    status, said = run_module("contrast_tasks.guest.initializer", {})

    assert status == 1
    assert "error: COORDINATOR_HOST is not set" in said


def test_without_its_device_a_pod_gets_its_certificates_and_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, processor_folder: Path
) -> None:
    def answer(*_: object, key: ec.EllipticCurvePrivateKey, **__: object) -> MeshCert:
        return AUTHORITY.issue(key.public_key())

    said: list[str] = []
    monkeypatch.setattr(initializer, "obtain", answer)
    done = tmp_path / "done"
    done.touch()
    environ = {
        "COORDINATOR_HOST": "127.0.0.1:9",
        "CONTRAST_EVIDENCE": f"simulated:{processor_folder}",
        "CONTRAST_HOST_DATA": "00" * 32,
        "CONTRAST_SECRETS_DIR": str(tmp_path / "contrast"),
        "CONTRAST_DONE_FILE": str(done),
        "CRYPTSETUP_DEVICE": str(tmp_path / "csi0"),
    }
    places = Places(headers=tmp_path / "h", locks=tmp_path / "l", mapped=tmp_path / "m")
    monkeypatch.setattr(initializer, "Places", lambda: places)
    monkeypatch.setattr(initializer, "run_command", lambda *_: Finished(4, "", ""))

    with pytest.raises(VolumeNotOpened, match="there is no device"):
        initializer.run(environ, said.append)

    assert said == [f"certificates are in {tmp_path / 'contrast'}"]
    assert (tmp_path / "contrast" / "secrets" / "workload-secret-seed").is_file()
    assert not done.exists()


@pytest.mark.parametrize(
    ("mesh", "started"),
    [
        pytest.param({"CONTRAST_SERVICE_MESH_DISABLED": "true"}, 1, id="no mesh"),
        pytest.param({}, 0, id="the sidecar renews"),
    ],
)
def test_while_it_holds_volumes_it_renews_what_no_sidecar_does(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    processor_folder: Path,
    mesh: dict[str, str],
    started: int,
) -> None:
    def answer(*_: object, key: ec.EllipticCurvePrivateKey, **__: object) -> MeshCert:
        return AUTHORITY.issue(key.public_key())

    renewing: list[SecretFiles] = []
    monkeypatch.setattr(initializer, "obtain", answer)
    monkeypatch.setattr(initializer, "hold", lambda *_, **__: None)
    monkeypatch.setattr(
        initializer, "start_renewing", lambda _fetch, files, *_, **__: renewing.append(files)
    )
    environ = {
        "COORDINATOR_HOST": "127.0.0.1:9",
        "CONTRAST_EVIDENCE": f"simulated:{processor_folder}",
        "CONTRAST_HOST_DATA": "00" * 32,
        "CONTRAST_SECRETS_DIR": str(tmp_path / "contrast"),
        "CONTRAST_DONE_FILE": str(tmp_path / "done"),
        "CRYPTSETUP_DEVICE": str(tmp_path / "csi0"),
        **mesh,
    }

    initializer.run(environ, lambda _: None)

    assert renewing == [SecretFiles.below(tmp_path / "contrast")] * started


def test_a_signal_ends_the_wait_of_a_process_with_threads() -> None:
    code = (
        "import threading\n"
        "from contrast_tasks.guest.process import Terminated, begin, wait_for_signal\n"
        "say = begin('waiter')\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "try:\n"
        "    say('waits')\n"
        "    wait_for_signal()\n"
        "except Terminated:\n"
        "    say('ends')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "waits" in line:
                process.terminate()

    assert lines[-1] == "waiter: ends\n"
    assert process.returncode == 0


def test_a_volume_that_is_not_opened_is_status_3_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_environ: object, _say: object) -> None:
        raise VolumeNotOpened("the volume is damaged", hint="nothing was changed")

    monkeypatch.setattr(initializer, "run", refuse)
    said: list[str] = []
    monkeypatch.setattr(initializer, "begin", lambda _: said.append)

    assert initializer.main() == 3
    assert said == ["error: the volume is damaged (nothing was changed)"]


@pytest.mark.e2e
def test_the_process_ends_with_status_1_if_a_device_is_no_path(
    run_module: Callable[..., tuple[int, str]],
) -> None:
    environ = {"COORDINATOR_HOST": "127.0.0.1:9", "CRYPTSETUP_DEVICE": "csi0"}

    status, said = run_module("contrast_tasks.guest.initializer", environ)

    assert status == 1
    assert "error: CRYPTSETUP_DEVICE is 'csi0', wanted paths of devices" in said


@pytest.mark.e2e
def test_the_process_ends_with_status_2_when_terminated_while_waiting(
    run_module: Callable[..., tuple[int, str]], tmp_path: Path, processor_folder: Path
) -> None:
    environ = {
        "COORDINATOR_HOST": "127.0.0.1:9",
        "CONTRAST_EVIDENCE": f"simulated:{processor_folder}",
        "CONTRAST_HOST_DATA": "00" * 32,
        "CONTRAST_SECRETS_DIR": str(tmp_path),
    }

    status, said = run_module(
        "contrast_tasks.guest.initializer", environ, terminate_after="attempt 1"
    )

    assert status == 2
    assert "terminated while waiting" in said
    assert list(tmp_path.iterdir()) == []
