"""Evidence of a guest on a simulated processor: reports signed with the processor's key."""

import secrets
from dataclasses import dataclass, replace

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from contrast_tasks.attestation.issuers.simulated_chain import SIMULATED_TCB, Chain
from contrast_tasks.attestation.snp.document import (
    EXTRA_CRL,
    SnpDocument,
    render_report_part,
    render_rest,
)
from contrast_tasks.attestation.snp.endorsement import parse_endorsement
from contrast_tasks.attestation.snp.id_block import FAMILY_ID, GUEST_SVN, IMAGE_ID, id_key_digest
from contrast_tasks.attestation.snp.lines import SIMULATED_FAMILY
from contrast_tasks.attestation.snp.report import (
    SIGNATURE_BYTES,
    SIGNED_BYTES,
    SnpReport,
    render_signature,
)
from contrast_tasks.evidence_documents import HOST_DATA_BYTES, OID_SNP, REPORT_DATA_BYTES

_PLATFORM_INFO = 0b10_0101  # SMT, ECC, alias check complete
_REPORT_VERSION = 5
_MEASUREMENT_BYTES = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedIssuer:
    """Signs reports of one simulated guest; safe to use from any thread.

    template: the report with zero report data and signature. rest: the document's bytes without the report.
    """

    template: SnpReport
    rest: bytes
    key: ec.EllipticCurvePrivateKey
    oid: str = OID_SNP

    def issue(self, report_data: bytes) -> bytes:
        """Return a document for 64 bytes of report data, with chain and revocation list."""
        if len(report_data) != REPORT_DATA_BYTES:
            raise ValueError(f"report data has {len(report_data)} bytes, wanted 64")
        report = sign_report(replace(self.template, report_data=report_data), self.key)
        return render_report_part(report) + self.rest


def new_guest(
    chain: Chain,
    key: ec.EllipticCurvePrivateKey,
    host_data: bytes,
    measurement: bytes,
    guest_policy: int,
) -> SimulatedIssuer:
    """Return the issuer of a guest on the processor of `chain`; the other arguments are those of `SimulatedProcessor.issuer`."""
    if len(host_data) != HOST_DATA_BYTES or len(measurement) != _MEASUREMENT_BYTES:
        raise ValueError("wanted 32 bytes of host data and 48 bytes of measurement")
    tcb = SIMULATED_TCB.to_word()
    report = SnpReport(
        version=_REPORT_VERSION,
        guest_svn=GUEST_SVN,
        policy=guest_policy,
        family_id=FAMILY_ID,
        image_id=IMAGE_ID,
        vmpl=0,
        signature_algo=1,
        current_tcb=tcb,
        platform_info=_PLATFORM_INFO,
        signer_info=0,
        report_data=bytes(REPORT_DATA_BYTES),
        measurement=measurement,
        host_data=host_data,
        id_key_digest=id_key_digest(measurement, guest_policy),
        author_key_digest=bytes(48),
        report_id=secrets.token_bytes(32),
        report_id_ma=b"\xff" * 32,
        reported_tcb=tcb,
        cpuid_family=SIMULATED_FAMILY,
        cpuid_model=0,
        cpuid_stepping=0,
        chip_id=parse_endorsement(chain.vcek_der).hwid,
        committed_tcb=tcb,
        current_major=1,
        current_minor=55,
        current_build=49,
        committed_major=1,
        committed_minor=55,
        committed_build=49,
        launch_tcb=tcb,
        launch_mit_vector=0,
        current_mit_vector=0,
        signature=bytes(SIGNATURE_BYTES),
    )
    document = SnpDocument(
        report=report,
        vcek_der=chain.vcek_der,
        ask_der=chain.ask_der,
        ark_der=chain.ark_der,
        extras={EXTRA_CRL: chain.crl_der},
    )
    return SimulatedIssuer(template=report, rest=render_rest(document), key=key)


def sign_report(report: SnpReport, key: ec.EllipticCurvePrivateKey) -> SnpReport:
    """Return `report` signed with a P-384 key."""
    signature = key.sign(report.raw[:SIGNED_BYTES], ec.ECDSA(SHA384()))
    return replace(report, signature=render_signature(*decode_dss_signature(signature)))
