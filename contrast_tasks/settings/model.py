"""The settings of a project as values: every key of contrast.toml is declared here, and nowhere else.

Source: docs/internals/graph.md 4.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from contrast_tasks import __version__, sans
from contrast_tasks.addresses import is_address, is_proxy
from contrast_tasks.declare.shapes import (
    ANY_TEXT,
    BOOL,
    TEXT,
    Leaf,
    List,
    Map,
    Table,
    integer,
    one_of,
    settable,
    table_of,
    text,
)
from contrast_tasks.errors import Location
from contrast_tasks.platforms import NAMES
from contrast_tasks.pods.quantities import MEMORY_PATTERN
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.pointers import Path, to_pointer
from contrast_tasks.records import Member, Record, member
from contrast_tasks.trusted_guests import PRODUCTS, SnpReference, TdxReference

FILE_NAME = "contrast.toml"
_KINDS = tuple(sorted(WORKLOAD_KINDS))
_NAME = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"


def _any_case(words: tuple[str, ...]) -> str:
    """Return the pattern of words whose letters may be capitals; not every reader of JSON Schema knows a flag for that."""
    letters = (
        f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in "|".join(words)
    )
    return f"^(?:{''.join(letters)})$"


def _is_inner_path(value: Any) -> bool:
    if not TEXT.accepts(value) or value.startswith("/"):
        return False
    parts = [part for part in value.split("/") if part not in ("", ".")]
    return bool(parts) and ".." not in parts


_PLATFORM = Leaf(
    f"one of {', '.join(NAMES)}",
    lambda value: isinstance(value, str) and value.lower() in NAMES,
    {"type": "string", "pattern": _any_case(NAMES)},
    known=NAMES,
    hint="local is this machine, the others name the runtime of a cluster",
)
_INNER_PATH = Leaf(
    "a relative path inside the project",
    _is_inner_path,
    {
        "type": "string",
        "pattern": r"^(?!/)(?!(?:[\s\S]*/)?\.\.(?:/|$))(?!(?:\.?/)*\.?$)[\s\S]*\S",
    },
)
_PATHS = List(TEXT, "an array of strings that are not empty")
_ADDRESS = Leaf(
    "an address that begins with https:// or http:// and names no user",
    lambda value: isinstance(value, str) and is_address(value),
    {"type": "string", "pattern": r"^https?://[^@/\s]+(?:/\S*)?$"},
)
_PROXY = Leaf(
    "an address that begins with http:// and names no user, as http://proxy.example:3128",
    lambda value: isinstance(value, str) and is_proxy(value),
    {"type": "string", "pattern": r"^http://[^@/\s]+/?$"},
)
_SAN = Leaf(
    "an IP address, a DNS name or a URI",
    lambda value: isinstance(value, str) and sans.san_kind(value) is not None,
    sans.SCHEMA,
)
_QUANTITY = text('a memory quantity such as "700Mi"', MEMORY_PATTERN)
_WORKLOAD_KEY = text(
    '"<Kind>/<name>" or "<namespace>/<Kind>/<name>" with a kind of ' + ", ".join(_KINDS),
    rf"(?:{_NAME}/)?(?:{'|'.join(_KINDS)})/{_NAME}(?:\.{_NAME})*",
    known=_KINDS,
)
_VARIABLE = text("the name of an environment variable", r"[-._a-zA-Z][-._a-zA-Z0-9]*")


class WorkloadSettings(Record):
    """What contrast.toml declares for one workload; None is not declared.

    where: of the table. _places: of its keys too, by path in the settings; _key: its own there.
    """

    where: Location
    ingress: str | None = member(
        ANY_TEXT,
        "what may come in: name#port#flag joined by ##; empty for mutual TLS on every port",
        default=None,
    )
    egress: str | None = member(
        ANY_TEXT, "where the workload connects: name#ip:port#host:port joined by ##", default=None
    )
    admin_port: int | None = member(
        integer(1, 65535, "a port from 1 to 65535"),
        "port of the proxy's administration interface; none by default",
        default=None,
    )
    env: Mapping[str, str] = member(
        Map(_VARIABLE, ANY_TEXT), "variables added to every main container", default={}
    )
    sans: tuple[str, ...] = member(
        List(_SAN, "an array of IP addresses, DNS names or URIs"),
        "names and addresses added to the workload's certificate",
        default=(),
    )
    memory: str | None = member(
        _QUANTITY, "request and limit of memory for main containers that have neither", default=None
    )
    runtime_class: bool | None = member(BOOL, "whether the workload is confidential", default=None)
    secret_id: str | None = member(
        TEXT, "the name its workload secret is derived from", default=None
    )
    _places: Mapping[Path, Location] = {}
    _key: str = ""

    def place(self, key: str) -> Location:
        """Return where a key of the table stands; its pointer is of the settings file."""
        path = ("workloads", self._key, key)
        return self._places.get(path, self.where).replace(pointer=to_pointer(path))


class ComponentSettings(Record):
    """Image references of our own containers."""

    initializer: str = member(
        TEXT,
        "image of the container that fetches certificates",
        default=f"contrast-tasks/initializer:{__version__}",
    )
    service_mesh: str = member(
        TEXT, "image of the proxy container", default=f"contrast-tasks/service-mesh:{__version__}"
    )
    coordinator: str = member(
        TEXT,
        "image of the Coordinator, where its resources come from us",
        default=f"contrast-tasks/coordinator:{__version__}",
    )


class ReferenceOverrides(Record):
    """The [reference_values] table without its file; products None keeps the platform's.

    snp: by product. An entry holds what is declared, by key; hex is in lower case.
    """

    products: tuple[str, ...] | None = member(
        List(one_of(*PRODUCTS), "an array of Milan, Genoa or both", least=1),
        "the SEV-SNP products to accept, where the platform has several",
        default=None,
    )
    snp: Mapping[str, Mapping[str, Any]] = member(
        Map(one_of(*PRODUCTS), settable(SnpReference)), "", default={}
    )
    tdx: Mapping[str, Any] = member(settable(TdxReference), "", default={})


class Settings(Record):
    """Everything effective, in one value; paths are relative to `root` as written.

    workloads: by "<Kind>/<name>" or "<namespace>/<Kind>/<name>", without the namespace when it is `default`.
    mirrors: what is asked in place of vendors' addresses, by their beginning. proxy: "" leaves it to the environment.
    digest: SHA-256 hex over all values, but not over their origins or the contents of named files.
    origins: dotted key to "flag", "environment CONTRAST_X", "contrast.toml:7" or "default".
    """

    root: FilePath
    platform: str = member(
        _PLATFORM, "where it runs: local is this machine, the others name the runtime of a cluster"
    )
    sources: tuple[str, ...] = member(
        List(TEXT, "an array of at least one string, none of them empty", least=1),
        "folders with the YAML files of the deployment, or such files; they are never written",
    )
    file: str = FILE_NAME
    build_dir: str = member(_INNER_PATH, "folder of everything generated", default="build")
    manifest: str = member(_INNER_PATH, "the generated manifest", default="manifest.json")
    lock: str = member(
        _INNER_PATH,
        "file with the digest and configuration of every image",
        default="contrast.lock",
    )
    runtime_class: bool = member(
        BOOL,
        "whether workloads are confidential that say nothing themselves",
        name="defaults.runtime_class",
        default=True,
    )
    memory: str | None = member(
        _QUANTITY,
        "request and limit of memory for main containers that have neither",
        name="defaults.memory",
        default=None,
    )
    initializer: bool = member(
        BOOL,
        "whether pods get the container that fetches their certificates",
        name="defaults.initializer",
        default=True,
    )
    service_mesh: bool = member(
        BOOL,
        "whether pods with a mesh annotation get the proxy",
        name="defaults.service_mesh",
        default=True,
    )
    image_layouts: tuple[str, ...] = member(
        _PATHS,
        "OCI image layouts that images are looked up in before their registry",
        name="images.layouts",
        default=(),
    )
    components: ComponentSettings = member(ComponentSettings, "", default=ComponentSettings())
    include_coordinator: bool = member(
        BOOL,
        "whether the Coordinator's resources are added when no source has them",
        name="coordinator.include",
        default=True,
    )
    workload_owner_keys: tuple[str, ...] = member(
        _PATHS,
        "keys whose owners may set another manifest; a single one is made if it is not there",
        name="owners.workload",
        default=("workload-owner.pem",),
    )
    seedshare_owner_keys: tuple[str, ...] = member(
        _PATHS,
        "keys whose owners can recover the Coordinator; a single one is made if it is not there",
        name="owners.seedshare",
        default=("seedshare-owner.pem",),
    )
    disable_updates: bool = member(
        BOOL,
        "whether nobody may ever set another manifest",
        name="owners.disable_updates",
        default=False,
    )
    reference_values: str | None = member(
        TEXT,
        "file of reference values, or bundled:<runtime handler> for a published runtime",
        name="reference_values.file",
        default=None,
    )
    reference_overrides: ReferenceOverrides = member(
        ReferenceOverrides, "", name="reference_values", default=ReferenceOverrides()
    )
    mirrors: Mapping[str, str] = member(
        Map(_ADDRESS, _ADDRESS, chosen='"<address>"'),
        "what is asked in place of a vendor's address that begins so",
        name="endorsements.mirrors",
        default={},
    )
    proxy: str = member(
        _PROXY,
        "what vendors are asked through, also by guests; by default the environment's",
        name="endorsements.proxy",
        default="",
    )
    workloads: Mapping[str, WorkloadSettings] = member(
        Map(_WORKLOAD_KEY, WorkloadSettings, chosen='"<Kind>/<name>"'), "", default={}
    )
    digest: str = ""
    origins: Mapping[str, str] = {}

    @property
    def packed_layout(self) -> str:
        """Return the image layout that images are packed into."""
        return f"{self.build_dir}/images"

    @property
    def layouts(self) -> tuple[str, ...]:
        """Return the image layouts to look into; on platform `local` the packed one comes last if it is not declared."""
        packed = (self.packed_layout,) if self.platform == "local" else ()
        return tuple(dict.fromkeys((*self.image_layouts, *packed)))

    def workload(self, key: str) -> WorkloadSettings | None:
        """Return what is declared for a workload; either spelling of the namespace `default` finds it."""
        return self.workloads.get(workload_key(key))

    def where(self, key: str) -> Location:
        """Return the place a dotted key was set at; the settings file, without a line, for a default."""
        origin = self.origins.get(key, "default")
        file, colon, line = origin.rpartition(":")
        if colon and line.isdecimal():
            return Location(file=file, line=int(line))
        return Location(file=self.file if origin == "default" else origin)


def workload_key(key: str) -> str:
    """Return the one spelling of a workload's key: without the namespace when that is `default`."""
    return key.removeprefix("default/")


SHAPE = table_of(Settings)


def fixed_members(
    table: Table = SHAPE, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Member]]:
    """Yield path and declaration of all values that do not lie below a key the user chooses."""
    for key, entry in table.keys.items():
        if isinstance(entry.shape, Table):
            yield from fixed_members(entry.shape, (*above, key))
        elif not isinstance(entry.shape, Map):
            yield (*above, key), entry
