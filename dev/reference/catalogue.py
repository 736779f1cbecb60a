"""The findings the code can make, read from the places that make them.

Every call that gets a code such as "G030" is looked at: the code, the rule that follows it, and the severity, in an argument or in the name of
what is called (`error`, `warn`, `note`). A severity that a function was given is looked up at its callers in the same module.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_CODE = re.compile(r"[A-Z]\d{3}")
_RULE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*|[EW]-[A-Z-]+")
_SEVERITY_OF = {"warn": "warning", "note": "note"}
_ORDER = ("error", "warning", "note")
# Mesh problems carry a rule; one place makes findings of them.
_MESH_CODE = "G040"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """All findings of one code and rule."""

    code: str
    rule: str
    severities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Site:
    """A call inside a function of a module."""

    module: ast.Module
    function: ast.FunctionDef | None
    call: ast.Call


def catalogue(folders: Sequence[Path]) -> list[Kind]:
    """Return the findings that the modules below the folders can make, by code and rule."""
    severities: dict[tuple[str, str], set[str]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if path.stem.endswith("_pb2"):
                continue
            for site in _sites(ast.parse(path.read_bytes())):
                for code, rule in _names(site):
                    severities.setdefault((code, rule), set()).update(_severities(site))
    return [
        Kind(code=code, rule=rule, severities=tuple(filter(found.__contains__, _ORDER)))
        for (code, rule), found in sorted(severities.items())
    ]


def _sites(module: ast.Module) -> Iterator[_Site]:
    def visit(node: ast.AST, function: ast.FunctionDef | None) -> Iterator[_Site]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield _Site(module, function, child)
            yield from visit(child, child if isinstance(child, ast.FunctionDef) else function)

    yield from visit(module, None)


def _keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((word.value for word in call.keywords if word.arg == name), None)


def _constants(node: ast.expr | None, pattern: re.Pattern[str]) -> list[str]:
    """Return the strings an expression may be that match the pattern; both branches of a choice."""
    if isinstance(node, ast.IfExp):
        return [*_constants(node.body, pattern), *_constants(node.orelse, pattern)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value] if pattern.fullmatch(node.value) else []
    return []


def _names(site: _Site) -> list[tuple[str, str]]:
    """Return the pairs of code and rule a call stands for; none if it makes no finding."""
    call = site.call
    rules = _constants(_keyword(call, "rule") or _argument(call, 0), _RULE)
    mesh = [rule for rule in rules if rule.startswith(("E-", "W-"))]
    if mesh:
        return [(_MESH_CODE, rule.partition("-")[2].lower()) for rule in mesh]
    given = _keyword(call, "code")
    after = _keyword(call, "rule")
    if given is None:
        given, after = _argument(call, 0), after or _argument(call, 1)
    codes = _constants(given, _CODE)
    found = _constants(after, _RULE)
    if len(codes) == len(found):
        pairs = list(zip(codes, found, strict=True))
    else:
        pairs = [(code, rule) for code in codes for rule in found]
    if _called(call) == "missing":
        return [(code, f"missing-{rule}") for code, rule in pairs]
    return pairs


def _argument(call: ast.Call, position: int) -> ast.expr | None:
    return call.args[position] if position < len(call.args) else None


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _severities(site: _Site) -> list[str]:
    """Return the severities a call may give its finding; both where it depends on what is found."""
    given = _keyword(site.call, "severity")
    among = [*site.call.args, given] if given is not None else list(site.call.args)
    words = [word for node in among for word in _spelled(node)]
    if words:
        return words
    if isinstance(given, ast.Name) and site.function is not None:
        handed = [
            word
            for node in ast.walk(site.module)
            if isinstance(node, ast.Call) and _called(node) == site.function.name
            for argument in node.args
            for word in _spelled(argument)
        ]
        return handed or ["error", "warning"]
    return [_SEVERITY_OF.get(_called(site.call), "error")]


def _spelled(node: ast.expr) -> list[str]:
    """Return the severities that are spelled out in an expression, as Severity.ERROR is."""
    return [
        inner.attr.lower()
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.value, ast.Name)
        and inner.value.id == "Severity"
    ]
