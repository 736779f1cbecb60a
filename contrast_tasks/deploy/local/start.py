"""Deploy on platform `local`: send the node its plan, wait for the Coordinator, and recover it if needed.

A node that is started here depends on this process until the deploy is complete, so a deploy that fails, is interrupted
or is killed leaves nothing running.
"""

import contextlib
import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.deploy.local.recovery import START_LIMIT_S, recover_if_needed
from contrast_tasks.deploy.local.sidecar import mesh_config
from contrast_tasks.errors import (
    ClusterError,
    CoordinatorUnreachable,
    MismatchError,
)
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.local.client import NodeClient, Tether, ensure_node
from contrast_tasks.local.messages import Applied, Plan
from contrast_tasks.local.paths import local_paths
from contrast_tasks.policy.engine import ENGINES
from contrast_tasks.progress import Watch, unseen
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

Say = Callable[[str], None]


_ONE_USER = (
    "pods have root only here, containers of other users do not start: install uidmap and give your user a range in /etc/subuid"
    " and /etc/subgid, or deploy as root"
)
# Source: runc, which refuses such paths of namespaces.
_COMMA = "runc takes no folder with a comma in its name (move the project)"
_NO_ENGINE = "there is no policy engine (install contrast-tasks with the extra 'simulate')"


_PACK_AGAIN = (
    "take that out of the layout, so that this version packs its own, or make the layout anew"
)


class PolicyDenied(MismatchError):
    """A pod was refused by its own policy, as its guest's agent would refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDeploy:
    """One deploy on this machine; the fields are the arguments of `run_deploy`."""

    settings: Settings
    objects: Sequence[Annotated]
    say: Say
    environ: Mapping[str, str]
    with_mesh: bool
    fresh: bool
    watch: Watch = unseen

    def run(self, trial: Tether | None) -> tuple[Applied, str]:
        """Return the changes and the Coordinator's address, "" if there is none."""
        self._require_envoy()
        paths = local_paths(self.settings.root)
        # A node that runs stays what it is.
        users = None if NodeClient(paths=paths).is_running() else self._users()
        with Tether() if trial is None else contextlib.nullcontext(trial) as tether:
            client, started_now = ensure_node(
                paths, owner_fd=tether.read_end, is_trial=trial is not None, users=users
            )
            try:
                if self.fresh:
                    self._begin_anew(client)
                plan = self._plan(client)
                applied = self._apply(client, plan)
                address = next((p.address for p in plan.pods if p.role == ROLE_COORDINATOR), "")
                help_needed = self._recover(client, applied, address) or self._denied(client)
            except BaseException:
                # Nothing was running before this call, so nothing may run after it has failed or been interrupted.
                if started_now:
                    client.shutdown()
                raise
            if trial is None and started_now:
                tether.let_go()
        if help_needed is not None:
            raise help_needed
        return applied, address

    def _users(self) -> str | None:
        """Return which users exist in the node's namespaces, None where pods are to be processes."""
        wanted = self.settings.isolation
        if wanted == "processes":
            return None
        from contrast_tasks.local.isolated.ability import find_ability

        has_engine = importlib.util.find_spec(ENGINES[0]) is not None
        found = find_ability() if has_engine else _NO_ENGINE
        if "," in str(self.settings.root):
            found = _COMMA
        if not isinstance(found, str):
            if found.users == "one":
                self.say(_ONE_USER)
            return found.users
        if wanted == "namespaces":
            where = self.settings.where("local.isolation")
            raise ClusterError(f"pods cannot have namespaces here: {found}", where=where)
        self.say(f"pods are processes without namespaces or policies here: {found}")
        return None

    def _require_envoy(self) -> None:
        """Raise EnvoyMissing before anything is started; without Envoy pods with a mesh never become ready."""
        from contrast_tasks.mesh.envoy_binary import EnvoyMissing, find_envoy

        meshed = [
            item.key
            for item in self.objects
            if self.with_mesh
            and item.is_workload
            and mesh_config(workloads.pod_spec(item.obj)) is not None
        ]
        if not meshed:
            return
        try:
            find_envoy(self.environ)
        except EnvoyMissing as err:
            without = f"leave the mesh out with '{command('deploy --without-mesh')}'"
            raise EnvoyMissing(
                f"{', '.join(meshed)} cannot run without Envoy: {err}",
                hint=f"{err.hint}; or {without}" if err.hint else without,
            ) from err

    def _begin_anew(self, client: NodeClient) -> None:
        pods = [pod.name for pod in client.status()]
        if pods:
            client.stop(pods)
            self.say(f"stopped {', '.join(pods)}, to begin anew")
        if client.paths.state.is_dir():
            shutil.rmtree(client.paths.state)
            self.say("the coordinator's earlier history is forgotten")

    def _plan(self, client: NodeClient) -> Plan:
        from contrast_tasks.deploy.local.plan import build_plan

        return build_plan(
            self.objects,
            settings=self.settings,
            paths=client.paths,
            addresses_of=client.addresses,
            environ=self.environ,
            say=self.say,
            with_mesh=self.with_mesh,
            isolated=client.is_isolated(),
        )

    def _apply(self, client: NodeClient, plan: Plan) -> Applied:
        with self.watch("starting", len(plan.pods), "pod") as progress:
            applied = client.apply(plan)
            # The others wait for its manifest.
            coordinators = [pod.name for pod in plan.pods if pod.role == ROLE_COORDINATOR]
            for pod in plan.pods:
                (progress.begin if pod.name in coordinators else progress.end)(pod.name)
            if coordinators:
                self._await_coordinators(client, coordinators)
        for verb, names in (
            ("started", applied.started),
            ("replaced", applied.replaced),
            ("stopped", applied.stopped),
        ):
            for name in names:
                self.say(f"{verb} {name}")
        return applied

    def _await_coordinators(self, client: NodeClient, names: Sequence[str]) -> None:
        from contrast_tasks.images.packing import foreign_components

        foreign = foreign_components(self.settings)
        told = f"another version of contrast-tasks packed {', '.join(foreign)}"
        if foreign:
            self.say(f"warning: {told}; it may not run here\n  hint: {_PACK_AGAIN}")
        try:
            client.wait(names, until="started", timeout_s=START_LIMIT_S)
        except ClusterError as err:
            if foreign:
                err.hint = f"{told}: {_PACK_AGAIN}"
            raise

    def _denied(self, client: NodeClient) -> PolicyDenied | None:
        """Return what policies deny at the start of pods, None if nothing; everything else keeps running."""
        if not client.is_isolated():
            return None
        pods = client.wait([], until="tried", timeout_s=START_LIMIT_S)
        lines = [f"{pod.workload}: {pod.denied}" for pod in pods if pod.denied]
        if not lines:
            return None
        return PolicyDenied(
            "; ".join(lines),
            hint=f"the rest runs; '{command('explain')}' with such a line tells what the policy compares",
        )

    def _recover(
        self, client: NodeClient, applied: Applied, address: str
    ) -> CoordinatorUnreachable | None:
        """Return why the Coordinator needs an owner's help, None if it does not; everything else keeps running."""
        try:
            if address:
                recover_if_needed(
                    self.settings,
                    client,
                    address,
                    say=self.say,
                    had_certificates=applied.unchanged,
                )
        except CoordinatorUnreachable as err:
            return err
        return None
