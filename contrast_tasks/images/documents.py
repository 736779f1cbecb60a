"""The JSON documents of an image: index, manifest and config, of the OCI and the older Docker kind.

Both kinds have the same shape; only the media types differ. Source: OCI image specification 1.1,
"image-index", "manifest", "config".
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contrast_tasks.declare.shapes import ANY_TEXT, TEXTS
from contrast_tasks.errors import ImageError
from contrast_tasks.json_text import NotJson, read_json
from contrast_tasks.pods.references import is_digest
from contrast_tasks.records import Record, member

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
# A registry answers 404 for an image whose kind is not asked for, so all four are always sent.
MANIFEST_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)

_MANIFEST_KEYS = ("manifests", "config", "layers", "mediaType")
_CONFIG_KEYS = ("os", "architecture", "rootfs", "config")
_PROCESS_KEYS = (
    *("Entrypoint", "Cmd", "Env", "WorkingDir", "User", "Volumes", "ExposedPorts"),
    *("Labels", "StopSignal"),
)
PLATFORM = ("linux", "amd64")  # the only one confidential guests run


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A pointer to content: what kind, which bytes, how many."""

    media_type: str
    digest: str
    size_bytes: int
    os: str = ""
    architecture: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as the specification spells it."""
        platform = {"architecture": self.architecture, "os": self.os} if self.os else None
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size_bytes,
            **({"platform": platform} if platform else {}),
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """What one image consists of; layers from the bottom up."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class ImageConfig(Record):
    """The part of an image's config that decides how its processes start."""

    entrypoint: tuple[str, ...] = member(TEXTS, "the command", default=())
    cmd: tuple[str, ...] = member(TEXTS, "its arguments", default=())
    env: tuple[str, ...] = member(TEXTS, "its environment, NAME=value each", default=())
    working_dir: str = member(ANY_TEXT, "the folder it starts in", default="")
    user: str = member(ANY_TEXT, "the user, and the group after a colon", default="")
    volumes: tuple[str, ...] = member(TEXTS, "paths of volumes", default=())
    exposed_ports: tuple[str, ...] = member(TEXTS, "ports, as 8080/tcp", default=())
    os: str = member(ANY_TEXT, "the operating system", default="linux")
    architecture: str = member(ANY_TEXT, "the processor's architecture", default="amd64")


def digest_of(content: bytes) -> str:
    """Return `sha256:<64 hex>` of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse_index_or_manifest(content: bytes, subject: str) -> ImageManifest | tuple[Descriptor, ...]:
    """Return an ImageManifest, or the descriptors of an index; `subject` names the image in errors.

    The kind is read off the document itself. One that could be read as either is refused: two readers must
    never see two images behind one digest.
    """
    document = _object(content, f"{subject}: manifest")
    _refuse_variants(document, _MANIFEST_KEYS, f"{subject}: manifest")
    is_index, is_manifest = "manifests" in document, "config" in document or "layers" in document
    if is_index and is_manifest:
        raise ImageError(f"{subject}: manifest is an index and an image at once")
    if is_index:
        return _descriptors(document, "manifests", subject)
    if not is_manifest:
        found = document.get("mediaType") or f"schemaVersion {document.get('schemaVersion')!r}"
        raise ImageError(f"{subject}: manifest of an unknown kind, found {found!s}")
    return ImageManifest(
        config=_descriptor(document.get("config"), f"{subject}: config of the manifest"),
        layers=_descriptors(document, "layers", subject),
    )


def choose_platform(index: Sequence[Descriptor], subject: str) -> Descriptor:
    """Return the index's linux/amd64 image; raise ImageError naming the platforms there are."""
    for descriptor in index:
        if (descriptor.os, descriptor.architecture) == PLATFORM:
            return descriptor
    there = sorted({f"{entry.os or '?'}/{entry.architecture or '?'}" for entry in index})
    raise ImageError(
        f"{subject}: no image for {'/'.join(PLATFORM)}, found {', '.join(there) or 'an empty index'}"
    )


