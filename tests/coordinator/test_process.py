"""The Coordinator as a process with simulated evidence: what an owner and a workload see of it."""

import base64
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from contrast_tasks.addresses import MESH_API_PORT
from contrast_tasks.api import meshapi, userapi
from contrast_tasks.api.errors import CoordinatorFailed, CoordinatorNotReady, RequestRefused
from contrast_tasks.atls.client import connect
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.errors import ContrastError, EvidenceRejected, NotAuthorised
from contrast_tasks.guest.credentials import Held, read_held
from contrast_tasks.guest.renewal import renew
from contrast_tasks.guest.secret_files import SecretFiles, write_credentials
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.releases.table import V1_16
from coordinator.kubernetes.api import ACCOUNT
from coordinator.seedshares import EncryptedShare
from tests.fakes.coordinator import Caller
from tests.fakes.kube.cluster import Key
from tests.fakes.kube.coordinator import (
    CONFIG_MAPS,
    NAMESPACE,
    coordinator_api,
    make_coordinator,
    set_ready,
)
from tests.fakes.kube.servers import SERVERS, AnyServer, opened
from tests.fakes.secrets import SECRETS_FILE, leaks, noted
from tests.fakes.transit import Curl, Workload

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
COORDINATOR_POLICY = b"package agent_policy # coordinator\n"
WEB_POLICY = b"package agent_policy # web\n"
COORDINATOR_HASH = hashlib.sha256(COORDINATOR_POLICY).hexdigest()
WEB_HASH = hashlib.sha256(WEB_POLICY).hexdigest()
POLICIES = [COORDINATOR_POLICY, WEB_POLICY]


