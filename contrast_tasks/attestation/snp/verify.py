"""Verify SEV-SNP evidence: a genuine processor made it, now, for this key, in the state that the manifest demands.

`verify_genuine` verifies the first part, `SnpValidator.judge` all of it. Nothing here does I/O: bytes, expectations, time and
revocation lists come in, facts or one typed error come out.
Source: docs/internals/attestation.md 2.8, in its order.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from contrast_tasks.attestation.checks import Check
from contrast_tasks.attestation.errors import EndorsementRejected, SignatureRejected
from contrast_tasks.attestation.snp.crl import CrlSource, verify_not_revoked
from contrast_tasks.attestation.snp.document import EXTRA_CRL, SnpDocument, parse_document
from contrast_tasks.attestation.snp.endorsement import (
    KIND_VLEK,
    Endorsement,
    TrustAnchor,
    parse_endorsement,
    verify_chain,
)
from contrast_tasks.attestation.snp.expectation import (
    ReportTcbs,
    SnpExpectation,
    claim_checks,
    endorsement_checks,
)
from contrast_tasks.attestation.snp.lines import line_of_report
from contrast_tasks.attestation.snp.report import SIGNED_BYTES, SnpReport, signature_scalars
from contrast_tasks.attestation.verdict import require_all, require_policy
from contrast_tasks.evidence_documents import OID_SNP

_ECDSA = ec.ECDSA(SHA384())

CertificateSource = Callable[[SnpReport], bytes]
"""A report, not verified yet, to the cached VCEK (DER) for its chip and TCB, or empty; never fetches, never blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenuineReport:
    """A report that a genuine processor signed; the guest's state is not judged yet."""

    report: SnpReport
    line: str
    endorsement: Endorsement
    tcbs: ReportTcbs
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpVerdict:
    """A report that the named reference value accepts; `checks` has all checks in order."""

    reference_name: str
    checks: tuple[Check, ...]
    report: SnpReport
    line: str
    tcbs: ReportTcbs

    @property
    def host_data(self) -> bytes:
        """Return HOST_DATA."""
        return self.report.host_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a verifier trusts besides the reference values.

    anchor: the pinned root of the processor line. allow_vlek: accept keys of cloud providers too.
    crl: cached revocation lists. certificate: cached endorsement certificates, for documents without one.
    check_revocation: False for archived evidence, whose lists are gone.
    """

    anchor: TrustAnchor
    allow_vlek: bool = False
    crl: CrlSource | None = None
    certificate: CertificateSource | None = None
    check_revocation: bool = True


def verify_genuine(document: SnpDocument, trust: Trust, now: datetime) -> GenuineReport:
    """Verify that a processor of the anchor's line signed the report with a key that is endorsed and not revoked.

    Raises MalformedEvidence, EndorsementRejected, Revoked, CollateralUnavailable or SignatureRejected.
    """
    report = document.report
    kind = report.key_kind
    is_vlek = kind == KIND_VLEK
    if is_vlek and not trust.allow_vlek:
        raise EndorsementRejected(
            "the report is signed by a vlek, wanted a vcek",
            reason="vlek-not-allowed",
            hint="a vlek belongs to the cloud provider and names no chip; to accept that, set reference_values.snp.<product>.allow_vlek",
        )
    content = document.vlek_der if is_vlek else document.vcek_der
    if not content and not is_vlek and trust.certificate is not None:
        content = trust.certificate(report)
    if not content:
        raise EndorsementRejected(
            f"the document has no {kind} certificate",
            reason="chain-incomplete",
            hint="the peer could not get its certificate, and none is cached for its chip and TCB",
        )
    endorsement = parse_endorsement(content)
    if endorsement.kind != kind:
        raise EndorsementRejected(
            f"the certificate is a {endorsement.kind}, but another key signed the report"
        )
    line = line_of(report, endorsement)
    if line != trust.anchor.line:
        raise EndorsementRejected(
            f"the processor is of the line {line or 'unknown'}, wanted {trust.anchor.line}",
            reason="product",
            hint="the manifest needs a reference value for this kind of processor",
        )
    ica, ark = verify_chain(
        endorsement, trust.anchor, ica_der=document.ask_der, ark_der=document.ark_der, now=now
    )
    if trust.check_revocation:
        verify_not_revoked(ica, ark, _revocation_lists(document, trust, line), now)
    _verify_signature(report, endorsement)
    tcbs = ReportTcbs.of(report, line)
    checks = tuple(endorsement_checks(report, tcbs, endorsement))
    failed = [check for check in checks if not check.passed]
    if failed:
        raise EndorsementRejected(
            "; ".join(map(str, failed)), reason=failed[0].reason, hint=failed[0].hint
        )
    return GenuineReport(
        report=report, line=line, endorsement=endorsement, tcbs=tcbs, checks=checks
    )


def _revocation_lists(document: SnpDocument, trust: Trust, line: str) -> tuple[bytes, ...]:
    """Return the lists that may clear the intermediate certificate of a key.

    AMD has one list for each kind of key, and the lists do not name their kind. So for a provider's key only the list that we
    fetched from the address of its kind counts: its host could send the other one.
    """
    kind = document.report.key_kind
    cached = (trust.crl and trust.crl(line, kind)) or b""
    return (cached,) if kind == KIND_VLEK else (document.extras.get(EXTRA_CRL, b""), cached)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpValidator:
    """Judges documents by one reference value; immutable, so handshakes can share it.

    name: for messages, as `snp-0-MILAN`. policy_hashes: if given, HOST_DATA must be one of these (hex).
    """

    name: str
    expectation: SnpExpectation
    trust: Trust
    policy_hashes: Collection[str] | None = None
    oid: str = OID_SNP

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> SnpVerdict:
        """Return the verdict on a document (protobuf), the content of a certificate extension; otherwise as `judge`."""
        return self.judge(parse_document(document), report_data, now)

    def judge(self, document: SnpDocument, report_data: bytes, now: datetime) -> SnpVerdict:
        """Return the verdict if every check of docs/internals/attestation.md 2.8 passes; never uses the network.

        report_data: the 64 bytes that the evidence must hold.
        Raises HardwareRejected, or WrongPolicyHash if only the policy is not one of `policy_hashes`.
        """
        genuine = verify_genuine(document, self.trust, now)
        report, tcbs = genuine.report, genuine.tcbs
        claims = claim_checks(report, tcbs, self.expectation, report_data)
        checks = require_all((*genuine.checks, *claims))
        require_policy(report.host_data, self.policy_hashes)
        return SnpVerdict(
            reference_name=self.name, checks=checks, report=report, line=genuine.line, tcbs=tcbs
        )


def line_of(report: SnpReport, endorsement: Endorsement) -> str:
    """Return the processor line of a report, "" if its model is unknown."""
    # Reports from version 3 on name their processor; some certificates name a wrong product.
    return line_of_report(report) if report.has_cpuid else endorsement.line


def _verify_signature(report: SnpReport, endorsement: Endorsement) -> None:
    signature = encode_dss_signature(*signature_scalars(report))
    try:
        endorsement.key.verify(signature, report.raw[:SIGNED_BYTES], _ECDSA)
    except InvalidSignature as err:
        raise SignatureRejected(
            "the report is not signed by the endorsement key",
            hint="the report was altered, or the certificate is for another chip or firmware level",
        ) from err
