"""An OCI specification in the form of the agent's messages, without what the shim keeps from its guest.

Source: docs/internals/policy.md 3.3 and 4.6.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_DROPPED_NAMESPACES = ("network", "cgroup", "time", "pid")
_SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")


def specification(
    spec: Mapping[str, Any],
    *,
    mounts: Sequence[Mapping[str, Any]],
    annotations: Mapping[str, str],
    root: str,
) -> dict[str, Any]:
    """Return the member `OCI`; mounts, annotations and the path of the root are the guest's."""
    return {
        "Version": spec["ociVersion"],
        "Process": process(spec["process"]),
        "Root": {"Path": root, "Readonly": spec["root"].get("readonly", False)},
        "Hostname": spec.get("hostname", ""),
        "Mounts": [_mount(each) for each in mounts],
        "Hooks": None,
        "Annotations": dict(annotations),
        "Linux": _linux(spec["linux"]),
        "Solaris": None,
        "Windows": None,
    }


def process(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a process; SELinux labels do not reach the guest."""
    user = given["user"]
    capabilities = given.get("capabilities")
    return {
        "Terminal": given.get("terminal", False),
        "ConsoleSize": None,
        "User": {
            "UID": user.get("uid", 0),
            "GID": user.get("gid", 0),
            "AdditionalGids": list(user.get("additionalGids", ())),
            "Username": "",
        },
        "Args": list(given["args"]),
        "Env": list(given.get("env", ())),
        "Cwd": given["cwd"],
        "Capabilities": None
        if capabilities is None
        else {name.capitalize(): list(capabilities.get(name, ())) for name in _SETS},
        "Rlimits": [
            {"Type": each["type"], "Hard": each["hard"], "Soft": each["soft"]}
            for each in given.get("rlimits", ())
        ],
        "NoNewPrivileges": given.get("noNewPrivileges", False),
        "ApparmorProfile": given.get("apparmorProfile", ""),
        "OOMScoreAdj": given.get("oomScoreAdj", 0),
        "SelinuxLabel": "",
    }


def executed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a process that joins a running container: its rights and scores stay on the host."""
    kept = {key: given[key] for key in ("terminal", "user", "args", "env", "cwd") if key in given}
    return process(kept)


def resources(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return limits of a control group; which processors and devices it may use stays on the host."""
    memory, cpu = given.get("memory"), given.get("cpu")
    return {
        "Devices": [],
        "Memory": None
        if memory is None
        else {
            "Limit": memory.get("limit", 0),
            "Reservation": memory.get("reservation", 0),
            "Swap": memory.get("swap", 0),
            "Kernel": memory.get("kernel", 0),
            "KernelTCP": memory.get("kernelTCP", 0),
            "Swappiness": memory.get("swappiness", 0),
            "DisableOOMKiller": memory.get("disableOOMKiller", False),
        },
        "CPU": None
        if cpu is None
        else {
            "Shares": cpu.get("shares", 0),
            "Quota": cpu.get("quota", 0),
            "Period": cpu.get("period", 0),
            "RealtimeRuntime": cpu.get("realtimeRuntime", 0),
            "RealtimePeriod": cpu.get("realtimePeriod", 0),
            "Cpus": "",
            "Mems": "",
        },
        "Pids": None,
        "BlockIO": None,
        "HugepageLimits": [
            {"Pagesize": each["pageSize"], "Limit": each["limit"]}
            for each in given.get("hugepageLimits", ())
        ],
        "Network": None,
    }


def shares_processes(spec: Mapping[str, Any]) -> bool:
    """Return whether a container joins the process namespace of its sandbox."""
    found = spec["linux"].get("namespaces", ())
    return any(each["type"] == "pid" and each.get("path") for each in found)


def _mount(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "destination": given["destination"],
        "source": given["source"],
        "type_": given["type"],
        "options": list(given["options"]),
    }


def _linux(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "UIDMappings": [],
        "GIDMappings": [],
        "Sysctl": dict(given.get("sysctl", {})),
        "Resources": resources(given["resources"]),
        "CgroupsPath": given["cgroupsPath"],
        "Namespaces": [
            {"Type": each["type"], "Path": ""}
            for each in given.get("namespaces", ())
            if each["type"] not in _DROPPED_NAMESPACES
        ],
        "Devices": [
            {
                "Path": each["path"],
                "Type": each["type"],
                "Major": each.get("major", 0),
                "Minor": each.get("minor", 0),
                "FileMode": each.get("fileMode", 0),
                "UID": each.get("uid", 0),
                "GID": each.get("gid", 0),
            }
            for each in given.get("devices", ())
        ],
        "Seccomp": None,
        "RootfsPropagation": given.get("rootfsPropagation", ""),
        "MaskedPaths": list(given.get("maskedPaths", ())),
        "ReadonlyPaths": list(given.get("readonlyPaths", ())),
        "MountLabel": "",
        "IntelRdt": None,
    }
