"""Whole images as a runtime sees them: made of real packages, unpacked, and programs of theirs run."""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layout import REF_NAME

ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@contextmanager
def needs_mirrors() -> Iterator[None]:
    """Skip the calling test where packages cannot be downloaded."""
    try:
        yield
    except ImageError as err:
        if err.hint == "try again later" or "pip cannot download" in str(err):
            pytest.skip(f"packages cannot be downloaded: {err}")
        raise


def unpacked(layout: Path, name: str, target: Path) -> Path:
    """Unpack an image as a runtime does, with owners and modes: layer on layer by tarfile."""
    index = json.loads((layout / "index.json").read_bytes())
    (entry,) = [e for e in index["manifests"] if f"/{name}:" in e["annotations"][REF_NAME]]
    manifest = json.loads(blob(layout, entry["digest"]))
    for layer in manifest["layers"]:
        with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as archive:
            archive.extractall(target, filter="tar")
    return target


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / digest.replace(":", "/")).read_bytes()


def run(root: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program of an unpacked image, without namespaces."""
    return subprocess.run(
        ["/usr/sbin/chroot", str(root), *words],
        env=ENVIRON | {"PYTHONPATH": "/app", "PYTHONDONTWRITEBYTECODE": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def missing_libraries(root: Path) -> dict[str, str]:
    """Return what the loader says of each program and library of an image that lacks others."""
    programs = [path for path in root.rglob("*") if _needs_libraries(path)]
    # Of modules that nothing imports the libraries are left out on purpose.
    unused = ("_curses", "_dbm", "_gdbm", "readline", "_sqlite3", "_curses_panel")
    shown = [f"/{path.relative_to(root)}" for path in programs if not path.name.startswith(unused)]
    done = run(root, "/lib64/ld-linux-x86-64.so.2", "--list", shown[0])
    assert done.returncode == 0, done.stderr
    return {
        path: found
        for path in shown
        if "not found" in (found := run(root, "/lib64/ld-linux-x86-64.so.2", "--list", path).stdout)
    }


def _needs_libraries(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(4) == b"\x7fELF" and (".so" in path.name or "/bin/" in str(path))
