"""What one pod may request of its guest: the data block of a policy, as types.

Names follow the Kata agent's requests and docs/internals/policy.md 10.2. `to_json` returns the block that the rules
read. What several containers have in common goes to `shared`, because annotations are limited in size.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

from contrast_tasks.findings import Finding
from contrast_tasks.pods.volume_kinds import DirectoryKind
from contrast_tasks.policy.model import Profile
from contrast_tasks.records import Record

DATA_VERSION = 2
ContainerKind = Literal["pause", "init", "sidecar", "main"]
SourceKind = Literal["eq", "file", "block"] | DirectoryKind


class Pattern(Record):
    """A value that only the host knows: an anchored regular expression and a text that it matches.

    In both, `$(name)`, `$(namespace)`, `$(uid)` and `$(hostname)` are replaced by the pod's identity in the request.
    is_text: the text is all that the expression matches, so the policy compares it.
    """

    regex: str
    sample: str
    is_text: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the form of the data block."""
        return {"is": self.sample} if self.is_text else {"re": self.regex}


Value = str | Pattern


class EnvPattern(Pattern):
    """A variable whose value only the host knows; regex and sample: of the whole `NAME=value`."""

    required: bool = True


class FirstVariable(Record):
    """A variable at a fixed position: its name and the entries `NAME=value` that are accepted there."""

    name: str
    choices: tuple[str | EnvPattern, ...]

    def to_json(self) -> str | dict[str, Any]:
        """Return the form of the data block: a text, a pattern, or several of them."""
        known = [_value_json(each) for each in self.choices]
        if len(known) > 1:
            return {"of": f"{self.name}=", "any": known}
        only = known[0]
        return only if isinstance(only, str) else {"of": f"{self.name}=", **only}


# A pattern that matches no variable: no character precedes the start of a text.
NOTHING = "x^"


class Environment(Record):
    """The expected environment of a process.

    head: those of runtime and image, which come first and in this order. The others come in any order:
    fixed: value by name of variables that must be present. optional: accepted values by name of those that may be absent.
    family: pattern, without anchors, of the whole `NAME=value` of variables with other names.
    """

    head: tuple[FirstVariable, ...] = ()
    fixed: Mapping[str, str] = {}
    optional: Mapping[str, tuple[str, ...]] = {}
    patterns: Mapping[str, EnvPattern] = {}
    family: str = NOTHING


