"""The settings of a project as values; each key of contrast.toml is declared here.

Source: docs/internals/graph.md 4.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

from contrast_tasks.declare.shapes import (
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
from contrast_tasks.pointers import Path
from contrast_tasks.records import Member, Record, member
from contrast_tasks.releases.choose import default_for, row_of
from contrast_tasks.releases.table import LOCAL, RELEASES, Channel, Release
from contrast_tasks.settings.cluster import ClusterSettings
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.guest_pulls import GuestPullSettings
from contrast_tasks.settings.values import (
    ADDRESS,
    CONFIG_KEY,
    HANDLER,
    INNER_PATH,
    LIFETIME,
    MIRROR,
    PATHS,
    PLATFORM,
    PROXY,
    QUANTITY,
    RELEASE,
    WORKLOAD_KEY,
)
from contrast_tasks.settings.workloads import (
    ElsewhereSettings,
    Ignore,
    PodSettings,
    Tables,
    WorkloadSettings,
    config_settings,
    workload_key,
)
from contrast_tasks.trusted_guests import SnpReference, TdxReference

FILE_NAME = "contrast.toml"

_WITH_IMAGE_STORE = [row.name for row in RELEASES if row.injected.image_store == "default"]


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
    origins: dotted key to "flag", "environment CONTRAST_X", "contrast.toml:7" or "default". _places: of keys, by path.
    """

    root: FilePath
    platform: str = member(
        PLATFORM,
        "where the deployment runs: local is this machine, the others name the runtime of a cluster",
    )
    sources: tuple[str, ...] = member(
        List(TEXT, "an array of at least one string, none of them empty", least=1),
        "YAML or JSON files of the deployment, folders with them, or a kustomization.yaml, which kubectl renders; generate writes there only with output.in_place",
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
    for_all: PodSettings = member(PodSettings, "", name="defaults", default=PodSettings())
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
        "how long the certificates of workloads last; what of ours stays in a pod renews them: mesh sidecar, encrypted volumes",
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
    approvals: int = member(
        integer(1, 100, "a number from 1 to 100"),
        "how many owners of `workload` have to approve an update; more than one is honoured by our Coordinator only",
        name="owners.approvals",
        default=1,
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
    elsewhere: Mapping[str, ElsewhereSettings] = member(
        Map(CONFIG_KEY, ElsewhereSettings, chosen='"<Kind>/<name>"'), "", default={}
    )
    ignored: tuple[Ignore, ...] = member(List(Ignore), "", name="lint.ignore", default=())
    digests: Mapping[str, str] = {}
    origins: Mapping[str, str] = {}
    _places: Mapping[Path, Location] = {}

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

    def workload(self, key: str, *, is_coordinator: bool = False) -> WorkloadSettings | None:
        """Return what is declared for a workload by name, by patterns and for all; None if that is nothing.

        The key may name the namespace `default` or not. What is said of several workloads is not for the Coordinator.
        """
        return self.workloads.get(workload_key(key)) if is_coordinator else self._tables.of(key)

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self.workloads, self.for_all, self._places)

    @property
    def memory(self) -> str | None:
        """Return the memory of main containers for which nothing else says it."""
        return self.for_all.memory

    def config(self, kind: str, namespace: str, name: str) -> ElsewhereSettings | None:
        """Return what is declared of a ConfigMap or Secret that is made elsewhere, None if nothing is.

        Nobody makes one on this machine, so there it needs values.
        """
        found = config_settings(self.elsewhere, kind, namespace, name)
        return None if found is None or (self.is_local and not found.values) else found

    def where(self, key: str) -> Location:
        """Return the place where a dotted key is set; for a default the settings file, without a line."""
        origin = self.origins.get(key, "default")
        file, colon, line = origin.rpartition(":")
        if colon and line.isdecimal():
            return Location(file=file, line=int(line))
        return Location(file=self.file if origin == "default" else origin)


SHAPE = table_of(Settings)


def is_of_tables(shape: Any) -> bool:
    """Return whether a shape is that of an array of tables."""
    return isinstance(shape, List) and isinstance(shape.element, Table)


def fixed_members(
    table: Table = SHAPE, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Member]]:
    """Yield path and declaration of each key that is not below a name or a number that the user chooses."""
    for key, entry in table.keys.items():
        if isinstance(entry.shape, Table):
            yield from fixed_members(entry.shape, (*above, key))
        elif not isinstance(entry.shape, Map) and not is_of_tables(entry.shape):
            yield (*above, key), entry
