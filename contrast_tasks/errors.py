"""The tree of errors raised on purpose. Callers branch on the class, people read the message.

ContrastError                 1   a bug of ours when raised bare
├── UsageError                2   command line or settings
│   └── SettingsError         2   contrast.toml, environment
├── GraphError                3   dodo.py, index or cache unusable
├── FindingsError         10-12   findings of severity note, warning, error
├── MissingReferenceValues   13   the manifest needs values that only the user can know
├── ImageError               20   registry, lock or image layout
├── ClusterError             30   Kubernetes or the local backend
├── CoordinatorUnreachable   40   no answer, not ready, in recovery
├── EvidenceRejected         41   attestation evidence is not acceptable
├── MismatchError            42   evidence is fine, but manifest or policy differ from the expected ones
└── NotAuthorised            43   the owner key may not set this manifest

A message is lower case, without a full stop, and says what was expected, what was found and where. The hint says
what to do next and is shown on a line of its own.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from contrast_tasks.records import Record

if TYPE_CHECKING:
    from contrast_tasks.findings import Finding


class Location(Record):
    """A place in a user's file; line and column count from 1, pointer is an RFC 6901 JSON pointer.

    _source: the kustomization that the file was rendered from, "" for a file of the user's own.
    """

    file: str
    line: int | None = None
    column: int | None = None
    pointer: str = ""
    _source: str = ""

    @property
    def in_repository(self) -> "Location":
        """Return the place to show in a repository, which does not have what was rendered: the first line of its source."""
        return Location(file=self._source, line=1) if self._source else self

    def rendered_from(self, source: str) -> "Location":
        """Return the place, of a file that was rendered from `source`."""
        return self.replace(_source=source)

    def __str__(self) -> str:
        parts = [self.file]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)

    def to_json(self) -> dict[str, str | int]:
        """Return the known members."""
        members = {"file": self.file, "line": self.line, "column": self.column}
        known = {name: value for name, value in members.items() if value is not None}
        return {**known, "pointer": self.pointer} if self.pointer else known


class ContrastError(Exception):
    """Base of all errors raised on purpose; `hint` is shown on its own line."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", where: Location | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.where = where

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries, and default pickling loses keyword-only arguments.
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(
    cls: type[ContrastError], args: tuple[object, ...], state: dict[str, object]
) -> ContrastError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class UsageError(ContrastError):
    """The command line cannot be carried out as given."""

    exit_code = 2


class SettingsError(UsageError):
    """contrast.toml, an environment variable or a flag holds a value that is not understood."""


class GraphError(ContrastError):
    """The task graph cannot be built or its state cannot be read."""

    exit_code = 3


class MissingReferenceValues(ContrastError):
    """The manifest was written, but values that only the user can know are missing.

    missing: a finding for each value.
    """

    exit_code = 13
    missing: "Sequence[Finding]" = ()


class ImageError(ContrastError):
    """An image cannot be resolved, read or verified against its digest."""

    exit_code = 20


class ClusterError(ContrastError):
    """The cluster or the local backend refused a request or cannot be reached."""

    exit_code = 30


class CoordinatorUnreachable(ContrastError):
    """The Coordinator does not answer, is not ready, or is in recovery mode.

    reason: the Coordinator's own error code, "" for none. is_passing: whether waiting may help.
    """

    exit_code = 40
    reason = ""
    is_passing = True


class EvidenceRejected(ContrastError):
    """The presented attestation evidence is not acceptable; `reason` is one word for machines.

    by: the name of the reference value that refused it, "" for none or several.
    """

    exit_code = 41
    reason = "rejected"
    by = ""


class MismatchError(ContrastError):
    """The Coordinator is genuine, but its manifest or policy differs from the expected one."""

    exit_code = 42


class NotAuthorised(ContrastError):
    """The presented key may not change the manifest in force; `reason` is one word for machines."""

    exit_code = 43
    reason = ""


def did_you_mean(found: str, known: Sequence[str]) -> str:
    """Return `did you mean '<nearest known>'?`, or an empty string if no known name is near."""
    import difflib

    near = difflib.get_close_matches(found.lower(), [name.lower() for name in known], n=1)
    by_lower = {name.lower(): name for name in known}
    return f"did you mean '{by_lower[near[0]]}'?" if near else ""