@dataclass(kw_only=True)
class Running:
    """A started Coordinator; `ports` by name, `lines` is its log so far, `told` what else it wrote."""

    process: subprocess.Popen[str]
    ports: Mapping[str, int]
    lines: list[dict[str, object]]
    told: list[str] = field(default_factory=list)

    def probe(self, name: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)
        connection.request("GET", f"/probe/{name}")
        status = connection.getresponse().status
        connection.close()
        return status

    def metrics(self) -> dict[str, float]:
        """Return the value of each series."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def read_until(self, message: str) -> None:
        """Read log lines until one has this message."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["msg"] == message:
                return
        raise AssertionError(f"it ended without {message!r}: {self.lines}")

    def stop(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        self.told += [out, err]
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machine") / "processor"


@pytest.fixture(scope="module")
def processor(machine: Path) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(machine)


@pytest.fixture
def environ(processor: SimulatedProcessor, machine: Path, tmp_path: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **kept,
        "CONTRAST_EVIDENCE": f"simulated:{machine}",
        "CONTRAST_HOST_DATA": COORDINATOR_HASH,
        SECRETS_FILE: str(tmp_path / "secrets"),
    }


@contextmanager
def started(
    state: Path | None,
    environ: Mapping[str, str],
    *arguments: str,
    command: Sequence[str] = (sys.executable, "-m", "tests.fakes.secrets"),
) -> Iterator[Running]:
    """Start a Coordinator, and end it; nothing that it wrote may show a secret that it used."""
    where = [] if state is None else ["--state", state]
    process = subprocess.Popen(
        [*command, *addresses(), *where, *arguments],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["msg"] == "Coordinator started":
                break
        ports = {name: lines[-1][name] for name in ("user_api", "mesh_api", "transit_api", "http")}
        running = Running(process=process, ports=ports, lines=lines)
        yield running
        process.kill()
        if process.stderr is not None and not process.stderr.closed:
            running.told += process.communicate()
        secrets = noted(Path(environ[SECRETS_FILE]))
        assert leaks([*map(json.dumps, running.lines), *running.told], secrets) == []
    finally:
        process.kill()
        process.communicate()


def addresses() -> list[str]:
    names = ("--user-api", "--mesh-api", "--http")
    return [part for name in names for part in (name, "127.0.0.1:0")]


def make_manifest(
    processor: SimulatedProcessor, owner: Caller, seedshare_owner: Caller | None = None
) -> Manifest:
    return Manifest(
        policies={
            COORDINATOR_HASH: PolicyEntry(sans=("coordinator", "*"), role="coordinator"),
            WEB_HASH: PolicyEntry(sans=("web", "127.77.0.6"), workload_secret_id="web"),
        },
        reference_values=defaults_for("local", local_root_sha256_hex=processor.root_sha256_hex),
        workload_owner_key_digests=(owner.digest_hex,),
        seedshare_owner_pub_keys=(() if seedshare_owner is None else (seedshare_owner.pkcs1_hex,)),
    )


@contextmanager
def user_api(
    running: Running, manifest: Manifest, caller: Caller | None = None
) -> Iterator[grpc.Channel]:
    with connect(
        "127.0.0.1",
        running.ports["user_api"],
        validators=validators_for(manifest, coordinator_only=True),
        client_key=None if caller is None else caller.key,
        now=datetime.now(UTC),
    ) as peer:
        yield peer.channel


def new_cert(
    running: Running,
    processor: SimulatedProcessor,
    key: ec.EllipticCurvePrivateKey,
    policy: bytes,
    *,
    host: str = "127.0.0.1",
) -> meshapi.MeshCert:
    with connect(
        host,
        running.ports["mesh_api"],
        validators=None,
        unverified=True,
        issuer=processor.issuer(hashlib.sha256(policy).digest()),
        client_key=key,
        now=datetime.now(UTC),
    ) as peer:
        return meshapi.new_mesh_cert(peer.channel, 10)


def test_manifest_certificate_update_and_stop(
    tmp_path: Path, environ: dict[str, str], processor: SimulatedProcessor, owner: Caller
) -> None:
    manifest = make_manifest(processor, owner)
    content = render_manifest(manifest, V1_16.manifest)
    key = ec.generate_private_key(ec.SECP256R1())
    with started(tmp_path / "state", {**environ, "CONTRAST_METRICS": "1"}) as running:
        assert running.probe("startup") == 200
        assert running.probe("liveness") == 200
        assert running.probe("readiness") == 503
        with user_api(running, manifest) as channel:
            first = userapi.set_manifest(channel, content, POLICIES, 10)
        assert running.probe("readiness") == 200

        cert = new_cert(running, processor, key, WEB_POLICY)
        with user_api(running, manifest, owner) as channel:
            second = userapi.set_manifest(channel, content, POLICIES, 10)
            history = userapi.get_manifests(channel, 10)
        measured = running.metrics()
        code, out, err = running.stop()

    assert measured['contrast_coordinator_state{state="active"}'] == 1
    assert measured["contrast_coordinator_manifest_generation"] == 2
    issued = f'contrast_meshapi_certificates_issued_total{{policy="{WEB_HASH}",workload="web"}}'
    assert measured[issued] == 1
    swaps = 'contrast_store_requests_seconds_count{op="compare_and_swap",result="ok"}'
    assert measured[swaps] >= 2
    ends = measured["contrast_mesh_ca_not_after_seconds"]
    mesh_ca = x509.load_pem_x509_certificate(second.mesh_ca_pem)
    assert ends == mesh_ca.not_valid_after_utc.timestamp()

    leaf, intermediate = x509.load_pem_x509_certificates(cert.cert_chain_pem)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(cert.mesh_ca_pem))
    intermediate.verify_directly_issued_by(x509.load_pem_x509_certificate(cert.root_ca_pem))
    claimed = {extension.oid.dotted_string for extension in leaf.extensions}
    assert leaf.public_key() == key.public_key()
    assert {f"1.3.9901.2.1.{number}" for number in range(1, 47)} <= claimed
    assert cert.workload_secret is not None
    assert len(cert.workload_secret) == 64
    assert second.root_ca_pem == first.root_ca_pem == cert.root_ca_pem
    assert second.mesh_ca_pem != first.mesh_ca_pem
    assert history.manifests == (content, content)
    assert set(history.policies) == set(POLICIES)
    assert (code, out) == (0, "")
    assert json.loads(err.splitlines()[-1])["msg"] == "Coordinator is stopping"
    log = err + json.dumps(running.lines)
    assert cert.workload_secret.hex() not in log
    assert "PRIVATE" not in log


def test_a_running_pod_renews_its_certificates_and_follows_an_update(
    tmp_path: Path, environ: dict[str, str], processor: SimulatedProcessor, owner: Caller
) -> None:
    manifest = make_manifest(processor, owner)
    content = render_manifest(manifest, V1_16.manifest)
    files = SecretFiles.below(tmp_path / "contrast")
    key = ec.generate_private_key(ec.SECP256R1())
    had: list[Held] = []
    with started(tmp_path / "state", environ) as running:

        def fetch(key: ec.EllipticCurvePrivateKey) -> meshapi.MeshCert:
            return new_cert(running, processor, key, WEB_POLICY)

        def keep() -> None:
            held = read_held(files)
            assert held is not None
            had.append(held)

        with user_api(running, manifest) as channel:
            userapi.set_manifest(channel, content, POLICIES, 10)
        write_credentials(files, fetch(key), key)
        keep()
        renew(fetch, had[-1], files, now=datetime.now(UTC))
        keep()
        with user_api(running, manifest, owner) as channel:
            userapi.set_manifest(channel, content, POLICIES, 10)
        renew(fetch, had[-1], files, now=datetime.now(UTC))
        keep()

    first, second, third = had
    assert len({held.leaf for held in had}) == 3
    assert second.mesh_ca == first.mesh_ca
    assert third.mesh_ca.public_key() != second.mesh_ca.public_key()
    assert {held.secret for held in had} == {first.secret}
    assert third.key.public_key() == key.public_key()


@pytest.mark.parametrize(
    ("switch", "wanted"),
    [({}, ["127.77.0.6"]), ({"CONTRAST_PEER_ADDRESS": "1"}, ["127.77.0.6", "127.0.0.1"])],
    ids=["off", "on"],
)
def test_a_workloads_own_address_is_certified_when_switched_on(
    tmp_path: Path,
    environ: dict[str, str],
    processor: SimulatedProcessor,
    owner: Caller,
    switch: dict[str, str],
    wanted: list[str],
) -> None:
    manifest = make_manifest(processor, owner)
    key = ec.generate_private_key(ec.SECP256R1())
    with started(tmp_path / "state", environ | switch) as running:
        with user_api(running, manifest) as channel:
            userapi.set_manifest(channel, render_manifest(manifest, V1_16.manifest), POLICIES, 10)
        cert = new_cert(running, processor, key, WEB_POLICY)

    leaf = x509.load_pem_x509_certificates(cert.cert_chain_pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == wanted


def test_what_must_be_refused_is_refused_and_changes_nothing(
    tmp_path: Path, environ: dict[str, str], processor: SimulatedProcessor, owner: Caller
) -> None:
    manifest = make_manifest(processor, owner)
    content = render_manifest(manifest, V1_16.manifest)
    extra = json.dumps(json.loads(content) | {"Extra": 1}, indent=2).encode()
    key = ec.generate_private_key(ec.SECP256R1())
    with started(tmp_path / "state", environ) as running:
        with pytest.raises(ContrastError):
            new_cert(running, processor, key, WEB_POLICY)
        with user_api(running, manifest) as channel:
            with pytest.raises(RequestRefused, match=r"manifest.json:\d+.*Extra"):
                userapi.set_manifest(channel, extra, POLICIES, 10)
            with pytest.raises(RequestRefused, match=f"no policy provided for hash {WEB_HASH}"):
                userapi.set_manifest(channel, content, POLICIES[:1], 10)
            with pytest.raises(CoordinatorNotReady, match="no manifest configured"):
                userapi.get_manifests(channel, 10)
            assert not (tmp_path / "state").exists()

            userapi.set_manifest(channel, content, POLICIES, 10)
            with pytest.raises(NotAuthorised, match="no client certificate"):
                userapi.set_manifest(channel, content, POLICIES, 10)
            assert userapi.get_manifests(channel, 10).manifests == (content,)
        with pytest.raises(NotAuthorised, match="not found in manifest"):
            new_cert(running, processor, key, b"another policy")
        assert running.stop()[0] == 0


def test_a_client_that_expects_another_coordinator_policy_does_not_connect(
    tmp_path: Path, environ: dict[str, str], processor: SimulatedProcessor, owner: Caller
) -> None:
    manifest = make_manifest(processor, owner)
    environ["CONTRAST_HOST_DATA"] = WEB_HASH

    with (
        started(tmp_path, environ) as running,
        pytest.raises(ContrastError) as caught,
        user_api(running, manifest),
    ):
        pass

    assert caught.value.exit_code in {41, 42}
    assert WEB_HASH in str(caught.value)


def test_evidence_of_another_processor_is_not_accepted(
    tmp_path: Path, environ: dict[str, str], processor: SimulatedProcessor, owner: Caller
) -> None:
    manifest = make_manifest(processor, owner)
    other = SimulatedProcessor.load_or_create(tmp_path / "other")
    key = ec.generate_private_key(ec.SECP256R1())
    with started(tmp_path / "state", environ) as running:
        with user_api(running, manifest) as channel:
            userapi.set_manifest(channel, render_manifest(manifest, V1_16.manifest), POLICIES, 10)

        with pytest.raises(EvidenceRejected):
            new_cert(running, other, key, WEB_POLICY)
        with pytest.raises(EvidenceRejected), user_api(running, make_manifest(other, owner)):
            pass


def test_after_a_restart_a_seedshare_owner_recovers(
    tmp_path: Path,
    environ: dict[str, str],
    processor: SimulatedProcessor,
    owner: Caller,
    seedshare_owner: Caller,
) -> None:
    manifest = make_manifest(processor, owner, seedshare_owner)
    content = render_manifest(manifest, V1_16.manifest)
    with started(tmp_path, environ) as running:
        with user_api(running, manifest) as channel:
            first = userapi.set_manifest(channel, content, POLICIES, 10)
        assert running.stop()[0] == 0
    assert first.seed_shares is not None
    seed, salt = open_shares(first.seed_shares, seedshare_owner)

    with started(tmp_path, {**environ, "CONTRAST_METRICS": "1"}) as running:
        assert running.lines[-1]["state"] == "recovery"
        assert running.probe("readiness") == 503
        with user_api(running, manifest, seedshare_owner) as channel:
            with pytest.raises(CoordinatorNotReady, match="recovery mode"):
                userapi.get_manifests(channel, 10)
            userapi.recover(channel, seed=seed, salt=salt, timeout_s=10)
            history = userapi.get_manifests(channel, 10)
        measured = running.metrics()

    assert measured['contrast_recovery_attempts_total{kind="user",result="ok"}'] == 1
    assert history.manifests == (content,)
    assert history.root_ca_pem == first.root_ca_pem
    assert history.mesh_ca_pem != first.mesh_ca_pem


def test_a_vaults_key_outlives_restart_and_recovery(
    tmp_path: Path,
    environ: dict[str, str],
    processor: SimulatedProcessor,
    owner: Caller,
    seedshare_owner: Caller,
) -> None:
    manifest = make_manifest(processor, owner, seedshare_owner)
    content = render_manifest(manifest, V1_16.manifest)
    asked = {"plaintext": base64.b64encode(b"a root key").decode()}
    key = ec.generate_private_key(ec.SECP256R1())

    def ask(running: Running, operation: str, document: object, *, anew: bool) -> tuple[int, Any]:
        if anew:
            cert = new_cert(running, processor, key, WEB_POLICY)
            (tmp_path / "certChain.pem").write_bytes(cert.cert_chain_pem)
            (tmp_path / "mesh-ca.pem").write_bytes(cert.mesh_ca_pem)
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (tmp_path / "key.pem").write_bytes(pem)
        files = Workload(
            chain=tmp_path / "certChain.pem",
            key=tmp_path / "key.pem",
            mesh_ca=tmp_path / "mesh-ca.pem",
        )
        curl = Curl(running.ports["transit_api"])
        words = (*files.words, "-X", "PUT", "--json", json.dumps(document))
        done = curl.run(f"/v1/transit/{operation}/web", *words)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body or "{}").get("data")

    with started(tmp_path / "state", environ) as running:
        with user_api(running, manifest) as channel:
            first = userapi.set_manifest(channel, content, POLICIES, 10)
        status, sealed = ask(running, "encrypt", asked, anew=True)
        assert running.stop()[0] == 0
    assert status == 200
    assert first.seed_shares is not None
    seed, salt = open_shares(first.seed_shares, seedshare_owner)

    with started(tmp_path / "state", environ) as running:
        before = ask(running, "decrypt", sealed, anew=False)
        with user_api(running, manifest, seedshare_owner) as channel:
            userapi.recover(channel, seed=seed, salt=salt, timeout_s=10)
        between = ask(running, "decrypt", sealed, anew=False)
        after = ask(running, "decrypt", sealed, anew=True)

    assert before == between == (0, None)
    assert after == (200, asked)


def test_a_history_file_changed_on_disk_is_named_with_found_and_wanted(
    tmp_path: Path,
    environ: dict[str, str],
    processor: SimulatedProcessor,
    owner: Caller,
    seedshare_owner: Caller,
) -> None:
    manifest = make_manifest(processor, owner, seedshare_owner)
    content = render_manifest(manifest, V1_16.manifest)
    path = tmp_path / "manifests" / hashlib.sha256(content).hexdigest()
    with started(tmp_path, environ) as running:
        with user_api(running, manifest) as channel:
            userapi.set_manifest(channel, content, POLICIES, 10)
        assert running.stop()[0] == 0
    path.write_bytes(b"{}")
    with started(tmp_path, environ) as running:
        with (
            user_api(running, manifest, seedshare_owner) as channel,
            pytest.raises(CoordinatorFailed) as caught,
        ):
            userapi.recover(channel, seed=bytes(64), salt=bytes(32), timeout_s=10)
        code, _, err = running.stop()

    found = hashlib.sha256(b"{}").hexdigest()
    assert f"manifests/{path.name} was changed" in str(caught.value)
    assert f"found content with sha256 {found}, wanted {path.name}" in str(caught.value)
    assert str(path) in err
    assert code == 0


@pytest.mark.parametrize(
    "option", ["--user-api", "--mesh-api", "--http-api", "--transit-api", "--http"]
)
def test_a_port_in_use_ends_the_start_with_exit_code_30(
    tmp_path: Path, environ: dict[str, str], option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "coordinator", *addresses(), "--state", str(tmp_path)]

        done = subprocess.run(
            [*command, option, place],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    assert done.returncode == 30
    assert done.stdout == ""
    assert json.loads(done.stderr.splitlines()[-1])["msg"].startswith(f"cannot listen on {place}")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        pytest.param({"CONTRAST_EVIDENCE": ""}, (2, "CONTRAST_EVIDENCE"), id="no-evidence"),
        pytest.param({"CONTRAST_HOST_DATA": "ab"}, (2, "CONTRAST_HOST_DATA"), id="host-data"),
        pytest.param({"CONTRAST_EVIDENCE": "simulated:/nowhere"}, (30, "/nowhere"), id="nowhere"),
        pytest.param({"CONTRAST_LOG_LEVEL": "loud"}, (2, "CONTRAST_LOG_LEVEL"), id="log-level"),
        pytest.param({"CONTRAST_USER_API": "x"}, (2, "HOST:PORT"), id="address"),
    ],
)
def test_wrong_settings_end_the_start_and_name_the_variable(
    tmp_path: Path, environ: dict[str, str], change: dict[str, str], wanted: tuple[int, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coordinator", "--state", tmp_path, "--http", "127.0.0.1:0"],
        cwd=ROOT,
        env=environ | change,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode, done.stdout) == (wanted[0], "")
    assert wanted[1] in json.loads(done.stderr.splitlines()[-1])["msg"]


def test_an_interrupt_ends_it_as_cleanly_as_a_termination(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with started(tmp_path, environ) as running:
        running.process.send_signal(signal.SIGINT)
        running.process.communicate(timeout=30)

    assert running.process.returncode == 0


Start = Callable[[int], AbstractContextManager[Running]]
"""Starts the Coordinator of this number."""


@contextmanager
def pods(
    server: AnyServer, folder: Path, environ: Mapping[str, str], *, replicas: int = 1
) -> Iterator[Start]:
    """Yield what starts Coordinators as the pods of a StatefulSet, each with an address of its own."""
    make_coordinator(server.cluster, replicas=replicas)
    coordinator_api(server, folder).close()
    inside = f'mkdir -p {ACCOUNT} && mount --bind {folder} {ACCOUNT} && exec {sys.executable} -m tests.fakes.secrets "$@"'
    command = ("unshare", "--mount", "sh", "-c", f"mount -t tmpfs none /var/run && {inside}", "sh")

    def start(number: int) -> AbstractContextManager[Running]:
        pod = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(server.port),
            "HOSTNAME": f"coordinator-{number}",
        }
        mesh_api = ("--mesh-api", f"{pod_address(number)}:{MESH_API_PORT}")
        return started(None, {**environ, **pod}, *mesh_api, command=command)

    yield start


def pod_address(number: int) -> str:
    """Return an address that no other process of the tests uses: all Coordinators' mesh APIs have one port."""
    return f"127.78.{os.getpid() % 250}.{number + 1}"


class Replicas(NamedTuple):
    """Coordinators on one store. tell: lets the kubelet tell whether one is ready; host: where its mesh API is."""

    start: Start
    tell: Callable[..., None]
    host: Callable[[int], str]


AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root gives a process a service account of its own"
)


