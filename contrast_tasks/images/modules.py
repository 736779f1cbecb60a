"""The source files that a program needs, so that its image contains only these.

They are found from import statements, including those inside functions; nothing is imported or run.
"""

import ast
import os
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from contrast_tasks.errors import ImageError


def source_files(
    root: Path, modules: Collection[str], *, packages: Collection[str] = ()
) -> dict[str, bytes]:
    """Return the files below `root` that `modules` need, by path relative to it, sorted.

    These are the modules, those they import directly or indirectly, and the `__init__.py` of each package on the way.
    Packages outside `root` are left out. packages: if given, only these are followed; in an installation, `root` also
    holds the packages of others. Raises ImageError for a missing module and for one that is not Python.
    """
    found: dict[str, bytes] = {}
    for module in modules:
        if _file_of(root, module) is None:
            raise ImageError(f"found no module {module}, wanted {module.replace('.', '/')}.py")
    waiting = [(module, False) for module in modules]
    # Most modules are imported by many others, and each of them is to be looked for once.
    seen: set[tuple[str, bool]] = set()
    while waiting:
        module, is_guess = step = waiting.pop()
        if step in seen or (packages and module.partition(".")[0] not in packages):
            continue
        seen.add(step)
        name = _file_of(root, module)
        if name is None:
            if not is_guess:
                _check_foreign(root, module)
            continue
        if name in found:
            continue
        found[name] = (root / name).read_bytes()
        waiting += _imports(found[name], module, name, is_package=name.endswith("/__init__.py"))
        if "." in module:
            waiting.append((module.rpartition(".")[0], False))
    return dict(sorted(found.items()))


def _check_foreign(root: Path, module: str) -> None:
    is_ours = _file_of(root, module.partition(".")[0]) is not None
    # A folder without __init__.py is a package too.
    if is_ours and not root.joinpath(*module.split(".")).is_dir():
        raise ImageError(f"module {module} is imported but does not exist")


def _file_of(root: Path, module: str) -> str | None:
    """Return the path of a module below `root`, None if it is not there."""
    place = module.replace(".", "/")
    for name in (f"{place}.py", f"{place}/__init__.py"):
        if os.path.isfile(f"{root}/{name}"):  # noqa: PTH113  # thousands are looked for
            return name
    return None


@lru_cache(maxsize=1024)  # our images share most of their modules
def _imports(
    content: bytes, module: str, name: str, *, is_package: bool
) -> tuple[tuple[str, bool], ...]:
    """Return each imported name, and whether it may also be a function or class of its package."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError) as err:
        raise ImageError(f"{name} is not Python: {err}") from err
    package = module if is_package else module.rpartition(".")[0]
    return tuple(dict.fromkeys(_names(tree, package)))


def _names(tree: ast.Module, package: str) -> Iterator[tuple[str, bool]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".rstrip(".")
            yield base, False
            # `from package import name` may name a module, or something inside the package.
            yield from ((f"{base}.{alias.name}", True) for alias in node.names)
