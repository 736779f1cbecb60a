"""Refusals: what a peer is told about an error."""

import string
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from contrast_tasks.api.errors import (
    REASON_ARGUMENT,
    REASON_CONFLICT,
    REASON_DAMAGED,
    REASON_INCONSISTENT,
    REASON_INTERNAL,
    REASON_NO_MANIFEST,
    REASON_RECOVERY,
    REASON_ROLLED_BACK,
    REASON_STORE,
    REASONS,
    Details,
    render_details,
)
from contrast_tasks.api.packs import DocumentTooLarge
from contrast_tasks.errors import ContrastError
from coordinator.history import HistoryCorrupt
from coordinator.store.base import StoreConflict, StoreError
from coordinator.unavailable import (
    ConcurrentUpdate,
    HistoryInconsistent,
    InRecovery,
    NoManifest,
    RolledBack,
)

_MAX_LISTED = 5
# Error texts travel in HTTP/2 trailers, which peers limit to 8 KiB: percent-encoded, and once more with reason and hint in base64.
_MAX_TEXT_BYTES = 6200
_UNESCAPED = string.punctuation.replace("%", "") + " "
_MAX_FIELD = 200


class Refusal(ContrastError):
    """A reason of `contrast_tasks.api.errors`, whose status code and hint it has, and a text; all may be shown to the peer.

    found: further values by name, as the reason has them.
    """

    def __init__(
        self, reason: str, message: str, *, found: Mapping[str, str] | None = None
    ) -> None:
        known = REASONS[reason]
        super().__init__(message, hint=known.hint)
        self.reason = reason
        self.code = known.code
        self.found = found or {}

    def render(self) -> bytes:
        """Return what is sent beside the status code and the text."""
        details = Details(reason=self.reason, hint=self.hint, found=self.found)
        return render_details(self.code, str(self), details)


# Class of the error, reason, text for the peer. "" is the error's own text, which holds no path.
# Source: docs/internals/coordinator.md 2.3.
_CONCURRENT = (REASON_CONFLICT, "coordinator state was updated concurrently")
_TOLD: tuple[tuple[type[ContrastError], tuple[str, str]], ...] = (
    (NoManifest, (REASON_NO_MANIFEST, "no manifest configured")),
    (InRecovery, (REASON_RECOVERY, "coordinator is in recovery mode")),
    (HistoryInconsistent, (REASON_INCONSISTENT, "")),
    (RolledBack, (REASON_ROLLED_BACK, "")),
    (ConcurrentUpdate, _CONCURRENT),
    (StoreConflict, _CONCURRENT),
    (DocumentTooLarge, (REASON_ARGUMENT, "")),
    (HistoryCorrupt, (REASON_DAMAGED, "")),
    (StoreError, (REASON_STORE, "the coordinator's store cannot be read or written")),
    (ContrastError, (REASON_INTERNAL, "internal error")),
)


def listing(names: Sequence[str]) -> str:
    """Return the first names and the number of the others: a text for a peer must stay short."""
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def refusal_from(error: ContrastError) -> Refusal:
    """Return what the peer is told about an error; the rest goes to the log only."""
    if isinstance(error, Refusal):
        return error
    reason, text = next(told for kind, told in _TOLD if isinstance(error, kind))
    return Refusal(reason, text or str(error))


def invalid(reason: str, message: str, *, field: str = "") -> Refusal:
    """Return a refusal whose text may quote what the caller sent, cut to what fits. field: its place in the manifest."""
    return Refusal(reason, _cut(message), found={"field": field[:_MAX_FIELD]} if field else None)


def _cut(message: str) -> str:
    room = float(_MAX_TEXT_BYTES)
    for position, char in enumerate(message):
        room -= len(quote(char, safe=_UNESCAPED)) + len(char.encode()) * 4 / 3
        if room < 0:
            return message[:position] + "..."
    return message
