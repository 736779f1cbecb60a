"""Deploy on platform `local`: hand the node its plan, wait for the Coordinator, and help it out of recovery mode.

A node that was started here hangs on this process until everything is done: a deploy that fails, is interrupted or
killed leaves nothing running.
"""

import contextlib
import http.client
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from contrast_tasks.deploy.local.pod import (
    PROBES_PORT,
    ROLE_COORDINATOR,
    is_meshed,
    pod_template,
)
from contrast_tasks.errors import ContrastError, CoordinatorUnreachable, UsageError
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.local.client import NodeClient, Tether, ensure_node
from contrast_tasks.local.messages import Applied, Plan
from contrast_tasks.local.paths import local_paths
from contrast_tasks.report.hints import command, recovery_hint
from contrast_tasks.settings.load import Settings

_PROBE_LIMIT_S = 10.0
_RECOVER_LIMIT_S = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDeploy:
    """One deploy on this machine; the fields are the arguments of `run_deploy`."""

    settings: Settings
    objects: Sequence[Annotated]
    say: Say
    environ: Mapping[str, str]
    with_mesh: bool
    fresh: bool
    start_limit_s: float

    def run(self, trial: Tether | None) -> tuple[Applied, str]:
        """Return what was done and the Coordinator's address, "" if there is none."""
        self._require_envoy()
        with Tether() if trial is None else contextlib.nullcontext(trial) as tether:
            client, started_now = ensure_node(
                local_paths(self.settings.root),
                owner_fd=tether.read_end,
                is_trial=trial is not None,
            )
            try:
                if self.fresh:
                    self._begin_anew(client)
                plan = self._plan(client)
                applied = self._apply(client, plan)
                address = next((p.address for p in plan.pods if p.role == ROLE_COORDINATOR), "")
                needs = self._recover(client, applied, address)
            except BaseException:
                # Nothing was running before this call, so nothing may run after it failed or was interrupted.
                if started_now:
                    client.shutdown()
                raise
            if trial is None and started_now:
                tether.let_go()
        if needs is not None:
            raise needs
        return applied, address

    def _require_envoy(self) -> None:
        """Raise EnvoyMissing before anything is started: pods with a mesh could never get ready."""
        from contrast_tasks.mesh.envoy_binary import EnvoyMissing, find_envoy

        meshed = [
            item.key
            for item in self.objects
            if self.with_mesh and item.is_workload and is_meshed(pod_template(item)["spec"])
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
        state = client.paths.state
        if (state / "transitions").is_dir():
            shutil.rmtree(state)
            self.say("the coordinator's earlier history is forgotten")

    def _plan(self, client: NodeClient) -> Plan:
        from contrast_tasks.deploy.local.deployment import build_plan

        return build_plan(
            self.objects,
            settings=self.settings,
            paths=client.paths,
            addresses_of=client.addresses,
            environ=self.environ,
            say=self.say,
            with_mesh=self.with_mesh,
        )

    def _apply(self, client: NodeClient, plan: Plan) -> Applied:
        applied = client.apply(plan)
        coordinators = [pod.name for pod in plan.pods if pod.role == ROLE_COORDINATOR]
        if coordinators:
            client.wait(coordinators, until="started", timeout_s=self.start_limit_s)
        for verb, names in (
            ("started", applied.started),
            ("replaced", applied.replaced),
            ("stopped", applied.stopped),
        ):
            for name in names:
                self.say(f"{verb} {name}")
        return applied

    def _recover(
        self, client: NodeClient, applied: Applied, address: str
    ) -> CoordinatorUnreachable | None:
        if not address:
            return None
        return bring_back(
            self.settings, client, address, say=self.say, had_certificates=applied.unchanged
        )


def bring_back(
    settings: Settings,
    client: NodeClient,
    address: str,
    *,
    say: Say,
    had_certificates: Sequence[str],
) -> CoordinatorUnreachable | None:
    """Recover a restarted Coordinator with what is here; return why that is not possible, None if all is well.

    had_certificates: pods that run with those of a mesh CA which a recovery replaces; they are restarted then.
    """
    if not (client.paths.state / "transitions").is_dir():
        return None
    state, reason = coordinator_state(address)
    if state == "inconsistent":
        return CoordinatorUnreachable(
            f"the coordinator cannot use its history: {reason}",
            hint=f"restore .contrast/local/state, or begin a new history with '{command('deploy --fresh')}'",
        )
    if state != "recovery":
        return None
    from contrast_tasks.client.recover import recover_with_what_is_here

    try:
        how = recover_with_what_is_here(settings, host=address, say=say, timeout_s=_RECOVER_LIMIT_S)
    except UsageError as err:
        place = f"{err.where}: " if err.where else ""
        text = f"it cannot be recovered from here: {place}{err}"
        return _in_recovery(text, err, hint=recovery_hint())
    except ContrastError as err:
        # A history that was changed, as one example, has a way out of its own.
        return _in_recovery(str(err), err, hint=err.hint or recovery_hint())
    say(f"the coordinator was restarted without its seed, recovered it with {how}")
    stale = [
        pod.name
        for pod in client.status()
        if pod.role != ROLE_COORDINATOR and pod.name in had_certificates
    ]
    # Pods that start now get their certificates anyway; others have those of a mesh CA that is gone.
    for name in client.restart(stale) if stale else ():
        say(f"restarted {name}, for a certificate of the new mesh CA")
    return None


def _in_recovery(text: str, cause: ContrastError, *, hint: str) -> CoordinatorUnreachable:
    error = CoordinatorUnreachable(f"the coordinator is in recovery mode: {text}", hint=hint)
    error.__cause__ = cause
    return error


def coordinator_state(address: str) -> tuple[str, str]:
    """Return the state that the Coordinator's probes tell, and why; two empty texts if they do not answer."""
    connection = http.client.HTTPConnection(address, PROBES_PORT, timeout=_PROBE_LIMIT_S)
    try:
        connection.request("GET", "/probe/readiness")
        document = json.loads(connection.getresponse().read())
        return str(document["status"]), str(document["reason"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return "", ""
    finally:
        connection.close()
