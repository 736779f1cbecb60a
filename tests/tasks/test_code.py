"""The digest of our own code covers what the generating steps import, and nothing else."""

from pathlib import Path

import grimp

from contrast_tasks.tasks.code import FOLDERS, all_code_files, code_files

_PACKAGE = Path(__file__).resolve().parents[2] / "contrast_tasks"


def _imported_by_steps() -> set[str]:
    graph = grimp.build_graph("contrast_tasks", cache_dir=None, exclude_type_checking_imports=True)
    steps = graph.find_descendants("contrast_tasks.steps")
    return set().union(steps, *(graph.find_upstream_modules(step) for step in steps))


def _package(module: str) -> str:
    inner = module.removeprefix("contrast_tasks").removeprefix(".")
    return inner.partition(".")[0] if (_PACKAGE / inner.partition(".")[0]).is_dir() else ""


def test_every_package_that_a_step_imports_is_covered_and_no_other() -> None:
    assert {_package(module) for module in _imported_by_steps()} | {""} == set(FOLDERS)


def test_every_module_that_a_step_imports_is_covered() -> None:
    covered = {path for path, _ in code_files()}

    for module in _imported_by_steps():
        place = _PACKAGE.parent / module.replace(".", "/")
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        assert str(file) in covered, module


def test_images_of_our_components_are_made_of_everything() -> None:
    assert {path for path, _ in code_files() if path.endswith(".py")} <= {
        path for path, _ in all_code_files()
    }
