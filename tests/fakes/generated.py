"""What `generate` wrote for a project, asked for the requests of the pod's life in an engine."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.policy.engine import PolicyEngine
from contrast_tasks.policy.simulate import NOT_ASKED
from contrast_tasks.simulation import life_of
from contrast_tasks.steps.locked import read_lock
from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.workspace import open_workspace

Bend = Callable[[dict[str, Any]], object]


class GeneratedPod:
    """The pod of one workload, by its id as `Deployment.shop`."""

    def __init__(self, root: Path, workload: str) -> None:
        workspace = open_workspace(Spec(root=str(root)), is_fresh=True)
        project = workspace.project
        work = workspace.work(workload)
        self.policy = work.policy
        lock = read_lock(project.settings)
        life = life_of(project, project.index.workloads[workload], lock, work)
        assert not life.refused, life.refused
        self._guests: dict[tuple[str, str], tuple[PolicyEngine, dict[str, Any], str]] = {}
        self.life = [each for each in life.requests if each.kind not in NOT_ASKED]

    def request(self, purpose: str) -> dict[str, Any]:
        """Return the first request of that purpose, as `create a`."""
        found = next(each for each in self.life if each.purpose == purpose)
        return dict(found.input)

    def codes(self, purpose: str, bend: Bend, engine: str) -> Mapping[str, tuple[str, ...]]:
        """Return why the policy denies the bent request of that purpose, {} if it allows it."""
        guest, state, kind = self._before(purpose, engine)
        guest.restore(state)
        changed = json.loads(json.dumps(self.request(purpose)))
        bend(changed)
        decision = guest.ask(kind, changed)
        assert decision.allowed or decision.codes
        return decision.codes

    def _before(self, purpose: str, engine: str) -> tuple[PolicyEngine, dict[str, Any], str]:
        """Return a guest that has come to the request of that purpose, its state then, and the request's kind."""
        known = self._guests.get((purpose, engine))
        if known is None:
            guest = PolicyEngine(self.policy, engine=engine)
            purposes = [each.purpose for each in self.life]
            place = purposes.index(purpose)
            for each in self.life[:place]:
                guest.ask(each.kind, each.input)
            known = self._guests[purpose, engine] = (guest, guest.state, self.life[place].kind)
        return known

    def denied(self, engine: str) -> list[str]:
        """Return what the policy denies of the whole life, but for output that it hides."""
        guest = PolicyEngine(self.policy, engine=engine)
        decisions = [(each.purpose, guest.ask(each.kind, each.input)) for each in self.life]
        return [
            f"{purpose}: {decision.prints}"
            for purpose, decision in decisions
            if not decision.allowed and set(decision.codes) != {"E_LOGS"}
        ]
