"""Tables of which a few cases stand for all: those run in the unit suite, the others beside it."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def rest_swept(cases: Iterable[Any], kept: Callable[..., bool]) -> list[Any]:
    """Return the cases of a table for `parametrize`; kept: whether one, given its values, runs in the unit suite.

    The others are marked `sweep`.
    """
    found = []
    for case in cases:
        own = case if hasattr(case, "marks") else pytest.param(*_values(case))
        marks = own.marks if kept(*own.values) else (*own.marks, pytest.mark.sweep)
        found.append(pytest.param(*own.values, marks=marks, id=own.id))
    return found


def _values(case: Any) -> tuple[Any, ...]:
    return case if type(case) is tuple else (case,)
