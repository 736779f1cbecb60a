"""The node's two ends: sockets that are made outside and used inside, and why one cannot be had."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.errors import ClusterError
from contrast_tasks.local.isolated.outside import Outside, PortTaken, _answer

ASK = """
import socket, sys
from contrast_tasks.local.isolated.outside import Outside
outside = Outside(int(sys.argv[1]))
listener = outside.listen(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b"hello")
sys.exit(7 if server.recv(5) == b"hello" else 1)
"""


Pair = tuple[Outside, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    outside = Outside(theirs.detach())
    with ours:
        yield outside, ours
    outside.close()


def test_a_port_that_is_in_use_is_named_with_the_reason(pair: Pair) -> None:
    outside, ours = pair
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        _answer(ours, f'["127.0.0.1", {port}]'.encode())
        with pytest.raises(PortTaken) as raised:
            outside.listen(("127.0.0.1", port))

    assert str(raised.value) == f"127.0.0.1:{port} is in use"


def test_an_outside_that_is_gone_is_an_error(pair: Pair) -> None:
    outside, ours = pair
    ours.close()

    with pytest.raises(ClusterError, match="the node has lost its outside"):
        outside.listen(("127.0.0.1", 0))


@pytest.mark.e2e
def test_the_inside_gets_sockets_that_work_and_its_status_is_returned(tmp_path: Path) -> None:
    pid_file = tmp_path / "node.json"
    script = (
        "from pathlib import Path; import sys;"
        "from contrast_tasks.local.isolated.outside import run_outside;"
        f"sys.exit(run_outside([sys.executable, '-c', {ASK!r}], [], pid_file=Path(sys.argv[1]), group='none'))"
    )

    done = subprocess.run([sys.executable, "-c", script, str(pid_file)], check=False)

    assert (done.returncode, pid_file.exists()) == (7, False)
