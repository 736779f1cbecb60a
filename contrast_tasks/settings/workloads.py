"""What contrast.toml says of workloads: by name, by pattern and for all, and how these go together.

A key is `<Kind>/<name>` or `<namespace>/<Kind>/<name>`; with `*` for any characters in a part it is a pattern. `*` alone stands
for all workloads, `<namespace>/*` for those of a namespace. Without `*` and namespace the workload is in `default`; a pattern without
namespace is for all of them.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from contrast_tasks.declare.documents import to_json
from contrast_tasks.declare.shapes import ANY_TEXT, BOOL, TEXT, List, Map, integer, one_of
from contrast_tasks.errors import Location
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.pointers import Path, to_pointer
from contrast_tasks.records import Record, member
from contrast_tasks.settings.values import (
    CONTAINER,
    FIELD,
    QUANTITY,
    SAN,
    STORE_SIZE,
    USER,
    VARIABLE,
    VOLUME,
    WORKLOAD_KEY,
)

_NAMES = List(TEXT, "an array of strings that are not empty")


class PodSettings(Record):
    """What can be said for all workloads too, in [defaults]; None is not declared."""

    memory: str | None = member(
        QUANTITY, "memory request and limit of main containers that have neither", default=None
    )
    fit_memory: bool | None = member(
        BOOL,
        "whether memory is raised to what guests need: requests to the limits, absent limits to the requests, and the first"
        " container's to what images and all containers take together",
        default=None,
    )
    cpu_limits: bool | None = member(
        BOOL,
        "whether containers keep their CPU limits; without, those that request nothing request as much",
        default=None,
    )
    user: str | None = member(
        USER,
        "user, and group behind a colon, of main containers for which neither they nor the pod name a user",
        default=None,
    )
    service_links: bool | None = member(
        BOOL, "whether pods get the variables of the namespace's Services", default=None
    )
    image_volumes: str | None = member(
        one_of("emptyDir", "refuse"),
        "what a folder is that an image declares as VOLUME and nothing is mounted at; an emptyDir is empty at each start of the"
        " pod",
        default=None,
    )
    encrypted_claims: tuple[str, ...] = member(
        List(VOLUME, 'an array of names of claims, or ["*"] for all'),
        "claims of the pod to encrypt: templates of a StatefulSet, or volumes with a persistentVolumeClaim",
        default=(),
    )
    empty_dirs: tuple[str, ...] = member(
        List(VOLUME, "an array of names of volumes"),
        "volumes and claims of the pod that become an emptyDir; what they held is not there, and what is written is lost with"
        " the pod",
        default=(),
    )
    remove: tuple[str, ...] = member(
        List(FIELD, "an array of fields such as hostNetwork or containers.web.securityContext"),
        "fields of the pod's spec to leave out; items of lists go by their name, * is any",
        default=(),
    )


class ContainerSettings(Record):
    """What contrast.toml declares for one container; it wins over the YAML."""

    memory: str | None = member(QUANTITY, "memory request and limit", default=None)
    user: str | None = member(USER, "user, and group behind a colon", default=None)
    add_capabilities: tuple[str, ...] | None = member(
        _NAMES, "capabilities to add, such as NET_ADMIN, instead of those in the YAML", default=None
    )
    drop_capabilities: tuple[str, ...] | None = member(
        _NAMES, "capabilities to drop, instead of those in the YAML", default=None
    )


class WorkloadSettings(
    PodSettings,
    first=("ingress", "egress", "admin_port", "ingress_peers", "egress_peers", "env", "sans"),
):
    """What contrast.toml declares for one workload; None is not declared.

    where: place of the table. _places: of all keys, by path in the settings; _key: the table's key; _tables: that of the table
    which a member comes from, "" for [defaults], where several go together.
    """

    where: Location
    ingress: str | None = member(
        ANY_TEXT,
        "incoming connections: name#port#flag joined by ##; empty for mutual TLS on every port",
        default=None,
    )
    egress: str | None = member(
        ANY_TEXT, "outgoing connections: name#ip:port#host:port joined by ##", default=None
    )
    admin_port: int | None = member(
        integer(1, 65535, "a port from 1 to 65535"),
        "port of the proxy's administration interface; none by default",
        default=None,
    )
    ingress_peers: str | None = member(
        ANY_TEXT,
        "names of which clients must have one in their certificate: port=name,name joined by ##",
        default=None,
    )
    egress_peers: str | None = member(
        ANY_TEXT,
        "names of which remotes must have one in their certificate: name of an egress entry=name,name joined by ##",
        default=None,
    )
    env: Mapping[str, str] = member(
        Map(VARIABLE, ANY_TEXT), "variables added to every main container", default={}
    )
    sans: tuple[str, ...] = member(
        List(SAN, "an array of IP addresses, DNS names or URIs"),
        "names and addresses to add to the workload's certificate",
        default=(),
    )
    runtime_class: bool | None = member(BOOL, "whether the workload is confidential", default=None)
    image_store_size: str | None = member(
        STORE_SIZE,
        'size of the volume that images are unpacked into, if pods get one; "0" for none',
        default=None,
    )
    secret_id: str | None = member(
        TEXT, "the name that the workload secret is derived from", default=None
    )
    containers: Mapping[str, ContainerSettings] = member(
        Map(CONTAINER, ContainerSettings, chosen="<container>"), "", default={}
    )
    _places: Mapping[Path, Location] = {}
    _key: str = ""
    _tables: Mapping[str, str] = {}

    def place(self, key: str) -> Location:
        """Return the place of a key of the table, with its pointer in the settings."""
        path = self._path(key)
        return self._places.get(path, self.where).replace(pointer=to_pointer(path))

    def is_own(self, key: str) -> bool:
        """Return whether a member comes from the table of the workload itself."""
        table = self._tables.get(key, self._key)
        return bool(table) and "*" not in table

    def _path(self, key: str) -> Path:
        table = self._tables.get(key, self._key)
        return ("workloads", table, key) if table else ("defaults", key)

    def by_table(self) -> dict[str, dict[str, Any]]:
        """Return the declared values by the table that they come from, as it is written."""
        found: dict[str, dict[str, Any]] = {}
        for key, value in declared_in(self).items():
            found.setdefault(self.title(key), {})[key] = value
        return found

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """Return the SHA-256 hex of what each table declares, by the table as it is written."""
        return {
            title: sha256_hex(canonical_json({key: _json(value) for key, value in values.items()}))
            for title, values in self.by_table().items()
        }

    def title(self, key: str) -> str:
        """Return the table that a member comes from, as it is written."""
        table = self._tables.get(key, self._key)
        return f'[workloads."{table}"]' if table else "[defaults]"


def _json(value: Any) -> Any:
    return to_json(value) if isinstance(value, Mapping) else value


class ElsewhereSettings(Record):
    """A ConfigMap or Secret that is made elsewhere; an empty table says that it exists."""

    where: Location = Location(file="")
    keys: tuple[str, ...] = member(
        _NAMES,
        "its keys; needed where all of them become variables, elsewhere they catch a mistyped one. The host chooses their values",
        default=(),
    )
    values: Mapping[str, str] = member(
        Map(TEXT, ANY_TEXT, chosen="<key>"),
        "values of keys, which become part of the policies",
        default={},
    )


class Ignore(Record):
    """Findings that are not shown."""

    rule: str = member(TEXT, "code or rule of the findings, such as G031 or memory-request")
    workloads: str = member(
        WORKLOAD_KEY, "workload that it is for, or a pattern as in [workloads]", default="*"
    )
    reason: str = member(TEXT, "why they need not be answered")


class Pattern(NamedTuple):
    """The parts of a key; namespace: "*" for all."""

    namespace: str
    kind: str
    name: str

    @property
    def weight(self) -> tuple[tuple[bool, int], ...]:
        """Return by what the more specific of two patterns is the greater: the name, then the kind, then the namespace."""
        parts = (self.name, self.kind, self.namespace)
        return tuple(("*" not in part, len(part.replace("*", ""))) for part in parts)

    def matches(self, other: "Pattern") -> bool:
        """Return whether the names of a pattern without `*` are matched."""
        return all(
            part in ("*", name) or ("*" in part and _fits(name, part))
            for name, part in zip(other, self, strict=True)
        )


def _fits(name: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern)


def parse_key(key: str) -> Pattern:
    """Return the parts of a key that has the form which the settings demand."""
    *namespace, kind, name = ["*", *key.split("/")][-3:] if key == "*" else key.split("/")
    if key == "*":
        return Pattern("*", "*", "*")
    if not namespace and kind[0].islower():
        return Pattern(kind, "*", name)
    return Pattern(namespace[0] if namespace else "*" if "*" in key else "default", kind, name)


def workload_key(key: str) -> str:
    """Return a workload's key without the namespace `default`; a pattern stays as it is."""
    return key if "*" in key else key.removeprefix("default/")