@AS_ROOT
def test_a_pod_keeps_its_history_in_configmaps(
    tmp_path: Path,
    environ: dict[str, str],
    processor: SimulatedProcessor,
    owner: Caller,
    seedshare_owner: Caller,
    any_server: AnyServer,
) -> None:
    """A killed container has lost its files; with the rights of coordinator.yml's Role the history outlives it."""
    manifest = make_manifest(processor, owner, seedshare_owner)
    content = render_manifest(manifest, V1_16.manifest)
    cluster = any_server.cluster
    with pods(any_server, tmp_path / "account", environ) as start:
        with start(0) as running:
            with user_api(running, manifest) as channel:
                first = userapi.set_manifest(channel, content, POLICIES, 10)
            with user_api(running, manifest, owner) as channel:
                userapi.set_manifest(channel, content, POLICIES, 10)
            running.process.kill()
        assert first.seed_shares is not None
        seed, salt = open_shares(first.seed_shares, seedshare_owner)
        with start(0) as running:
            assert running.lines[-1]["state"] == "recovery"
            with user_api(running, manifest, seedshare_owner) as channel:
                userapi.recover(channel, seed=seed, salt=salt, timeout_s=10)
                history = userapi.get_manifests(channel, 10)
            # The head is watched: whoever removes it finds it written back.
            latest = Key(CONFIG_MAPS, NAMESPACE, "contrast-store-transitions-latest")
            before = cluster.get(latest)
            cluster.delete(latest)
            since = int(before["metadata"]["resourceVersion"])
            assert "ADDED" in (event.type for event in cluster.events_of(latest, since, 20))
            code, _, err = running.stop()
        assert cluster.get(latest)["binaryData"] == before["binaryData"]

    assert history.manifests == (content, content)
    assert history.root_ca_pem == first.root_ca_pem
    assert code == 0
    assert (tmp_path / "account" / "token").read_text() not in err


