"""The SEV-SNP attestation report, 0x4A0 bytes: parsing, which checks every reserved byte, and writing.

Reserved bytes must be zero, so writing a parsed report gives the same bytes, over which the signature can be verified.
Source: docs/internals/attestation.md 2.1, 2.3, 2.4.
"""

from dataclasses import dataclass
from typing import Annotated

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.flags import mask_of
from contrast_tasks.attestation.layout import At, Layout
from contrast_tasks.attestation.snp.endorsement import KIND_VCEK, KIND_VLEK
from contrast_tasks.attestation.snp.flags import ABI_VERSION, GUEST_POLICY, PLATFORM_INFO
from contrast_tasks.attestation.snp.p384 import ORDER

REPORT_BYTES = 0x4A0
SIGNED_BYTES = 0x2A0
SIGNATURE_BYTES = REPORT_BYTES - SIGNED_BYTES
VERSIONS = range(2, 6)
VMPL_HOST = 0xFFFFFFFF  # a report that the host asked for
SIGNING_KEY_VCEK, SIGNING_KEY_VLEK = 0, 1

_VERSION_WITH_CPUID = 3
_VERSION_WITH_MITIGATIONS = 5
_ALGORITHM_P384_SHA384 = 1
_SCALAR_BYTES, _SCALAR_FIELD_BYTES = 48, 72
_POLICY_RESERVED_ONE = 1 << 17
_POLICY_KNOWN = ABI_VERSION | mask_of(GUEST_POLICY)
_PLATFORM_KNOWN = mask_of(PLATFORM_INFO)
_SIGNER_KNOWN = 0b1_1111


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReport:
    """The fields of the report, named as in the protobuf message.

    current_tcb, reported_tcb, committed_tcb, launch_tcb: packed in the layout of the product, see `tcb`.
    cpuid_family, cpuid_model, cpuid_stepping: zero in version 2. Mitigation vectors: zero before version 5.
    """

    version: Annotated[int, At(0x000, "I")]
    guest_svn: Annotated[int, At(0x004, "I")]
    policy: Annotated[int, At(0x008, "Q")]
    family_id: Annotated[bytes, At(0x010, "16s")]
    image_id: Annotated[bytes, At(0x020, "16s")]
    vmpl: Annotated[int, At(0x030, "I")]
    signature_algo: Annotated[int, At(0x034, "I")]
    current_tcb: Annotated[int, At(0x038, "Q")]
    platform_info: Annotated[int, At(0x040, "Q")]
    signer_info: Annotated[int, At(0x048, "I")]
    report_data: Annotated[bytes, At(0x050, "64s")]
    measurement: Annotated[bytes, At(0x090, "48s")]
    host_data: Annotated[bytes, At(0x0C0, "32s")]
    id_key_digest: Annotated[bytes, At(0x0E0, "48s")]
    author_key_digest: Annotated[bytes, At(0x110, "48s")]
    report_id: Annotated[bytes, At(0x140, "32s")]
    report_id_ma: Annotated[bytes, At(0x160, "32s")]
    reported_tcb: Annotated[int, At(0x180, "Q")]
    cpuid_family: Annotated[int, At(0x188, "B")]
    cpuid_model: Annotated[int, At(0x189, "B")]
    cpuid_stepping: Annotated[int, At(0x18A, "B")]
    chip_id: Annotated[bytes, At(0x1A0, "64s")]
    committed_tcb: Annotated[int, At(0x1E0, "Q")]
    current_build: Annotated[int, At(0x1E8, "B")]
    current_minor: Annotated[int, At(0x1E9, "B")]
    current_major: Annotated[int, At(0x1EA, "B")]
    committed_build: Annotated[int, At(0x1EC, "B")]
    committed_minor: Annotated[int, At(0x1ED, "B")]
    committed_major: Annotated[int, At(0x1EE, "B")]
    launch_tcb: Annotated[int, At(0x1F0, "Q")]
    launch_mit_vector: Annotated[int, At(0x1F8, "Q")]
    current_mit_vector: Annotated[int, At(0x200, "Q")]
    signature: Annotated[bytes, At(0x2A0, "512s")]

    @property
    def raw(self) -> bytes:
        """Return the 0x4A0 bytes; raises MalformedEvidence for a value that does not fit its field."""
        return LAYOUT.render(self)

    @property
    def current_version(self) -> tuple[int, int, int]:
        """Return major, minor and build of the running firmware."""
        return self.current_major, self.current_minor, self.current_build

    @property
    def committed_version(self) -> tuple[int, int, int]:
        """Return major, minor and build of the committed firmware: the host cannot roll back below it."""
        return self.committed_major, self.committed_minor, self.committed_build

    @property
    def signing_key(self) -> int:
        """Return the key that signed: 0 VCEK, 1 VLEK, 7 none."""
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
        """Return the kind of the key that signed: KIND_VCEK or KIND_VLEK."""
        return KIND_VLEK if self.signing_key == SIGNING_KEY_VLEK else KIND_VCEK


