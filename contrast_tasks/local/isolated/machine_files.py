"""The machine's own programs as the lower layers of a stand-in image, which has no root file system of its own.

The example's images and those of our components hold Python files and nothing that could run them. Under them lie, read-only,
this machine's /usr and what belongs to it, a few files of /etc, and `python3` and `envoy` as this project uses them.
"""

import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from contrast_tasks.errors import ContrastError

# Each is a folder, or a link into /usr.
_TOP: Final = ("bin", "sbin", "lib", "lib32", "lib64", "usr")
# What programs of /usr read; accounts and host names are the pod's own.
_ETC: Final = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ssl", "localtime"),
    *("nsswitch.conf", "protocols", "services", "ethertypes", "gai.conf", "mime.types"),
)
_EMPTY: Final = ("dev", "home", "proc", "root", "run", "sys", "var/lib", "var/log")
_OWN_PROGRAMS: Final = "own"


def write_machine_files(
    folder: Path, environ: Mapping[str, str], *, etc: Path = Path("/etc")
) -> None:
    """Write the layer's top folders and own programs to a new folder; environ: may name the Envoy binary."""
    root = folder / "root"
    for name in _EMPTY:
        (root / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (root / name).mkdir(parents=True)
        (root / name).chmod(0o1777)
    for name in _TOP:
        place = Path("/", name)
        if place.is_symlink():
            (root / name).symlink_to(place.readlink())
        elif place.is_dir():
            (root / name).mkdir()
    (root / "etc").mkdir()
    for name in _ETC:
        source = etc / name
        if source.is_dir():
            shutil.copytree(source, root / "etc" / name, symlinks=True, ignore=_private)
        elif _is_public(source):
            shutil.copy2(source, root / "etc" / name, follow_symlinks=True)
    own = folder / _OWN_PROGRAMS / "local" / "bin"
    own.mkdir(parents=True)
    _write_program(own / "python3", Path(sys.executable))
    if (envoy := _envoy(environ)) is not None:
        _write_program(own / "envoy", envoy)


def _private(folder: str, names: list[str]) -> set[str]:
    """Return what not everybody may read, such as private keys; root could, and no pod may."""
    return {name for name in names if not _is_public(Path(folder, name))}


def _is_public(path: Path) -> bool:
    return os.access(path, os.R_OK) and bool(path.stat().st_mode & stat.S_IROTH)


def _write_program(path: Path, program: Path) -> None:
    # A link would not do: Python finds its environment beside the name it was called by.
    path.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
    path.chmod(0o755)


def machine_layers(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the lower layers of each folder that is put together by itself, "" for the root; the upper ones first.

    An overlay shows nothing that is mounted below one of its layers, and in a user's namespace the root of the machine may not
    be a layer at all. /usr has mounts below it on hardly any machine.
    """
    found: dict[str, tuple[Path, ...]] = {"": (folder / "root",)}
    for name in _TOP:
        place = Path("/", name)
        if place.is_dir() and not place.is_symlink():
            own = (folder / _OWN_PROGRAMS,) if name == "usr" else ()
            found[name] = (*own, place)
    return found


def machine_mounts(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the mounts of a configuration that bring in Python and Envoy where they lie outside of /usr."""
    paths = {sys.prefix, sys.base_prefix, *_package_folders()}
    if (envoy := _envoy(environ)) is not None:
        paths.add(str(envoy.parent))
    outside = {path for path in paths if not f"{path}/".startswith("/usr/")}
    # An outer folder first, and nothing that lies in one.
    wanted = [
        path
        for path in sorted(outside)
        if not any(path.startswith(f"{other}/") for other in outside)
    ]
    return [
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}
        for path in wanted
    ]


def _package_folders() -> set[str]:
    """Return the folders that this interpreter imports installed packages from."""
    return {path for path in sys.path if path.endswith("-packages") and Path(path).is_dir()}


def _envoy(environ: Mapping[str, str]) -> Path | None:
    """Return the Envoy binary that the environment or an installed package names, None without one."""
    from contrast_tasks.mesh.envoy_binary import find_envoy

    try:
        return find_envoy(environ)
    except ContrastError:
        return None
