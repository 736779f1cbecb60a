"""The demo's last step where pods have namespaces: an image that is not ours, unmodified, under a policy of its own."""

import json
import socket
from collections.abc import Callable, Mapping, Sequence

from contrast_tasks.client.set import run_set
from contrast_tasks.deploy.apply import run_deploy
from contrast_tasks.errors import ContrastError
from contrast_tasks.files import write_atomic
from contrast_tasks.local.client import NodeClient
from contrast_tasks.settings.model import Settings
from dev.checkout import ROOT
from dev.demo.proofs import TIMEOUT_S, DemoFailed
from dev.others.layout import write_other_images

_IMAGE = "others/redis:v1"
_POD = "cache"
_PORT = 6379
_READY_LIMIT_S = 60.0


def missing_redis(settings: Settings, *, offline: bool) -> str:
    """Write the layout with the image; return why it cannot be had, "" if it can. offline: nothing is downloaded."""
    try:
        write_other_images(settings.root / _layout(settings), [_IMAGE], offline=offline)
    except ContrastError as err:
        return str(err)
    return ""


def run_redis(
    load: Callable[[Sequence[str]], Settings],
    generate: Callable[[Sequence[str]], None],
    client: NodeClient,
    overrides: Sequence[str],
    environ: Mapping[str, str],
) -> str:
    """Add redis to the deployment and ask it something; overrides: lines of TOML in force. Return what was proven."""
    before = load(overrides)
    folder = ".contrast/demo"
    write_atomic(
        before.root / folder / "redis.yml", (ROOT / "dev" / "demo" / "redis.yml").read_bytes()
    )
    added = (
        *overrides,
        f"sources={json.dumps([*before.sources, folder])}",
        f"images.layouts={json.dumps([*before.image_layouts, _layout(before)])}",
    )
    generate(added)
    settings = load(added)
    run_deploy(settings, say=_ignore, environ=environ)
    run_set(settings, say=_ignore)
    pod = next(
        pod
        for pod in client.wait([_POD], until="ready", timeout_s=_READY_LIMIT_S)
        if pod.name == _POD
    )
    with socket.create_connection((pod.address, _PORT), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"PING\r\n")
        answer = connection.recv(100)
    if answer != b"+PONG\r\n":
        raise DemoFailed(f"redis at {pod.address}:{_PORT} answered {answer!r}, wanted +PONG")
    return (
        f"Debian's redis, unmodified, runs under policy {pod.policy_sha256[:12]} and answers PING at "
        f"{pod.address}:{_PORT}"
    )


def _layout(settings: Settings) -> str:
    return f"{settings.build_dir}/others"


def _ignore(_line: str) -> None:
    """Drop a line of a command."""
