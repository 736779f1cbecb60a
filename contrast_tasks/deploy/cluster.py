"""What deploy, restart and status need of a Kubernetes cluster, done by the user's own kubectl.

With kubectl every authentication plugin works. Server-side apply leaves fields of other controllers alone, and applying
the same objects again changes nothing.
"""

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from contrast_tasks.errors import ClusterError
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS

FIELD_MANAGER = "contrast-tasks"
ROLLED_OUT = frozenset(name for name, kind in WORKLOAD_KINDS.items() if kind.is_rolled_out)
_TIMEOUT_S = 300
_LOOK_S = 5
# A line of kubectl's log, as `E1128 03:44:19.099484   21711 memcache.go:265] ...`.
_LOG_LINE = re.compile(r"[EWIF]\d{4} \d\d:\d\d:")
_WAITS = re.compile(r"--timeout=(\d+)s")
_CONFLICT = re.compile(r"Apply failed with \d+ conflict")


Target = tuple[str, str, str]
"""Kind, namespace as written ("": that of the kubectl context) and name of a workload."""


def run_kubectl(arguments: Sequence[str]) -> str:
    """Run kubectl and return its output. Raises ClusterError with its error output if it fails."""
    limit_s = _TIMEOUT_S + sum(int(found[1]) for found in map(_WAITS.fullmatch, arguments) if found)
    try:
        done = subprocess.run(
            ["kubectl", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit_s,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as err:
        raise ClusterError(
            "kubectl is not installed", hint="install it, or use platform local"
        ) from err
    except OSError as err:
        raise ClusterError(f"kubectl cannot be run: {(err.strerror or '').lower()}") from err
    except subprocess.TimeoutExpired as err:
        raise ClusterError(f"kubectl {arguments[0]} did not end within {limit_s} s") from err
    if done.returncode != 0:
        raise _refused(arguments, done.stderr)
    return done.stdout


def _refused(arguments: Sequence[str], stderr: str) -> ClusterError:
    lines = stderr.strip().splitlines()
    message = "\n".join([line for line in lines if not _LOG_LINE.match(line)] or lines)
    hint = ""
    if _CONFLICT.search(message):
        # For example after `kubectl apply` of the same objects without --server-side.
        forced = " ".join(["kubectl", *arguments, "--force-conflicts"])
        hint = f"another tool owns these fields; take them over with '{forced}'"
    return ClusterError(f"kubectl {arguments[0]} failed: {message or 'it said nothing'}", hint=hint)


class Kubectl:
    """The cluster of the current kubectl context."""

    def __init__(
        self,
        run: Callable[[Sequence[str]], str] = run_kubectl,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._clock = clock

    def create(self, files: Sequence[Path]) -> list[str]:
        """Create the objects of files, whose names the API server completes; return a line for each."""
        words = [word for file in files for word in ("-f", str(file))]
        return self._run(["create", f"--field-manager={FIELD_MANAGER}", *words]).splitlines()

    def apply(self, places: Sequence[Path]) -> list[str]:
        """Apply files, and all below folders, server-side; return a line for each changed object."""
        arguments = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}"]
        files = [word for place in places for word in ("-f", str(place))]
        output = self._run([*arguments, "--recursive", *files])
        return [line for line in output.splitlines() if line and not line.endswith(" unchanged")]

    def restart(self, workloads: Sequence[Target]) -> tuple[str, ...]:
        """Restart workloads by new rollouts, and return their names.

        Raises ClusterError before any restart if one of them has no rollouts, as bare pods and jobs.
        """
        for kind, _, name in workloads:
            if kind not in ROLLED_OUT:
                raise ClusterError(
                    f"{kind}/{name} cannot be restarted in place",
                    hint="delete it, then deploy again",
                )
        for workload in workloads:
            self._run(["rollout", "restart", *_named(workload)])
        return tuple(name for _, _, name in workloads)

    def wait(self, workloads: Sequence[Target], *, timeout_s: float) -> None:
        """Return when all workloads with rollouts are rolled out. Raises ClusterError if that takes longer."""
        end = self._clock() + timeout_s
        for workload in workloads:
            if workload[0] in ROLLED_OUT:
                left_s = max(1, round(end - self._clock()))
                self._run(["rollout", "status", f"--timeout={left_s}s", *_named(workload)])

    def runtime_classes(self) -> frozenset[str]:
        """Return the names of the cluster's runtime classes; raises ClusterError if they cannot be read."""
        limit = f"--request-timeout={_LOOK_S}s"
        output = self._run(["get", "runtimeclasses", "--output=name", limit])
        return frozenset(line.rpartition("/")[2] for line in output.split())

    def logs(self, workload: Target, *, container: str, lines: int) -> str:
        """Return what the pods of a workload wrote last, each line with where it comes from."""
        which = ["--container", container] if container else ["--all-containers"]
        return self._run(["logs", "--prefix", f"--tail={lines}", *which, *_named(workload)])

    def status(self) -> str:
        """Return the output of `kubectl get pods`."""
        return self._run(["get", "pods", "-o", "wide"])


def _named(workload: Target) -> list[str]:
    kind, namespace, name = workload
    place = ["-n", namespace] if namespace else []
    return [*place, f"{kind.lower()}/{name}"]
