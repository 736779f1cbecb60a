"""Addresses of local pods: one loopback /24 per project, and one stable address per pod.

Pods have addresses in 127.N.0.0/24. Applications behind a mesh listen in 127.(N+1).0.0/24, so that Envoy can listen on the
pod's address. N is 77 unless another project's node holds that net. A node holds its net by binding an abstract socket,
which the kernel releases when the node ends, so claims never become stale.
"""

import contextlib
import errno
import hashlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import ClusterError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.local.messages import Endpoint

DEFAULT_NET = 77
COORDINATOR_HOST = 2
"""The last part of the Coordinator's address."""

_FIRST_HOST = 3
_LAST_HOST = 250
# Above 137, which egress listeners usually have; even, because each project takes two nets.
_OTHER_NETS = tuple(range(140, 250, 2))


def claim_name(net: int) -> str:
    """Return the name of the abstract socket that claims the nets `net` and `net + 1`."""
    return f"\0contrast-tasks-net-127.{net}"


def try_claim(net: int) -> socket.socket | None:
    """Return the socket that holds the net until it is closed; None if another node holds the net."""
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(claim_name(net))
    except OSError as err:
        holder.close()
        if err.errno == errno.EADDRINUSE:
            return None
        raise
    return holder


def candidates(project: Path, recorded: int | None) -> Iterator[int]:
    """Yield nets to try: the recorded one, the default, then the others, starting at one that depends on the path."""
    if recorded is not None:
        yield recorded
    yield DEFAULT_NET
    start = int.from_bytes(hashlib.sha256(str(project).encode()).digest()[:4])
    for step in range(len(_OTHER_NETS)):
        yield _OTHER_NETS[(start + step) % len(_OTHER_NETS)]


@dataclass(slots=True, kw_only=True)
class Network:
    """The net that a node holds, and the table of addresses; holder: None where another process holds it."""

    file: Path
    net: int
    holder: socket.socket | None
    hosts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def claim(cls, file: Path, project: Path) -> "Network":
        """Hold a free net for this process, the recorded one if possible. Raises ClusterError if none is free."""
        recorded, hosts = _recorded(file)
        nets = list(dict.fromkeys(candidates(project, recorded)))
        for net in nets:
            if (holder := try_claim(net)) is not None:
                network = cls(file=file, net=net, holder=holder, hosts=hosts)
                network.save()
                return network
        raise ClusterError(f"all {len(nets)} loopback nets are held by other projects")

    def save(self) -> None:
        """Write the table."""
        write_atomic(self.file, pretty_json({"net": self.net, "hosts": self.hosts}))

    def close(self) -> None:
        """Release the net."""
        if self.holder is not None:
            self.holder.close()

    def allocate(self, names: Iterable[str]) -> dict[str, str]:
        """Return an address for each pod name; a name always gets the same one.

        Raises ClusterError if no address is left: a project can have at most 247 names over time.
        """
        for name in sorted(names):
            if name not in self.hosts:
                used = set(self.hosts.values())
                free = next((n for n in range(_FIRST_HOST, _LAST_HOST) if n not in used), None)
                if free is None:
                    raise ClusterError(
                        f"no address is left for pod {name} in 127.{self.net}.0.0/24",
                        hint=f"stop the local backend and remove {self.file.name}",
                    )
                self.hosts[name] = free
        self.save()
        return {name: pod_address(self.net, self.hosts[name]) for name in names}


def loopback_network(file: Path, net: int) -> Network:
    """Return the table of a net that this node's other process holds."""
    _, hosts = _recorded(file)
    return Network(file=file, net=net, holder=None, hosts=hosts)


def pod_address(net: int, host: int) -> str:
    """Return the address of pod `host` in `net`."""
    return f"127.{net}.0.{host}"


def app_address(pod: str) -> str:
    """Return the address of the application behind the mesh of the pod at address `pod`."""
    first, net, rest = pod.split(".", 2)
    return f"{first}.{int(net) + 1}.{rest}"


def _recorded(file: Path) -> tuple[int | None, dict[str, int]]:
    """Return net and hosts of the last run; a damaged record is ignored, and pods get other addresses."""
    with contextlib.suppress(OSError, DecodeError):
        document = parse_json(file.read_bytes())
        hosts = {name: host.integer() for name, host in document.at("hosts").members()}
        return document.at("net").integer(), hosts
    return None, {}


def busy_endpoint(endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """Return the first endpoint that is in use, or None; each is bound briefly to find out."""
    for address, port in endpoints:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do, so that connections of an earlier run in TIME_WAIT do not count as use.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
                probe.listen(1)
            except OSError as err:
                if err.errno == errno.EADDRINUSE:
                    return (address, port)
                raise ClusterError(f"cannot listen on {address}:{port}: {err.strerror}") from err
    return None
