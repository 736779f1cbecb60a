"""The manifest as immutable values; JSON spelling lives in `codec`, rules in `validate`.

Hex strings are lower case. A value only the user can know is None (numbers) or "" (hex) while it is missing.
Source: docs/internals/manifest.md 1 (members), 1.2.2 and 1.2.3 (bits).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLE_COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntry:
    """One workload identity.

    sans: subject alternative names of its certificates.
    workload_secret_id: empty means that no workload secret is derived; role: "" or "coordinator".
    """

    sans: tuple[str, ...]
    workload_secret_id: str = ""
    role: str = ""
    # A foreign manifest may hold `null`, which has other bytes than `[]` and the same meaning.
    sans_null: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpTcb:
    """Minimum security patch levels, 0..255 each; None is missing, which differs from 0."""

    bootloader: int | None = None
    tee: int | None = None
    snp: int | None = None
    microcode: int | None = None

    @property
    def is_complete(self) -> bool:
        """Return whether no level is missing."""
        return None not in (self.bootloader, self.tee, self.snp, self.microcode)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPolicy:
    """The SNP guest policy a guest must have been launched with."""

    abi_minor: int = 0
    abi_major: int = 0
    smt: bool = True
    migrate_ma: bool = False
    debug: bool = False
    single_socket: bool = False
    cxl_allowed: bool = False
    mem_aes_256_xts: bool = False
    rapl_dis: bool = False
    ciphertext_hiding_dram: bool = False
    page_swap_disable: bool = False

    def to_word(self) -> int:
        """Return the 64-bit policy: ABI minor in bits 0..7, major in 8..15, flags from 16; reserved bit 17 is 1."""
        flags = (
            self.smt,
            True,
            self.migrate_ma,
            self.debug,
            self.single_socket,
            self.cxl_allowed,
            self.mem_aes_256_xts,
            self.rapl_dis,
            self.ciphertext_hiding_dram,
            self.page_swap_disable,
        )
        word = self.abi_minor | self.abi_major << 8
        return word | sum(flag << bit for bit, flag in enumerate(flags, start=16))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformInfo:
    """What the platform may or must report about itself."""

    smt_enabled: bool = True
    tsme_enabled: bool = False
    ecc_enabled: bool = False
    rapl_disabled: bool = False
    ciphertext_hiding_dram_enabled: bool = False
    alias_check_complete: bool = False
    tio_enabled: bool = False

    def to_word(self) -> int:
        """Return the bits as in the report's PLATFORM_INFO: 0..5 in member order, TIO is bit 7."""
        flags = (
            self.smt_enabled,
            self.tsme_enabled,
            self.ecc_enabled,
            self.rapl_disabled,
            self.ciphertext_hiding_dram_enabled,
            self.alias_check_complete,
            False,
            self.tio_enabled,
        )
        return sum(flag << bit for bit, flag in enumerate(flags))


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReference:
    """One acceptable kind of SEV-SNP guest.

    trusted_measurement_hex: 48 bytes; allowed_chip_ids: 64 bytes each in hex, None or empty allows any chip.
    apeip_hex: 4 bytes; when present the measurement is the 1-vCPU seed. platform_info None is unchecked.
    allow_vlek: also reports signed by the key of a cloud provider, which names no chip.
    Members that default to None are left out of the JSON form, but for allowed_chip_ids, which is `null`.
    """

    product_name: str
    trusted_measurement_hex: str
    minimum_tcb: SnpTcb
    guest_policy: GuestPolicy
    platform_info: PlatformInfo | None = field(default_factory=PlatformInfo)
    allowed_chip_ids: tuple[str, ...] | None = None
    minimum_mitigation_vector: int | None = None
    apeip_hex: str | None = None
    allow_vlek: bool | None = None
    cpus: int | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedReference:
    """One simulated processor, pinned by the SHA-256 (32 bytes, hex) of its root certificate's DER form."""

    root_sha256_hex: str
    trusted_measurement_hex: str
    minimum_tcb: SnpTcb
    guest_policy: GuestPolicy
    platform_info: PlatformInfo | None = field(default_factory=PlatformInfo)


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxReference:
    """One acceptable kind of TDX guest.

    mr_td_hex, mr_seam_hex: 48 bytes; rtmrs_hex: four of 48 bytes; xfam_hex, td_attributes_hex: 8 bytes;
    minimum_tee_tcb_svn_hex, each of allowed_piids: 16 bytes. None is absent from the JSON form.
    allow_quote_v5: also quotes of version 5.
    """

    mr_td_hex: str
    rtmrs_hex: tuple[str, ...]
    mr_seam_hex: str
    xfam_hex: str
    minimum_qe_svn: int | None = None
    minimum_pce_svn: int | None = None
    minimum_tee_tcb_svn_hex: str | None = None
    td_attributes_hex: str | None = None
    allowed_piids: tuple[str, ...] | None = None
    memory_integrity: bool | None = None
    smt_disabled: bool | None = None
    static_platform: bool | None = None
    allow_quote_v5: bool | None = None
    min_tcb_evaluation_data_number: int | None = None
    cpus: int | None = None
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValues:
    """A disjunction: evidence is accepted when any one entry accepts it."""

    snp: tuple[SnpReference, ...] = ()
    tdx: tuple[TdxReference, ...] = ()
    simulated: tuple[SimulatedReference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a deployment consists of and which guests may claim to be part of it.

    policies: policy hash (32 bytes, lower-case hex) to entry. Owner lists: None is JSON `null`; None and empty
    both mean that nobody may update (workload owners) or recover (seedshare owners).
    """

    policies: Mapping[str, PolicyEntry]
    reference_values: ReferenceValues
    workload_owner_key_digests: tuple[str, ...] | None = None
    seedshare_owner_pub_keys: tuple[str, ...] | None = None

    @property
    def coordinator_policy_hashes(self) -> tuple[str, ...]:
        """Return the sorted hashes whose entry has the role coordinator."""
        return tuple(
            sorted(key for key, entry in self.policies.items() if entry.role == ROLE_COORDINATOR)
        )

    @property
    def trusts_simulated(self) -> bool:
        """Return whether evidence of a simulated processor would be accepted."""
        return bool(self.reference_values.simulated)
