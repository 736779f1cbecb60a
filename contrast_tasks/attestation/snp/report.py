"""The SEV-SNP attestation report, 0x4A0 bytes: reading with every reserved byte checked, and writing.

Since reserved bytes must be zero, writing a report that was read gives the very same bytes, so a signature can be verified over
the fields alone. Source: docs/internals/attestation.md 2.1, 2.3, 2.4.
"""

import struct
from dataclasses import dataclass

from contrast_tasks.attestation.errors import MalformedEvidence

REPORT_BYTES = 0x4A0
SIGNED_BYTES = 0x2A0
SIGNATURE_BYTES = REPORT_BYTES - SIGNED_BYTES
VERSIONS = range(2, 6)
VMPL_HOST = 0xFFFFFFFF  # a report that the host asked for
SIGNING_KEY_VCEK, SIGNING_KEY_VLEK = 0, 1
KIND_VCEK, KIND_VLEK = "vcek", "vlek"

_LAYOUT = struct.Struct("<IIQ16s16sIIQQI4s64s48s32s48s48s32s32sQ3B21s64sQ3Bs3BsQQQ152s72s72s368s")
_VERSION_WITH_CPUID = 3
_VERSION_WITH_MITIGATIONS = 5
_ALGORITHM_P384_SHA384 = 1
_SCALAR_BYTES = 48
# The order of the group of P-384, FIPS 186-5.
_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
_POLICY_RESERVED_ONE = 1 << 17
_POLICY_KNOWN = (1 << 26) - 1
_PLATFORM_KNOWN = 0b1011_1111
_SIGNER_KNOWN = 0b1_1111


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReport:
    """Every field of the report; words are unsigned, byte strings have the length in the specification's table.

    current_tcb, reported_tcb, committed_tcb, launch_tcb: packed, their layout depends on the product, see `tcb`.
    cpuid_family, cpuid_model, cpuid_stepping: zero in version 2; mitigation vectors: zero before version 5.
    current_version, committed_version: firmware (major, minor, build). signature: bytes 2A0 to 49F.
    """

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algo: int
    current_tcb: int
    platform_info: int
    signer_info: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: int
    cpuid_family: int
    cpuid_model: int
    cpuid_stepping: int
    chip_id: bytes
    committed_tcb: int
    current_version: tuple[int, int, int]
    committed_version: tuple[int, int, int]
    launch_tcb: int
    launch_mit_vector: int
    current_mit_vector: int
    signature: bytes

    @property
    def raw(self) -> bytes:
        """Return the 0x4A0 bytes."""
        return render_report(self)

    @property
    def signing_key(self) -> int:
        """Return which key signed: 0 VCEK, 1 VLEK, 7 none."""
        return self.signer_info >> 2 & 7

    @property
    def author_key_enabled(self) -> bool:
        """Return whether the ID block was signed with an author key."""
        return bool(self.signer_info & 1)

    @property
    def has_cpuid(self) -> bool:
        """Return whether family, model and stepping are meaningful."""
        return self.version >= _VERSION_WITH_CPUID

    @property
    def key_kind(self) -> str:
        """Return whose key signed it, as in the addresses of AMD's service: `vlek` is a provider's, `vcek` the chip's own."""
        return KIND_VLEK if self.signing_key == SIGNING_KEY_VLEK else KIND_VCEK


def parse_report(raw: bytes) -> SnpReport:
    """Read a report; the signature is checked for its form only.

    Raises MalformedEvidence if the length, the version, a reserved byte or bit, the signature's algorithm or range is not as
    the ABI has it.
    """
    if len(raw) != REPORT_BYTES:
        raise MalformedEvidence(
            f"the report has {len(raw)} bytes, wanted {REPORT_BYTES}", reason="report-length"
        )
    (
        version, guest_svn, policy, family_id, image_id, vmpl, algo, current_tcb, platform_info, signer_info,
        zero_04c, report_data, measurement, host_data, id_key_digest, author_key_digest, report_id, report_id_ma,
        reported_tcb, family, model, stepping, zero_18b, chip_id, committed_tcb,
        cur_build, cur_minor, cur_major, zero_1eb, com_build, com_minor, com_major, zero_1ef,
        launch_tcb, launch_mit, current_mit, zero_208, _sig_r, _sig_s, zero_330,
    ) = _LAYOUT.unpack(raw)  # fmt: skip
    for offset, reserved in (
        (0x4C, zero_04c),
        (0x18B, zero_18b),
        (0x1EB, zero_1eb),
        (0x1EF, zero_1ef),
        (0x208, zero_208),
        (0x330, zero_330),
    ):
        if any(reserved):
            raise MalformedEvidence(
                f"report has reserved bytes set at {offset:#x}", reason="report-reserved"
            )
    report = SnpReport(
        version=version,
        guest_svn=guest_svn,
        policy=policy,
        family_id=family_id,
        image_id=image_id,
        vmpl=vmpl,
        signature_algo=algo,
        current_tcb=current_tcb,
        platform_info=platform_info,
        signer_info=signer_info,
        report_data=report_data,
        measurement=measurement,
        host_data=host_data,
        id_key_digest=id_key_digest,
        author_key_digest=author_key_digest,
        report_id=report_id,
        report_id_ma=report_id_ma,
        reported_tcb=reported_tcb,
        cpuid_family=family,
        cpuid_model=model,
        cpuid_stepping=stepping,
        chip_id=chip_id,
        committed_tcb=committed_tcb,
        current_version=(cur_major, cur_minor, cur_build),
        committed_version=(com_major, com_minor, com_build),
        launch_tcb=launch_tcb,
        launch_mit_vector=launch_mit,
        current_mit_vector=current_mit,
        signature=raw[SIGNED_BYTES:],
    )
    _verify_form(report)
    signature_scalars(report)
    return report


