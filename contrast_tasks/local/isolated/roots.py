"""The root file systems of containers: unpacked images, and on top of them a writable layer for each container.

All of it is in the node's own memory, as in a guest that pulls its images: nothing of it is left when the node has ended, not even
files of users that exist only in its namespace.
"""

import asyncio
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.unpack import Use, unpack
from contrast_tasks.local.isolated.ability import Ability
from contrast_tasks.local.isolated.bridge import call
from contrast_tasks.local.isolated.machine_files import machine_layers, write_machine_files
from contrast_tasks.local.messages import ImagePlan
from contrast_tasks.pods.references import parse_reference

_MACHINE: Final = "machine"


class Roots:
    """The images of one node, below `folder`; project: that layouts are relative to, environ: may name an Envoy binary."""

    def __init__(
        self, folder: Path, *, project: Path, ability: Ability, environ: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._project = project
        self._ability = ability
        self._environ = environ
        self._unpacking: dict[str, asyncio.Task[Path]] = {}

    async def mount(self, image: ImagePlan, place: Path) -> Path:
        """Return a new root file system below `place`. Raises ImageError or ClusterError."""
        lower = await self._unpacked(image)
        root = place / "root"
        if not image.is_stand_in:
            await self._overlay((lower,), place, root)
            return root
        machine = await self._machine_layers()
        for name, layers in machine.items():
            below = place / f"layer-{name}"
            own = lower / name if name else lower
            await self._overlay(
                [*([own] if own.is_dir() else []), *layers], below, root / name if name else root
            )
        return root

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
        folders = f"lowerdir={':'.join(map(str, layers))},upperdir={upper},workdir={work}"
        options = f"{self._ability.overlay_options}{folders}"
        await call(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])

    async def _unpacked(self, image: ImagePlan) -> Path:
        """Return the folder of an image, which is unpacked once; the digest is that of its manifest or index."""
        if image.digest not in self._unpacking:
            self._unpacking[image.digest] = asyncio.create_task(self._unpack(image))
        task = self._unpacking[image.digest]
        try:
            return await asyncio.shield(task)
        except Exception:
            # Somebody may have repaired the layout when the pod starts again.
            self._unpacking.pop(image.digest, None)
            raise

    async def _unpack(self, image: ImagePlan) -> Path:
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
        if image.is_stand_in:
            # Once for all its containers, each of which would else compile every module when it starts.
            compiled = ("-m", "compileall", "-q", "-s", str(target), "-p", "/", str(target))
            await call([sys.executable, *compiled], may_fail=True)
        return target

    async def _machine_layers(self) -> dict[str, tuple[Path, ...]]:
        if _MACHINE not in self._unpacking:
            self._unpacking[_MACHINE] = asyncio.create_task(self._write_machine())
        return machine_layers(await asyncio.shield(self._unpacking[_MACHINE]))

    async def _write_machine(self) -> Path:
        folder = self._folder / _MACHINE
        await asyncio.to_thread(write_machine_files, folder, self._environ)
        return folder