LAYOUT = Layout(SnpReport, REPORT_BYTES, what="report", reason="report")


def parse_report(raw: bytes) -> SnpReport:
    """Read a report; only the form of its signature is checked.

    Raises MalformedEvidence if length, version, a reserved byte or bit, or the signature's algorithm or range violate the ABI.
    """
    report = LAYOUT.parse(raw)
    _verify_form(report)
    signature_scalars(report)
    return report


def signature_scalars(report: SnpReport) -> tuple[int, int]:
    """Return r and s, each 1..n-1.

    The report has each in 72 bytes, little-endian, of which 48 are significant. Raises MalformedEvidence.
    """
    scalars = []
    for name, start in (("r", 0), ("s", _SCALAR_FIELD_BYTES)):
        part = report.signature[start : start + _SCALAR_FIELD_BYTES]
        value = int.from_bytes(part, "little")
        if not 0 < value < ORDER:
            raise MalformedEvidence(
                f"the signature's {name} is out of range", reason="signature-form"
            )
        scalars.append(value)
    if any(report.signature[2 * _SCALAR_FIELD_BYTES :]):
        raise MalformedEvidence("report has reserved bytes set at 0x330", reason="report-reserved")
    return scalars[0], scalars[1]


def render_signature(r: int, s: int) -> bytes:
    """Return the 512 bytes of a report's signature area."""
    parts = (value.to_bytes(_SCALAR_BYTES, "little") for value in (r, s))
    return b"".join(part.ljust(_SCALAR_FIELD_BYTES, b"\0") for part in parts).ljust(
        SIGNATURE_BYTES, b"\0"
    )


def _verify_form(report: SnpReport) -> None:
    algorithm, policy, platform = report.signature_algo, report.policy, report.platform_info
    _require(report.version in VERSIONS, "version", f"{report.version}", "2 to 5")
    _require(
        algorithm == _ALGORITHM_P384_SHA384,
        "signature-algorithm",
        f"{algorithm}",
        "1 (ecdsa p-384 with sha-384)",
    )
    is_level = report.vmpl in range(4) or report.vmpl == VMPL_HOST
    _require(is_level, "vmpl", f"{report.vmpl}", "0 to 3")
    _require(
        bool(policy & _POLICY_RESERVED_ONE) and not policy & ~_POLICY_KNOWN,
        "policy-reserved",
        f"{policy:#x}",
        "bit 17 set and bits 26 to 63 clear",
    )
    _require(
        not platform & ~_PLATFORM_KNOWN,
        "platform-info-reserved",
        f"{platform:#x}",
        "no bits but 0 to 5 and 7",
    )
    is_signed = report.signing_key in {SIGNING_KEY_VCEK, SIGNING_KEY_VLEK}
    _require(
        is_signed and not report.signer_info & ~_SIGNER_KNOWN,
        "signing-key",
        f"{report.signer_info:#x}",
        "a report signed by vcek (0) or vlek (1)",
    )
    cpuid = report.cpuid_family or report.cpuid_model or report.cpuid_stepping
    _require(
        report.has_cpuid or not cpuid, "report-reserved", "set at 0x188", "zero before version 3"
    )
    mitigations = report.launch_mit_vector or report.current_mit_vector
    _require(
        report.version >= _VERSION_WITH_MITIGATIONS or not mitigations,
        "report-reserved",
        "set at 0x1f8",
        "zero before version 5",
    )


def _require(holds: bool, reason: str, found: str, wanted: str) -> None:
    if not holds:
        raise MalformedEvidence(f"report field {reason} is {found}, wanted {wanted}", reason=reason)