def render_report(report: SnpReport) -> bytes:
    """Return the 0x4A0 bytes of a report; reserved bytes are zero.

    Raises MalformedEvidence for a value that does not fit its field.
    """
    for name, size in _SIZES.items():
        if len(getattr(report, name)) != size:
            raise MalformedEvidence(
                f"report field {name} has {len(getattr(report, name))} bytes, wanted {size}",
                reason="report-length",
            )
    try:
        return _LAYOUT.pack(
            report.version, report.guest_svn, report.policy, report.family_id, report.image_id, report.vmpl,
            report.signature_algo, report.current_tcb, report.platform_info, report.signer_info, b"",
            report.report_data, report.measurement, report.host_data, report.id_key_digest,
            report.author_key_digest, report.report_id, report.report_id_ma, report.reported_tcb,
            report.cpuid_family, report.cpuid_model, report.cpuid_stepping, b"", report.chip_id,
            report.committed_tcb, *reversed(report.current_version), b"", *reversed(report.committed_version), b"",
            report.launch_tcb, report.launch_mit_vector, report.current_mit_vector, b"",
            report.signature[:72], report.signature[72:144], report.signature[144:],
        )  # fmt: skip
    except struct.error as err:
        raise MalformedEvidence(
            "a report field does not fit its width", reason="report-length"
        ) from err


def signature_scalars(report: SnpReport) -> tuple[int, int]:
    """Return r and s, each 1..n-1.

    The report holds them little-endian in 72 bytes, of which 48 are significant. Raises MalformedEvidence.
    """
    scalars = []
    for name, part in (("r", report.signature[:72]), ("s", report.signature[72:144])):
        value = int.from_bytes(part[:_SCALAR_BYTES], "little")
        if any(part[_SCALAR_BYTES:]) or not 0 < value < _ORDER:
            raise MalformedEvidence(
                f"the signature's {name} is out of range", reason="signature-form"
            )
        scalars.append(value)
    if any(report.signature[144:]):
        raise MalformedEvidence("report has reserved bytes set at 0x330", reason="report-reserved")
    return scalars[0], scalars[1]


def render_signature(r: int, s: int) -> bytes:
    """Return the 512 bytes of a report's signature area."""
    parts = (value.to_bytes(_SCALAR_BYTES, "little").ljust(72, b"\0") for value in (r, s))
    return b"".join(parts).ljust(SIGNATURE_BYTES, b"\0")


_SIZES = {
    "family_id": 16,
    "image_id": 16,
    "report_data": 64,
    "measurement": 48,
    "host_data": 32,
    "id_key_digest": 48,
    "author_key_digest": 48,
    "report_id": 32,
    "report_id_ma": 32,
    "chip_id": 64,
    "signature": SIGNATURE_BYTES,
}


def _verify_form(report: SnpReport) -> None:
    rules = (
        (report.version in VERSIONS, "version", f"{report.version}", "2 to 5"),
        (
            report.signature_algo == _ALGORITHM_P384_SHA384,
            "signature-algorithm",
            f"{report.signature_algo}",
            "1 (ecdsa p-384 with sha-384)",
        ),
        (
            report.vmpl <= 3 or report.vmpl == VMPL_HOST,  # noqa: PLR2004  # four privilege levels
            "vmpl",
            f"{report.vmpl}",
            "0 to 3",
        ),
        (
            bool(report.policy & _POLICY_RESERVED_ONE) and not report.policy & ~_POLICY_KNOWN,
            "policy-reserved",
            f"{report.policy:#x}",
            "bit 17 set and bits 26 to 63 clear",
        ),
        (
            not report.platform_info & ~_PLATFORM_KNOWN,
            "platform-info-reserved",
            f"{report.platform_info:#x}",
            "no other bits than 0 to 5 and 7",
        ),
        (
            not report.signer_info & ~_SIGNER_KNOWN
            and report.signing_key in {SIGNING_KEY_VCEK, SIGNING_KEY_VLEK},
            "signing-key",
            f"{report.signer_info:#x}",
            "a report signed by vcek (0) or vlek (1)",
        ),
        (
            report.has_cpuid
            or not (report.cpuid_family or report.cpuid_model or report.cpuid_stepping),
            "report-reserved",
            "set at 0x188",
            "zero before version 3",
        ),
        (
            report.version >= _VERSION_WITH_MITIGATIONS
            or not (report.launch_mit_vector or report.current_mit_vector),
            "report-reserved",
            "set at 0x1f8",
            "zero before version 5",
        ),
    )
    for holds, reason, found, wanted in rules:
        if not holds:
            raise MalformedEvidence(
                f"report field {reason} is {found}, wanted {wanted}", reason=reason
            )
