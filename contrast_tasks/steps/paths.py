"""What names a project, and where its files lie; nothing here looks at any of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contrast_tasks.steps.index import SourceFile

COORDINATOR = "coordinator.yml"
# How the Coordinator's template appears among the sources.
COORDINATOR_SOURCE = f"<{COORDINATOR}>"
# The simulated processor of platform `local`, relative to the project.
PROCESSOR = ".contrast/local/processor"
STATE = ".contrast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What names a project: enough for another process to open the same one.

    root: absolute path; overrides: TOML lines from --set; flags: (dotted key, value) pairs.
    state: folder of what is kept between runs, relative to root.
    """

    root: str
    overrides: tuple[str, ...] = ()
    flags: tuple[tuple[str, Any], ...] = ()
    state: str = STATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where things lie, relative to the project, with `/`."""

    build: str
    manifest: str
    state: str = STATE

    @property
    def check(self) -> str:
        """Return the outcome of the checks."""
        return f"{self.build}/check.json"

    @property
    def candidate(self) -> str:
        """Return the manifest as it will be once every other output is written."""
        return f"{self.state}/candidate.json"

    @property
    def accepted(self) -> str:
        """Return what the checks accepted last time."""
        return f"{self.state}/accepted"

    @property
    def sources(self) -> str:
        """Return the findings about the sources as a whole."""
        return f"{self.state}/sources.json"

    @property
    def keys(self) -> str:
        """Return the public parts of the owner keys."""
        return f"{self.state}/keys.json"

    def work(self, workload: str) -> str:
        """Return the result of a workload's costly step, before it is published."""
        return f"{self.state}/results/{workload}"

    def record(self, workload: str) -> str:
        """Return the published record of a workload."""
        return f"{self.build}/workloads/{workload}.json"

    def policy(self, workload: str) -> str:
        """Return the published policy of a workload."""
        return f"{self.build}/policies/{workload}.rego"

    def deployment(self, source: "SourceFile") -> str:
        """Return the annotated YAML of a source."""
        return f"{self.build}/deployment/{source.output}"