def declared_in(settings: Record) -> dict[str, Any]:
    """Return the members of settings that differ from their defaults, by name."""
    found = ((entry, getattr(settings, entry.attribute)) for entry in settings.members)
    return {entry.attribute: value for entry, value in found if value != entry.default}


class Tables:
    """All tables of workloads, and [defaults], from which the settings of each workload follow.

    own: by their keys. for_all: [defaults]. places: of all keys, by path.
    """

    def __init__(
        self,
        own: Mapping[str, WorkloadSettings],
        for_all: PodSettings,
        places: Mapping[Path, Location],
    ) -> None:
        # For memory by default there are other rules than for that of a workload.
        self._for_all = ("", for_all.replace(memory=None))
        self._own = own
        self._places = places
        patterns = [(parse_key(key), key) for key in own if "*" in key]
        self._patterns = sorted(patterns, key=lambda each: each[0].weight)
        self._are_shared = bool(patterns or declared_in(self._for_all[1]))
        self._known: dict[str, WorkloadSettings | None] = {}
        self._made: dict[tuple[str, ...], WorkloadSettings | None] = {}

    def of(self, key: str) -> WorkloadSettings | None:
        """Return the settings of a workload, key by key those of the most specific table; None if none says anything."""
        key = workload_key(key)
        own = self._own.get(key)
        if not self._are_shared:
            return own
        if key not in self._known:
            self._known[key] = self._together(key, own)
        return self._known[key]

    def _together(self, key: str, own: WorkloadSettings | None) -> WorkloadSettings | None:
        names: tuple[str, ...] = ()
        if self._patterns:
            name = parse_key(key)
            names = tuple(table for each, table in self._patterns if each.matches(name))
        if own is not None:
            names = (*names, key)
        # Most workloads have the same tables.
        if names not in self._made:
            self._made[names] = self._merged(names, own)
        return self._made[names]

    def _merged(
        self, names: tuple[str, ...], own: WorkloadSettings | None
    ) -> WorkloadSettings | None:
        layers: list[tuple[str, PodSettings]] = [self._for_all]
        layers += [(table, self._own[table]) for table in names]
        values: dict[str, Any] = {}
        tables: dict[str, str] = {}
        for table, layer in layers:
            for member_of, value in declared_in(layer).items():
                is_map = isinstance(value, Mapping)
                values[member_of] = {**values.get(member_of, {}), **value} if is_map else value
                tables[member_of] = table
        if not values:
            return own
        first = next(iter(tables.values()))
        path = ("workloads", first) if first else ("defaults",)
        where = self._places.get(path, Location(file=""))
        return WorkloadSettings(
            where=where if own is None else own.where,
            _places=self._places,
            _key=first,
            _tables=tables,
            **values,
        )


def config_settings(
    tables: Mapping[str, ElsewhereSettings], kind: str, namespace: str, name: str
) -> ElsewhereSettings | None:
    """Return what is declared of a ConfigMap or Secret that is made elsewhere, by the most specific table."""
    if not tables:
        return None
    wanted = Pattern(namespace or "default", kind, name)
    found = [(each.weight, key) for key in tables if (each := parse_key(key)).matches(wanted)]
    return tables[max(found)[1]] if found else None
