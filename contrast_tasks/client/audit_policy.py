"""What a policy of this project allows, read from its data block, and as lines of the audit report."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from contrast_tasks import __version__
from contrast_tasks.client.audit_weaker import PAUSE, PRIVILEGED, own_or_shared, weaker_lines
from contrast_tasks.mesh.grammar import MeshError, parse_environment
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.pods.injected import INITIALIZER, SERVICE_MESH
from contrast_tasks.policy.profiles import DEFAULT_CAPS

# What an exempted port takes, by its mode.
MODES: Final = {"plain": "plain, no TLS at all", "tls": "TLS without client certificate"}
# Every pod has these, so they are left out.
_USUAL_MOUNTS = frozenset(
    {
        *("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"),  # noqa: S108  # names in a guest
        *("/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"),
    }
)


class AllowedContainer(NamedTuple):
    """What a policy allows one container.

    images: the shortest name of each digest. layers: root hashes, where the node attaches layers. command: as typed in a
    shell, patterns as /regex/. users: `uid:gid`. env: names of variables. mounts: those beyond the usual, as place, type and
    source. execs: commands that may be executed in it. is_hidden: its output is hidden from the host.
    """

    kind: str
    name: str
    images: tuple[str, ...]
    layers: tuple[str, ...]
    command: str
    users: tuple[str, ...]
    folder: str
    env: tuple[str, ...]
    mounts: tuple[tuple[str, str, str], ...]
    capabilities: str
    devices: tuple[str, ...]
    gpus: int
    execs: tuple[str, ...]
    is_hidden: bool


class MeshState(NamedTuple):
    """How a pod's connections are protected. fault: why its sidecar does not start; config: None without a mesh."""

    has_certificates: bool
    fault: str = ""
    config: MeshConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedPolicy:
    """What one policy allows.

    rules: whether the rules around the data are ours, and of which version. weaker: what the data allows beyond what our
    generator writes. allowed: the requests beyond the usual.
    """

    rules: str
    has_our_rules: bool
    weaker: tuple[str, ...]
    mesh: MeshState
    allowed: tuple[str, ...]
    containers: tuple[AllowedContainer, ...]


def describe_policy(policy: bytes) -> DescribedPolicy:
    """Return what the policy allows. Raises ContrastError if this project did not make it."""
    from contrast_tasks.policy.text import has_our_rules, parse_policy

    data = parse_policy(policy)
    containers = [entry for entry in data["containers"] if entry["kind"] != PAUSE]
    return DescribedPolicy(
        rules=_describe_rules(policy),
        has_our_rules=has_our_rules(policy),
        weaker=tuple(weaker_lines(data)),
        mesh=_mesh(containers),
        allowed=tuple(sorted(name for name, is_on in data["requests"].items() if is_on is True)),
        containers=tuple(_container(container, data["shared"]) for container in containers),
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


def _mesh(containers: list[Mapping[str, Any]]) -> MeshState:
    by_name = {container["name"]: container for container in containers}
    if SERVICE_MESH not in by_name:
        return MeshState(has_certificates=INITIALIZER in by_name)
    try:
        config = parse_environment(by_name[SERVICE_MESH]["env"]["fixed"])
    except MeshError as err:
        return MeshState(has_certificates=True, fault=str(err))
    return MeshState(has_certificates=True, config=config)


def mesh_lines(mesh: MeshState) -> Iterator[str]:
    """Yield the mesh of a pod as lines of the report."""
    if mesh.fault:
        yield f"its configuration is invalid, the sidecar does not start: {mesh.fault}"
        return
    if mesh.config is None:
        yield "none: connections of this pod are not protected"
        if not mesh.has_certificates:
            yield "no initializer either: the pod has no certificates"
        return
    exceptions = ", except:" if mesh.config.ingress else ""
    yield f"every inbound port needs a client certificate of the mesh{exceptions}"
    for entry in mesh.config.ingress:
        yield f"  port {entry.port} ({entry.name}): {MODES[entry.mode]}"
    for remote in mesh.config.egress:
        yield f"{remote.listen} leads through the mesh to {remote.remote} ({remote.name})"
    if mesh.config.admin_port is not None:
        yield f"the proxy's admin interface is on port {mesh.config.admin_port}"


def _container(container: Mapping[str, Any], shared: Mapping[str, Any]) -> AllowedContainer:
    process, env, user = container["process"], container["env"], container["process"]["user"]
    # The names of one image differ in registry and tag only; the digest identifies it.
    by_digest = {image.rpartition("@")[2]: image for image in sorted(container["image"], key=len)}
    identities = (f"{user['uid']}:{each['gid']}" for each in user["groups"])
    first = (each if isinstance(each, str) else each["of"] for each in env["head"])
    known = {each.partition("=")[0] for each in first}
    mounts = (*container["mounts"], *shared["mounts"]["containers"], *shared["mounts"]["all"])
    return AllowedContainer(
        kind=container["kind"],
        name=container["name"],
        images=tuple(sorted(by_digest.values())),
        # Where the node attaches layers, their root hashes say what runs, not the name of the image.
        layers=tuple(root for _, root in container.get("layers", ())),
        command=_typed(process["args"]),
        users=tuple(dict.fromkeys(identities)),
        folder=process["cwd"],
        env=tuple(sorted({*known, *env["fixed"], *env["optional"], *env["pattern"]})),
        mounts=tuple(
            (mount["dst"], mount["type"], f"{mount['src']['kind']} {mount['src']['arg']}")
            for mount in sorted(mounts, key=lambda row: str(row["dst"]))
            if mount["dst"] not in _USUAL_MOUNTS
        ),
        capabilities=_caps(own_or_shared(process, shared, "caps")),
        devices=tuple(container["devices"]),
        gpus=container["gpus"],
        execs=tuple(map(_typed, container["exec"])),
        is_hidden=not container["logs"],
    )


def container_lines(container: AllowedContainer) -> Iterator[str]:
    """Yield what a container may do as lines of the report."""
    yield f"{container.kind:<8} {container.name}"
    yield from (f"  image    {image}" for image in container.images)
    yield from (f"  layer    root hash {root}" for root in container.layers)
    yield f"  command  {container.command}"
    yield f"  user     {' or '.join(container.users)}, in {container.folder}"
    yield f"  env      {' '.join(container.env) or '(none)'}"
    for place, kind, source in container.mounts:
        yield f"  mount    {place} ({kind}, {source})"
    yield f"  caps     {container.capabilities}"
    if container.devices:
        yield f"  devices  {' '.join(container.devices)}"
    if container.gpus:
        yield f"  gpus     {container.gpus}, passed through"
    yield from (f"  exec     {command}" for command in container.execs)
    if container.is_hidden:
        yield "  output   hidden from the host"


def _typed(words: list[str | Mapping[str, str]]) -> str:
    return " ".join(map(_word, words))


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
