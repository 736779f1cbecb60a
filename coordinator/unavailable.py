"""Why no state can be served or changed.

StateUnavailable        nothing is served; `name` as in the table of `coordinator.state`
├── NoManifest
├── InRecovery
│   └── Stale
└── HistoryInconsistent
RolledBack              the store holds an older history than the caller has seen
ConcurrentUpdate        somebody else was faster
"""

from contrast_tasks.errors import ContrastError


class StateUnavailable(ContrastError):
    """No state can be served; `name` is the word that probes report."""

    name = ""


class NoManifest(StateUnavailable):
    """No manifest was ever set."""

    name = "initial"


class InRecovery(StateUnavailable):
    """There is a history, but this process does not hold its keys."""

    name = "recovery"


class Stale(InRecovery):
    """There is a history that another Coordinator continued."""

    name = "stale"


class HistoryInconsistent(StateUnavailable):
    """The store holds transitions, but not the head that names the newest."""

    name = "inconsistent"


class RolledBack(ContrastError):
    """The newest manifest of the store is not, and does not come after, one that the caller has seen in force."""


class ConcurrentUpdate(ContrastError):
    """The state in force is not the one that the change was based on."""