@pytest.fixture(params=["files", *(pytest.param(each, marks=AS_ROOT) for each in SERVERS)])
def replicas(
    request: pytest.FixtureRequest, tmp_path: Path, environ: dict[str, str]
) -> Iterator[Replicas]:
    """Yield what starts one of three Coordinators on one store, and what tells whether it is ready."""
    if request.param == "files":
        yield Replicas(
            start=lambda _number: started(tmp_path / "state", environ),
            tell=lambda _number, **_: None,
            host=lambda _number: "127.0.0.1",
        )
        return
    with (
        opened(request.param, request) as server,
        pods(server, tmp_path / "account", environ, replicas=3) as start,
    ):

        def tell(number: int, *, is_ready: bool = True) -> None:
            set_ready(server.cluster, number, is_ready=is_ready, address=pod_address(number))

        yield Replicas(start=start, tell=tell, host=pod_address)


def test_any_of_three_coordinators_that_is_killed_comes_back_without_a_person(
    replicas: Replicas,
    processor: SimulatedProcessor,
    owner: Caller,
) -> None:
    start, tell, host = replicas
    manifest = make_manifest(processor, owner)
    content = render_manifest(manifest, V1_16.manifest)
    key = ec.generate_private_key(ec.SECP256R1())
    with ExitStack() as stack:
        running = {0: stack.enter_context(start(0))}
        with user_api(running[0], manifest) as channel:
            first = userapi.set_manifest(channel, content, POLICIES, 10)
        tell(0)
        for number in (1, 2):
            running[number] = stack.enter_context(start(number))
            running[number].read_until("Recovered from a peer")
            tell(number)
        for victim in (0, 1, 2):
            running[victim].process.kill()
            running[victim].process.wait()
            tell(victim, is_ready=False)
            running[victim] = stack.enter_context(start(victim))
            running[victim].read_until("Recovered from a peer")
            tell(victim)
        certificates = [
            new_cert(each, processor, key, WEB_POLICY, host=host(number))
            for number, each in running.items()
        ]
        # One sets a manifest; the others notice, and take it over from it.
        with user_api(running[2], manifest, owner) as channel:
            userapi.set_manifest(channel, content, POLICIES, 10)
        for number in (0, 1):
            running[number].read_until("Recovered from a peer")
        histories = []
        for each in running.values():
            with user_api(each, manifest) as channel:
                histories.append(userapi.get_manifests(channel, 10))

    mesh_keys = {
        x509.load_pem_x509_certificate(each.mesh_ca_pem)
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for each in certificates
    }
    assert len(mesh_keys) == 1
    assert len({each.workload_secret for each in certificates}) == 1
    assert {each.root_ca_pem for each in certificates} == {first.root_ca_pem}
    assert [each.manifests for each in histories] == [(content, content)] * 3


def open_shares(document: Mapping[str, Any], owner: Caller) -> tuple[bytes, bytes]:
    """Return seed and salt from what the first set returned."""
    (share,) = document["SeedShares"]
    encrypted = EncryptedShare(
        public_key_hex=share["PublicKey"], ciphertext=base64.b64decode(share["EncryptedSeed"])
    )
    return owner.decrypt(encrypted), base64.b64decode(document["salt"])
