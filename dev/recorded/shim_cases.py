"""A folder of recordings of Kata's shim: cases, each with what containerd handed over and what the shim asked.

<configuration>/<case>/oci/<container>.json   the OCI specifications
                       pod.json, objects.json  the pod, its ConfigMaps and Secrets
                       resolv.conf             as containerd wrote it
                       plan.json               the calls to the shim, in order
                       requests.json           the requests to the agent, in order
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks.errors import UsageError

PLAN = "plan.json"
_SANDBOX = "sandbox"
# Names of the recordings' identifiers: two characters, then digits; 64 in all.
_ID_CHARACTERS = 64


class ShimCase(NamedTuple):
    """One case; configuration: the name of the folder that it is in."""

    path: Path

    @property
    def name(self) -> str:
        """Return the case's name in messages."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def configuration(self) -> str:
        """Return the name of the shim with its configuration; what follows `@` is the version of containerd."""
        return self.path.parent.name.partition("@")[0]

    def read(self, name: str) -> Any:
        """Return a document of the case."""
        return json.loads((self.path / name).read_text())

    def identifiers(self) -> dict[str, str]:
        """Return the placeholder of each container's identifier, in the order of their creation."""
        created = [each["id"] for each in self.read(PLAN) if each["do"] == "create"]
        return {
            each: f"c{index}{index:0{_ID_CHARACTERS - len(str(index)) - 1}}"
            if index
            else "5a".ljust(_ID_CHARACTERS, "0")
            for index, each in enumerate(created)
        }

    def specification(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return what containerd hands over for a container that is created, with its placeholders."""
        path = self.path / "oci" / f"{call['label']}.json"
        text = path.read_text()
        names = self.identifiers()
        # A container that is created again has the same specification, but for its own identifier.
        first = next(
            each["id"]
            for each in self.read(PLAN)
            if each["do"] == "create" and each["label"] == call["label"]
        )
        text = text.replace(first, names[call["id"]])
        for identifier, placeholder in names.items():
            text = text.replace(identifier, placeholder)
        found: dict[str, Any] = json.loads(text)
        return found


def find_shim_cases(folder: Path) -> list[ShimCase]:
    """Return the cases of a folder of configurations, of one configuration, or the one case that the folder is.

    Raises UsageError if there is none.
    """
    folder = folder.resolve()
    for pattern in (PLAN, f"*/{PLAN}", f"*/*/{PLAN}"):
        found = sorted(folder.glob(pattern))
        if found:
            return [ShimCase(each.parent) for each in found]
    raise UsageError(f"{folder} has no case, expected folders with {PLAN}")
