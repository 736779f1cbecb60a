"""The guests that a manifest trusts: the entries of its `ReferenceValues`, each member declared once.

Hex is written in lower case. A value that only the user knows is None (numbers) or "" (hex) while it is missing.
contrast.toml may set members that are `settable`, by the attribute's name without `_hex`.
Source: docs/internals/manifest.md 1.2, 1.3 (members, bits), 2.2 (codes of findings), 4.4 (what is left out when empty).
"""

from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.declare.shapes import (
    ANY_TEXT,
    BOOL,
    List,
    hex_digits,
    integer,
    one_of,
    or_blank,
)
from contrast_tasks.platforms import SNP_PRODUCTS
from contrast_tasks.records import Record, Suspect, member

# The reference product reads counts as signed 64-bit integers and refuses larger ones.
_COUNT = integer(0, 2**63 - 1)
_SVN = integer(0, 255)
_SVN16 = integer(0, 65535)
_ALL_ZERO = "0" * 96


def _optional(shape: Any, meaning: str, name: str, **more: Any) -> Any:
    """Declare a member that is left out if it has no value."""
    return member(shape, meaning, name=name, default=None, absent=None, **more)


def _level(name: str, of: str) -> Any:
    """Declare one security patch level; a missing one is None, not 0."""
    placeholder = "is 255, the placeholder that no processor reaches, attestation will fail"
    return member(
        _SVN,
        f"lowest patch level of the {of}",
        name=name,
        default=None,
        absent=None,
        written=True,
        fault=catalogue.SVN_RANGE,
        missing=catalogue.MISSING_MINIMUM_TCB,
        blank=None,
        suspect=Suspect(255, catalogue.SVN_PLACEHOLDER, placeholder),
        settable=True,
    )


class SnpTcb(Record):
    """Minimum security patch levels."""

    bootloader: int | None = _level("BootloaderVersion", "boot loader")
    tee: int | None = _level("TEEVersion", "TEE")
    snp: int | None = _level("SNPVersion", "SNP firmware")
    microcode: int | None = _level("MicrocodeVersion", "microcode")

    @property
    def is_complete(self) -> bool:
        """Return whether no level is missing."""
        return None not in (self.bootloader, self.tee, self.snp, self.microcode)


def _policy(name: str, meaning: str, *, shape: Any = BOOL, absent: Any = False) -> Any:
    """Declare one flag or number of the guest policy; an absent member is false, or 0."""
    return member(
        shape,
        meaning,
        name=name,
        default=absent,
        absent=absent,
        written=True,
        fault=catalogue.GUEST_POLICY,
        settable=True,
    )


class GuestPolicy(Record):
    """The SNP guest policy that a guest must have been launched with."""

    abi_minor: int = _policy(
        "ABIMinor", "lowest minor version of the firmware's ABI", shape=_SVN, absent=0
    )
    abi_major: int = _policy(
        "ABIMajor", "lowest major version of the firmware's ABI", shape=_SVN, absent=0
    )
    smt: bool = member(
        BOOL,
        "whether the guest may run on a processor with simultaneous multithreading",
        name="SMT",
        default=True,
        fault=catalogue.GUEST_POLICY,
        settable=True,
        zero=False,
    )
    migrate_ma: bool = _policy("MigrateMA", "whether a migration agent may be used")
    debug: bool = _policy("Debug", "whether the host may debug the guest")
    single_socket: bool = _policy("SingleSocket", "whether the guest may run on one socket only")
    cxl_allowed: bool = _policy("CXLAllowed", "whether CXL devices may be used")
    mem_aes_256_xts: bool = _policy("MemAES256XTS", "whether AES-256-XTS is required")
    rapl_dis: bool = _policy("RAPLDis", "whether RAPL must be off")
    ciphertext_hiding_dram: bool = _policy(
        "CipherTextHidingDRAM", "whether ciphertext hiding must be on"
    )
    page_swap_disable: bool = _policy("PageSwapDisable", "whether page swap commands must be off")

    def to_word(self) -> int:
        """Return the 64-bit policy: ABI minor in bits 0..7, major in 8..15, flags from 16; reserved bit 17 is 1."""
        minor, major, smt, *flags = (getattr(self, name) for name in self.parts)
        word = minor | major << 8 | smt << 16 | 1 << 17
        return int(word | sum(flag << bit for bit, flag in enumerate(flags, start=18)))


FIXED_GUEST_POLICY = {part.name: (part.default,) for part in GuestPolicy.members} | {
    "ABIMinor": (0, 31)
}
"""The values that a release with a fixed guest policy accepts. Source: docs/internals/releases.md 2.2."""


