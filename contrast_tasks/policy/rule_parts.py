"""The parts of the rules that few pods need: layers that nodes attach, encrypted disks, devices, commands in containers.

Every pod carries the rules, and annotations are limited in size. In the file of the rules a part stands between two lines
of comment, and here is the condition on which a pod needs it. So whoever knows the data can tell which text the rules
must have. A part that is left out could never hold for the data of the pod, so no decision changes.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

_PART = r"(?ms)^# part: (\w+)\n(.*?)^# end of part\n"

Block = Mapping[str, Any]

PARTS: Final[Mapping[str, Callable[[Block], bool]]] = {
    "raw": lambda block: block["copy"]["form"] != "typed",
    "exec": lambda block: any(each["exec"] for each in block["containers"]),
    "pulls": lambda block: "layers" not in block["paths"],
    "layers": lambda block: "layers" in block["paths"],
    "disks": lambda block: any(
        storage["kind"] == "block" for each in block["containers"] for storage in each["storages"]
    ),
    "devices": lambda block: any(each["devices"] or each["gpus"] for each in block["containers"]),
}


def needed_parts(block: Block) -> frozenset[str]:
    """Return the names of the parts that the data block of a policy needs."""
    return frozenset(name for name, is_needed in PARTS.items() if is_needed(block))


def with_parts(rego: str, parts: Collection[str]) -> str:
    """Return the rules with these parts only; the lines that mark parts go too."""
    return re.sub(_PART, lambda found: found[2] if found[1] in parts else "", rego)


def parts_in(rego: str) -> tuple[str, ...]:
    """Return the names of all parts, in their order."""
    return tuple(found[1] for found in re.finditer(_PART, rego))
