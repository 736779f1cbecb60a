"""Carry out a function for many arguments on all processors."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from typing import Any, TypeVar

from contrast_tasks.tasks.run import processors

T = TypeVar("T")

# In a process that carries out the function; set before it becomes one.
_function: Callable[[str], Any] | None = None


def in_parallel(function: Callable[[str], T], arguments: Sequence[str]) -> Iterator[tuple[str, T]]:
    """Yield (argument, result) in the order of the arguments.

    The other processes are copies of this one, so the function may use whatever it refers to. Results and errors go
    between processes, so they must be what can be pickled.
    """
    if not arguments:
        return
    global _function  # noqa: PLW0603  # the way into a copy of this process
    workers = min(processors(), len(arguments))
    if workers == 1 or "fork" not in get_all_start_methods():
        for each in arguments:
            yield each, function(each)
        return
    _function = function
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
            yield from zip(arguments, pool.map(_call, arguments), strict=True)
    finally:
        _function = None


def _call(argument: str) -> Any:
    assert _function is not None  # noqa: S101  # set before the fork
    return _function(argument)
