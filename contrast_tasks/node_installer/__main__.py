"""The node installer: `node-installer [--uninstall] [--handler NAME] PLATFORM`, in a privileged pod of each node.

CONFIG_DIR    folder with contrast-node-install.json, default /config
HOST_MOUNT    the node's root, default /host

It reads the ConfigMap of the target at /target-config and the Secret of guests' pulls at /imagepuller-config, if they are mounted.
Exit status: 0 installed or removed, 1 an error, after which the pod tries again. Source: docs/internals/runtime.md 4.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from contrast_tasks.errors import ClusterError, ContrastError, UsageError
from contrast_tasks.node_installer import units
from contrast_tasks.node_installer.files import NAME, handler_of, parse_config, read_files
from contrast_tasks.node_installer.node import Node, install, runtime_of, uninstall
from contrast_tasks.node_installer.targets import configured, target_of
from contrast_tasks.platforms import platform as platform_named
from contrast_tasks.platforms import platform_of_handler
from contrast_tasks.web.answers import OK, NoAnswer
from contrast_tasks.web.client import Bound, fetch_once

_MAX_FILE_BYTES = 4 << 30
_LIMIT_S = 3600.0
_PIECE_S = 60.0
_CREDENTIALS = "contrast-imagepuller.toml"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Install or remove; return the exit status."""
    parser = argparse.ArgumentParser(prog="node-installer")
    parser.add_argument("--uninstall", action="store_true", help="remove the runtime")
    parser.add_argument(
        "--handler", metavar="NAME", help="its name; default: follows from its files"
    )
    parser.add_argument(
        "--show-handler", action="store_true", help="print the name, change nothing"
    )
    parser.add_argument("platform", help="as K3s-QEMU-SNP")
    given = parser.parse_args(arguments)
    try:
        _run(given, environ)
    except ContrastError as err:
        _say(f"error: {err}" + (f" ({err.hint})" if err.hint else ""))
        return 1
    return 0


def _run(given: argparse.Namespace, environ: Mapping[str, str]) -> None:
    platform = platform_named(given.platform)
    if platform.tee == "simulated":
        raise UsageError("platform local has no runtime, its pods are processes")
    # It becomes part of paths that are written and removed as the node's root.
    if given.handler is not None and platform_of_handler(given.handler) != platform:
        raise UsageError(f"{given.handler} is no runtime of platform {platform.name}")
    host = Path(environ.get("HOST_MOUNT") or "/host")
    node = Node(
        host=host,
        proc=Path("/proc"),  # the node's, since the pod has its process ids
        target=configured(target_of(platform), Path("/target-config")),
        run=units.run,
        now=time.time,
        say=_say,
    )
    if given.uninstall:
        if given.handler is None:
            raise UsageError("--uninstall needs --handler")
        uninstall(node, given.handler)
        return
    folder = Path(environ.get("CONFIG_DIR") or "/config")
    try:
        config = parse_config((folder / NAME).read_bytes())
    except OSError as err:
        raise ClusterError(f"{folder / NAME} cannot be read: {err.strerror}") from err
    contents = read_files(config, _fetch)
    handler = given.handler or handler_of(platform, contents)
    if given.show_handler:
        print(handler)  # noqa: T201  # what was asked for
        return
    secret = Path("/imagepuller-config", _CREDENTIALS)
    credentials = secret.read_bytes() if secret.is_file() else None
    install(node, runtime_of(platform, handler, node.target), config, contents, credentials)
    _say(f"{handler} is installed")


def _fetch(url: str) -> bytes:
    if url.startswith("file://"):
        try:
            return Path(unquote(urlsplit(url).path)).read_bytes()
        except OSError as err:
            raise ClusterError(f"{url} cannot be read: {err.strerror}") from err
    bound = Bound(max_bytes=_MAX_FILE_BYTES, seconds=_LIMIT_S, piece_s=_PIECE_S)
    try:
        answer = fetch_once(url, bound)
    except NoAnswer as err:
        raise ClusterError(f"{url} cannot be fetched: {err}") from err
    if answer.status != OK:
        raise ClusterError(f"{url} cannot be fetched: status {answer.status}")
    return answer.body


def _say(line: str) -> None:
    print(f"node-installer: {line}", file=sys.stderr, flush=True)  # noqa: T201  # the pod's log


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
