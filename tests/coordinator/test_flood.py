"""A Coordinator in trouble: hostile connections by the thousand, callers during updates, a disk that is full."""

import contextlib
import http.client
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import extension, packed, userapi
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.errors import CoordinatorFailed
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES
from contrast_tasks.releases.table import V1_16
from tests.coordinator.test_process import (
    AS_ROOT,
    COORDINATOR_HASH,
    POLICIES,
    WEB_POLICY,
    Running,
    make_manifest,
    new_cert,
    started,
    user_api,
)
from tests.fakes.coordinator import Caller
from tests.fakes.flood import flood
from tests.fakes.secrets import SECRETS_FILE

pytestmark = pytest.mark.e2e

ROUNDS = 3
# Two listeners with 256 handshakes each, three with 64 connections.
PLACES = 2 * 256 + 3 * 64


class Spent(NamedTuple):
    """What a process holds: memory in MiB, threads, file descriptors."""

    memory: int
    threads: int
    descriptors: int

    @classmethod
    def by(cls, process: int) -> Self:
        """Read what the kernel tells. Source: proc(5)."""
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        memory, threads = int(fields["VmRSS"].split()[0]) // 1024, int(fields["Threads"])
        return cls(memory, threads, len(list(Path(f"/proc/{process}/fd").iterdir())))


def test_ten_thousand_hostile_connections_keep_nobody_out_and_cost_little(
    tmp_path: Path, owner: Caller
) -> None:
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor")
    manifest = make_manifest(processor, owner)
    content = render_manifest(manifest, V1_16.manifest)
    key = ec.generate_private_key(ec.SECP256R1())
    with started(tmp_path / "state", environment(tmp_path)) as running:
        ports = {**running.ports, "http_api": running.lines[-1]["http_api"]}
        lines: list[str] = []
        reading = threading.Thread(target=lambda: lines.extend(read_all(running)))
        reading.start()

        def verify() -> None:
            with user_api(running, manifest) as channel:
                assert userapi.get_manifests(channel, 10).manifests == (content,)

        def certify() -> None:
            assert new_cert(running, processor, key, WEB_POLICY).workload_secret

        honest: tuple[Callable[[], None], ...] = (
            verify,
            certify,
            partial(ask, running.ports["http"], "/probe/readiness", 200),
            partial(ask, ports["http_api"], "/attest", 405),
        )
        with user_api(running, manifest) as channel:
            userapi.set_manifest(channel, content, POLICIES, 10)
        for call in honest:
            call()
        before = peak = Spent.by(running.process.pid)
        with flood(ports.values()) as is_open:
            rest = ROUNDS
            while rest:
                rest -= is_open.is_set()
                for call in honest:
                    # Each has a deadline of its own.
                    call()
                peak = Spent(*map(max, peak, Spent.by(running.process.pid)))
        code = running.process.poll()
        running.process.terminate()
        reading.join()

    assert code is None
    # Two descriptors for each place, and a quarter of a MiB; a thread for each connection of HTTP.
    assert peak.descriptors < before.descriptors + 2 * PLACES, peak
    assert peak.memory < before.memory + PLACES // 4, peak
    assert peak.threads < before.threads + 3 * 64 + 64, peak
    assert len(lines) < 2000


