"""contrast.lock: what each image reference resolves to, with everything that its policy depends on.

The file is JSON, with images sorted by reference for readable diffs. Users commit it, so that `generate` needs no
registry.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from contrast_tasks.declare.documents import to_json, to_record
from contrast_tasks.declare.problems import problems
from contrast_tasks.declare.shapes import (
    ANY_TEXT,
    TEXT,
    Leaf,
    List,
    hex_digits,
    integer,
    one_of,
    table_of,
)
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.files import pretty_json
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.lost import LOST
from contrast_tasks.json_text import NotJson, read_json
from contrast_tasks.pods.references import ImageReference, is_digest, parse_reference
from contrast_tasks.pointers import Path
from contrast_tasks.records import Record, member

_DIGEST = Leaf(
    "sha256: and 64 lower-case hex digits",
    lambda value: isinstance(value, str) and is_digest(value),
    {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "maxLength": 71},
)
_SIZE = integer(0, 2**63 - 1, "a number of bytes")


class Layer(Record):
    """One layer."""

    digest: str = member(_DIGEST, "digest of the layer as stored, which may be compressed")
    diff_id: str = member(_DIGEST, "digest of the tar inside")
    size_bytes: int = member(_SIZE, "size of the layer as stored")
    unpacked_bytes: int = member(_SIZE, "size of the tar inside")
    root: str | None = member(
        hex_digits(32, lower=True),
        "root hash of the layer's device, if the platform attaches layers as devices",
        default=None,
        absent=None,
    )
    lost: tuple[str, ...] = member(
        List(one_of(*LOST)),
        "what of the layer its device does not give to the guest",
        default=(),
        absent=(),
    )


class LockedImage(Record):
    """One image reference and the image that it resolves to."""

    reference: str = member(TEXT, "the image as the deployment names it")
    digest: str = member(
        _DIGEST, "digest of the index or manifest that the reference names; the one to pin"
    )
    manifest_digest: str | None = member(
        _DIGEST,
        "digest of the linux/amd64 manifest, if `digest` is that of an index",
        default=None,
        absent=None,
    )
    config: ImageConfig = member(ImageConfig, "how its processes are started")
    layers: tuple[Layer, ...] = member(List(Layer), "the layers, from the bottom up")
    passwd: str = member(ANY_TEXT, "text of /etc/passwd, empty if there is none")
    group: str = member(ANY_TEXT, "text of /etc/group, empty if there is none")

    @property
    def image_digest(self) -> str:
        """Return the digest of the linux/amd64 manifest."""
        return self.manifest_digest or self.digest


class LockDocument(Record):
    """The whole file."""

    version: int = member(one_of(1), "version of the format", default=1)
    images: tuple[LockedImage, ...] = member(List(LockedImage), "the images, sorted by reference")


class Lock:
    """The images by reference."""

    def __init__(self, images: Iterable[LockedImage] = ()) -> None:
        self.images: Mapping[str, LockedImage] = {image.reference: image for image in images}
        self._by_name: dict[str, LockedImage] | None = None

    def resolve(self, reference: str) -> LockedImage | None:
        """Return the image of a reference, None if it is not locked; raises ImageError for a malformed reference.

        All spellings of a reference are equal (`nginx` is `docker.io/library/nginx:latest`). A pinned reference finds
        any image of its repository with its digest, whatever the tag.
        """
        found = self.images.get(reference)
        if found is not None:
            return found
        if self._by_name is None:
            self._by_name = dict(self._names())
        wanted = parse_reference(reference)
        by_name = self._by_name.get(wanted.canonical)
        if by_name is None and wanted.digest is not None:
            by_name = self._by_name.get(_digest_name(wanted, wanted.digest))
        return by_name

    def _names(self) -> Iterable[tuple[str, LockedImage]]:
        for image in self.images.values():
            parsed = parse_reference(image.reference)
            yield _digest_name(parsed, image.image_digest), image
            yield _digest_name(parsed, image.digest), image
            yield parsed.canonical, image


def _digest_name(reference: ImageReference, digest: str) -> str:
    return f"{reference.registry}/{reference.repository}@{digest}"


def render_lock(lock: Lock) -> bytes:
    """Return the file's bytes: images sorted by reference, keys in the order of the schema."""
    images = tuple(lock.images[reference] for reference in sorted(lock.images))
    return pretty_json(to_json(LockDocument(images=images)))


def parse_lock(content: bytes, file: str = "contrast.lock") -> Lock:
    """Parse the file; raises ImageError with the line of the first fault."""
    try:
        document = read_json(content).document
    except NotJson as err:
        where = Location(file=file, line=err.line, column=err.column)
        raise _refusal(str(err), where) from err
    for problem in problems(document, table_of(LockDocument), complete=True):
        line = _line_of(content, _reference_at(document, problem.path))
        raise _refusal(problem.message, Location(file=file, line=line))
    images: dict[str, LockedImage] = {}
    for image in to_record(LockDocument, document).images:
        if reason := _contradiction(image, images):
            where = Location(file=file, line=_line_of(content, image.reference))
            raise _refusal(reason, where)
        images[image.reference] = image
    return Lock(images.values())


def _reference_at(document: Any, path: Path) -> str:
    """Return the reference of the image that a path leads into, "" if there is none."""
    match path:
        case ("images", int(index), *_) if isinstance(document["images"][index], dict):
            return str(document["images"][index].get("reference", ""))
    return ""


def _contradiction(image: LockedImage, others: Mapping[str, LockedImage]) -> str:
    """Return how an image contradicts itself or the others, "" if it does not."""
    try:
        pinned = parse_reference(image.reference).digest
    except ImageError as err:
        return str(err)
    if pinned is not None and pinned not in {image.digest, image.manifest_digest}:
        return f"image {image.reference}: digest is {image.digest}, the reference wants {pinned}"
    return f"image {image.reference} is listed twice" if image.reference in others else ""


def _refusal(problem: str, where: Location) -> ImageError:
    hint = "restore the file, or remove it and run 'contrast-tasks lock'"
    return ImageError(f"lock file: {problem}", hint=hint, where=where)


def _line_of(content: bytes, reference: str) -> int | None:
    """Return the line of the last entry of a reference: of two entries, the second is the duplicate."""
    place = content.rfind(b'"reference": ' + json.dumps(reference, ensure_ascii=False).encode())
    return content.count(b"\n", 0, place) + 1 if reference and place >= 0 else None
