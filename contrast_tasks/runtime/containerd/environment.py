"""The environment of a process, as containerd merges it (docs/internals/reality.md 1.1)."""

from collections.abc import Iterable, Sequence

from contrast_tasks.runtime.cri import ContainerConfig
from contrast_tasks.runtime.node import Image

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def container_environment(config: ContainerConfig, image: Image, hostname: str) -> list[str]:
    """Return the environment of a container: containerd's variables, the image's, then those of CRI."""
    own = [DEFAULT_PATH, *(["TERM=xterm"] if config.tty else []), f"HOSTNAME={hostname}"]
    given = (f"{name}={value}" for name, value in config.env)
    return merged(own, (*image.env, *given))


def merged(own: Sequence[str], given: Iterable[str]) -> list[str]:
    """Return containerd's own entries and those given to it.

    An entry whose name is among its own replaces that in place, the last one wins; an entry that is only such a name
    removes it. Every other entry is appended, however often its name occurs, unless it has no `=`.
    """
    slots: dict[str, str | None] = {entry.partition("=")[0]: entry for entry in own}
    rest = []
    for entry in given:
        name, has_value, _ = entry.partition("=")
        if name in slots:
            slots[name] = entry if has_value else None
        elif has_value:
            rest.append(entry)
    return [*(entry for entry in slots.values() if entry is not None), *rest]
