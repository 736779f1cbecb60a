"""From the OCI specification that a node makes of a container to the config.json that runc runs here.

What changes is what a specification says about its node: paths of the kubelet and containerd, namespaces, control groups. What a
policy looks at stays: the process, its users and capabilities, the mounts and their options, masked and read-only paths.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from contrast_tasks.errors import ClusterError
from contrast_tasks.local.isolated.ability import Ability
from contrast_tasks.local.isolated.bridge import PodNetwork
from contrast_tasks.records import Record
from contrast_tasks.runtime.node import KERNEL_CAPABILITIES

OCI_VERSION: Final = "1.0.2"
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")
_STATUS: Final = Path("/proc/self/status")
# Of the members of resources, those that control groups of both versions have.
_LIMITS: Final = ("devices", "memory", "cpu", "pids")
_GROUP_OF_TERMINALS: Final = "gid=5"


class Additions(Record):
    """What the node adds for itself: the simulated processor, a stand-in's programs. variables come after all others."""

    variables: Mapping[str, str] = {}
    mounts: Sequence[Mapping[str, Any]] = ()


def runc_config(
    spec: Mapping[str, Any],
    *,
    root: Path,
    pod: PodNetwork,
    place: Callable[[str], Path],
    ability: Ability,
    group: str,
    sysctls: Mapping[str, str],
    additions: Additions,
) -> dict[str, Any]:
    """Return the configuration.

    root: of the container's file system. place: from a path of the modelled node to one of this machine. group: name of the
    control group. sysctls: those of the sandbox. Raises ClusterError for a user that does not exist in the node.
    """
    linux = spec["linux"]
    config: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": runc_process(spec["process"], ability, additions.variables),
        "root": {**spec["root"], "path": str(root)},
        "mounts": [
            *(_mount(each, place, ability) for each in spec["mounts"]),
            *additions.mounts,
        ],
        "linux": {
            "namespaces": _namespaces(linux["namespaces"], pod),
            "sysctl": dict(sysctls),
            **{
                name: linux[name]
                for name in ("maskedPaths", "readonlyPaths", "rootfsPropagation", "devices")
                if name in linux
            },
        },
    }
    if ability.limits:
        resources = linux["resources"]
        config["linux"]["cgroupsPath"] = f"/{group}"
        config["linux"]["resources"] = {
            name: resources[name] for name in _LIMITS if resources.get(name)
        }
    return config


def runc_process(
    process: Mapping[str, Any], ability: Ability, variables: Mapping[str, str]
) -> dict[str, Any]:
    """Return the process of a container, or of a command in it."""
    user = process["user"]
    if ability.users == "one":
        if user["uid"] or user["gid"]:
            raise ClusterError(
                f"it runs as user {user['uid']} and group {user['gid']}, and here only root exists",
                hint="install uidmap and give your user a range in /etc/subuid and /etc/subgid, or deploy as root",
            )
        user = {"uid": 0, "gid": 0}
    changed = {key: value for key, value in process.items() if key != "apparmorProfile"}
    own = _own_capabilities()
    return {
        **changed,
        "capabilities": {
            kind: [each for each in names if each in own]
            for kind, names in process["capabilities"].items()
        },
        "user": dict(user),
        "terminal": False,
        "env": [*process["env"], *(f"{name}={value}" for name, value in variables.items())],
        # Without a privilege of its own a process may only make itself a better victim.
        "oomScoreAdj": max(process.get("oomScoreAdj", 0), int(_OOM_SCORE.read_text())),
    }


def _own_capabilities() -> frozenset[str]:
    """Return the capabilities that this process may give away: a privileged container asks for all that a kernel has."""
    found = re.search(r"^CapBnd:\t([0-9a-f]+)$", _STATUS.read_text(), re.MULTILINE)
    mask = int(found[1], 16) if found else 0
    return frozenset(
        f"CAP_{name}" for number, name in enumerate(KERNEL_CAPABILITIES) if mask >> number & 1
    )


def _namespaces(wanted: Sequence[Mapping[str, str]], pod: PodNetwork) -> list[dict[str, str]]:
    """Return the namespaces: the pod's for network, host name and IPC, new ones for the rest."""
    shared = {"network": pod.network, "uts": pod.uts, "ipc": pod.ipc}
    kinds = {each["type"] for each in wanted} | {"cgroup"}
    return [
        {"type": kind, **({"path": str(shared[kind])} if kind in shared else {})}
        for kind in sorted(kinds | set(shared))
    ]


def _mount(
    mount: Mapping[str, Any], place: Callable[[str], Path], ability: Ability
) -> dict[str, Any]:
    options = list(mount["options"])
    if ability.users == "one":
        options = [each for each in options if each != _GROUP_OF_TERMINALS]
    if mount["type"] != "bind":
        return {**mount, "options": options}
    return {**mount, "source": str(place(mount["source"])), "options": options}
