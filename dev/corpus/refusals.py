"""Refusals of real deployments that were looked at and are right: no setting that could be guessed makes such a pod confidential.

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


REFUSALS = (
    Refusal("config-missing", "refers to the", "nobody makes it on this machine"),
    Refusal("encrypted-claim", "has the access mode", "two guests would destroy the file system"),
    Refusal("config-value", "its keys are not known", "the policy has a list of all variables"),
    Refusal("config-value", "the program to run", "the host would choose what runs"),
    Refusal("image-reference", r"'[^']*(\$\{|\{\{|ko://)", "the manifest is a template"),
    Refusal("yaml", "duplicate key", "two readers could take different values"),
    Refusal("yaml", "no Kubernetes object", "another program's file"),
    Refusal("duplicate", "found a second", "it is not clear which one is meant"),
    Refusal("no-workload", "found no workload", "nothing runs pods"),
)


def why(finding: Mapping[str, Any]) -> str:
    """Return why a refusal is right, "" for one that was not looked at."""
    return next((each.why for each in REFUSALS if each.is_of(finding)), "")
