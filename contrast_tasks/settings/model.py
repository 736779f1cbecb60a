"""The settings of a project as values; each key of contrast.toml is declared here.

Source: docs/internals/graph.md 4.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from contrast_tasks.declare.shapes import (
    ANY_TEXT,
    BOOL,
    TEXT,
    List,
    Map,
    Table,
    integer,
    one_of,
    settable,
    table_of,
)
from contrast_tasks.errors import Location
from contrast_tasks.lifetimes import DEFAULT
from contrast_tasks.platforms import SNP_PRODUCTS
from contrast_tasks.pointers import Path, to_pointer
from contrast_tasks.records import Member, Record, member
from contrast_tasks.releases.choose import default_for, row_of
from contrast_tasks.releases.table import LOCAL, RELEASES, Channel, Release
from contrast_tasks.settings.cluster import ClusterSettings
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.guest_pulls import GuestPullSettings
from contrast_tasks.settings.values import (
    ADDRESS,
    HANDLER,
    INNER_PATH,
    LABEL,
    LIFETIME,
    MIRROR,
    PATHS,
    PLATFORM,
    PROXY,
    QUANTITY,
    RELEASE,
    SAN,
    STORE_SIZE,
    USER,
    VARIABLE,
    WORKLOAD_KEY,
)
from contrast_tasks.trusted_guests import SnpReference, TdxReference

FILE_NAME = "contrast.toml"

_WITH_IMAGE_STORE = [row.name for row in RELEASES if row.injected.image_store == "default"]


class WorkloadSettings(Record):
    """What contrast.toml declares for one workload; None is not declared.

    where: place of the table. _places: of its keys too, by path in the settings; _key: the workload's key.
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
    memory: str | None = member(
        QUANTITY, "memory request and limit of main containers that have neither", default=None
    )
    encrypted_claims: tuple[str, ...] = member(
        List(LABEL, "an array of names of claims"),
        "claims of the pod to encrypt: templates of a StatefulSet, or volumes with a persistentVolumeClaim",
        default=(),
    )
    user: str | None = member(
        USER,
        "user, and group behind a colon, of main containers for which neither they nor the pod name a user",
        default=None,
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
    _places: Mapping[Path, Location] = {}
    _key: str = ""

    def place(self, key: str) -> Location:
        """Return the place of a key of the table, with its pointer in the settings."""
        path = ("workloads", self._key, key)
        return self._places.get(path, self.where).replace(pointer=to_pointer(path))


class ReferenceOverrides(Record):
    """The [reference_values] table without `file`; products: None keeps the platform's.

    snp: by product; an entry holds the declared keys only, with hex in lower case.
    """

    products: tuple[str, ...] | None = member(
        List(one_of(*SNP_PRODUCTS), "an array of Milan, Genoa or both", least=1),
        "the SEV-SNP products to accept, of a platform with several",
        default=None,
    )
    snp: Mapping[str, Mapping[str, Any]] = member(
        Map(one_of(*SNP_PRODUCTS), settable(SnpReference)), "", default={}
    )
    tdx: Mapping[str, Any] = member(settable(TdxReference), "", default={})


class Settings(Record):
    """The effective settings; paths are relative to `root`, as written.

    workloads: by "<Kind>/<name>" or "<namespace>/<Kind>/<name>", without the namespace if it is `default`.
    mirrors: address to use instead of a vendor's, by the beginning of the latter. proxy: "" uses the environment's.
    digests: SHA-256 hex of each value by its dotted key, of all workloads by `workloads`; contents of named files do not
        count.
    origins: dotted key to "flag", "environment CONTRAST_X", "contrast.toml:7" or "default".
    """

    root: FilePath
    platform: str = member(
        PLATFORM,
        "where the deployment runs: local is this machine, the others name the runtime of a cluster",
    )
    sources: tuple[str, ...] = member(
        List(TEXT, "an array of at least one string, none of them empty", least=1),
        "YAML or JSON files of the deployment, or folders with them; generate writes there only with output.in_place",
    )
    release_name: str = member(
        RELEASE,
        "release of the runtime on the nodes; by default the newest that has the platform, on `local`"
        f" {default_for(LOCAL).name}",
        name="runtime.release",
        default="",
    )
    handler: str = member(
        HANDLER,
        "runtime class that the installer on the nodes has created; by default the one that names the reference values",
        name="runtime.class",
        default="",
    )
    file: str = FILE_NAME
    build_dir: str = member(INNER_PATH, "folder of generated files", default="build")
    manifest: str = member(INNER_PATH, "the generated manifest", default="manifest.json")
    lock: str = member(
        INNER_PATH,
        "file with the digest and configuration of every image",
        default="contrast.lock",
    )
    in_place: bool = member(
        BOOL,
        "whether generate annotates the sources themselves; comments and formatting stay",
        name="output.in_place",
        default=False,
    )
    combined: str | None = member(
        INNER_PATH,
        "file for all annotated YAML in one, in the order of the sources",
        name="output.combined",
        default=None,
    )
    runtime_class: bool = member(
        BOOL,
        "whether workloads are confidential that do not say so themselves",
        name="defaults.runtime_class",
        default=True,
    )
    memory: str | None = member(
        QUANTITY,
        "memory request and limit of main containers that have neither",
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
    image_store: bool | None = member(
        BOOL,
        "whether pods get a volume that images are unpacked into, instead of memory; by default as the runtime's release has"
        f" it: yes in {' and '.join(_WITH_IMAGE_STORE)}, else no",
        name="defaults.image_store",
        default=None,
    )
    image_store_size: str = member(
        QUANTITY, "size of that volume", name="defaults.image_store_size", default="10Gi"
    )
    isolation: str = member(
        one_of("auto", "namespaces", "processes"),
        "what pods of platform local are: namespaces of this machine, or its processes; auto takes namespaces where they can"
        " be had",
        name="local.isolation",
        default="auto",
    )
    image_layouts: tuple[str, ...] = member(
        PATHS,
        "OCI image layouts to look up images in before asking their registry",
        name="images.layouts",
        default=(),
    )
    replacements: str | None = member(
        TEXT,
        "file with a line `original = replacement` for each image to use instead of another",
        name="images.replacements",
        default=None,
    )
    debian_mirror: str = member(
        MIRROR,
        "address of a mirror of Debian's archives, for `images build`; `{archive}` stands for the archive's name",
        name="images.debian_mirror",
        default="https://deb.debian.org/{archive}",
    )
    components: ComponentSettings = member(ComponentSettings, "", default=ComponentSettings())
    cluster: ClusterSettings = member(ClusterSettings, "", default=ClusterSettings())
    guest_pulls: GuestPullSettings = member(
        GuestPullSettings, "", name="guest_pulls", default=GuestPullSettings()
    )
    include_coordinator: bool = member(
        BOOL,
        "whether to add the Coordinator's resources if no source has them; not with output.in_place",
        name="coordinator.include",
        default=True,
    )
    coordinator_replicas: int = member(
        integer(1, 9, "a number from 1 to 9"),
        "number of Coordinators; several give each other the seed after a restart",
        name="coordinator.replicas",
        default=1,
    )
    coordinator_metrics: bool = member(
        BOOL,
        "whether Coordinators serve metrics for Prometheus, on port 9102",
        name="coordinator.metrics",
        default=False,
    )
    certificate_lifetime: str = member(
        LIFETIME,
        "how long the certificates of workloads last; the mesh sidecar renews them, and nobody does in pods without it",
        name="coordinator.certificate_lifetime",
        default=DEFAULT,
    )
    workload_owner_keys: tuple[str, ...] = member(
        PATHS,
        "keys whose owners may set another manifest; if one file is named and missing, it is created",
        name="owners.workload",
        default=("workload-owner.pem",),
    )
    seedshare_owner_keys: tuple[str, ...] = member(
        PATHS,
        "keys whose owners can recover the Coordinator; if one file is named and missing, it is created",
        name="owners.seedshare",
        default=("seedshare-owner.pem",),
    )
    disable_updates: bool = member(
        BOOL,
        "whether the manifest can never be replaced",
        name="owners.disable_updates",
        default=False,
    )
    reference_values: str | None = member(
        TEXT,
        "file of reference values, of the runtime's release",
        name="reference_values.file",
        default=None,
    )
    reference_overrides: ReferenceOverrides = member(
        ReferenceOverrides, "", name="reference_values", default=ReferenceOverrides()
    )
    mirrors: Mapping[str, str] = member(
        Map(ADDRESS, ADDRESS, chosen='"<address>"'),
        "address to use instead of a vendor's address that begins with the key",
        name="endorsements.mirrors",
        default={},
    )
    proxy: str = member(
        PROXY,
        "HTTP proxy for requests to vendors, of guests too; by default the environment's",
        name="endorsements.proxy",
        default="",
    )
    workloads: Mapping[str, WorkloadSettings] = member(
        Map(WORKLOAD_KEY, WorkloadSettings, chosen='"<Kind>/<name>"'), "", default={}
    )
    digests: Mapping[str, str] = {}
    origins: Mapping[str, str] = {}

    @property
    def is_local(self) -> bool:
        """Return whether the deployment runs on this machine."""
        return self.platform == "local"

    @property
    def release(self) -> Release:
        """Return the row of the runtime's release; settings without a platform have none and raise ValueError."""
        row = row_of(self.release_name)
        if isinstance(row, Release):
            return row
        raise ValueError(row.reason)

    @property
    def channel(self) -> Channel:
        """Return how a pod's policy reaches its guest; raises ValueError as `release` does."""
        return self.release.channel_of(self.platform)

    @property
    def has_image_store(self) -> bool:
        """Return whether pods get an image store, unless their annotation says otherwise."""
        kind = self.release.injected.image_store
        if self.is_local or kind is None:
            return False
        return kind == "default" if self.image_store is None else self.image_store

    @property
    def adds_coordinator(self) -> bool:
        """Return whether the Coordinator's resources are added; in place there is no file for them."""
        return self.include_coordinator and not self.in_place

    @property
    def packed_layout(self) -> str:
        """Return the image layout that images are packed into."""
        return f"{self.build_dir}/images"

    @property
    def layouts(self) -> tuple[str, ...]:
        """Return the image layouts to look up images in; on platform `local` the packed one is the last."""
        packed = (self.packed_layout,) if self.is_local else ()
        return tuple(dict.fromkeys((*self.image_layouts, *packed)))

    def workload(self, key: str) -> WorkloadSettings | None:
        """Return what is declared for a workload, whether or not its key names the namespace `default`."""
        return self.workloads.get(workload_key(key))

    def where(self, key: str) -> Location:
        """Return the place where a dotted key is set; for a default the settings file, without a line."""
        origin = self.origins.get(key, "default")
        file, colon, line = origin.rpartition(":")
        if colon and line.isdecimal():
            return Location(file=file, line=int(line))
        return Location(file=self.file if origin == "default" else origin)


def workload_key(key: str) -> str:
    """Return a workload's key without the namespace `default`."""
    return key.removeprefix("default/")


SHAPE = table_of(Settings)


def fixed_members(
    table: Table = SHAPE, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Member]]:
    """Yield path and declaration of each key that is not below a name that the user chooses."""
    for key, entry in table.keys.items():
        if isinstance(entry.shape, Table):
            yield from fixed_members(entry.shape, (*above, key))
        elif not isinstance(entry.shape, Map):
            yield (*above, key), entry
