"""Capabilities of a process (docs/internals/reality.md 1.3)."""

from collections.abc import Iterable

from contrast_tasks.runtime.cri import Security

# In the order in which containerd writes them. Source: containerd, pkg/oci, `defaultUnixCaps`.
DEFAULT = (
    *("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW"),
    *("CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"),
    *("CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"),
)
_SETS = ("bounding", "effective", "permitted")


def container_capabilities(security: Security, of_daemon: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the sets of a container; of_daemon: without the prefix, what "all" means and privileged ones get."""
    everything = [f"CAP_{name}" for name in of_daemon]
    if security.privileged:
        return capability_sets(everything)
    asked = security.capabilities
    if asked is None:
        return capability_sets(DEFAULT)
    add, drop = _names(asked.add), _names(asked.drop)
    base: Iterable[str] = everything if "CAP_ALL" in add else DEFAULT
    if "CAP_ALL" in drop:
        base = ()
    wanted = dict.fromkeys((*base, *add))
    return capability_sets(name for name in wanted if name not in {*drop, "CAP_ALL"})


def capability_sets(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the three sets that a process has; it never has inheritable or ambient ones."""
    listed = list(names)
    return {kind: list(listed) for kind in _SETS} if listed else {}


def _names(written: tuple[str, ...]) -> tuple[str, ...]:
    """Return names as containerd writes them: the prefix is added even where it is there already."""
    return tuple(f"CAP_{name.upper()}" for name in written)
