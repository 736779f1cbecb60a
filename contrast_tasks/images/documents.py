"""The JSON documents of an image: index, manifest and config, in their OCI and Docker forms.

Both forms have the same members and differ only in media types.
Source: OCI image specification 1.1, "image-index", "manifest", "config".
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ImageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.pods.references import is_digest
from contrast_tasks.records import Record

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
# Programs that write images spell the processor in these ways too. Source: containerd's names of platforms.
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64"}
# What every amd64 processor runs; v2 and later want instructions that a node takes only when it is told to.
_PLAIN_VARIANTS = ("", "v1")


class Descriptor(Record):
    """A reference to content by media type, digest and size.

    os, architecture, variant: "" for what is not said, which is all three of an entry without a platform.
    """

    media_type: str
    digest: str
    size_bytes: int
    os: str = ""
    architecture: str = ""
    variant: str = ""
    annotations: Mapping[str, str] = {}

    @property
    def names_platform(self) -> bool:
        """Return whether the index says what the entry runs on."""
        return bool(self.os or self.architecture)

    @property
    def is_ours(self) -> bool:
        """Return whether the index says that every linux/amd64 machine runs the entry."""
        return (self.os, self.architecture) == PLATFORM and self.variant in _PLAIN_VARIANTS

    @property
    def platform(self) -> str:
        """Return the platform as `os/architecture` and the variant, `?` for what is not said."""
        parts = (self.os or "?", self.architecture or "?", self.variant)
        return "/".join(part for part in parts if part)

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


def candidates(index: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """Return the entries that may be the linux/amd64 image, likeliest first.

    Those that say so come first, in the order of the index; of those without a platform the config decides. An entry
    for newer processors only (variant v2 and later) does not stand for amd64 in general. Source: containerd, which
    chooses on the node.
    """
    said = (entry for entry in index if entry.is_ours)
    silent = (entry for entry in index if not entry.names_platform)
    return (*said, *silent)


def refuse_platforms(index: Sequence[Descriptor], subject: str) -> ImageError:
    """Return the error for an index without a linux/amd64 image; it names the platforms that there are."""
    found = ", ".join(sorted({entry.platform for entry in index})) or "an empty index"
    return ImageError(f"{subject}: no image for {'/'.join(PLATFORM)}, found {found}")


def is_our_config(content: bytes) -> bool:
    """Return whether a config names linux/amd64; attestations and other things beside images have none that does."""
    try:
        document = parse_json(content)
        _refuse_variants(document, _CONFIG_KEYS)
        return _platform(document) == PLATFORM
    except DecodeError:
        return False


def parse_config(content: bytes, subject: str) -> tuple[ImageConfig, tuple[str, ...]]:
    """Return the config and the diff_ids: the digests of the uncompressed layers, from the bottom up.

    A config that leaves out os or architecture is taken: nodes go by the index, and run what it names.
    """
    with _located(f"{subject}: config"):
        document = parse_json(content)
        _refuse_variants(document, _CONFIG_KEYS)
        found = _platform(document)
        if any(part not in {"", wanted} for part, wanted in zip(found, PLATFORM, strict=True)):
            named = "/".join(part or "?" for part in found)
            raise ImageError(f"{subject}: image is for {named}, wanted {'/'.join(PLATFORM)}")
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
    os, architecture = _platform(platform)
    annotations = place.filled("annotations") or Json({})
    return Descriptor(
        media_type=_text(place, "mediaType"),
        digest=_digest(place.at("digest")),
        size_bytes=size.integer(),
        os=os,
        architecture=architecture,
        variant=_text(platform, "variant").lower(),
        annotations={name: value.text() for name, value in annotations.members()},
    )


def _platform(place: Json) -> tuple[str, str]:
    architecture = _text(place, "architecture").lower()
    return _text(place, "os").lower(), _ARCHITECTURES.get(architecture, architecture)


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
