"""What the mesh costs: requests per second and their slowest hundredth, with it and without it.

Beside it stand two Envoys with mutual TLS and nothing else, once in pods whose kernel tracks connections, as the packet filter of a
mesh makes it do, and once in others. Pods are network namespaces on one bridge; every proxy has one worker. The processor time of
the two proxies is measured too, because it changes less with the load of the machine.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.guest.secret_files import SecretFiles
from contrast_tasks.mesh.envoy_binary import find_envoy
from dev.bench.timing import Measured, environment, python
from tests.fakes.mesh_guest import MeshGuest
from tests.fakes.mesh_pki import Authority
from tests.fakes.mesh_traffic import files_of
from tests.fakes.pod_network import Pod, PodNetwork, why_not

_PORT, _EGRESS = 8080, "127.137.0.1"
_TLS_PORT = 15443
_ROUNDS = 5
# Connections, requests, and requests on each connection.
_KEPT = (16, 12_000, 12_000)
_NEW = (8, 1_000, 1)
_WITHOUT, _PLAIN, _TRACKED, _MESH = "without", "plain Envoy", "plain and tracked", "the mesh"
_TRACKING = ("-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
_TYPES = "type.googleapis.com/envoy.extensions."


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way from a client's pod to an application; address: where the client connects. proxies: process ids."""

    pod: Pod
    address: str
    proxies: tuple[int, ...] = ()

    def proxy_us(self) -> float:
        """Return the microseconds of processor time that the proxies have had."""
        files = (
            file for pid in self.proxies for file in Path(f"/proc/{pid}/task").glob("*/schedstat")
        )
        return sum(int(file.read_text(encoding="ascii").split()[0]) for file in files) / 1000


def measure_mesh(folder: Path) -> Iterator[Measured]:
    """Yield the lines of the three ways; none where namespaces or the packet filter cannot be had."""
    if reason := why_not():
        sys.stderr.write(f"the mesh was not measured: {reason}\n")
        return
    with contextlib.ExitStack() as stack:
        network = PodNetwork()
        stack.callback(network.close)
        ways = _ways(folder, network, stack)
        for name, load in (("requests", _KEPT), ("new connections", _NEW)):
            yield from _lines(name, _measured(ways, load))


