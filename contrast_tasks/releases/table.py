"""What differs between the releases of the runtime, as data; nothing else in the project compares versions.

A row says only what differs from the row before it. Source: docs/internals/releases.md, whose sections the parts name.
"""

from typing import Final, Literal

from contrast_tasks.platforms import NAMES, platform
from contrast_tasks.records import Record

Channel = Literal["plain", "gzip", "initdata"]
"""How a pod's policy reaches its guest: as text, compressed, or inside an initdata document."""
Place = Literal["workload", "pod template"]
"""Whose metadata holds the annotations that ask for mesh and volumes: the workload's own, or its pod template's."""


class ManifestForm(Record):
    """The members of manifest.json in the order of the file, in the release's spelling. Source: 2.1, 2.2.

    owners: the member that lists the workload owners' keys. is_guest_policy_fixed: no other guest policy is accepted.
    """

    snp: tuple[str, ...]
    tdx: tuple[str, ...]
    guest_policy: tuple[str, ...]
    platform_info: tuple[str, ...]
    owners: Literal["WorkloadOwnerKeyDigests", "WorkloadOwnerPubKeys"]
    is_guest_policy_fixed: bool = True


class IdBlocks(Record):
    """ID blocks come as annotations of the pod. Source: 3.

    max_cpus: most virtual processors of a pod. by_entry: each number of processors has an entry of its own in the manifest;
    otherwise one entry holds the digest of one processor, and the others follow from its APEIP.
    """

    max_cpus: int
    by_entry: bool


class Memory(Record):
    """Memory of an injected container in MiB; has_limit: the request is also the limit."""

    request_mib: int
    has_limit: bool = True


class Injected(Record):
    """What `generate` of the reference product adds to pods. Source: 5.1 to 5.3.

    host_has_namespace: COORDINATOR_HOST always ends in the Coordinator's namespace. service_mesh: None is no resources.
    secrets_medium: of the emptyDir with the certificates. image_store: whether pods get one; None: there is none.
    """

    host_has_namespace: bool
    initializer: Memory
    service_mesh: Memory | None
    secrets_medium: Literal["", "Memory"]
    is_mount_read_only: bool
    image_store: Literal["default", "opt-in"] | None
    image_store_memory: Memory | None


class CoordinatorForm(Record):
    """The Coordinator's resources. Source: 5.5, 6.

    ports: (name, number) in the order of the pod. has_release_tag: its image must have the release as its tag.
    """

    memory: Memory
    ports: tuple[tuple[str, int], ...]
    startup_failures: int = 60
    has_release_tag: bool = False


class Installer(Record):
    """The node installer. Source: 4.

    namespace: "" leaves it to the user. has_api_access: it watches pods. targets: distributions of Kubernetes whose places on
    a node a ConfigMap of the release names.
    """

    namespace: str
    has_api_access: bool
    has_target_config: bool
    has_imagepuller_config: bool
    targets: tuple[Literal["k3s", "rke2"], ...] = ()


class Release(Record):
    """One release of the runtime and of the reference product, which are versioned together.

    platforms: names as in `platforms`. channel: of platforms that `channels` does not name. annotations_at: where mesh and
    volume annotations are read; the pod's role, its secret id and its policy are always on the pod template.
    has_secret_id: whether the annotation workload-secret-id is read. has_disabled_ingress: whether DISABLED is understood.
    has_guest_hooks: whether the runtime of GPU platforms names a folder of hooks in the guest. Source: 4.
    shim: the row of the runtime's model, of platforms that `shims` does not name. Source: 1.4. containerd: the version that nodes had at the time (assumed).
    has_class_per_platform: a runtime class that names a platform means it; before, all become the chosen one's (4).
    """

    name: str
    platforms: tuple[str, ...]
    channel: Channel
    channels: tuple[tuple[str, Channel], ...] = ()
    manifest: ManifestForm
    id_blocks: IdBlocks | None
    annotations_at: Place
    injected: Injected
    coordinator: CoordinatorForm
    installer: Installer
    has_secret_id: bool
    has_disabled_ingress: bool
    has_guest_hooks: bool
    shim: str
    shims: tuple[tuple[str, str], ...] = ()
    containerd: str
    has_class_per_platform: bool = False

    def ignores_other_places(self, platform: str) -> bool:
        """Return whether annotations count nowhere but at `annotations_at`; our own platform reads both places."""
        return platform != LOCAL

    def channel_of(self, name: str) -> Channel:
        """Return the channel of one platform."""
        return dict(self.channels).get(name, self.channel)

    def shim_of(self, name: str) -> str:
        """Return the row of the runtime's model for one platform."""
        return dict(self.shims).get(name, self.shim)

    def id_blocks_on(self, name: str) -> IdBlocks | None:
        """Return how the pods of a platform bring ID blocks; None if they do not, as on all but SEV-SNP."""
        has_them = name in self.platforms and platform(name).tee == "snp"
        return self.id_blocks if has_them else None


