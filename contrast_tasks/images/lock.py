"""contrast.lock: what each image reference resolved to, and all that generating a policy needs to know of it.

The file is JSON with images sorted by reference, so that it diffs well; schemas/lock.schema.json says the same
as the checks here, which need no schema library. It is committed: with it, `generate` needs no registry.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.files import pretty_json
from contrast_tasks.images.documents import ImageConfig, load_json
from contrast_tasks.pods.references import ImageReference, is_digest, parse_reference

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: digest and size as stored (maybe compressed), diff_id and size of the tar inside."""

    digest: str
    diff_id: str
    size_bytes: int
    unpacked_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedImage:
    """One image reference and what it stands for; layers from the bottom up.

    digest: of the index or manifest the reference names; the one to pin.
    manifest_digest: of the linux/amd64 manifest, where `digest` is an index; None where `digest` is it.
    passwd, group: text of the two files in /etc, "" where there is none.
    """

    reference: str
    digest: str
    manifest_digest: str | None = None
    config: ImageConfig
    layers: tuple[Layer, ...]
    passwd: str
    group: str

    @property
    def pinned(self) -> str:
        """Return the reference with its digest, as `name:tag@sha256:...`."""
        return str(parse_reference(self.reference).pinned(self.digest))

    @property
    def image_digest(self) -> str:
        """Return the digest of the linux/amd64 manifest."""
        return self.manifest_digest or self.digest

    def to_json(self) -> dict[str, Any]:
        """Return the form of schemas/lock.schema.json."""
        index = {"manifest_digest": self.manifest_digest} if self.manifest_digest else {}
        return {
            "reference": self.reference,
            "digest": self.digest,
            **index,
            "config": {key: _plain(getattr(self.config, key)) for key in _names(ImageConfig)},
            "layers": [
                {key: getattr(layer, key) for key in _names(Layer)} for layer in self.layers
            ],
            "passwd": self.passwd,
            "group": self.group,
        }