def _measured(
    ways: Mapping[str, Way], load: tuple[int, int, int]
) -> dict[str, list[dict[str, float]]]:
    """Return what each round has found by way; the ways alternate, so that changing load on the machine affects all."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, way in ways.items():
            words, before = [str(word) for word in (way.address, _PORT, *load)], way.proxy_us()
            with way.pod.inside():
                done = subprocess.run(
                    python("-m", "dev.bench.load", "drive", *words),
                    env=environment(),
                    check=True,
                    capture_output=True,
                )
            spent_us = (way.proxy_us() - before) / load[1]
            found[name].append({**json.loads(done.stdout), "proxy_us": spent_us})
    return found


def _lines(what: str, found: Mapping[str, list[dict[str, float]]]) -> Iterator[Measured]:
    """Yield a line for each way and measure; ratios are those to plain Envoy, whose own are those to no proxy."""
    for measure, unit, pick, budget in (
        ("per_second", "/s", max, "0.95 x"),
        ("p99_ms", "ms", min, "1.05 x"),
        ("proxy_us", "us", min, "1.05 x"),
    ):
        best = {name: pick(each[measure] for each in rounds) for name, rounds in found.items()}
        for name, value in best.items():
            beside = best[_WITHOUT if name == _PLAIN else _PLAIN]
            if name == _WITHOUT and not value:
                continue
            yield Measured(
                name=f"mesh: {what}, {name}",
                value=round(value, 2),
                unit=unit,
                ratio=round(value / beside, 3) if beside and name != _WITHOUT else None,
                budget=f"{budget} of plain Envoy" if name == _MESH else "",
            )


def _ways(folder: Path, network: PodNetwork, stack: contextlib.ExitStack) -> dict[str, Way]:
    authority = Authority(now=datetime.now(UTC))
    SimulatedProcessor.load_or_create(folder / "processor")
    plain = _plain_way(folder / "plain", network, authority, stack)
    tracked = _plain_way(folder / "tracked", network, authority, stack, is_tracked=True)
    server = network.pods[0].ipv4
    return {
        _WITHOUT: Way(pod=plain.pod, address=server),
        _PLAIN: plain,
        _TRACKED: tracked,
        _MESH: _mesh_way(folder, network, authority, stack),
    }


def _plain_way(
    folder: Path,
    network: PodNetwork,
    authority: Authority,
    stack: contextlib.ExitStack,
    *,
    is_tracked: bool = False,
) -> Way:
    server, client = network.add(), network.add()
    if is_tracked:
        for pod in (server, client):
            pod.run("iptables-legacy", "-A", "INPUT", *_TRACKING)
    stack.enter_context(_application(server))
    files = {name: files_of(folder / name, authority, name) for name in ("emoji", "web")}
    incoming = _plain_envoy(
        ("0.0.0.0", _TLS_PORT), ("127.0.0.1", _PORT), downstream=_tls("Downstream", files["emoji"])
    )
    outgoing = _plain_envoy(
        (_EGRESS, _PORT), (server.ipv4, _TLS_PORT), upstream=_tls("Upstream", files["web"])
    )
    proxies = [
        stack.enter_context(_envoy(pod, config))
        for pod, config in ((server, incoming), (client, outgoing))
    ]
    return Way(pod=client, address=_EGRESS, proxies=tuple(proxies))


def _mesh_way(
    folder: Path, network: PodNetwork, authority: Authority, stack: contextlib.ExitStack
) -> Way:
    server, client = network.add(), network.add()
    stack.enter_context(_application(server))
    proxies: list[int] = []
    egress = f"emoji#{_EGRESS}:{_PORT}#{server.ipv4}:{_PORT}"
    for pod, name, environ in (
        (server, "emoji", {}),
        (client, "web", {"CONTRAST_EGRESS_PROXY_CONFIG": egress}),
    ):
        guest = MeshGuest(
            pod=pod,
            folder=folder / f"mesh-{name}",
            authority=authority,
            name=name,
            processor=folder / "processor",
            environ=environ,
        )
        sidecar = stack.enter_context(guest.running())
        children = Path(f"/proc/{sidecar.pid}/task/{sidecar.pid}/children")
        proxies += map(int, children.read_text(encoding="ascii").split())
    return Way(pod=client, address=_EGRESS, proxies=tuple(proxies))


@contextlib.contextmanager
def _running(start: Callable[[], subprocess.Popen[str]], sign: str) -> Iterator[int]:
    """Run a program, and yield its process id when it has said so."""
    with start() as process:
        try:
            assert process.stdout is not None
            next(line for line in process.stdout if sign in line)
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _application(pod: Pod) -> contextlib.AbstractContextManager[int]:
    words = python("-m", "dev.bench.load", "serve", str(_PORT))
    return _running(partial(_start, pod, words), "listening")


def _envoy(pod: Pod, config: dict[str, Any]) -> contextlib.AbstractContextManager[int]:
    words = [str(find_envoy({})), "--config-yaml", json.dumps(config), "--disable-hot-restart"]
    words += ["--concurrency", "1", "-l", "info"]
    return _running(partial(_start, pod, words), "starting main dispatch loop")


def _start(pod: Pod, words: list[str]) -> subprocess.Popen[str]:
    with pod.inside():
        return subprocess.Popen(
            words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def _plain_envoy(
    listen: tuple[str, int],
    target: tuple[str, int],
    *,
    downstream: dict[str, Any] | None = None,
    upstream: dict[str, Any] | None = None,
) -> dict[str, Any]:
    proxy = {
        "@type": _TYPES + "filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "plain",
        "cluster": "plain",
    }
    chain: dict[str, Any] = {"filters": [{"name": "tcp_proxy", "typed_config": proxy}]}
    endpoint = {"endpoint": {"address": _address(*target)}}
    cluster: dict[str, Any] = {
        "name": "plain",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "plain",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    if downstream is not None:
        chain["transport_socket"] = downstream
    if upstream is not None:
        cluster["transport_socket"] = upstream
    listener = {"name": "plain", "address": _address(*listen), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(ip: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": ip, "port_value": port}}


def _tls(side: str, files: SecretFiles) -> dict[str, Any]:
    common = {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_3",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(files.cert_chain)},
                "private_key": {"filename": str(files.key)},
            }
        ],
        "validation_context": {"trusted_ca": {"filename": str(files.mesh_ca)}},
    }
    config = {
        "@type": f"{_TYPES}transport_sockets.tls.v3.{side}TlsContext",
        "common_tls_context": common,
        **({"require_client_certificate": True} if side == "Downstream" else {}),
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}
