"""The Coordinator's user API for commands: address, waiting and retries, hints for errors.

`ask` connects, calls and disconnects. While the Coordinator is unreachable (connection refused or broken, call timed out)
it tries again every second, up to the limit, each time with a new connection and a new nonce; the user is told once. It
does not wait where waiting cannot help: evidence or manifest are refused, the Coordinator reports why it cannot serve (in
recovery mode, without a manifest) or an internal error, or another service listens at the address.

A call whose answer was lost may have been carried out, so every call must be safe to repeat; `set` reads the history
first.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from contrast_tasks.addresses import joined
from contrast_tasks.client.deployed import Given, coordinator_address
from contrast_tasks.client.kept_packs import KeptPacks
from contrast_tasks.client.session import Session, dial
from contrast_tasks.errors import CoordinatorUnreachable
from contrast_tasks.files import norm_path
from contrast_tasks.report.hints import command, recovery_hint
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.atls.types import PrivateKey
    from contrast_tasks.manifest.model import Manifest

RETRY_S = 1.0
LIMIT_S = 180.0

Result = TypeVar("Result")


class Dial(Protocol):
    """Connects to a Coordinator and attests it against the manifest, as `session.dial` does."""

    def __call__(
        self, host: str, port: int, *, manifest: "Manifest", client_key: "PrivateKey | None"
    ) -> AbstractContextManager[Session]:
        """Return the session; raise EvidenceRejected, MismatchError or CoordinatorUnreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a Coordinator is reached. limit_s: how long to wait for it; the rest is replaced in tests."""

    limit_s: float = LIMIT_S
    connect: Dial = dial
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


USUAL_REACH = Reach()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordinator:
    """One Coordinator's user API.

    project: root of the project in whose local deployment it runs, None if it was named on the command line.
    say: receives the line about waiting. kept: what was received of its history before.
    """

    host: str
    port: int
    project: Path | None
    say: Callable[[str], None]
    reach: Reach
    kept: KeptPacks | None = None

    @classmethod
    def find(
        cls, settings: Settings, given: Given, *, say: Callable[[str], None], reach: Reach
    ) -> Self:
        """Return the Coordinator at HOST:PORT; given None: the local deployment's. Raises ClusterError, UsageError."""
        host, port = coordinator_address(settings, given)
        project = settings.root if given is None and settings.is_local else None
        return cls(
            host=host,
            port=port,
            project=project,
            say=say,
            reach=reach,
            kept=KeptPacks(settings.root),
        )

    @property
    def address(self) -> str:
        """Return `host:port`, as the command line takes it."""
        return joined(self.host, self.port)

    @property
    def subject(self) -> str:
        """Return its name in messages."""
        return f"coordinator {self.address}"

    @contextmanager
    def session(
        self, manifest: "Manifest", client_key: "PrivateKey | None" = None
    ) -> Iterator[Session]:
        """Connect once, without waiting.

        Raises EvidenceRejected, MismatchError, NotAuthorised, CoordinatorUnreachable, RequestRefused, each with a hint.
        """
        from contrast_tasks.api.errors import REASON_RECOVERY, CoordinatorFailed

        try:
            with self.reach.connect(
                self.host, self.port, manifest=manifest, client_key=client_key
            ) as session:
                session.kept = self.kept
                yield session
        except CoordinatorUnreachable as err:
            if err.reason == REASON_RECOVERY:
                err.hint = recovery_hint()
            elif isinstance(err, CoordinatorFailed) and self.project is not None:
                err.hint = _log_hint(self.project, is_damage=err.is_damage)
            raise

    def ask(
        self,
        manifest: "Manifest",
        call: Callable[[Session], Result],
        client_key: "PrivateKey | None" = None,
    ) -> Result:
        """Return the result of `call`, waiting for the Coordinator if need be. Raises what `session` raises."""

        def attempt() -> Result:
            with self.session(manifest, client_key) as session:
                return call(session)

        return until_reached(attempt, say=self.say, reach=self.reach)


def until_reached(
    attempt: Callable[[], Result], *, say: Callable[[str], None], reach: Reach
) -> Result:
    """Return the result of `attempt`, made again while the Coordinator is unreachable. Raises what the last one raises."""
    deadline = reach.clock() + reach.limit_s
    is_told = False
    while True:
        try:
            return attempt()
        except CoordinatorUnreachable as err:
            if not err.is_passing or reach.clock() + RETRY_S > deadline:
                raise
            if not is_told:
                say(f"waiting for the coordinator: {err}")
                is_told = True
        reach.pause(RETRY_S)


def _log_hint(project: Path, *, is_damage: bool) -> str:
    from contrast_tasks.local.paths import local_paths

    paths = local_paths(project)
    logs = sorted(paths.logs.glob("coordinator*.log"))
    log = norm_path(logs[0] if logs else paths.logs, project)
    if not is_damage:
        return f"its log is {log}"
    return (
        f"its log is {log}; restore the object below {norm_path(paths.state, project)} from a backup, "
        f"or begin a new history with '{command('deploy --fresh')}'"
    )
