"""Install a runtime on a node, and remove it: files, containerd's configuration, a restart only where something changed.

Running it again changes nothing and restarts nothing. Source: docs/internals/runtime.md 4.2, 4.4, 4.7.
"""

import re
from collections.abc import Callable
from pathlib import Path

from contrast_tasks.errors import ClusterError
from contrast_tasks.files import replace_file
from contrast_tasks.node_installer import units
from contrast_tasks.node_installer.containerd import Runtime, with_runtime, without_runtime
from contrast_tasks.node_installer.files import (
    InstallConfig,
    folder_of,
    remove_files,
    write_credentials,
    write_files,
)
from contrast_tasks.node_installer.targets import Target
from contrast_tasks.platforms import Platform
from contrast_tasks.records import Record

Say = Callable[[str], None]
_NOT_OTHERS = 0o022  # whoever writes containerd's configuration is root on the node
_DELETED = " (deleted)"


class Node(Record):
    """The node to work on. host: its root. proc: its processes. now: seconds since 1970, for names of backups."""

    host: Path
    proc: Path
    target: Target
    run: units.Run
    now: Callable[[], float]
    say: Say

    def path(self, relative: str) -> Path:
        """Return a place on the node."""
        return self.host / relative


def runtime_of(platform: Platform, handler: str, target: Target) -> Runtime:
    """Return what containerd has to know of a platform's runtime."""
    folder = folder_of(handler)
    kind = "clh-snp" if not platform.pulls_in_guest else f"qemu-{platform.tee}"
    kata = (
        f"/{target.kata_config}"
        if target.kata_config
        else f"{folder}/etc/configuration-{kind}.toml"
    )
    return Runtime(
        handler=handler,
        folder=folder,
        kata_config=kata,
        snapshotter=not platform.pulls_in_guest,
        passes_devices=platform.gpu,
    )


def install(
    node: Node,
    runtime: Runtime,
    config: InstallConfig,
    contents: dict[str, bytes],
    credentials: bytes | None,
) -> None:
    """Install; raises ClusterError, and then containerd's configuration is as it was or complete."""
    for place in write_files(node.host, config, contents, runtime.handler):
        node.say(f"wrote {place}")
    if credentials is not None and write_credentials(node.host, runtime.handler, credentials):
        node.say("wrote the credentials of guests")
    target = node.target
    text = _read(node.path(target.containerd_config))
    rendered = _read(node.path(target.rendered_config)) if target.is_template else None
    if target.is_template and rendered is None:
        raise ClusterError(
            f"/{target.rendered_config} is not there yet, expected it from {target.name or 'the distribution'}",
            hint="the installer tries again",
        )
    _write_config(node, text, with_runtime(text, runtime, rendered=rendered))
    unit = units.find_unit(target.units, node.run)
    changed_at = int(node.path(target.containerd_config).stat().st_mtime)
    if units.active_since(unit, node.run) < changed_at:
        node.say(f"restarting {unit}")
        units.restart(unit, node.run)


def uninstall(node: Node, handler: str) -> None:
    """Remove; raises ClusterError while a pod of the runtime runs, and then nothing was changed."""
    if running := pods_of(node.proc, handler):
        raise ClusterError(
            f"{len(running)} pods of {handler} run on this node",
            hint="delete them first; the installer tries again",
        )
    config = node.target.containerd_config
    text = _read(node.path(config))
    changed = _write_config(node, text, without_runtime(text, handler))
    if changed:
        _remove_old_backups(node.path(config))
        unit = units.find_unit(node.target.units, node.run)
        node.say(f"restarting {unit}")
        units.restart(unit, node.run)
    if remove_files(node.host, handler):
        node.say(f"removed {folder_of(handler)}")


def pods_of(proc: Path, handler: str) -> tuple[int, ...]:
    """Return the processes of the runtime's programs: each pod has a shim, whichever way it was started."""
    folder = f"{folder_of(handler)}/"
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            program = str((entry / "exe").readlink()).removesuffix(_DELETED)
        except OSError:  # it has ended, or is the kernel's
            continue
        if program.startswith(folder):
            found.append(int(entry.name))
    return tuple(sorted(found))


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as err:
        raise ClusterError(f"{path.name} of containerd cannot be read: {err}") from err


def _write_config(node: Node, before: str | None, after: str | None) -> bool:
    """Write or remove the configuration, with a backup of what it was; return whether it changed."""
    if before == after:
        return False
    path = node.path(node.target.containerd_config)
    try:
        mode = path.stat().st_mode & 0o777 & ~_NOT_OTHERS if before is not None else 0o644
        if before is not None:
            backup = path.with_name(f"{path.name}.{int(node.now())}.bak")
            replace_file(backup, before.encode(), mode=mode)
        if after is None:
            path.unlink()
        else:
            replace_file(path, after.encode(), mode=mode)
    except OSError as err:
        raise ClusterError(f"{err.filename} cannot be written: {err.strerror}") from err
    node.say(f"{'removed' if after is None else 'wrote'} /{node.target.containerd_config}")
    return True


def _remove_old_backups(path: Path) -> None:
    """Remove backups of the configuration except for the newest."""
    pattern = re.compile(rf"{re.escape(path.name)}\.([0-9]+)\.bak")
    found = sorted(
        (int(match[1]), each)
        for each in path.parent.iterdir()
        if (match := pattern.fullmatch(each.name))
    )
    for _, backup in found[:-1]:
        backup.unlink(missing_ok=True)
