"""A Kubernetes cluster as the deploy stage sees it, and the real one behind kubectl.

Server-side apply: fields that other controllers own stay theirs, and a second apply of the same objects changes
nothing. Every authentication plugin works, because it is the user's own kubectl.
"""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from contrast_tasks.errors import ClusterError

FIELD_MANAGER = "contrast-tasks"
_TIMEOUT_S = 300


class Cluster(Protocol):
    """What deploy, restart and status need of a cluster."""

    def apply(self, folder: Path) -> list[str]:
        """Apply all YAML files below `folder`; return a line per object that was changed."""

    def restart(self, workloads: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
        """Restart (kind, namespace, name) workloads and return their names."""

    def status(self) -> str:
        """Return the pods' state as text."""


def run_kubectl(arguments: Sequence[str]) -> str:
    """Run kubectl and return its output; raise ClusterError with its words if it fails."""
    try:
        done = subprocess.run(
            ["kubectl", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError as err:
        raise ClusterError(
            "kubectl is not installed", hint="install it, or use platform local"
        ) from err
    except subprocess.TimeoutExpired as err:
        raise ClusterError(f"kubectl {arguments[0]} did not end within {_TIMEOUT_S} s") from err
    if done.returncode != 0:
        raise ClusterError(f"kubectl {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


class Kubectl:
    """The cluster of the current kubectl context."""

    def __init__(self, run: Callable[[Sequence[str]], str] = run_kubectl) -> None:
        self._run = run

    def apply(self, folder: Path) -> list[str]:
        """Apply server-side, recursively."""
        arguments = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}"]
        output = self._run([*arguments, "--recursive", "-f", str(folder)])
        return [line for line in output.splitlines() if line and not line.endswith(" unchanged")]

    def restart(self, workloads: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
        """Restart by a new rollout; bare pods have none."""
        restarted: list[str] = []
        for kind, namespace, name in workloads:
            if kind not in {"Deployment", "StatefulSet", "DaemonSet"}:
                raise ClusterError(
                    f"{kind}/{name} cannot be restarted in place",
                    hint="delete it, then deploy again",
                )
            self._run(["rollout", "restart", "-n", namespace, f"{kind.lower()}/{name}"])
            restarted.append(name)
        return tuple(restarted)

    def status(self) -> str:
        """Return `kubectl get pods`."""
        return self._run(["get", "pods", "-o", "wide"])