# This machine: ours, and so with every release.
LOCAL: Final = "local"
_CLUSTERS = ("aks", "k3s", "rke2")
_EARLY = tuple(name for name in NAMES if name != "metal-qemu-tdx-gpu")
_METAL = tuple(name for name in _EARLY if name.partition("-")[0] not in _CLUSTERS)
_METAL_TDX_GPU = tuple(name for name in NAMES if name.partition("-")[0] not in _CLUSTERS)

_GUEST_POLICY = (
    "ABIMinor",
    "ABIMajor",
    "SMT",
    "MigrateMA",
    "Debug",
    "SingleSocket",
    "CXLAllowed",
    "MemAES256XTS",
    "RAPLDis",
    "CipherTextHidingDRAM",
)
_PLATFORM_INFO = (
    "SMTEnabled",
    "TSMEEnabled",
    "ECCEnabled",
    "RAPLDisabled",
    "CiphertextHidingDRAMEnabled",
    "AliasCheckComplete",
)
_USER, _HTTP, _MESH, _TRANSIT = (
    ("userapi", 1313),
    ("httpapi", 1314),
    ("meshapi", 7777),
    ("transitapi", 8200),
)

V1_9 = Release(
    name="v1.9.0",
    platforms=_EARLY,
    channel="plain",
    manifest=ManifestForm(
        snp=("MinimumTCB", "ProductName", "TrustedMeasurement", "GuestPolicy", "PlatformInfo"),
        tdx=(
            "MrTd",
            "Rtrms",
            "MinimumQeSvn",
            "MinimumPceSvn",
            "MinimumTeeTcbSvn",
            "MrSeam",
            "TdAttributes",
            "Xfam",
        ),
        guest_policy=_GUEST_POLICY,
        platform_info=_PLATFORM_INFO,
        owners="WorkloadOwnerKeyDigests",
    ),
    id_blocks=None,
    annotations_at="workload",
    injected=Injected(
        host_has_namespace=False,
        initializer=Memory(request_mib=50, has_limit=False),
        service_mesh=None,
        secrets_medium="",
        is_mount_read_only=False,
        image_store=None,
        image_store_memory=None,
    ),
    coordinator=CoordinatorForm(
        memory=Memory(request_mib=200), ports=(_USER, _MESH), startup_failures=3
    ),
    installer=Installer(
        namespace="kube-system",
        has_api_access=True,
        has_target_config=False,
        has_imagepuller_config=False,
    ),
    has_secret_id=False,
    has_disabled_ingress=False,
    has_guest_hooks=True,
    shim="contrast-3.17.0",
    shims=(("aks-clh-snp", "aks-3.2"),),
    containerd="1.7",
)

V1_10 = V1_9.replace(
    name="v1.10.0",
    coordinator=V1_9.coordinator.replace(ports=(_USER, _MESH, _TRANSIT), startup_failures=60),
    has_secret_id=True,
)

V1_11 = V1_10.replace(name="v1.11.0", shim="contrast-3.18.0", shims=(("aks-clh-snp", "aks-3.15"),))

V1_12 = V1_11.replace(
    name="v1.12.0",
    channel="gzip",
    channels=(("aks-clh-snp", "plain"),),
    manifest=V1_11.manifest.replace(
        tdx=("MrTd", "Rtrms", "MrSeam", "TdAttributes", "Xfam"),
        guest_policy=(*_GUEST_POLICY, "PageSwapDisable"),
        platform_info=(*_PLATFORM_INFO, "TIOEnabled"),
    ),
)

