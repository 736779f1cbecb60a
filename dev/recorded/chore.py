"""`./doitw recorded DIR`: what the model makes of recorded pods, beside what was recorded.

The folder holds recordings of containerd, or of Kata's shim; its files tell which.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import UsageError
from contrast_tasks.runtime.refusals import ContainerRefused
from contrast_tasks.runtime.specifications import PodSpecifications, specify
from dev.recorded.cases import Case, find_cases
from dev.recorded.differences import differences
from dev.recorded.machine import machine, placeholders
from dev.recorded.shim import shim_verdicts
from dev.recorded.shim_cases import PLAN, find_shim_cases
from dev.verdicts import Verdict, tell

_ERROR = ".error.txt"
_SANDBOX = "sandbox"
# Errors have one placeholder for both.
_IDENTIFIER = re.compile("<(?:SANDBOX|CONTAINER)-ID>")


def run_recorded(words: Sequence[str] = ()) -> dict[str, Any]:
    """Compare every case; words: the folder. Raises UsageError for another number of words, SomeFailed if one differs."""
    if len(words) != 1:
        raise UsageError(f"found {len(words)} words, expected one: the folder of the recordings")
    folder = Path(words[0])
    if any(folder.resolve().glob(f"**/{PLAN}")):
        cases = find_shim_cases(folder)
        return tell(verdict for case in cases for verdict in shim_verdicts(case))
    return tell(verdict for case in find_cases(folder) for verdict in verdicts_on(case))


def verdicts_on(case: Case) -> Iterator[Verdict]:
    """Yield a verdict for each file that was recorded, and one for each that the model makes besides."""
    images = case.images()
    drawn = placeholders(case)
    objects = (*case.objects, *case.services())
    for folder in case.versions:
        recorded = _recorded(folder)
        node = machine(case, folder.name, _host_devices(case, recorded))
        made = _made(specify(case.pod, images, node, drawn, objects))
        for name in sorted(made.keys() | recorded.keys()):
            yield Verdict(
                f"{case.path.name}/recorded/{folder.name}",
                name,
                _reason(made.get(name), recorded.get(name)),
            )


def _reason(made: Any, recorded: Any) -> str:
    """Return where a file differs from its record, "" if it does not; None stands for a file that is not there."""
    if recorded is None:
        return "made, but not recorded"
    if made is None:
        return "recorded, but not made"
    return "\n".join(differences(made, recorded))


def _recorded(folder: Path) -> dict[str, Any]:
    """Return the content of each file: JSON or text, where the recorder's client has escaped quotes in errors."""
    return {
        path.name: json.loads(path.read_text())
        if path.suffix == ".json"
        else path.read_text().replace('\\"', '"')
        for path in folder.iterdir()
    }


def _made(result: PodSpecifications) -> dict[str, Any]:
    """Return what the model made, under the names of the files that a recording has."""
    found: dict[str, Any] = {}
    for name, spec in {_SANDBOX: result.sandbox, **result.containers}.items():
        if isinstance(spec, ContainerRefused):
            found[f"{name}{_ERROR}"] = _IDENTIFIER.sub("<ID>", f"{spec}\n")
        else:
            found[f"{name}.json"] = spec
    return found | ({"resolv.conf": result.resolv_conf} if result.resolv_conf else {})


def _host_devices(case: Case, recorded: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the devices of the machine's /dev, which a container that gets all of them shows."""
    for container in case.containers():
        linux = recorded.get(f"{container['name']}.json", {}).get("linux", {})
        if linux.get("resources", {}).get("devices") == [{"allow": True, "access": "rwm"}]:
            devices: Sequence[Mapping[str, Any]] = linux.get("devices", ())
            return devices
    return ()