class Lock:
    """The images by reference."""

    def __init__(self, images: Iterable[LockedImage] = ()) -> None:
        self.images: Mapping[str, LockedImage] = {image.reference: image for image in images}
        self._by_name: dict[str, LockedImage] | None = None

    def resolve(self, reference: str) -> LockedImage | None:
        """Return the image of a reference, None when it is not locked; raise ImageError for a malformed one.

        Other spellings of the same reference count (`nginx` is `docker.io/library/nginx:latest`), and a pinned
        reference finds every image of its repository that has its digest, whatever the tag.
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
    images = [lock.images[reference].to_json() for reference in sorted(lock.images)]
    return pretty_json({"version": VERSION, "images": images})


def parse_lock(content: bytes, file: str = "contrast.lock") -> Lock:
    """Parse the file; raise ImageError naming file, line, what was found and what was wanted."""
    try:
        document = load_json(content)
    except (ValueError, RecursionError) as err:
        line = err.lineno if isinstance(err, json.JSONDecodeError) else None
        reason = err.msg if isinstance(err, json.JSONDecodeError) else str(err)
        raise _refusal(f"is not JSON: {reason}", Location(file=file, line=line)) from err
    try:
        return Lock(_images(document))
    except _Problem as problem:
        where = Location(file=file, line=_line_of(content, problem.reference))
        raise _refusal(str(problem), where) from None


class _Problem(Exception):
    """What is wrong with the document, and with which image; the caller knows the file."""

    reference = ""


def _images(document: Any) -> list[LockedImage]:
    _check_keys(document, ("version", "images"), (), "the file")
    if document["version"] != VERSION or isinstance(document["version"], bool):
        raise _Problem(f"version is {document['version']!r}, wanted {VERSION}")
    if not isinstance(document["images"], list):
        raise _Problem("images is not a list")
    images: dict[str, LockedImage] = {}
    for number, entry in enumerate(document["images"]):
        try:
            image = _image(entry, f"images[{number}]")
            if image.reference in images:
                raise _Problem(f"image {image.reference} is there twice")  # noqa: TRY301  # gets its reference below
        except _Problem as problem:
            problem.reference = str(entry.get("reference", "")) if isinstance(entry, dict) else ""
            raise
        images[image.reference] = image
    return list(images.values())


def _refusal(problem: str, where: Location) -> ImageError:
    hint = "restore the file, or remove it and run 'contrast-tasks lock'"
    return ImageError(f"lock file: {problem}", hint=hint, where=where)


def _line_of(content: bytes, reference: str) -> int | None:
    """Return the line of the last mention of a reference: of two entries the second is the surplus one."""
    place = content.rfind(b'"reference": ' + json.dumps(reference, ensure_ascii=False).encode())
    return content.count(b"\n", 0, place) + 1 if reference and place >= 0 else None


def _image(entry: Any, what: str) -> LockedImage:
    required = ("reference", "digest", "config", "layers", "passwd", "group")
    _check_keys(entry, required, ("manifest_digest",), what)
    try:
        parsed = parse_reference(_text(entry, "reference", what))
    except ImageError as err:
        raise _Problem(str(err)) from err
    what = f"image {entry['reference']}"
    digest = _digest(entry, "digest", what)
    manifest_digest = (
        _digest(entry, "manifest_digest", what) if "manifest_digest" in entry else None
    )
    if parsed.digest is not None and parsed.digest not in {digest, manifest_digest}:
        raise _Problem(f"{what}: digest is {digest}, the reference wants {parsed.digest}")
    config = entry["config"]
    _check_keys(config, _names(ImageConfig), (), f"{what}: config")
    layers = entry["layers"]
    if not isinstance(layers, list):
        raise _Problem(f"{what}: layers is not a list")
    return LockedImage(
        reference=entry["reference"],
        digest=digest,
        manifest_digest=manifest_digest,
        config=ImageConfig(
            entrypoint=_text_list(config, "entrypoint", what),
            cmd=_text_list(config, "cmd", what),
            env=_text_list(config, "env", what),
            working_dir=_text(config, "working_dir", what),
            user=_text(config, "user", what),
            volumes=_text_list(config, "volumes", what),
            exposed_ports=_text_list(config, "exposed_ports", what),
            os=_text(config, "os", what),
            architecture=_text(config, "architecture", what),
        ),
        layers=tuple(_layer(layer, f"{what}: layers[{n}]") for n, layer in enumerate(layers)),
        passwd=_text(entry, "passwd", what),
        group=_text(entry, "group", what),
    )


def _layer(entry: Any, what: str) -> Layer:
    _check_keys(entry, _names(Layer), (), what)
    return Layer(
        digest=_digest(entry, "digest", what),
        diff_id=_digest(entry, "diff_id", what),
        size_bytes=_size(entry, "size_bytes", what),
        unpacked_bytes=_size(entry, "unpacked_bytes", what),
    )


def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _check_keys(
    document: Any, required: tuple[str, ...], optional: tuple[str, ...], what: str
) -> None:
    if not isinstance(document, dict):
        raise _Problem(f"{what} is not an object")
    if document.keys() == set(required):
        return
    missing = [key for key in required if key not in document]
    unknown = sorted(document.keys() - {*required, *optional})
    if missing:
        raise _Problem(f"{what}: key {missing[0]!r} is missing")
    if unknown:
        known = ", ".join((*required, *optional))
        raise _Problem(f"{what}: unknown key {unknown[0]!r}, wanted one of {known}")


def _text(document: Mapping[str, Any], key: str, what: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise _Problem(f"{what}: {key} is {value!r}, wanted a string")
    return value


def _text_list(document: Mapping[str, Any], key: str, what: str) -> tuple[str, ...]:
    value = document[key]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _Problem(f"{what}: {key} is not a list of strings")
    return tuple(value)


def _digest(document: Mapping[str, Any], key: str, what: str) -> str:
    value = document[key]
    if not isinstance(value, str) or not is_digest(value):
        raise _Problem(f"{what}: {key} is {value!r}, wanted sha256: and 64 lower-case hex digits")
    return value


def _size(document: Mapping[str, Any], key: str, what: str) -> int:
    value = document[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _Problem(f"{what}: {key} is {value!r}, wanted a number of bytes")
    return value
