"""The Python packages that an image's modules import, with what those need, as wheels of requirements-dev.lock.

That has what requirements.lock has, in the same versions, and kubectl.
"""

import ast
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from contrast_tasks.errors import ContrastError
from contrast_tasks.files import sha256_hex
from contrast_tasks.images.base.pins import Wheel
from contrast_tasks.images.own_files import module_files
from contrast_tasks.images.whole import Plan
from dev.checkout import ROOT
from dev.packages.debian import PYTHON

# The C library of the images is newer than all of these.
_PLATFORMS = tuple(
    f"manylinux{version}_x86_64"
    for version in ("_2_17", "2014", "_2_27", "_2_28", "_2_31", "_2_34")
)
_ABIS = (f"cp{PYTHON.replace('.', '')}", "abi3", "none")
_ENVIRONMENT = {
    "python_version": PYTHON,
    "python_full_version": f"{PYTHON}.0",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "os_name": "posix",
    "extra": "",
}
_WHOLE = "contrast_tasks"
# The others are for pods of the platform `local`, which run where their programs are.
_EXTRAS = ("measure", "simulate", "ui")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


class NoWheels(ContrastError):
    """The wheels cannot be found."""


def packages_of(plan: Plan) -> tuple[str, ...]:
    """Return the names of the Python packages that an image needs, sorted: what it imports, and what that requires.

    An image of the whole command line needs what that is installed with, since some of it is imported by name.
    """
    known = packages_distributions()
    waiting = {source.partition(":")[0] for source in plan.recipe.programs.values()}
    if _WHOLE in plan.recipe.files.values():
        waiting |= set(declared_requirements())
    for place, sources in module_files(plan.recipe, plan.folder, plan.packages):
        own = set(plan.packages) or {name.split("/")[0].removesuffix(".py") for name in sources}
        for name in foreign_names(sources.values()):
            if name.partition(".")[0] not in own:
                waiting.add(_distribution(name, known, place))
    found: set[str] = set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            waiting.update(_requirements(name))
    return tuple(sorted(found))


def declared_requirements() -> Iterator[str]:
    """Yield what an installation of the command line for clusters requires, and pip, with which it makes images."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *(each for name in _EXTRAS for each in extras[name])]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(_ENVIRONMENT):
            yield requirement.name
    yield "pip"


def foreign_names(sources: Iterable[bytes]) -> set[str]:
    """Return what modules import that is not of Python's own library."""
    names: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module)
    return {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names}


def _distribution(module: str, known: Mapping[str, list[str]], place: str) -> str:
    top = module.partition(".")[0]
    # Packages share the namespace `google`.
    found = ["protobuf"] if top == "google" else sorted(set(known.get(top, ())))
    if len(found) != 1:
        raise NoWheels(f"{place} imports {module}, which {len(found)} installed packages have")
    return found[0]


def _requirements(name: str) -> Iterator[str]:
    for text in requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(_ENVIRONMENT):
            yield requirement.name


def pinned_versions() -> dict[str, str]:
    """Return the versions of requirements-dev.lock by name."""
    text = (ROOT / "requirements-dev.lock").read_text()
    return {canonicalize_name(name): version for name, version in _PINNED.findall(text)}


def wheels(names: Sequence[str]) -> tuple[Wheel, ...]:
    """Return the wheels of these packages for the images' Python; pip checks them against requirements-dev.lock."""
    pinned = pinned_versions()
    text = (ROOT / "requirements-dev.lock").read_text()
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text("\n".join(_block(text, name) for name in names) + "\n")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--require-hashes", "--only-binary", ":all:", "--implementation", "cp"),
                *("--python-version", PYTHON),
                *(word for abi in _ABIS for word in ("--abi", abi)),
                *(word for each in _PLATFORMS for word in ("--platform", each)),
                *("--dest", f"{folder}/wheels", "--requirement", str(wanted)),
            ],
            check=False,
        )
        if done.returncode:
            raise NoWheels("pip cannot download the wheels", hint="see pip's output above")
        found = [_wheel(path) for path in sorted(Path(folder, "wheels").iterdir())]
    for wheel in found:
        if pinned.get(wheel.name) != wheel.version:
            raise NoWheels(
                f"pip took {wheel.name} {wheel.version}, requirements-dev.lock has another"
            )
    return tuple(sorted(found, key=lambda each: each.name))


def _block(text: str, name: str) -> str:
    """Return the lines of requirements-dev.lock about one package, with its hashes and without its marker."""
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        match = _PINNED.match(block)
        if match and canonicalize_name(match[1]) == name:
            hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}", block)
            return f"{match[1]}=={match[2]} {' '.join(hashes)}"
    raise NoWheels(f"requirements-dev.lock does not have {name}")


def _wheel(path: Path) -> Wheel:
    name, version, *_ = parse_wheel_filename(path.name)
    content = path.read_bytes()
    return Wheel(
        name=str(name),
        version=str(version),
        file=path.name,
        size_bytes=len(content),
        sha256=sha256_hex(content),
    )
