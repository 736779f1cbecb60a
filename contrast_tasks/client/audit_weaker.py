"""What the data block of a policy allows beyond what our generator writes, as lines of the audit report.

The rules are the same for every pod, so an attacker would change the data: a path that matches everything, a container
that does not wait for the one before it, a pattern for any variable.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks.policy.environment import KNOWN_FAMILIES
from contrast_tasks.policy.expectations import NOTHING
from contrast_tasks.policy.model import Profile
from contrast_tasks.policy.profiles import MASKED_PATHS, PROFILES, READONLY_PATHS

PRIVILEGED = "SYS_ADMIN"
PAUSE = "pause"
_DIGEST = "@sha256:"
# Mount sources that every container has: file systems of the kernel, and the pod's shared memory.
_KERNEL_SOURCES = frozenset(
    {
        *("proc", "tmpfs", "devpts", "mqueue", "sysfs", "cgroup"),
        "/run/kata-containers/sandbox/shm",
    }
)
_KERNEL_PLACES = frozenset({"/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup"})


def weaker_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each permission that our generator does not grant by itself.

    data: of the form of schemas/policy-data.schema.json.
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
        if profile.layer_folder:
            yield from _pause_layers(data["containers"][0], profile)
    for name, value in sorted(data["pod"]["sysctls"].items()):
        yield f"kernel setting {name} is {value}"
    previous = ""
    for index, container in enumerate(data["containers"]):
        label = container["name"] or PAUSE
        after = [] if index == 0 else [previous]
        yield from (f"{label}: {line}" for line in _container(container, data["shared"], after))
        if container["kind"] in {"init", "sidecar"}:
            previous = container["name"]


def _pause_layers(container: Mapping[str, Any], profile: Profile) -> Iterator[str]:
    """Yield a line if the pause container has other layers than those of the profile."""
    wanted = [layer.root for layer in reversed(profile.pause.layers or ())]
    if [root for _, root in container.get("layers", ())] != wanted:
        yield f"{PAUSE}: it has other layers than profile {profile.name}"


def _container(
    container: Mapping[str, Any], shared: Mapping[str, Any], after: list[str]
) -> Iterator[str]:
    pause = container["kind"] == PAUSE
    if container["after"] != after:
        yield "it does not wait for the container before it"
    for image in container["image"]:
        if _DIGEST not in image and not (pause and image == PAUSE):
            yield f"image {image} is not pinned by a digest"
    family = own_or_shared(container["env"], shared, "family")
    if family not in ({NOTHING} if pause else KNOWN_FAMILIES):
        yield f"variables by an unknown pattern: {family}"
    yield from _kernel(container, shared)


def _kernel(container: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[str]:
    if propagation := container["propagation"]:
        yield f"mounts of the host reach it: {propagation}"
    hidden = {key: own_or_shared(container, shared, key) for key in ("masked", "readonly")}
    seen = {*MASKED_PATHS, *READONLY_PATHS} - {*hidden["masked"], *hidden["readonly"]}
    # A privileged container sees them all, which its capabilities say already.
    if seen and PRIVILEGED not in own_or_shared(container["process"], shared, "caps"):
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


def own_or_shared(container: Mapping[str, Any], shared: Mapping[str, Any], key: str) -> Any:
    """Return a container's value, or the one that the pod's containers share."""
    return shared[key] if container[key] == "shared" else container[key]
