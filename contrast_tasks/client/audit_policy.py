"""What a policy of this project allows, read from its data block, as lines of the audit report."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contrast_tasks import __version__
from contrast_tasks.client.audit_weaker import PAUSE, PRIVILEGED, own_or_shared, weaker_lines
from contrast_tasks.mesh.grammar import MeshError, parse_environment
from contrast_tasks.pods.injected import INITIALIZER, SERVICE_MESH
from contrast_tasks.policy.profiles import DEFAULT_CAPS

# Every pod has these, so they are left out.
_USUAL_MOUNTS = frozenset(
    {
        *("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"),  # noqa: S108  # names in a guest
        *("/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedPolicy:
    """Lines about one policy.

    rules: whether the rules around the data are ours, and of which version.
    weaker: what the data allows beyond what our generator writes. requests: the allowed ones beyond the usual.
    """

    rules: str
    weaker: tuple[str, ...]
    mesh: tuple[str, ...]
    requests: str
    containers: tuple[str, ...]


def describe_policy(policy: bytes) -> DescribedPolicy:
    """Return what the policy allows. Raises ContrastError if this project did not make it."""
    from contrast_tasks.policy.text import parse_policy

    data = parse_policy(policy)
    containers = [entry for entry in data["containers"] if entry["kind"] != PAUSE]
    return DescribedPolicy(
        rules=_describe_rules(policy),
        weaker=tuple(weaker_lines(data)),
        mesh=tuple(_mesh(containers)),
        requests=_requests(data["requests"]),
        containers=tuple(
            line for container in containers for line in _container(container, data["shared"])
        ),
    )


def _describe_rules(policy: bytes) -> str:
    from contrast_tasks.policy.rules import rules_sha256
    from contrast_tasks.policy.text import claimed_version, has_our_rules

    if has_our_rules(policy):
        return f"ours, of version {__version__}, SHA-256 {rules_sha256()}"
    claimed = claimed_version(policy)
    claim = f", though its first line names version {claimed}" if claimed else ""
    return (
        f"not those of this version, {__version__}{claim}: what follows may not be all that the policy"
        " allows"
    )


def _mesh(containers: list[Mapping[str, Any]]) -> Iterator[str]:
    by_name = {container["name"]: container for container in containers}
    if SERVICE_MESH not in by_name:
        yield "none: connections of this pod are not protected"
        if INITIALIZER not in by_name:
            yield "no initializer either: the pod has no certificates"
        return
    try:
        mesh = parse_environment(by_name[SERVICE_MESH]["env"]["fixed"])
    except MeshError as err:
        yield f"its configuration is invalid, the sidecar does not start: {err}"
        return
    exceptions = ", except:" if mesh.ingress else ""
    yield f"every inbound port needs a client certificate of the mesh{exceptions}"
    for entry in mesh.ingress:
        what = "plain, no TLS at all" if entry.mode == "plain" else "TLS without client certificate"
        yield f"  port {entry.port} ({entry.name}): {what}"
    for remote in mesh.egress:
        yield f"{remote.listen} leads through the mesh to {remote.remote} ({remote.name})"
    if mesh.admin_port is not None:
        yield f"the proxy's admin interface is on port {mesh.admin_port}"


def _requests(requests: Mapping[str, Any]) -> str:
    allowed = sorted(name for name, is_on in requests.items() if is_on is True)
    return f"beyond the usual: {', '.join(allowed) or 'none'}"


def _container(container: Mapping[str, Any], shared: Mapping[str, Any]) -> Iterator[str]:
    process, env = container["process"], container["env"]
    yield f"{container['kind']:<8} {container['name']}"
    # The names of one image differ in registry and tag only; the digest identifies it.
    by_digest = {image.rpartition("@")[2]: image for image in sorted(container["image"], key=len)}
    for image in sorted(by_digest.values()):
        yield f"  image    {image}"
    # Where the node attaches layers, their root hashes say what runs, not the name of the image.
    for _, root in container.get("layers", ()):
        yield f"  layer    root hash {root}"
    yield f"  command  {' '.join(_word(word) for word in process['args'])}"
    user = process["user"]
    identities = (f"{user['uid']}:{each['gid']}" for each in user["groups"])
    yield f"  user     {' or '.join(dict.fromkeys(identities))}, in {process['cwd']}"
    first = (each if isinstance(each, str) else each["of"] for each in env["head"])
    known = {each.partition("=")[0] for each in first}
    names = sorted({*known, *env["fixed"], *env["optional"], *env["pattern"]})
    yield f"  env      {' '.join(names) or '(none)'}"
    mounts = (*container["mounts"], *shared["mounts"]["containers"], *shared["mounts"]["all"])
    for mount in sorted(mounts, key=lambda row: str(row["dst"])):
        if mount["dst"] not in _USUAL_MOUNTS:
            source = mount["src"]
            yield f"  mount    {mount['dst']} ({mount['type']}, {source['kind']} {source['arg']})"
    yield f"  caps     {_caps(own_or_shared(process, shared, 'caps'))}"
    if devices := container["devices"]:
        yield f"  devices  {' '.join(devices)}"
    if gpus := container["gpus"]:
        yield f"  gpus     {gpus}, passed through"
    for command in container["exec"]:
        yield f"  exec     {' '.join(_word(word) for word in command)}"
    if not container["logs"]:
        yield "  output   hidden from the host"


def _caps(caps: list[str]) -> str:
    """Return the capabilities as differences from the default ones."""
    if PRIVILEGED in caps:
        return f"privileged ({len(caps)} capabilities)"
    added, dropped = set(caps) - set(DEFAULT_CAPS), set(DEFAULT_CAPS) - set(caps)
    if dropped:
        return " ".join(sorted(caps)) or "(none)"
    return "the default ones" + (f" and {' '.join(sorted(added))}" if added else "")


def _word(word: str | Mapping[str, str]) -> str:
    """Return an argument as typed in a shell; a pattern as /regex/."""
    if isinstance(word, str):
        return word if word and not set(word) & set(" \t\n\"'") else json.dumps(word)
    return f"/{word['re']}/"
