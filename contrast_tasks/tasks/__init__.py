"""The task graph and everything that knows doit; importing this package imports doit, without what we never use of it.

doit asks importlib.metadata for plugins and has a debugger at hand. The two load a mail parser, zip files and much more,
a tenth of a run that does nothing. While doit is imported, stand-ins are in their place, which load them when used.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _StandIn(ModuleType):
    """Becomes the real module when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


def _entry_points(**wanted: Any) -> Any:
    from importlib.metadata import entry_points

    return entry_points(**wanted)


def _import_doit() -> None:
    names = [name for name in ("importlib.metadata", "pdb") if name not in sys.modules]
    for name in names:
        stand_in = sys.modules[name] = _StandIn(name)
        stand_in.entry_points = _entry_points  # type: ignore[attr-defined]  # doit takes it at once
    try:
        importlib.import_module("doit")
    finally:
        for name in names:
            del sys.modules[name]


if "doit" not in sys.modules:
    _import_doit()
