"""images.toml: which files of a project go into which image, and how the image starts.

```toml
[images."shop/cart:v1"]
entrypoint = ["/usr/local/bin/cart"]
user = "65532"                                            # 0 where none is given
working_dir = "/app"
env = ["PATH=/usr/local/bin:/usr/bin:/bin"]
exposed_ports = ["8080/tcp"]
executables = { "usr/local/bin/cart" = "bin/cart" }       # path in the image = file beside images.toml
files = { "app/page" = "page" }                           # files, and folders with all below them
modules = { "app" = ["shop.cart"] }                       # Python modules below that folder, here and in the
                                                          # image, and the modules they import
```

`cmd` and `volumes` may be given too.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.images.documents import ImageConfig
from contrast_tasks.pods.references import parse_reference

_KEYS = (
    "entrypoint",
    "cmd",
    "env",
    "volumes",
    "exposed_ports",
    "user",
    "working_dir",
    "executables",
    "files",
    "modules",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """One image to pack.

    executables, files: path in the image -> path in the project; modules: folder in the image, equally named in
    the project, -> modules of it whose imports are followed.
    """

    reference: str
    config: ImageConfig
    executables: Mapping[str, str]
    files: Mapping[str, str]
    modules: Mapping[str, tuple[str, ...]]


def parse_recipes(content: bytes, file: str) -> tuple[ImageRecipe, ...]:
    """Return the images of an images.toml, in its order; raise ImageError naming the file and the key."""
    where = Location(file=file)
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ImageError(f"is not TOML: {err}", where=where) from err
    images = document.get("images")
    if document.keys() != {"images"} or not isinstance(images, dict):
        found = ", ".join(document) or "nothing"
        raise ImageError(f'found {found}, wanted tables [images."<reference>"]', where=where)
    return tuple(_recipe(reference, table, where) for reference, table in images.items())


def _recipe(reference: str, table: Any, where: Location) -> ImageRecipe:
    parse_reference(reference, where=where)
    what = f"images.{reference!r}"
    if not isinstance(table, dict):
        raise ImageError(f"{what} is not a table", where=where)
    for key in table:
        if key not in _KEYS:
            wanted = ", ".join(_KEYS)
            raise ImageError(f"{what}: unknown key {key!r}, wanted one of {wanted}", where=where)
    return ImageRecipe(
        reference=reference,
        config=ImageConfig(
            entrypoint=_texts(table.get("entrypoint", []), f"{what}: entrypoint", where),
            cmd=_texts(table.get("cmd", []), f"{what}: cmd", where),
            env=_texts(table.get("env", []), f"{what}: env", where),
            volumes=_texts(table.get("volumes", []), f"{what}: volumes", where),
            exposed_ports=_texts(table.get("exposed_ports", []), f"{what}: exposed_ports", where),
            user=_text(table.get("user", ""), f"{what}: user", where),
            working_dir=_text(table.get("working_dir", ""), f"{what}: working_dir", where),
        ),
        executables=_places(table.get("executables", {}), f"{what}: executables", where),
        files=_places(table.get("files", {}), f"{what}: files", where),
        modules={
            folder: _texts(names, f"{what}: modules of {folder!r}", where)
            for folder, names in _table(table.get("modules", {}), f"{what}: modules", where).items()
        },
    )


def _text(value: Any, what: str, where: Location) -> str:
    if not isinstance(value, str):
        raise ImageError(f"{what} is not a string", where=where)
    return value


def _table(value: Any, what: str, where: Location) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImageError(f"{what} is not a table", where=where)
    return value


def _places(value: Any, what: str, where: Location) -> dict[str, str]:
    places = _table(value, what, where)
    for path in places.values():
        if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
            found = f"{what} names {path!r}, wanted a path below the folder of the file"
            raise ImageError(found, where=where)
    return places


def _texts(value: Any, what: str, where: Location) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageError(f"{what} is not a list of strings", where=where)
    return tuple(value)
