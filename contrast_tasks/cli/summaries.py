"""The closing lines of sign, set, verify, recover, restart and status: one per change, then a summary."""

from typing import TYPE_CHECKING

from contrast_tasks.report.hints import command, recovery_hint
from contrast_tasks.report.model import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contrast_tasks.client.recover import RecoverResult
    from contrast_tasks.client.set import SetResult
    from contrast_tasks.client.sign import SignResult
    from contrast_tasks.client.verify import VerifyResult
    from contrast_tasks.deploy.apply import StatusResult
    from contrast_tasks.deploy.pods_report import PodLine

_SHORT = 12


def sign_line(done: "SignResult", manifest: str) -> str:
    """Return the line of sign; manifest: its name in messages."""
    what = (
        f"the signature over {manifest}"
        if done.is_signed
        else f"what is to be signed for {manifest}"
    )
    return f"wrote {done.file}: {what}, transition {done.transition[:_SHORT]}"


def set_lines(done: "SetResult", manifest: str) -> list[str]:
    """Return the lines of set; manifest: its name in messages."""
    lines = [f"wrote {file}" for file in done.files]
    if done.generation > 1:
        lines.append(_rotated())
    force = _in_force(done.generation, done.manifest_sha256, done.mesh_ca_sha256)
    return [*lines, f"set {manifest} at coordinator {done.coordinator}: {force}"]


def verify_lines(done: "VerifyResult", manifest: str, folder: str) -> list[str]:
    """Return the lines of verify; manifest and folder: their names in messages."""
    force = _in_force(done.generations, done.manifest_sha256, done.mesh_ca_sha256)
    summary = f"verified coordinator {done.coordinator} against {manifest}: {force}"
    return [*(f"wrote {folder}/{file}" for file in done.files), summary]


def recover_lines(done: "RecoverResult") -> list[str]:
    """Return the lines of recover."""
    force = _in_force(done.generation, done.manifest_sha256, done.mesh_ca_sha256)
    summary = f"recovered coordinator {done.coordinator}: {force}"
    wrote = [f"wrote {file}" for file in done.files]
    return [*wrote, *([_rotated()] if done.restart else []), summary]


def restart_line(count: int, unit: str, *, waited: bool) -> str:
    """Return the summary of restart; unit: what one of them is; waited: whether it waited until they were ready."""
    if not count:
        return "there is nothing to restart"
    ready = ", all ready" if waited else ""
    return f"{number_of(count, unit)} restarted{ready}"


def status_line(found: "StatusResult") -> str:
    """Return the summary of status."""
    if not found.running and not found.on_cluster:
        return "nothing is running"
    ready = [pod.ready for pod in found.pods] + [line.is_ready for line in found.on_cluster]
    total, behind = len(ready), ready.count(False)
    if not behind:
        return f"all {total} pods are ready"
    return f"{behind} of {total} pods {'is' if behind == 1 else 'are'} not ready"


def cluster_lines(pods: "Sequence[PodLine]") -> list[str]:
    """Return a line for each pod on a cluster, and one for each workload without any."""
    width = max((len(pod.workload) for pod in pods), default=0)
    lines = []
    for pod in pods:
        line = f"{pod.workload:<{width}}  {pod.pod or '-'}  {pod.phase}"
        if pod.pod:
            line += "  ready" if pod.is_ready else "  not ready"
        if pod.restarts:
            line += f"  {number_of(pod.restarts, 'restart')}"
        lines.append(f"{line}  {pod.reason}".rstrip())
    return lines


def status_hint(found: "StatusResult") -> str:
    """Return what unready pods wait for and the command that provides it, "" if it is unknown."""
    if found.coordinator == "initial":
        return f"the coordinator has no manifest, and pods wait for it: '{command('set')}'"
    if found.coordinator == "recovery":
        return recovery_hint()
    if any(line.phase == "not deployed" for line in found.on_cluster):
        return f"'{command('deploy')}' deploys what is not on the cluster"
    waiting = [pod for pod in found.pods if pod.phase == "initializing"]
    if found.coordinator and any("coordinator refused" in pod.message for pod in waiting):
        return (
            "a pod gets its certificate when the manifest in force has its policy: "
            f"'{command('set')}'; its log is in .contrast/local/logs"
        )
    if found.coordinator and waiting:
        # Setting a manifest again would rotate the mesh CA for nothing.
        return f"pods are starting: '{command('status --wait 60')}' waits for them; their logs are in .contrast/local/logs"
    unready = [pod.workload for pod in found.pods if not pod.ready]
    return f"'{command(f'logs {unready[0]}')}' shows what its containers wrote" if unready else ""


def _in_force(generation: int, manifest_sha256: str, mesh_ca_sha256: str) -> str:
    return (
        f"manifest {manifest_sha256[:_SHORT]} is in force (generation {generation}), "
        f"mesh CA {mesh_ca_sha256[:_SHORT]}"
    )


def _rotated() -> str:
    return (
        "the mesh CA was rotated, workloads have certificates of the old one until "
        f"'{command('restart')}'"
    )
