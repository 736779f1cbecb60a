"""The JSON documents of an image: index, manifest and config, in their OCI and Docker forms.

Both forms have the same members and differ only in media types.
Source: OCI image specification 1.1, "image-index", "manifest", "config".
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from contrast_tasks.declare.shapes import ANY_TEXT, TEXTS
from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ImageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.pods.references import is_digest
from contrast_tasks.records import Record, member

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
# A registry answers 404 for a media type that the request does not accept, so requests name all four.
MANIFEST_TYPES = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)

_MANIFEST_KEYS = ("manifests", "config", "layers", "mediaType")
_CONFIG_KEYS = ("os", "architecture", "rootfs", "config")
_PROCESS_KEYS = (
    *("Entrypoint", "Cmd", "Env", "WorkingDir", "User", "Volumes", "ExposedPorts"),
    *("Labels", "StopSignal"),
)
PLATFORM = ("linux", "amd64")  # of all confidential guests


class Descriptor(Record):
    """A reference to content by media type, digest and size."""

    media_type: str
    digest: str
    size_bytes: int
    os: str = ""
    architecture: str = ""
    annotations: Mapping[str, str] = {}

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor with the member names of the specification."""
        platform = {"architecture": self.architecture, "os": self.os} if self.os else None
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size_bytes,
            **({"platform": platform} if platform else {}),
            **({"annotations": dict(self.annotations)} if self.annotations else {}),
        }


class ImageManifest(Record):
    """The parts of one image; layers from the bottom up."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class ImageConfig(Record):
    """The members of an image's config that describe how its process starts."""

    entrypoint: tuple[str, ...] = member(TEXTS, "the command", default=())
    cmd: tuple[str, ...] = member(TEXTS, "its arguments", default=())
    env: tuple[str, ...] = member(TEXTS, "its environment, NAME=value each", default=())
    working_dir: str = member(ANY_TEXT, "the folder it starts in", default="")
    user: str = member(ANY_TEXT, "the user, and the group after a colon", default="")
    volumes: tuple[str, ...] = member(TEXTS, "paths of volumes", default=())
    exposed_ports: tuple[str, ...] = member(TEXTS, "ports, such as 8080/tcp", default=())
    os: str = member(ANY_TEXT, "the operating system", default="linux")
    architecture: str = member(ANY_TEXT, "the processor's architecture", default="amd64")


def digest_of(content: bytes) -> str:
    """Return `sha256:<64 hex>` of `content`."""
    return f"sha256:{sha256_hex(content)}"


def parse_index_or_manifest(content: bytes, subject: str) -> ImageManifest | tuple[Descriptor, ...]:
    """Return an ImageManifest, or the descriptors of an index; raises ImageError, in which `subject` names the image.

    The members decide which of the two it is. A document that could be either is refused: two readers must never see
    two images behind one digest.
    """
    with _located(f"{subject}: manifest"):
        document = parse_json(content)
        _refuse_variants(document, _MANIFEST_KEYS)
        names = {name for name, _ in document.members()}
        if "manifests" in names:
            if names & {"config", "layers"}:
                raise DecodeError("an index and an image at once")
            return tuple(map(_descriptor, document.at("manifests").items()))
        if not names & {"config", "layers"}:
            version = document.value.get("schemaVersion")
            raise DecodeError(
                f"unknown kind, {_text(document, 'mediaType') or f'schemaVersion {version!r}'}"
            )
        return ImageManifest(
            config=_descriptor(document.at("config")),
            layers=tuple(map(_descriptor, document.at("layers").items())),
        )


def choose_platform(index: Sequence[Descriptor], subject: str) -> Descriptor:
    """Return the linux/amd64 image of an index; raises ImageError naming the platforms it has."""
    for descriptor in index:
        if (descriptor.os, descriptor.architecture) == PLATFORM:
            return descriptor
    platforms = sorted({f"{entry.os or '?'}/{entry.architecture or '?'}" for entry in index})
    found = ", ".join(platforms) or "an empty index"
    raise ImageError(f"{subject}: no image for {'/'.join(PLATFORM)}, found {found}")


def parse_config(content: bytes, subject: str) -> tuple[ImageConfig, tuple[str, ...]]:
    """Return the config and the diff_ids: the digests of the uncompressed layers, from the bottom up."""
    with _located(f"{subject}: config"):
        document = parse_json(content)
        _refuse_variants(document, _CONFIG_KEYS)
        found = (_text(document, "os"), _text(document, "architecture"))
        if found != PLATFORM:
            raise ImageError(
                f"{subject}: image is for {'/'.join(found)}, wanted {'/'.join(PLATFORM)}"
            )
        diff_ids = tuple(map(_digest, document.at("rootfs").at("diff_ids").items()))
        process = document.filled("config") or Json({})
        _refuse_variants(process, _PROCESS_KEYS)
        return ImageConfig(
            entrypoint=_texts(process, "Entrypoint"),
            cmd=_texts(process, "Cmd"),
            env=_texts(process, "Env"),
            working_dir=_text(process, "WorkingDir"),
            user=_text(process, "User"),
            volumes=_names(process, "Volumes"),
            exposed_ports=_names(process, "ExposedPorts"),
        ), diff_ids


def render_config(
    config: ImageConfig, diff_ids: Sequence[str], labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return the config document, created at the epoch so that equal inputs give equal bytes."""
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


@contextmanager
def _located(what: str) -> Iterator[None]:
    try:
        yield
    except DecodeError as err:
        raise ImageError(f"{what}: {err}") from err


def _refuse_variants(place: Json, known: Sequence[str]) -> None:
    """Refuse a known name in other case: programs written in Go accept it as the known one, others ignore it."""
    folded = {name.casefold(): name for name in known}
    for name, _ in place.members():
        wanted = folded.get(name.casefold(), name)
        if name != wanted:
            raise DecodeError(f"{place.pointer}/{name}: wanted the spelling {wanted!r}")


def _descriptor(place: Json) -> Descriptor:
    size = place.at("size")
    if size.integer() < 0:
        raise DecodeError(f"{size.pointer}: found {size.value}, wanted a number of bytes")
    platform = place.filled("platform") or Json({})
    annotations = place.filled("annotations") or Json({})
    return Descriptor(
        media_type=_text(place, "mediaType"),
        digest=_digest(place.at("digest")),
        size_bytes=size.integer(),
        os=_text(platform, "os"),
        architecture=_text(platform, "architecture"),
        annotations={name: value.text() for name, value in annotations.members()},
    )


def _digest(place: Json) -> str:
    text = place.text()
    if not is_digest(text):
        raise DecodeError(f"{place.pointer}: found {text!r}, wanted a sha256 digest")
    return text


def _text(place: Json, name: str) -> str:
    found = place.filled(name)
    return found.text() if found else ""


def _texts(place: Json, name: str) -> tuple[str, ...]:
    found = place.filled(name)
    return found.texts() if found else ()


def _names(place: Json, name: str) -> tuple[str, ...]:
    found = place.filled(name)
    return tuple(sorted(key for key, _ in found.members())) if found else ()