def _info(name: str, bit: str, *, default: bool = False) -> Any:
    """Declare one bit of PLATFORM_INFO; an absent member is false."""
    return member(
        BOOL,
        f"value of the bit {bit}",
        name=name,
        default=default,
        absent=False,
        written=True,
        settable=True,
    )


class PlatformInfo(Record):
    """The bits of PLATFORM_INFO that a machine must report."""

    smt_enabled: bool = _info("SMTEnabled", "SMT_ENABLED", default=True)
    tsme_enabled: bool = _info("TSMEEnabled", "TSME_ENABLED")
    ecc_enabled: bool = _info("ECCEnabled", "ECC_ENABLED")
    rapl_disabled: bool = _info("RAPLDisabled", "RAPL_DISABLED")
    ciphertext_hiding_dram_enabled: bool = _info(
        "CiphertextHidingDRAMEnabled", "CIPHERTEXT_HIDING_DRAM_ENABLED"
    )
    alias_check_complete: bool = _info("AliasCheckComplete", "ALIAS_CHECK_COMPLETE")
    tio_enabled: bool = _info("TIOEnabled", "TIO_ENABLED")

    def to_word(self) -> int:
        """Return the bits as in the report's PLATFORM_INFO: 0..5 in member order, TIO is bit 7."""
        *flags, tio = (getattr(self, name) for name in self.parts)
        return int(tio << 7 | sum(flag << bit for bit, flag in enumerate(flags)))


class _SnpGuest(Record):
    """The members of entries for real and for simulated processors alike."""

    trusted_measurement_hex: str = member(
        hex_digits(48),
        "launch digest of the guest",
        name="TrustedMeasurement",
        fault=catalogue.MEASUREMENT,
        missing=catalogue.MISSING_MEASUREMENT,
        suspect=Suspect(
            _ALL_ZERO, catalogue.MEASUREMENT, "is all zero, expected a launch measurement"
        ),
        settable=True,
    )
    minimum_tcb: SnpTcb = member(
        SnpTcb,
        "lowest security patch levels to accept",
        name="MinimumTCB",
        absent=SnpTcb(),
        written=True,
        settable=True,
    )
    guest_policy: GuestPolicy = member(
        GuestPolicy,
        "the policy that the guest was launched with",
        name="GuestPolicy",
        settable=True,
    )
    platform_info: PlatformInfo | None = member(
        PlatformInfo,
        "the PLATFORM_INFO that the machine must report",
        name="PlatformInfo",
        default=PlatformInfo(),
        absent=None,
        settable=True,
        zero=PlatformInfo(smt_enabled=False),
    )


class SnpReference(_SnpGuest, first=("platform", "product_name")):
    """One acceptable kind of SEV-SNP guest.

    allowed_chip_ids: None or empty allows any chip. apeip_hex: if neither None nor empty, the measurement is the digest for one
    virtual processor. platform_info: None is unchecked.
    """

    product_name: str = member(
        one_of(*SNP_PRODUCTS),
        "the product line of the processors",
        name="ProductName",
        fault=catalogue.PRODUCT_NAME,
        measured=True,
    )
    minimum_mitigation_vector: int | None = _optional(
        integer(0, 2**64 - 1),
        "mitigations that must be in effect, as a bit vector",
        "MinimumMitigationVector",
        settable=True,
        zero=0,
    )
    allowed_chip_ids: tuple[str, ...] | None = _optional(
        List(hex_digits(64), "an array of 128 hex digits each", null=None),
        "the only processors to accept",
        "AllowedChipIDs",
        written=True,
        fault=catalogue.CHIP_ID,
        settable=True,
    )
    apeip_hex: str | None = _optional(
        or_blank(hex_digits(4), ""),
        "address of the first instruction of all virtual processors but the first",
        "APEIP",
        fault=catalogue.APEIP,
        measured=True,
        zero="",
    )
    allow_vlek: bool | None = _optional(
        BOOL,
        "whether reports signed with a cloud provider's key (VLEK) are accepted too; such a key names no chip",
        "AllowVLEK",
        settable=True,
    )
    cpus: int | None = _optional(
        _COUNT,
        "number of virtual processors that the measurement holds for",
        "CPUs",
        measured=True,
        zero=0,
    )
    platform: str | None = _optional(
        ANY_TEXT, "the platform that the entry is for", "Platform", measured=True, zero=""
    )


class SimulatedReference(_SnpGuest, first=("root_sha256_hex",)):
    """One simulated processor."""

    root_sha256_hex: str = member(
        hex_digits(32, lower=True),
        "SHA-256 of the processor's root certificate in DER",
        name="RootSHA256",
        fault=catalogue.SIMULATED_ROOT,
    )