def test_answers_that_nobody_reads_keep_nobody_out_and_cost_little(
    tmp_path: Path, owner: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The history has 10 MiB, and 32 answers of it were once 1 GiB."""
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor")
    shared = bytes(range(256)) * 256
    policies = {sha256(each).hexdigest(): each for each in (shared + b"%d" % i for i in range(160))}
    small = make_manifest(processor, owner)
    manifest = Manifest(
        policies={**small.policies, **{name: PolicyEntry(sans=("web",)) for name in policies}},
        reference_values=small.reference_values,
        workload_owner_key_digests=small.workload_owner_key_digests,
        seedshare_owner_pub_keys=(),
    )
    content = render_manifest(manifest, V1_16.manifest)
    with started(tmp_path / "state", environment(tmp_path)) as running:
        threading.Thread(target=read_all, args=(running,)).start()
        with user_api(running, manifest) as channel:
            packed.set_manifest(channel, content, [*POLICIES, *policies.values()], 60)
        before = Spent.by(running.process.pid)
        with ExitStack() as stack:
            with monkeypatch.context() as elsewhere:
                connect = partial(socket.create_connection, source_address=("127.0.0.2", 0))
                elsewhere.setattr(socket, "create_connection", connect)
                idle = stack.enter_context(user_api(running, manifest))
            # As a stream, of which nothing is read before it is asked for.
            ask_for_all = idle.unary_stream("/userapi.UserAPI/GetManifests", None, None)
            calls = [ask_for_all(b"", timeout=300) for _ in range(32)]
            for _ in range(3):
                with user_api(running, manifest) as channel:
                    assert len(userapi.get_manifests(channel, 60).policies) == len(policies) + 2
            peak = Spent.by(running.process.pid)
            for call in calls:
                call.cancel()

    assert peak.memory < before.memory + 150, (before, peak)


def test_the_largest_requests_of_strangers_cost_little(tmp_path: Path, owner: Caller) -> None:
    """Twelve of 15 MiB, of which a process once had several copies each."""
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor")
    manifest = make_manifest(processor, owner)
    content = render_manifest(manifest, V1_16.manifest)
    policies = [bytes([each]) * (MAX_OBJECT_BYTES - 1) for each in range(15)]
    large = pb.SetManifestRequest(Manifest=content, Policies=policies).SerializeToString()
    with started(tmp_path / "state", environment(tmp_path)) as running:
        threading.Thread(target=read_all, args=(running,)).start()
        with user_api(running, manifest) as channel:
            userapi.set_manifest(channel, content, POLICIES, 60)
            before = peak = Spent.by(running.process.pid)
            put = channel.unary_unary("/userapi.UserAPI/SetManifest", None, None)
            calls = [put.future(large, timeout=120) for _ in range(12)]
            codes = set()
            for call in calls:
                codes.add(call.code())
                peak = Spent(*map(max, peak, Spent.by(running.process.pid)))
            generations = userapi.get_manifests(channel, 60).manifests

    assert codes <= {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE}
    assert generations == (content,)
    assert peak.memory < before.memory + 250, (before, peak)


CALLERS, UPDATES = 20, 50


def test_a_thousand_callers_during_fifty_updates_each_see_one_generation_whole(
    tmp_path: Path, owner: Caller
) -> None:
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor")
    manifest = make_manifest(processor, owner)
    # As another manifest each time, so that every generation is told from all others.
    contents = [
        render_manifest(manifest, V1_16.manifest).replace(b"127.77.0.6", b"127.77.0.%d" % number)
        for number in range(UPDATES + 1)
    ]
    mesh_cas: list[bytes] = []
    with (
        started(tmp_path / "state", environment(tmp_path)) as running,
        user_api(running, manifest, owner) as channel,
        ExitStack() as stack,
    ):

        def put(content: bytes) -> None:
            mesh_cas.append(userapi.set_manifest(channel, content, POLICIES, 30).mesh_ca_pem)

        # A full pipe would block the Coordinator.
        threading.Thread(target=read_all, args=(running,)).start()
        put(contents[0])
        peers = [stack.enter_context(user_api(running, manifest)) for _ in range(CALLERS)]
        with ThreadPoolExecutor(CALLERS) as pool:
            answers = list[Future[userapi.ManifestHistory]]()
            for content in contents[1:]:
                # Those asked before may still be on their way.
                for peer in peers:
                    answers.append(pool.submit(userapi.get_manifests, peer, 60))
                put(content)
        histories = [answer.result() for answer in answers]
        last = userapi.get_manifests(channel, 30)

    assert last.manifests == tuple(contents)
    for history in histories:
        generation = len(history.manifests)
        assert history.manifests == tuple(contents[:generation])
        assert history.mesh_ca_pem == mesh_cas[generation - 1]
        assert history.root_ca_pem == last.root_ca_pem
        assert set(history.policies) == set(POLICIES)
        assert history.latest_transition is not None
        assert history.latest_transition.transition_hash == chain(contents[:generation])
    assert len(histories) == 1000
    # Many of them met an update.
    assert len({len(history.manifests) for history in histories}) > 10


@AS_ROOT
def test_a_small_disk_that_is_full_and_free_again_loses_nothing(
    tmp_path: Path, owner: Caller
) -> None:
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor")
    manifest = make_manifest(processor, owner)
    content = render_manifest(manifest, V1_16.manifest)
    key = ec.generate_private_key(ec.SECP256R1())
    state = tmp_path / "state"
    state.mkdir()
    mounted = (
        f'mount -t tmpfs -o size=512k none {state} && exec {sys.executable} -m coordinator "$@"'
    )
    command = ("unshare", "--mount", "sh", "-c", mounted, "sh")
    with (
        started(state, environment(tmp_path), command=command) as running,
        user_api(running, manifest, owner) as channel,
    ):
        inside = Path(f"/proc/{running.process.pid}/root{state}")

        def put() -> None:
            userapi.set_manifest(channel, content, POLICIES, 30)

        def assert_refused(generations: int) -> None:
            """Nothing can be set, and everything else goes on."""
            with pytest.raises(CoordinatorFailed, match="store cannot be read or written"):
                put()
            assert len(userapi.get_manifests(channel, 30).manifests) == generations
            assert new_cert(running, processor, key, WEB_POLICY).workload_secret

        put()
        filler = inside / "filler"
        fill(filler)
        assert_refused(1)
        filler.unlink()
        put()
        history = userapi.get_manifests(channel, 30)
        entries = extension.get_audit_log(channel, 30)

    assert history.manifests == (content,) * 2
    events = [entry.members["event"] for entry in entries.entries]
    assert events.count("set") == 2
    # It was in memory while nothing could be written.
    assert "set-refused" in events
    assert "dropped" not in events


def fill(path: Path) -> None:
    """Write until there is no space left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(512)):
            pass


def read_all(running: Running) -> list[str]:
    assert running.process.stderr is not None
    return list(running.process.stderr)


def chain(contents: Sequence[bytes]) -> bytes:
    """Return the newest transition hash: SHA-256 over manifest hash and the one before, which is zeros at first."""
    digest = bytes(32)
    for content in contents:
        digest = sha256(sha256(content).digest() + digest).digest()
    return digest


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "CONTRAST_EVIDENCE": f"simulated:{folder / 'processor'}",
        "CONTRAST_HOST_DATA": COORDINATOR_HASH,
        SECRETS_FILE: str(folder / "secrets"),
    }


def ask(port: int, path: str, wanted: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    assert connection.getresponse().status == wanted
    connection.close()
