"""`generate --watch`: generate whenever a file changes that the result depends on, until the user stops it."""

import time
from collections.abc import Callable
from typing import Any, NoReturn

from contrast_tasks.cli.context import Context
from contrast_tasks.cli.snapshot import signature_at
from contrast_tasks.errors import ContrastError, UsageError
from contrast_tasks.report.model import Report
from contrast_tasks.settings.load import OBSERVED_NAME
from contrast_tasks.settings.model import FILE_NAME
from contrast_tasks.settings.outputs import STATE

_FORMS = ("text", "github", "events")
# How often files are looked at, and how long they must rest: an editor writes several.
_POLL_S = 0.5
_sleep = time.sleep
_ALWAYS = (FILE_NAME, OBSERVED_NAME, "dodo.py")

Signatures = dict[str, list[int]]


def watch(context: Context, flags: dict[str, Any], run: Callable[[], Report]) -> NoReturn:
    """Run, and run again after each change; ends with KeyboardInterrupt only.

    Raises UsageError for a form of output that needs an end.
    """
    if context.console.form not in _FORMS:
        raise UsageError(
            f"--watch has no end, found --output {context.console.form}, expected one of {', '.join(_FORMS)}"
        )
    seen = _look(context, flags)
    while True:
        context.console.end(_report_of(run))
        now = _look(context, flags)
        if now != seen:
            # What the run wrote, or what changed meanwhile; the next run tells the two apart.
            seen = now
            continue
        context.console.say(f"watching {len(seen)} files and folders, Ctrl-C ends it")
        seen = _wait(context, seen)


def _wait(context: Context, seen: Signatures) -> Signatures:
    """Return the signatures once they differ from those seen, and have stayed the same for one interval."""
    last = seen
    while True:
        _sleep(_POLL_S)
        now = {path: signature_at(str(context.root / path)) for path in seen}
        if now == last != seen:
            return now
        last = now


def _report_of(run: Callable[[], Report]) -> Report:
    try:
        return run()
    except ContrastError as error:
        return Report.of_error("generate", error)


def _look(context: Context, flags: dict[str, Any]) -> Signatures:
    """Return the signatures of what the result depends on, and of the results; without settings, of theirs.

    The store is left out: a run may write there without anything having changed, and only costs time if it is lost.
    """
    from contrast_tasks.tasks.footprint import footprint

    try:
        paths = {*_ALWAYS, *footprint(context.workspace(**flags))}
    except ContrastError:
        paths = {*_ALWAYS}
    store = f"{context.root}/{STATE}/store/"
    signatures = {path: signature_at(str(context.root / path)) for path in sorted(paths)}
    return {path: each for path, each in signatures.items() if not path.startswith(store)}