class User(Record):
    """The numeric identity of a process; gids: the additional groups, sorted.

    unseen: group and additional groups where the node does not see the files of the image, None if nothing differs.
    """

    uid: int
    gid: int
    gids: tuple[int, ...]
    unseen: tuple[int, tuple[int, ...]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the form of the data block."""
        seen = (self.gid, self.gids)
        groups = [seen] if self.unseen in (None, seen) else [seen, self.unseen]
        return {
            "uid": self.uid,
            "groups": [{"gid": gid, "gids": list(gids)} for gid, gids in filter(None, groups)],
        }


class Process(Record):
    """The expected process; nnp: no-new-privileges; caps: sorted names without CAP_."""

    args: tuple[Value, ...]
    cwd: str
    tty: bool
    nnp: bool
    user: User
    caps: tuple[str, ...]


class Mount(NamedTuple):
    """One mount point.

    source: `eq` and the text, `file` and the base name of a copied file, or `ephemeral`, `local` or `block` and the volume.
    options: the accepted lists. extra: options that the kernel may add to them. written: the destination as the pod has it,
    if that is not the shortest form.
    """

    destination: str
    type: str
    source: tuple[SourceKind, str]
    options: tuple[tuple[str, ...], ...]
    extra: tuple[str, ...] = ()
    written: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the form of the data block."""
        return {
            **({"written": self.written} if self.written else {}),
            "dst": self.destination,
            "type": self.type,
            "src": {"kind": self.source[0], "arg": self.source[1]},
            "opts": [list(options) for options in self.options],
            **({"extra": list(self.extra)} if self.extra else {}),
        }


class Storage(Record):
    """A directory that the agent creates for a volume before the container starts.

    kind: `ephemeral` for a separate file system in memory, `local` for the guest's disk, `block` for a disk that the guest
    encrypts. counts: accepted numbers of such storages. fs_group: of a disk, the group that owns its files.
    """

    kind: Literal["block"] | DirectoryKind
    volume: str
    options: tuple[str, ...]
    counts: tuple[int, ...]
    fs_group: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the form of the data block."""
        return {
            "kind": self.kind,
            "volume": self.volume,
            "options": list(self.options),
            "counts": list(self.counts),
            **({"fs_group": self._fs_group()} if self.kind == "block" else {}),
        }

    def _fs_group(self) -> dict[str, int] | None:
        # The runtime asks for the change always, whatever fsGroupChangePolicy says.
        if self.fs_group is None:
            return None
        return {"group_id": self.fs_group, "group_change_policy": 0}


class Container(Record):
    """The expectations of one container; the name of the pause container is "".

    after: names of containers that must start before it. images: accepted sources of the image pull. layers: name and root
    hash of each layer, the top one first, where the node attaches them, and None elsewhere.
    propagation: the expected RootfsPropagation. gpus: number of passed-through GPUs.
    """

    name: str
    kind: ContainerKind
    after: tuple[str, ...]
    process: Process
    env: Environment
    mounts: tuple[Mount, ...]
    storages: tuple[Storage, ...]
    images: tuple[str, ...]
    layers: tuple[tuple[str, str], ...] | None
    rootfs_ro: bool
    pidns: bool
    masked: tuple[str, ...]
    readonly: tuple[str, ...]
    propagation: str
    devices: tuple[str, ...]
    gpus: int
    exec: tuple[tuple[Value, ...], ...]
    logs: bool

    @cached_property
    def nested(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs (outer, inner) of mount points where one contains the other, sorted."""
        points = sorted(mount.destination for mount in self.mounts)
        return tuple(
            (outer, inner)
            for outer, folder in [(point, point.rstrip("/") + "/") for point in points]
            for inner in points
            if inner.startswith(folder) and inner != outer
        )


class PodIdentity(Record):
    """The identity of the pod.

    name_re: anchored pattern of its name, which name_sample matches. namespace: None lets the first request choose it.
    hostname: None is the pod's name.
    """

    name_re: str
    name_sample: str
    namespace: str | None
    annotations: Mapping[str, str]
    hostname: Value | None = None


class PolicyData(Record):
    """All expectations of one pod; findings: those of the derivation, which are not part of the policy.

    copy_names: base names of files and directories that the shim may copy. copy_watched: those it may change later.
    """

    profile: Profile
    pod: PodIdentity
    containers: tuple[Container, ...]
    sysctls: Mapping[str, str]
    copy_names: tuple[str, ...]
    copy_watched: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    def container(self, name: str) -> Container:
        """Return a container by name; raises KeyError if there is none."""
        for each in self.containers:
            if each.name == name:
                return each
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Return the data block of the policy (schemas/policy-data.schema.json)."""
        shared = _Shared(self)
        return {
            "version": DATA_VERSION,
            "profile": self.profile.name,
            "pod": {
                "name_re": self.pod.name_re,
                "namespace": self.pod.namespace,
                "annotations": dict(self.pod.annotations),
                "hostname": None if self.pod.hostname is None else _value_json(self.pod.hostname),
                "sysctls": dict(self.sysctls),
            },
            "paths": self.profile.paths_json(),
            "shared": shared.to_json(),
            "containers": [shared.container_json(each) for each in self.containers],
            "sandbox": {"storages": [dict(each) for each in self.profile.sandbox_storages]},
            "copy": {
                "form": self.profile.copy_form,
                "names": list(self.copy_names),
                "watched": list(self.copy_watched),
            },
            "requests": dict(self.profile.requests),
        }


class _Shared:
    """What the containers have in common, and the containers without it."""

    def __init__(self, data: PolicyData) -> None:
        model = data.containers[-1]  # a main container; most of the others have the same lists
        self.caps = model.process.caps
        self.masked = model.masked
        self.readonly = model.readonly
        self.family = model.env.family
        self.all = _common([each.mounts for each in data.containers])
        workloads = [each.mounts for each in data.containers if each.kind != "pause"]
        self.workloads = tuple(m for m in _common(workloads) if m not in self.all)
        self.nested = tuple(
            pair
            for pair in model.nested
            if all(pair in each.nested for each in data.containers if each.kind != "pause")
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "caps": list(self.caps),
            "family": self.family,
            "masked": list(self.masked),
            "readonly": list(self.readonly),
            "mounts": {
                "all": [mount.to_json() for mount in self.all],
                "containers": [mount.to_json() for mount in self.workloads],
            },
            "nested": [list(pair) for pair in self.nested],
        }

    def container_json(self, each: Container) -> dict[str, Any]:
        pause = each.kind == "pause"
        inherited = self.all if pause else self.all + self.workloads
        process, env = each.process, each.env
        return {
            "name": each.name,
            "kind": each.kind,
            "after": list(each.after),
            "process": {
                "args": [_value_json(arg) for arg in process.args],
                "cwd": process.cwd,
                "tty": process.tty,
                "nnp": process.nnp,
                "user": process.user.to_json(),
                "caps": _or_shared(process.caps, self.caps),
            },
            "env": {
                "head": [each.to_json() for each in env.head],
                "fixed": dict(env.fixed),
                "optional": {name: list(values) for name, values in env.optional.items()},
                "pattern": {
                    name: {**pattern.to_json(), "required": pattern.required}
                    for name, pattern in env.patterns.items()
                },
                "family": "shared" if env.family == self.family else env.family,
            },
            "mounts": [mount.to_json() for mount in each.mounts if mount not in inherited],
            "nested": [list(pair) for pair in each.nested if pair not in self.nested],
            "storages": [storage.to_json() for storage in each.storages],
            "image": list(each.images),
            **({} if each.layers is None else {"layers": [list(layer) for layer in each.layers]}),
            "rootfs_ro": each.rootfs_ro,
            "pidns": each.pidns,
            "masked": _or_shared(each.masked, self.masked),
            "readonly": _or_shared(each.readonly, self.readonly),
            "propagation": each.propagation,
            "devices": list(each.devices),
            "gpus": each.gpus,
            "exec": [[_value_json(arg) for arg in command] for command in each.exec],
            "logs": each.logs,
        }


def _common(lists: list[tuple[Mount, ...]]) -> tuple[Mount, ...]:
    first, *others = lists
    return tuple(mount for mount in first if all(mount in other for other in others))


def _or_shared(value: tuple[str, ...], shared: tuple[str, ...]) -> list[str] | str:
    return "shared" if value == shared else list(value)


def _value_json(value: Value) -> str | dict[str, Any]:
    return value.to_json() if isinstance(value, Pattern) else value
