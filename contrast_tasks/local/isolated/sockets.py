"""Which ports the sockets of a process's network namespace listen on, from the kernel's own table."""

from pathlib import Path
from typing import Final

# Source: Linux, include/net/tcp_states.h, and Documentation/networking/proc_net_tcp.rst.
_LISTEN: Final = "0A"
_LOCAL, _STATE = 1, 3


def listening_ports(table: str) -> set[int]:
    """Return the ports in the text of /proc/net/tcp or tcp6 whose sockets listen."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > _STATE and fields[_STATE] == _LISTEN:
            found.add(int(fields[_LOCAL].rpartition(":")[2], 16))
    return found


def is_listening(pid: int, port: int) -> bool:
    """Return whether somebody in the network namespace of a process listens on a port, of either family."""
    try:
        return any(
            port in listening_ports(Path(f"/proc/{pid}/net/{name}").read_text())
            for name in ("tcp", "tcp6")
        )
    except OSError:
        return False
