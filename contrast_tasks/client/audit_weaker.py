"""What the data block of a policy allows beyond what our generator writes, in lines for the audit report.

The rules are the same for every pod, so whoever wants to hide something writes it into the data: a path that fits
everything, an order that waits for nobody, a pattern for any variable.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks.policy.environment import KNOWN_FAMILIES
from contrast_tasks.policy.expectations import NOTHING
from contrast_tasks.policy.profiles import DEFAULT_SYSCTLS, MASKED_PATHS, PROFILES, READONLY_PATHS

PRIVILEGED = "SYS_ADMIN"
PAUSE = "pause"
_DIGEST = "@sha256:"
# Sources of mounts that every container has: file systems of the kernel, and the memory that the pod shares.
_KERNEL_SOURCES = frozenset(
    {
        *("proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup"),
        "/run/kata-containers/sandbox/shm",
    }
)
_KERNEL_PLACES = frozenset({"/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup"})
_NAMESPACES = frozenset({"ipc", "mount", "uts"})


def weaker_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for everything that a reader must know and that no policy of our generator has by itself.

    data: as schemas/policy-data.schema.json has it.
    """
    profile = PROFILES.get(data["profile"])
    if profile is None:
        yield f"profile {data['profile']!r} is not known"
    else:
        wanted = profile.paths_json()
        for name, path in data["paths"].items():
            if path != wanted.get(name):
                yield f"path {name} is {path!r}, profile {profile.name} has {wanted.get(name)!r}"
        if data["sandbox"]["storages"] != [dict(each) for each in profile.sandbox_storages]:
            yield f"the sandbox has other storages than profile {profile.name}"
    for name, value in sorted(data["shared"]["sysctls"].items()):
        if DEFAULT_SYSCTLS.get(name) != value:
            yield f"kernel setting {name} is {value}"
    previous = ""
    for index, container in enumerate(data["containers"]):
        label = container["name"] or PAUSE
        after = [] if index == 0 else [previous]
        yield from (f"{label}: {line}" for line in _container(container, data["shared"], after))
        if container["kind"] in {"init", "sidecar"}:
            previous = container["name"]


def _container(
    container: Mapping[str, Any], shared: Mapping[str, Any], after: list[str]
) -> Iterator[str]:
    pause = container["kind"] == PAUSE
    if container["after"] != after:
        yield "it does not wait for the container before it"
    kind = ("sandbox", "pod_sandbox") if pause else ("container", "pod_container")
    if (container["type"]["cri"], container["type"]["kata"]) != kind:
        yield f"its type is {container['type']['cri']}"
    for image in container["image"]:
        if _DIGEST not in image and not (pause and image == PAUSE):
            yield f"image {image} is not pinned by a digest"
    if extra := sorted(set(container["namespaces"]) - _NAMESPACES):
        yield f"it has namespaces of its own: {', '.join(extra)}"
    family = _own(container["env"], shared, "family")
    if family not in ({NOTHING} if pause else KNOWN_FAMILIES):
        yield f"variables by an unknown pattern: {family}"
    yield from _kernel(container, shared)


def _kernel(container: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[str]:
    if propagation := container["propagation"]:
        yield f"mounts of the host reach it: {propagation}"
    hidden = {*_own(container, shared, "masked"), *_own(container, shared, "readonly")}
    seen = {*MASKED_PATHS, *READONLY_PATHS} - hidden
    # A privileged one sees them all, and its capabilities tell that already.
    if seen and PRIVILEGED not in _own(container["process"], shared, "caps"):
        yield f"it sees {len(seen)} paths of the kernel that are hidden or read-only by default"
    mounts = list(shared["mounts"]["all"])
    if container["kind"] != PAUSE:
        mounts += shared["mounts"]["containers"]
    for mount in (*mounts, *container["mounts"]):
        source = mount["src"]
        if source["kind"] == "eq" and source["arg"] not in _KERNEL_SOURCES:
            yield f"{source['arg']} of the guest is mounted at {mount['dst']}"
        elif source["kind"] != "eq" and mount["dst"] in _KERNEL_PLACES:
            yield f"a volume is mounted at {mount['dst']}, where the kernel's files are"


def _own(container: Mapping[str, Any], shared: Mapping[str, Any], key: str) -> Any:
    return shared[key] if container[key] == "shared" else container[key]
