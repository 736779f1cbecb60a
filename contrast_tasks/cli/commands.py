"""The commands: name, summary and module, which is imported when the command runs."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import argparse

    from contrast_tasks.cli.context import Context
    from contrast_tasks.report.model import Report


class CommandModule(Protocol):
    """The module of one command."""

    EXAMPLE: str

    def configure(self, parser: "argparse.ArgumentParser") -> None:
        """Add the command's arguments."""

    def run(self, arguments: "argparse.Namespace", context: "Context") -> "Report":
        """Run the command."""


SUMMARIES: Mapping[str, str] = {
    "init": "write contrast.toml for a deployment",
    "generate": "make annotated YAML, policies and the manifest",
    "lint": "check the sources and show every finding",
    "plan": "show what generate would change, and what set would change at the Coordinator",
    "explain": "tell why a task ran or will run, or why a request was denied",
    "simulate": "check each pod's policy against all requests of the pod's life",
    "lock": "resolve image references in the lock file, from layouts and registries",
    "images": "make images of our components and of the project, for clusters",
    "config": "show the effective settings and where each comes from",
    "runtime": "print the Kubernetes resources that install the runtime on the nodes",
    "coordinator": "print the Kubernetes resources of the Coordinator",
    "deploy": "generate, then start the deployment",
    "status": "show what runs",
    "logs": "show what pods wrote last",
    "exec": "run a command in a pod of this machine, to look into it",
    "restart": "restart workloads, so that they get new certificates",
    "stop": "stop the deployment",
    "sign": "sign the manifest, for a set without the owner's key",
    "set": "set the manifest at the Coordinator",
    "verify": "verify the Coordinator against a manifest, and fetch what is in force",
    "recover": "give a restarted Coordinator its seed back",
    "audit": "report what the verified manifest and policies allow",
    "evidence": "show, verify or check attestation evidence in files",
    "measure": "calculate reference values from firmware, kernel and initrd",
    "probe": "observe an unknown machine, and write its reference values as settings",
    "completion": "print the script with which bash, zsh or fish completes our commands",
    "endorsements": "fetch, show or prune what vendors publish about processors",
}


# Whoever mistypes a command is never offered one of these, which end what runs.
DESTRUCTIVE = frozenset({"stop", "restart"})


def command_module(name: str) -> CommandModule:
    """Return the module of a command."""
    return importlib.import_module(f"contrast_tasks.cli.{name}")
