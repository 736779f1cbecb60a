"""The root file systems of containers: unpacked images, and on top of them a writable layer for each container.

All of it is in the node's own memory, as in a guest that pulls its images: nothing of it is left when the node has ended, not even
files of users that exist only in its namespace.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.unpack import Use, unpack
from contrast_tasks.local.isolated.ability import Ability
from contrast_tasks.local.isolated.bridge import call
from contrast_tasks.local.isolated.machine_files import machine_layers, write_machine_files
from contrast_tasks.local.messages import ImagePlan
from contrast_tasks.pods.references import parse_reference

_MACHINE: Final = "machine"
# What every image with a system of its own has.
_SYSTEM: Final = ("bin", "usr/bin", "lib", "lib64", "usr/lib")
_ELF: Final = b"\x7fELF"


class Unpacked(NamedTuple):
    """An unpacked image; is_stand_in: it has no root file system of its own and gets this machine's underneath."""

    folder: Path
    is_stand_in: bool


class Root(NamedTuple):
    """The root file system of a container, and whether it is that of a stand-in."""

    path: Path
    is_stand_in: bool


class Roots:
    """The images of one node, below `folder`; project: that layouts are relative to, environ: may name an Envoy binary."""

    def __init__(
        self, folder: Path, *, project: Path, ability: Ability, environ: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._project = project
        self._ability = ability
        self._environ = environ
        self._unpacking: dict[str, asyncio.Task[Unpacked]] = {}
        self._machine: asyncio.Task[None] | None = None

    async def mount(self, image: ImagePlan, place: Path) -> Root:
        """Return a new root file system below `place`. Raises ImageError or ClusterError."""
        lower, is_stand_in = await self._unpacked(image)
        root = place / "root"
        if not is_stand_in:
            await self._overlay((lower,), place, root)
            return Root(root, is_stand_in=False)
        machine = await self._machine_layers()
        for name, layers in machine.items():
            below = place / f"layer-{name}"
            own = lower / name if name else lower
            await self._overlay(
                [*([own] if own.is_dir() else []), *layers], below, root / name if name else root
            )
        return Root(root, is_stand_in=True)

    async def unmount(self, place: Path) -> None:
        """Remove a root file system and all that was written to it."""
        root = place / "root"
        if root.is_dir():
            await call(["umount", "--recursive", "--lazy", str(root)], may_fail=True)
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    async def _overlay(self, layers: Sequence[Path], place: Path, root: Path) -> None:
        upper, work = place / "upper", place / "work"
        for folder in (upper, work, root):
            folder.mkdir(parents=True, exist_ok=True)
        # The writable layer's own folder is the root that a container sees.
        upper.chmod(0o755)
        lower = ":".join(map(self._short, layers))
        folders = f"lowerdir={lower},upperdir={self._short(upper)},workdir={self._short(work)}"
        options = f"{self._ability.overlay_options}{folders}"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, self._short(root)]
        await call(command, cwd=self._folder)

    def _short(self, path: Path) -> str:
        """Return a path of the node relative to the images' folder: options are cut at commas and colons."""
        is_inside = path.is_relative_to(self._folder.parent)
        return os.path.relpath(path, self._folder) if is_inside else str(path)

    async def _unpacked(self, image: ImagePlan) -> Unpacked:
        """Return an image, which is unpacked once; the digest is that of its manifest or index."""
        if image.digest not in self._unpacking:
            self._unpacking[image.digest] = asyncio.create_task(self._unpack(image))
        task = self._unpacking[image.digest]
        try:
            return await asyncio.shield(task)
        except Exception:
            # Somebody may have repaired the layout when the pod starts again.
            self._unpacking.pop(image.digest, None)
            raise

    async def _unpack(self, image: ImagePlan) -> Unpacked:
        target = self._folder / image.digest.removeprefix("sha256:")
        reference = parse_reference(image.reference)

        def work() -> None:
            resolved = Layout(self._project / image.layout, name=image.layout).image(reference)
            if resolved.digest != image.digest:
                raise ImageError(
                    f"image {reference}: found {resolved.digest}, wanted {image.digest}"
                )
            use: Use = "container of one user" if self._ability.users == "one" else "container"
            unpack(resolved, target, use=use)

        await asyncio.to_thread(work)
        is_stand_in = lacks_programs(target, image)
        if is_stand_in:
            # Once for all its containers, each of which would else compile every module when it starts.
            compiled = ("-m", "compileall", "-q", "-s", str(target), "-p", "/", str(target))
            await call([sys.executable, *compiled], may_fail=True)
        return Unpacked(target, is_stand_in)

    async def _machine_layers(self) -> dict[str, tuple[Path, ...]]:
        folder = self._folder / _MACHINE
        if self._machine is None:
            writing = asyncio.to_thread(write_machine_files, folder, self._environ)
            self._machine = asyncio.create_task(writing)
        await asyncio.shield(self._machine)
        return machine_layers(folder)


def lacks_programs(root: Path, image: ImagePlan) -> bool:
    """Return whether an unpacked image has nothing that could run what it starts: neither a system nor a program by itself."""
    if any(os.path.lexists(root / name) for name in _SYSTEM):
        return False
    program = next(iter((*image.entrypoint, *image.cmd)), "")
    folders = next((each[5:] for each in image.env if each.startswith("PATH=")), "").split(":")
    places = [program] if "/" in program else [f"{folder}/{program}" for folder in folders]
    return not any(_is_program(root / place.lstrip("/")) for place in places)


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_ELF)) == _ELF
    except OSError:
        return False
