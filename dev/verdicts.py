"""The output of a chore that checks many things: a line per check, and how many passed and failed."""

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from contrast_tasks.errors import ContrastError


class Verdict(NamedTuple):
    """The outcome of one check: of which file, what was checked, and why it failed ("": it did not)."""

    file: str
    check: str
    reason: str = ""

    def __str__(self) -> str:
        head = f"{'FAILED' if self.reason else 'ok'} {self.file}: {self.check}"
        # A reason of several lines stays one line of the output.
        return f"{head}: {' | '.join(self.reason.splitlines())}" if self.reason else head


class SomeFailed(ContrastError):
    """At least one check failed; each has its line on standard output."""


def tell(verdicts: Iterable[Verdict], *, before_total: str = "") -> dict[str, Any]:
    """Print each verdict when it is known, then `N passed, N failed`; before_total: a line before that, "" for none.

    Raises SomeFailed if any failed.
    """
    passed = failed = 0
    for verdict in verdicts:
        sys.stdout.write(f"{verdict}\n")
        sys.stdout.flush()
        if verdict.reason:
            failed += 1
        else:
            passed += 1
    if before_total:
        sys.stdout.write(f"{before_total}\n")
    total = f"{passed} passed, {failed} failed"
    sys.stdout.write(f"{total}\n")
    sys.stdout.flush()
    if failed:
        raise SomeFailed(total)
    return {"wrote": [], "passed": passed}
