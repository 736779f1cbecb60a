"""Each line of the list of what a host might change is a test named after its id (docs/internals/policy.md 9.3, docs/internals/aks.md 6).

Here are those that have no table of their own, and the check that no line is without a test.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.profiles import KATA_QEMU_BLOCK
from contrast_tasks.policy.text import render_policy
from tests.fakes.policy import bent, life_of, one_container

TESTS = Path(__file__).parent
# From and to; what lies between N14 and N20 and the like was never given away.
LINES = (
    ("n", 1, 14),
    ("n", 20, 37),
    ("n", 40, 53),
    ("n", 60, 75),
    ("n", 80, 87),
    ("n", 90, 99),
    ("g", 1, 12),
)
ROWS = 46


def _ids() -> list[str]:
    return [
        f"{kind}{number:02}" for kind, first, last in LINES for number in range(first, last + 1)
    ]


def _names_in(path: Path) -> Iterator[str]:
    """Yield the names of a module's tests and the texts of their tables; comments and docstrings name no test."""
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield f"{node.name}_"
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        ):
            yield f"_{node.value} "


def test_no_line_of_the_list_is_without_a_test() -> None:
    modules = [each for each in sorted(TESTS.glob("test_*.py")) if each != Path(__file__)]
    texts = [text for each in modules for text in _names_in(each)]
    # This module has the list itself among its texts.
    texts += [text for text in _names_in(Path(__file__)) if text.startswith("test_")]
    named = {name.lower() for text in texts for name in re.findall(r"_([NnGg]\d\d)[_ ]", text)}

    assert [each for each in _ids() if each not in named] == []


def test_no_row_of_the_table_of_aks_is_without_a_test() -> None:
    texts = "".join(_names_in(TESTS / "test_aks.py"))
    spans = re.findall(r"rows?_(\d+)(?:_(?:to|and)_(\d+))?", texts)
    rows = {row for first, last in spans for row in range(int(first), int(last or first) + 1)}

    assert sorted(set(range(1, ROWS + 1)) - rows) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_n29_without_links_only_the_api_server_has_variables(engine: str) -> None:
    data = one_container("", pod="enableServiceLinks: false")
    guest = PolicyEngine(render_policy(data), engine=engine)
    request = _before(guest, life_of(data), "create app")
    more = bent(request.input, "OCI/Process/Env/+", "X_SERVICE_HOST=10.0.0.1")

    assert dict(guest.ask(request.kind, more).codes) == {"E_ENV": ("X_SERVICE_HOST",)}
    assert guest.ask(request.kind, request.input).allowed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options",
    [["create_filesystem"], ["encryption_key=", "create_filesystem"], [], None],
    ids=["dropped", "no key", "none", "null"],
)
def test_n48_an_empty_disk_is_encrypted(options: Any, engine: str) -> None:
    data = one_container(
        "volumeMounts: [{name: d, mountPath: /d}]",
        pod="volumes: [{name: d, emptyDir: {}}]",
        profile=KATA_QEMU_BLOCK,
    )
    guest = PolicyEngine(render_policy(data), engine=engine)
    request = _before(guest, life_of(data, shim="stock-4.1.0"), "create app")
    changed = bent(request.input, "storages/1/driver_options", options)

    assert set(guest.ask(request.kind, changed).codes) == {"E_STORAGE"}
    assert guest.ask(request.kind, request.input).allowed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["WriteStreamRequest", "CloseStdinRequest"])
def test_n92_nothing_is_written_to_a_process(kind: str, engine: str) -> None:
    data = one_container("")
    guest = PolicyEngine(render_policy(data), engine=engine)
    life = life_of(data)
    request = _before(guest, life, "remove app")
    found = guest.ask(
        kind, {"container_id": request.input["container_id"], "exec_id": "", "data": []}
    )

    assert (found.allowed, set(found.codes)) == (False, {"E_REFUSED"})


def _before(guest: PolicyEngine, life: list[Request], purpose: str) -> Request:
    """Ask for everything before the request of that purpose, and return it."""
    for request in life:
        if request.purpose == purpose:
            return request
        assert guest.ask(request.kind, request.input).allowed, request.purpose
    raise KeyError(purpose)