class TdxReference(Record):
    """One acceptable kind of TDX guest; rtmrs_hex has four elements."""

    platform: str | None = _optional(
        ANY_TEXT, "the platform that the entry is for", "Platform", measured=True, zero=""
    )
    min_tcb_evaluation_data_number: int | None = _optional(
        _COUNT,
        "lowest evaluation data number of the collateral that the platform is judged by",
        "MinTCBEvaluationDataNumber",
        settable=True,
        zero=0,
    )
    mr_td_hex: str = member(
        hex_digits(48),
        "measurement of the initial guest",
        name="MrTd",
        fault=catalogue.MR_TD,
        missing=catalogue.MISSING_MR_TD,
        settable=True,
    )
    rtmrs_hex: tuple[str, ...] = member(
        List(hex_digits(48), "an array of four times 96 hex digits", least=4, most=4),
        "measurements of firmware, kernel and command line",
        name="Rtmrs",
        old=("Rtrms",),
        fault=catalogue.RTMRS,
        missing=catalogue.MISSING_RTMR,
        settable=True,
    )
    minimum_qe_svn: int | None = _optional(
        _SVN16,
        "lowest security version of the quoting enclave",
        "MinimumQeSvn",
        fault=catalogue.TDX_SVN,
        settable=True,
        needed=True,
    )
    minimum_pce_svn: int | None = _optional(
        _SVN16,
        "lowest security version of the provisioning certification enclave",
        "MinimumPceSvn",
        fault=catalogue.TDX_SVN,
        settable=True,
        needed=True,
    )
    minimum_tee_tcb_svn_hex: str | None = _optional(
        hex_digits(16),
        "lowest patch levels of the TDX module",
        "MinimumTeeTcbSvn",
        fault=catalogue.TEE_TCB_SVN,
        missing=catalogue.MISSING_TEE_TCB_SVN,
        suspect=Suspect(
            "f" * 32,
            catalogue.TEE_TCB_SVN_PLACEHOLDER,
            "is all ff, the placeholder that no platform reaches, attestation will fail",
        ),
        settable=True,
        zero="",
        needed=True,
    )
    mr_seam_hex: str = member(
        hex_digits(48),
        "measurement of the TDX module",
        name="MrSeam",
        fault=catalogue.MR_SEAM,
        missing=catalogue.MISSING_MR_SEAM,
        suspect=Suspect(
            _ALL_ZERO,
            catalogue.MR_SEAM_PLACEHOLDER,
            "is all zero, the placeholder that no TDX module has, attestation will fail",
        ),
        settable=True,
    )
    td_attributes_hex: str | None = _optional(
        hex_digits(8),
        "attributes of the guest",
        "TdAttributes",
        fault=catalogue.TDX_FEATURES,
        settable=True,
        zero="",
        needed=True,
    )
    xfam_hex: str = member(
        hex_digits(8),
        "processor features that the guest may use",
        name="Xfam",
        fault=catalogue.TDX_FEATURES,
        settable=True,
    )
    allowed_piids: tuple[str, ...] | None = _optional(
        List(hex_digits(16), "an array of 32 hex digits each", null=None),
        "the only platform instances to accept",
        "AllowedPIIDs",
        written=True,
        fault=catalogue.PIID,
        settable=True,
    )
    memory_integrity: bool | None = _optional(
        BOOL,
        "whether memory integrity must be protected",
        "MemoryIntegrity",
        settable=True,
        zero=False,
    )
    smt_disabled: bool | None = _optional(
        BOOL,
        "whether simultaneous multithreading must be off",
        "SMTDisabled",
        settable=True,
        zero=False,
    )
    static_platform: bool | None = _optional(
        BOOL,
        "whether the platform must be one to which no processors can be added",
        "StaticPlatform",
        settable=True,
        zero=False,
    )
    allow_quote_v5: bool | None = _optional(
        BOOL, "whether quotes of version 5 are accepted too", "AllowQuoteV5", settable=True
    )


class ReferenceValues(Record):
    """A disjunction: evidence is accepted when any one entry accepts it."""

    snp: tuple[SnpReference, ...] = member(
        List(SnpReference, null=()), "SEV-SNP guests", default=(), absent=()
    )
    tdx: tuple[TdxReference, ...] = member(
        List(TdxReference, null=()), "TDX guests", default=(), absent=()
    )
    simulated: tuple[SimulatedReference, ...] = member(
        List(SimulatedReference, null=()), "guests of simulated processors", default=(), absent=()
    )