def parse_config(content: bytes, subject: str) -> tuple[ImageConfig, tuple[str, ...]]:
    """Return the config and the diff_ids, the digests of the layers once unpacked, from the bottom up."""
    document = _object(content, f"{subject}: config")
    _refuse_variants(document, _CONFIG_KEYS, f"{subject}: config")
    found = (document.get("os"), document.get("architecture"))
    if found != PLATFORM:
        raise ImageError(
            f"{subject}: image is for {found[0]}/{found[1]}, wanted {'/'.join(PLATFORM)}"
        )
    rootfs = document.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(map(is_digest, diff_ids)):
        raise ImageError(f"{subject}: config has no list of sha256 digests at rootfs.diff_ids")
    process = document.get("config") or {}
    if not isinstance(process, dict):
        raise ImageError(f"{subject}: config.config is not an object")
    _refuse_variants(process, _PROCESS_KEYS, f"{subject}: config.config")
    return ImageConfig(
        entrypoint=_strings(process, "Entrypoint", subject),
        cmd=_strings(process, "Cmd", subject),
        env=_strings(process, "Env", subject),
        working_dir=_string(process, "WorkingDir", subject),
        user=_string(process, "User", subject),
        volumes=_keys(process, "Volumes", subject),
        exposed_ports=_keys(process, "ExposedPorts", subject),
    ), tuple(diff_ids)


def render_config(
    config: ImageConfig, diff_ids: Sequence[str], labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return the config document; its creation time is the epoch, so that equal inputs give equal bytes."""
    process: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Env": list(config.env),
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.working_dir,
        "Labels": dict(labels),
    }
    return {
        "created": "1970-01-01T00:00:00Z",
        "architecture": config.architecture,
        "os": config.os,
        "config": {key: value for key, value in process.items() if value},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }


def _object(content: bytes, what: str) -> dict[str, Any]:
    try:
        document = read_json(content).document
    except NotJson as err:
        raise ImageError(f"{what}: {err}") from err
    if not isinstance(document, dict):
        raise ImageError(f"{what} is not a JSON object")
    return document


def _refuse_variants(document: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Refuse a known key in another case: runtimes written in Go read it as the known one, others do not."""
    folded = {key.casefold(): key for key in known}
    for key in document:
        wanted = folded.get(key.casefold(), key)
        if key != wanted:
            raise ImageError(f"{what} has a key {key!r}, wanted {wanted!r}")


def _descriptors(document: Mapping[str, Any], key: str, subject: str) -> tuple[Descriptor, ...]:
    found = document.get(key)
    if not isinstance(found, list):
        raise ImageError(f"{subject}: {key} of the manifest is not a list")
    return tuple(
        _descriptor(entry, f"{subject}: {key}[{number}] of the manifest")
        for number, entry in enumerate(found)
    )


def _descriptor(document: object, what: str) -> Descriptor:
    if not isinstance(document, dict):
        raise ImageError(f"{what} is not an object")
    digest, size = document.get("digest"), document.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ImageError(f"{what} has no sha256 digest, found {digest!r}")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ImageError(f"{what} has no size in bytes, found {size!r}")
    platform = document.get("platform")
    platform = platform if isinstance(platform, dict) else {}
    annotations = document.get("annotations")
    annotations = annotations if isinstance(annotations, dict) else {}
    return Descriptor(
        media_type=str(document.get("mediaType", "")),
        digest=digest,
        size_bytes=size,
        os=str(platform.get("os", "")),
        architecture=str(platform.get("architecture", "")),
        annotations={str(key): str(value) for key, value in annotations.items()},
    )


def _string(document: Mapping[str, Any], key: str, subject: str) -> str:
    value = document.get(key) or ""
    if not isinstance(value, str):
        raise ImageError(f"{subject}: config.{key} is not a string")
    return value


def _strings(document: Mapping[str, Any], key: str, subject: str) -> tuple[str, ...]:
    value = document.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageError(f"{subject}: config.{key} is not a list of strings")
    return tuple(value)


def _keys(document: Mapping[str, Any], key: str, subject: str) -> tuple[str, ...]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise ImageError(f"{subject}: config.{key} is not an object")
    return tuple(sorted(value))
