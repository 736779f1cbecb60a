"""packages.lock: what an image consists of besides its own files, each package by name, version and SHA-256.

It is written by the chore `lock_packages`, from Debian's signed index and from requirements.lock, and lies beside images.toml.
Building an image solves nothing and trusts no mirror: it takes what is listed, and refuses other bytes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks.declare.documents import to_json, to_record
from contrast_tasks.declare.problems import problems
from contrast_tasks.declare.shapes import (
    TEXTS,
    List,
    Map,
    hex_digits,
    integer,
    one_of,
    table_of,
    text,
)
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.files import pretty_json
from contrast_tasks.json_text import NotJson, read_json
from contrast_tasks.records import Record, member

NAME = "packages.lock"
_SIZE = integer(1, 1 << 32, "a number of bytes")
_SHA256 = hex_digits(32, lower=True)
_DEBIAN_NAME = text("the name of a Debian package", r"[a-z0-9][a-z0-9.+-]*")
_VERSION = text("a version", r"[0-9A-Za-z.+:~_!-]+")
# Each part of a path begins with a letter or a digit, so that none leads upwards.
_PATH = text("a path in the archive's pool", r"pool(?:/[A-Za-z0-9][A-Za-z0-9.+~_-]*)+\.deb")
_WHEEL_FILE = text("the file name of a wheel", r"[A-Za-z0-9][A-Za-z0-9.+_-]*\.whl")
_REPOSITORY = text("the name of an image without its tag", r"[a-z0-9][a-z0-9._/-]*")


class DebianPackage(Record):
    """A package of Debian for amd64."""

    name: str = member(_DEBIAN_NAME, "name of the package")
    version: str = member(_VERSION, "its version")
    archive: str = member(one_of("debian", "debian-security"), "archive that has it")
    path: str = member(_PATH, "its file, relative to the archive")
    size_bytes: int = member(_SIZE, "size of the file")
    sha256: str = member(_SHA256, "SHA-256 of the file")

    @property
    def file(self) -> str:
        """Return the name of the file."""
        return self.path.rpartition("/")[2]


class Wheel(Record):
    """A package of Python for amd64."""

    name: str = member(text("the name of a Python package", r"[a-z0-9][a-z0-9.-]*"), "its name")
    version: str = member(_VERSION, "its version")
    file: str = member(_WHEEL_FILE, "file name of the wheel")
    size_bytes: int = member(_SIZE, "size of the file")
    sha256: str = member(_SHA256, "SHA-256 of the file")


class ImagePackages(Record):
    """The names of what one image needs, sorted."""

    debian: tuple[str, ...] = member(TEXTS, "packages of Debian")
    wheels: tuple[str, ...] = member(TEXTS, "packages of Python")


class Pins(Record):
    """The whole file.

    snapshot: time at which Debian's archives had all these packages, as the archive of snapshots writes it.
    """

    version: int = member(one_of(1), "version of the format", default=1)
    suite: str = member(text("the name of a release of Debian", r"[a-z]+"), "release of Debian")
    snapshot: str = member(text("a time as YYYYMMDDThhmmssZ", r"[0-9]{8}T[0-9]{6}Z"), "time")
    python: str = member(text("a version as 3.13", r"3\.[0-9]{1,2}"), "version of its Python")
    images: Mapping[str, ImagePackages] = member(
        Map(_REPOSITORY, ImagePackages), "what each image needs, by its name without the tag"
    )
    debian: tuple[DebianPackage, ...] = member(List(DebianPackage), "packages of Debian, by name")
    wheels: tuple[Wheel, ...] = member(List(Wheel), "packages of Python, by name")

    def debian_of(self, names: tuple[str, ...]) -> tuple[DebianPackage, ...]:
        """Return the packages of these names, in the order of the file."""
        return tuple(each for each in self.debian if each.name in names)

    def wheels_of(self, names: tuple[str, ...]) -> tuple[Wheel, ...]:
        """Return the wheels of these names, in the order of the file."""
        return tuple(each for each in self.wheels if each.name in names)

    def shared(self, image: str) -> Iterator[ImagePackages]:
        """Yield what an image needs, in parts that each have all packages of the same images.

        Layers are made of these parts, so images share what they have in common; what most images need comes first.
        """
        for kind in ("debian", "wheels"):
            users = {
                name: tuple(
                    other
                    for other, needed in sorted(self.images.items())
                    if name in getattr(needed, kind)
                )
                for name in getattr(self.images[image], kind)
            }
            for group in sorted(set(users.values()), key=lambda group: (-len(group), group)):
                names = tuple(name for name, found in users.items() if found == group)
                yield NOTHING.replace(**{kind: names})


NOTHING = ImagePackages(debian=(), wheels=())


def render_pins(pins: Pins) -> bytes:
    """Return the file's bytes."""
    return pretty_json(to_json(pins))


def parse_pins(content: bytes, file: str = NAME) -> Pins:
    """Parse the file; raises ImageError for the first fault."""
    try:
        document = read_json(content).document
    except NotJson as err:
        raise _refusal(str(err), Location(file=file, line=err.line, column=err.column)) from err
    where = Location(file=file)
    for problem in problems(document, table_of(Pins), complete=True):
        raise _refusal(problem.message, where)
    pins = to_record(Pins, document)
    for contradiction in _contradictions(pins):
        raise _refusal(contradiction, where)
    return pins


def _contradictions(pins: Pins) -> Iterator[str]:
    for kind, packages in (("debian", pins.debian), ("wheels", pins.wheels)):
        names = [each.name for each in packages]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"{kind} lists {name} twice"
        for image, needed in sorted(pins.images.items()):
            missing: Any = sorted(set(getattr(needed, kind)) - set(names))
            if missing:
                yield f"image {image} needs {missing[0]}, which {kind} does not list"


def _refusal(problem: str, where: Location) -> ImageError:
    return ImageError(problem, hint="restore the file, or have it written anew", where=where)