V1_13 = V1_12.replace(
    name="v1.13.0",
    platforms=_METAL,
    channels=(),
    shims=(),
    annotations_at="pod template",
    injected=V1_12.injected.replace(
        image_store="default", image_store_memory=Memory(request_mib=50)
    ),
    coordinator=V1_12.coordinator.replace(memory=Memory(request_mib=50)),
    installer=V1_12.installer.replace(has_target_config=True, targets=("k3s",)),
    has_disabled_ingress=True,
)

V1_15 = V1_13.replace(
    name="v1.15.0",
    channel="initdata",
    manifest=V1_13.manifest.replace(tdx=("MrTd", "Rtmrs", "MrSeam", "TdAttributes", "Xfam")),
    coordinator=V1_13.coordinator.replace(has_release_tag=True),
    injected=V1_13.injected.replace(secrets_medium="Memory"),
    installer=V1_13.installer.replace(has_api_access=False, has_imagepuller_config=True),
    has_guest_hooks=False,
    shim="contrast-3.22.0",
    containerd="2",
)

V1_16 = V1_15.replace(
    name="v1.16.0",
    platforms=_METAL_TDX_GPU,
    manifest=V1_15.manifest.replace(
        snp=(
            "ProductName",
            "TrustedMeasurement",
            "MinimumTCB",
            "GuestPolicy",
            "PlatformInfo",
            "AllowedChipIDs",
        ),
        tdx=("MrTd", "MrSeam", "Rtmrs", "Xfam", "AllowedPIIDs"),
    ),
    injected=V1_15.injected.replace(
        host_has_namespace=True, initializer=Memory(request_mib=50), image_store="opt-in"
    ),
    coordinator=V1_15.coordinator.replace(
        memory=Memory(request_mib=200), ports=(_USER, _HTTP, _MESH, _TRANSIT)
    ),
    installer=V1_15.installer.replace(namespace=""),
)

V1_20 = V1_16.replace(
    name="v1.20.0",
    manifest=V1_16.manifest.replace(
        snp=(
            "Platform",
            "ProductName",
            "TrustedMeasurement",
            "MinimumTCB",
            "GuestPolicy",
            "PlatformInfo",
            "MinimumMitigationVector",
            "AllowedChipIDs",
            "CPUs",
        ),
        tdx=(
            "Platform",
            "MinTCBEvaluationDataNumber",
            "MrTd",
            "MrSeam",
            "Rtmrs",
            "Xfam",
            "AllowedPIIDs",
            "MemoryIntegrity",
            "SMTDisabled",
            "StaticPlatform",
        ),
        owners="WorkloadOwnerPubKeys",
        is_guest_policy_fixed=False,
    ),
    id_blocks=IdBlocks(max_cpus=8, by_entry=True),
    has_class_per_platform=True,
    injected=V1_16.injected.replace(
        initializer=Memory(request_mib=420),
        service_mesh=Memory(request_mib=400),
        is_mount_read_only=True,
        image_store_memory=Memory(request_mib=420),
    ),
    coordinator=V1_16.coordinator.replace(memory=Memory(request_mib=400)),
    installer=V1_16.installer.replace(targets=("k3s", "rke2")),
)

V1_21 = V1_20.replace(
    name="v1.21.0",
    shim="contrast-3.30.0",
    manifest=V1_20.manifest.replace(
        snp=(
            "Platform",
            "ProductName",
            "TrustedMeasurement",
            "APEIP",
            "MinimumTCB",
            "GuestPolicy",
            "PlatformInfo",
            "MinimumMitigationVector",
            "AllowedChipIDs",
        )
    ),
    id_blocks=IdBlocks(max_cpus=220, by_entry=False),
)

RELEASES: tuple[Release, ...] = (
    V1_9,
    V1_10,
    V1_11,
    V1_12,
    V1_13,
    V1_15,
    V1_16,
    V1_20,
    V1_21,
)
RELEASE_NAMES: tuple[str, ...] = tuple(release.name for release in RELEASES)

UNSUPPORTED: tuple[tuple[str, str], ...] = (
    (
        "v1.14",
        "its manifest could not be checked: releases around it spell the TDX registers in two ways",
    ),
    ("v1.17", "its members of the manifest could not be checked"),
    ("v1.18", "its members of the manifest could not be checked"),
    ("v1.19", "its members of the manifest and its ID blocks could not be checked"),
)
"""Minor releases between the rows, each with the reason why it has none."""
