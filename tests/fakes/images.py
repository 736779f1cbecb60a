"""Small images made by hand: tar layers with anything in them, layouts with anything wrong."""

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrast_tasks.images.documents import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    digest_of,
)
from contrast_tasks.images.layout import REF_NAME


def file(name: str, content: bytes = b"", *, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    return member, content


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return _special(name, tarfile.DIRTYPE, "")


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return _special(name, tarfile.SYMTYPE, target)


def hardlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return _special(name, tarfile.LNKTYPE, target)


def special(name: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return _special(name, kind, "")


def _special(name: str, kind: bytes, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, target, 0o755
    return member, b""


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class MadeImage:
    """An image in memory: the top document (index or manifest), and every blob by digest."""

    manifest: bytes
    media_type: str
    blobs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def make_image(
    layers: Sequence[bytes] = (),
    *,
    process: Mapping[str, Any] | None = None,
    compress: bool = False,
    docker: bool = False,
    config: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> MadeImage:
    """Make an image of tar layers; `config` and `manifest` override single members of these documents."""
    blobs: dict[str, bytes] = {}

    def add(content: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(content)
        blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    stored = [gzip.compress(layer, mtime=0) if compress else layer for layer in layers]
    descriptors = [add(layer, OCI_LAYER + ("+gzip" if compress else "")) for layer in stored]
    config_document = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(process or {}),
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    } | dict(config or {})
    kind = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest_document = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": add(json.dumps(config_document).encode(), OCI_CONFIG),
        "layers": descriptors,
    } | dict(manifest or {})
    content = json.dumps(manifest_document).encode()
    blobs[digest_of(content)] = content
    return MadeImage(manifest=content, media_type=kind, blobs=blobs)


def make_index(images: Mapping[tuple[str, str], MadeImage], *, docker: bool = False) -> MadeImage:
    """Make an index of images by (os, architecture)."""
    entries = [
        ({"os": os_name, "architecture": architecture}, image)
        for (os_name, architecture), image in images.items()
    ]
    return make_index_of(*entries, docker=docker)


def make_index_of(
    *entries: tuple[Mapping[str, str] | None, MadeImage], docker: bool = False
) -> MadeImage:
    """Make an index of images or indexes, each with the platform that its entry names, None for none."""
    blobs: dict[str, bytes] = {}
    written = []
    for platform, image in entries:
        blobs |= image.blobs
        entry: dict[str, Any] = {"mediaType": image.media_type, "digest": image.digest}
        entry |= {"size": len(image.manifest)}
        written.append(entry if platform is None else entry | {"platform": dict(platform)})
    kind = DOCKER_INDEX if docker else OCI_INDEX
    document = {"schemaVersion": 2, "mediaType": kind, "manifests": written}
    content = json.dumps(document).encode()
    blobs[digest_of(content)] = content
    return MadeImage(manifest=content, media_type=kind, blobs=blobs)


def write_images(directory: Path, images: Mapping[str, MadeImage]) -> Path:
    """Write a layout that holds these images under these names."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, image in images.items():
        for digest, content in image.blobs.items():
            (blobs / digest.removeprefix("sha256:")).write_bytes(content)
        entry = {"mediaType": image.media_type, "digest": image.digest}
        entries.append(entry | {"size": len(image.manifest), "annotations": {REF_NAME: name}})
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (directory / "index.json").write_text(json.dumps(document))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return directory
