"""images.toml: the images to pack from a project's files, and how each image starts.

```toml
[images."shop/cart:v1"]
entrypoint = ["/usr/local/bin/cart"]
user = "65532"                                            # default 0
working_dir = "/app"
env = ["PATH=/usr/local/bin:/usr/bin:/bin"]
exposed_ports = ["8080/tcp"]
executables = { "usr/local/bin/cart" = "bin/cart" }       # path in the image = file, relative to images.toml
files = { "app/page" = "page" }                           # files, or folders with all their files
modules = { "app" = ["shop.cart"] }                       # Python modules below the folder `app`, here and in
                                                          # the image, with the modules that they import
```

`cmd` and `volumes` may be set too. What a cluster needs besides, taken by `images build` and left out by packing for
platform `local`, whose pods run with this machine's programs:

```toml
packages = ["python3-minimal"]                            # of Debian, with what they depend on; see packages.lock
links = { "usr/bin/sh" = "busybox" }                      # symbolic links
users = { redis = 999 }                                   # added to /etc/passwd and /etc/group
folders = { "data" = 999 }                                # and the user that owns each
```

The Python packages that `modules` import come along; `programs` takes single files out of others.
"""

import tomllib
from collections.abc import Mapping

from contrast_tasks.declare.documents import to_record
from contrast_tasks.declare.problems import problems
from contrast_tasks.declare.shapes import ANY_TEXT, TEXT, TEXTS, Leaf, Map, Table, integer, text
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.records import Record, member

_PATH = Leaf(
    "a path below the folder of the file",
    lambda value: (
        isinstance(value, str) and not value.startswith("/") and ".." not in value.split("/")
    ),
    {"type": "string"},
)

_PROGRAM = text("a Python package and a file in it, as NAME:PATH", r"[a-z0-9.-]+:[^:]+")
_USER = text("the name of a user", r"[a-z_][a-z0-9_-]*")
_ID = integer(0, 65534)


class ImageRecipe(Record):
    """One image to pack."""

    reference: str
    config: ImageConfig
    executables: Mapping[str, str] = member(
        Map(ANY_TEXT, _PATH), "path in the image -> path in the project", default={}
    )
    files: Mapping[str, str] = member(
        Map(ANY_TEXT, _PATH), "the same, for files and folders", default={}
    )
    modules: Mapping[str, tuple[str, ...]] = member(
        Map(ANY_TEXT, TEXTS),
        "folder, with the same path in image and project -> modules below it, whose imports are followed",
        default={},
    )
    packages: tuple[str, ...] = member(
        TEXTS, "packages of Debian; what they depend on comes along", default=()
    )
    programs: Mapping[str, str] = member(
        Map(ANY_TEXT, _PROGRAM),
        "path in the image -> Python package:file in its wheel, or scripts/NAME for one of its programs",
        default={},
    )
    links: Mapping[str, str] = member(
        Map(ANY_TEXT, TEXT), "path in the image -> what the symbolic link points to", default={}
    )
    users: Mapping[str, int] = member(
        Map(_USER, _ID), "name of a user and of its group -> number", default={}
    )
    folders: Mapping[str, int] = member(
        Map(ANY_TEXT, _ID), "folder -> number of the user that owns it", default={}
    )

    @property
    def name(self) -> str:
        """Return the image's name without its tag, as packages.lock has it."""
        return self.reference.rpartition(":")[0] or self.reference


_IMAGES = Map(
    ANY_TEXT,
    Table(
        {
            entry.name: entry
            for entry in (*ImageConfig.members, *ImageRecipe.members)
            if entry.name not in ("os", "architecture")
        }
    ),
)


def parse_recipes(content: bytes, file: str) -> tuple[ImageRecipe, ...]:
    """Return the images of an images.toml, in its order; raises ImageError naming the file and the key."""
    where = Location(file=file)
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ImageError(f"is not TOML: {err}", where=where) from err
    images = document.get("images")
    if document.keys() != {"images"} or not isinstance(images, dict):
        found = ", ".join(document) or "nothing"
        raise ImageError(f'found {found}, wanted tables [images."<reference>"]', where=where)
    for reference in images:
        parse_reference(reference, where=where)
    for problem in problems(images, _IMAGES, ("images",)):
        raise ImageError(problem.message, hint=problem.hint, where=where)
    return tuple(
        to_record(ImageRecipe, table, reference=reference, config=to_record(ImageConfig, table))
        for reference, table in images.items()
    )
