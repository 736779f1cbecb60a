"""The process that runs a project's pods: one per project, controlled through a socket.

`python -m contrast_tasks.local.daemon --project DIR [--ready-fd N] [--owner-fd N] [--trial] [--users WHICH]`

It stops everything and exits on SIGTERM, on SIGINT, on the request `shutdown`, when the pipe behind --owner-fd closes, so
that it does not outlive an unfinished `deploy` or a `demo`, and when its control socket is gone, as after
`rm -r .contrast`, because it cannot be reached any more. A byte on the pipe lets the daemon go: it then outlives its
starter. With --trial a daemon that was not let go also deletes the Coordinator's history. One line of JSON on --ready-fd
reports that the daemon serves, or why it cannot. With --users it starts itself again in namespaces of its own, with
--outside-fd and --net, and stays outside of them as `isolated/outside.py` describes.
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import ClusterError, ContrastError
from contrast_tasks.files import pretty_json, write_atomic
from contrast_tasks.linux import become_subreaper
from contrast_tasks.local.control import (
    LET_GO,
    MAX_MESSAGE_BYTES,
    listening_socket,
    render_answer,
    render_error,
)
from contrast_tasks.local.network import Network, loopback_network
from contrast_tasks.local.node import Node
from contrast_tasks.local.paths import LocalPaths, local_paths
from contrast_tasks.local.processes import guard, kill_descendants

_WATCH_PERIOD_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop; return its exit status."""
    parser = argparse.ArgumentParser(prog="contrast-tasks-node", description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--owner-fd", type=int)
    parser.add_argument("--trial", action="store_true")
    parser.add_argument("--users", choices=("all", "mapped", "one"))
    parser.add_argument("--net", type=int)
    parser.add_argument("--outside-fd", type=int)
    options = parser.parse_args(argv)
    if options.outside_fd is not None:
        return _run_inside(options)
    if options.users is not None:
        return _run_outside(options)
    status = guard(partial(_run, options))
    # The guard must not keep the pipe open after the node has reported.
    if options.ready_fd is not None:
        with contextlib.suppress(OSError):
            os.close(options.ready_fd)
    return status


def _run(options: argparse.Namespace) -> int:
    """Run pods in this process, the guard's child; return the exit status."""
    paths = local_paths(options.project)
    try:
        become_subreaper()
        held = _hold_project(paths)
        network = Network.claim(paths.network, paths.project)
    except (ContrastError, OSError) as err:
        _report(options.ready_fd, render_error(err))
        return 30
    node = Node(paths, network)
    pids = {"node": os.getpid(), "guard": os.getppid()}
    try:
        write_atomic(paths.pid_file, pretty_json(pids), mode=0o600)
        asyncio.run(_serve(node, paths, options))
    finally:
        kill_descendants()
        _clean_up(node, paths, options)
        if not node.is_lost:
            paths.pid_file.unlink(missing_ok=True)
        network.close()
        os.close(held)
    return 0


def _clean_up(node: Node, paths: LocalPaths, options: argparse.Namespace) -> None:
    if options.trial and not node.was_let_go and not node.is_lost:
        shutil.rmtree(paths.state, ignore_errors=True)


def _run_outside(options: argparse.Namespace) -> int:
    """Hold what belongs to this machine, and run the node in namespaces of its own."""
    from contrast_tasks.local.isolated.ability import Ability
    from contrast_tasks.local.isolated.outside import node_command, run_outside

    paths = local_paths(options.project)
    try:
        held = _hold_project(paths)
        network = Network.claim(paths.network, paths.project)
    except (ContrastError, OSError) as err:
        _report(options.ready_fd, render_error(err))
        return 30
    passed = [each for each in (options.ready_fd, options.owner_fd) if each is not None]
    arguments = ["--project", str(paths.project), "--users", options.users]
    arguments += ["--net", str(network.net)]
    arguments += [] if options.ready_fd is None else ["--ready-fd", str(options.ready_fd)]
    arguments += [] if options.owner_fd is None else ["--owner-fd", str(options.owner_fd)]
    arguments += ["--trial"] if options.trial else []
    ability = Ability(users=options.users, limits=options.users == "all")
    try:
        return run_outside(
            node_command(ability.command, arguments),
            passed,
            pid_file=paths.pid_file,
            group=_group(network.net),
        )
    finally:
        network.close()
        os.close(held)


def _run_inside(options: argparse.Namespace) -> int:
    """Run pods as namespaces in this process, the first of the node's."""
    from contrast_tasks.local.isolated.ability import Ability
    from contrast_tasks.local.isolated.node_ground import NodeGround
    from contrast_tasks.local.isolated.outside import Outside

    paths = local_paths(options.project)
    outside = Outside(options.outside_fd)
    ground = NodeGround(
        paths,
        ability=Ability(users=options.users, limits=options.users == "all"),
        outside=outside,
        environ=os.environ,
        group=_group(options.net),
    )
    node = Node(paths, loopback_network(paths.network, options.net), ground)
    try:
        asyncio.run(_serve(node, paths, options, outside_fd=outside.ended))
    except ContrastError as err:
        _report(options.ready_fd, render_error(err))
        return 30
    finally:
        _clean_up(node, paths, options)
    return 0


def _group(net: int) -> str:
    """Return the name of a node's control group, which no other node has."""
    return f"contrast-tasks-{net}"


def _hold_project(paths: LocalPaths) -> int:
    """Return the descriptor of the project's lock, which the kernel releases when this process ends."""
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        os.close(descriptor)
        raise ClusterError(
            "another local backend of this project is running",
            hint="it is starting or ending just now: wait for it, and repeat",
        ) from err
    return descriptor


def _report(ready_fd: int | None, message: bytes) -> None:
    if ready_fd is not None:
        with contextlib.suppress(OSError):
            os.write(ready_fd, message)
        os.close(ready_fd)


async def _serve(
    node: Node, paths: LocalPaths, options: argparse.Namespace, *, outside_fd: int | None = None
) -> None:
    """Answer requests until the node has to end, then stop its pods."""
    await node.open()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(signum, node.ending.set)
    if options.owner_fd is not None:
        loop.add_reader(options.owner_fd, _look_at_owner, node, options.owner_fd)
    if outside_fd is not None:
        # Only its end makes it readable here, because answers are read where they are asked for.
        loop.add_reader(outside_fd, _end, node, outside_fd)
    requests: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_answer(node, reader, writer))
        requests.add(task)
        task.add_done_callback(requests.discard)

    server = await asyncio.start_unix_server(
        accept, sock=listening_socket(paths.control), limit=MAX_MESSAGE_BYTES
    )
    _watch_socket(node, paths.control, _identity(paths.control))
    _report(options.ready_fd, render_answer({}))
    await node.ending.wait()
    server.close()
    if not node.is_lost:
        paths.control.unlink(missing_ok=True)
    await node.close()
    if requests:
        # Let answers be completed, such as the one to `shutdown`.
        await asyncio.wait(requests, timeout=1)


async def _answer(node: Node, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        line = await reader.readline()
        if line:
            try:
                answer = render_answer(await node.answer(parse_json(line)))
            except (ContrastError, DecodeError) as err:
                answer = render_error(err)
            writer.write(answer)
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()


def _end(node: Node, descriptor: int) -> None:
    asyncio.get_running_loop().remove_reader(descriptor)
    node.ending.set()


def _look_at_owner(node: Node, owner_fd: int) -> None:
    asyncio.get_running_loop().remove_reader(owner_fd)
    if os.read(owner_fd, 1) == LET_GO:
        node.was_let_go = True
    else:
        node.ending.set()


def _watch_socket(node: Node, control: Path, ours: tuple[int, int] | None) -> None:
    """End the node when its socket is gone or belongs to another node; checks again periodically."""
    if node.ending.is_set():
        return
    if _identity(control) != ours:
        node.is_lost = True
        node.ending.set()
        return
    loop = asyncio.get_running_loop()
    loop.call_later(_WATCH_PERIOD_S, _watch_socket, node, control, ours)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


if __name__ == "__main__":
    sys.exit(main())
