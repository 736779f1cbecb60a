"""The flags that say which cluster is meant, with the names that kubectl gives them."""

import argparse
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from contrast_tasks.addresses import USER_API_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contrast_tasks.cli.console import Console
    from contrast_tasks.client.deployed import Given
    from contrast_tasks.settings.model import Settings

_FLAGS = (
    ("kubeconfig", "FILE", "configuration of kubectl"),
    ("context", "NAME", "context of kubectl's configuration"),
    ("namespace", "NAME", "namespace of objects that name none"),
)


def configure_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; for platform local they mean nothing."""
    for name, metavar, text in _FLAGS:
        parser.add_argument(f"--{name}", metavar=metavar, help=f"{text} (clusters only)")


def cluster_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given."""
    given = {name: getattr(arguments, name) for name, _, _ in _FLAGS}
    return {f"cluster__{name}": value for name, value in given.items() if value is not None}


@contextmanager
def coordinator_argument(
    arguments: argparse.Namespace,
    settings: "Settings",
    console: "Console",
) -> "Iterator[Given]":
    """Yield the Coordinator that was named, else what finds that of the cluster; None for that of this machine.

    A port that is forwarded to it is until the end of the context. Its pod may take --timeout to run, where a command has that.
    """
    limit_s = getattr(arguments, "timeout", 0.0)
    if arguments.coordinator is not None or not settings.platform or settings.is_local:
        given: str | None = arguments.coordinator
        yield given
        return
    with ExitStack() as stack:

        def found() -> str:
            from contrast_tasks.deploy.apply import kubectl_of
            from contrast_tasks.deploy.reach import reached

            say, watch = console.say, console.progress
            cluster = kubectl_of(settings, say)
            way = reached(cluster, USER_API_PORT, limit_s=limit_s, say=say, watch=watch)
            return stack.enter_context(way)

        yield found
