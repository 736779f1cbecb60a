"""Refusals of real deployments that were looked at and are right: such a pod cannot run confidentially as it is written.

By the rule of the finding and what its message says; any other refusal of the corpus is to be looked at.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple


class Refusal(NamedTuple):
    """A refusal; rule: of the catalogue. message: pattern of what is said. why: it is right."""

    rule: str
    message: str
    why: str

    def is_of(self, finding: Mapping[str, Any]) -> bool:
        """Return whether a finding, as JSON, is such a refusal."""
        return (
            finding["rule"] == self.rule and re.search(self.message, finding["message"]) is not None
        )


_SIZE = "a guest has the memory of its limits, and its node counts requests"
_HOST = "the node has no process, network or user namespace in common with a guest"
_FILES = "the host could read and change the files"
REFUSALS = (
    Refusal("memory-request", "has the memory request .* and the limit", _SIZE),
    Refusal("memory-limit", "no memory limit|and no limit|means no limit", _SIZE),
    Refusal(
        "cpu-limit", "has the CPU limit", "the releases know the measurement for one processor"
    ),
    Refusal("cpu-count", "virtual CPUs, expected at most", "the release has no ID block for more"),
    Refusal("image-volume", "declares a VOLUME", "the host would make the folder"),
    Refusal("volume-type", "of type (hostPath|nfs|csi|azureFile|gcePersistentDisk|.*Disk)", _FILES),
    Refusal("volume-mode", "mounts the claim|has volumeMode Filesystem", _FILES),
    Refusal("unsupported-field", "host(Network|PID|IPC|Users) is not supported", _HOST),
    Refusal("unsupported-field", "seLinuxOptions is not supported", "guests have no SELinux"),
    Refusal("unsupported-field", "subPath(Expr)? is not supported for this volume", _FILES),
    Refusal("config-missing", "refers to the", "the values are part of the policy"),
    Refusal("image-reference", r"'[^']*(\$\{|\{\{|ko://)", "the manifest is a template"),
    Refusal("yaml", "duplicate key", "two readers could take different values"),
    Refusal("yaml", "no Kubernetes object", "another program's file"),
    Refusal("duplicate", "found a second", "it is not clear which one is meant"),
    Refusal("no-workload", "found no workload", "nothing runs pods"),
)


def why(finding: Mapping[str, Any]) -> str:
    """Return why a refusal is right, "" for one that was not looked at."""
    return next((each.why for each in REFUSALS if each.is_of(finding)), "")
