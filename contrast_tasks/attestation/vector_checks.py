"""Run the checks of an index of evidence vectors: each question, the verdict expected and the one found.

An index is JSON: `{"schema": 2, "vectors": [{"id", "tee": "snp"|"tdx", "files": [...], "checks": [{"check", "at", "options", "result",
"reason"?}]}]}`. Questions are `genuine`, `chain`, `tcb` (TDX) and `default-policy`. AMD vectors come without revocation lists, so
these are not asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contrast_tasks.attestation.errors import ClaimsRejected, CollateralUnavailable
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document
from contrast_tasks.attestation.snp.endorsement import parse_endorsement, verify_chain
from contrast_tasks.attestation.snp.expectation import SnpExpectation, claim_checks
from contrast_tasks.attestation.snp.report import parse_report
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import Trust, line_of
from contrast_tasks.attestation.snp.verify import verify_genuine as verify_genuine_snp
from contrast_tasks.attestation.tdx.collateral import parse_collateral
from contrast_tasks.attestation.tdx.document import quote_bytes
from contrast_tasks.attestation.tdx.quote import TdxQuote, parse_quote
from contrast_tasks.attestation.tdx.verify import (
    TdxExpectation,
    check_claims,
    require_status,
    tcb_of,
    verify_genuine,
)
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.errors import EvidenceRejected, UsageError
from contrast_tasks.manifest.model import GuestPolicy, PlatformInfo

Load = Callable[[str], bytes]
"""File name, relative to the index, to its bytes; raises UsageError."""

_ZERO_TCB = Tcb(bootloader=0, tee=0, snp=0, microcode=0)
_AKS_ABI_MINOR = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check's outcome; results are `accept` or `reject`, reasons one word (empty where accepted or not given)."""

    vector: str
    check: str
    at: str
    expected: str
    expected_reason: str
    found: str
    found_reason: str
    detail: str

    @property
    def passed(self) -> bool:
        """Return whether the verdict is the expected one; reasons are shown, not compared."""
        return self.found == self.expected


def run_checks(index: Any, load: Load, roots: TrustRoots) -> Iterator[CheckResult]:
    """Yield the outcome of every check of an index, in its order. Raises UsageError for an index of another form."""
    for vector in _members(index, "vectors"):
        files = {str(name): load(str(name)) for name in _members(vector, "files")}
        for check in _members(vector, "checks") if "checks" in vector else ():
            yield _run(vector, check, files, roots)


def _members(document: Any, name: str) -> list[Any]:
    value = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(value, list):
        owner = f"entry {document['id']!r}" if _has_id(document) else "the index"
        raise UsageError(f"{owner} has no list {name!r}")
    return value


def _has_id(document: Any) -> bool:
    return isinstance(document, Mapping) and "id" in document


def _required(document: Any, name: str) -> Any:
    if not isinstance(document, Mapping) or name not in document:
        raise UsageError(f"an entry of the index lacks {name!r}")
    return document[name]


def _run(
    vector: Mapping[str, Any],
    check: Mapping[str, Any],
    files: Mapping[str, bytes],
    roots: TrustRoots,
) -> CheckResult:
    at = str(_required(check, "at"))
    question = str(_required(check, "check"))
    options = check.get("options") or {}
    if not isinstance(options, Mapping):
        raise UsageError(
            f"{vector.get('id')}: the options of a check are {options!r}, wanted an object"
        )
    answers = _TDX if _required(vector, "tee") == "tdx" else _SNP
    if question not in answers:
        raise UsageError(
            f"{vector.get('id')}: unknown check {question!r}, wanted one of {', '.join(answers)}"
        )
    found, reason, detail = "accept", "", ""
    try:
        answers[question](files, roots, _instant(at), options)
    except EvidenceRejected as err:
        found, reason, detail = "reject", getattr(err, "reason", "rejected"), str(err)
    return CheckResult(
        vector=str(_required(vector, "id")),
        check=question,
        at=at,
        expected=str(_required(check, "result")),
        expected_reason=str(check.get("reason") or ""),
        found=found,
        found_reason=reason,
        detail=detail,
    )


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"the index has a time that does not parse: {text!r}") from err
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _one(files: Mapping[str, bytes], *endings: str) -> bytes:
    return next(
        (content for ending in endings for name, content in files.items() if name.endswith(ending)),
        b"",
    )


Options = Mapping[str, Any]


def _snp_document(files: Mapping[str, bytes]) -> SnpDocument:
    report = _one(files, ".report.bin")
    if not report:
        return parse_document(_one(files, ".attestation.pb", ".pb"))
    certificate = _one(files, ".vcek.der", ".vlek.der", ".der")
    kind = parse_endorsement(certificate).kind
    return SnpDocument(
        report=parse_report(report),
        vcek_der=certificate if kind == "VCEK" else b"",
        vlek_der=certificate if kind == "VLEK" else b"",
    )


def _snp_genuine(
    files: Mapping[str, bytes], roots: TrustRoots, now: datetime, options: Options
) -> None:
    document = _snp_document(files)
    verify_genuine_snp(document, _trust(document, roots, options), now)


def _trust(document: SnpDocument, roots: TrustRoots, options: Options) -> Trust:
    endorsement = parse_endorsement(document.vlek_der or document.vcek_der)
    return Trust(
        anchor=roots.anchor(line_of(document.report, endorsement)),
        allow_vlek=bool(options.get("allow_vlek")),
        check_revocation=False,
    )


def _snp_chain(files: Mapping[str, bytes], roots: TrustRoots, now: datetime, _: Options) -> None:
    endorsement = parse_endorsement(_one(files, ".vcek.der", ".vlek.der", ".der"))
    verify_chain(endorsement, roots.anchor(endorsement.line), ica_der=b"", ark_der=b"", now=now)


def _snp_default_policy(
    files: Mapping[str, bytes], roots: TrustRoots, now: datetime, options: Options
) -> None:
    document = _snp_document(files)
    genuine = verify_genuine_snp(document, _trust(document, roots, options), now)
    report = genuine.report
    # Two policies are ever generated; the one whose ABI the report names is the one its manifest would have.
    minor = _AKS_ABI_MINOR if report.policy & 0xFF == _AKS_ABI_MINOR else 0
    expectation = SnpExpectation(
        measurement=report.measurement,
        minimum_tcb=_ZERO_TCB,
        guest_policy=GuestPolicy(abi_minor=minor).to_word(),
        platform_info=PlatformInfo().to_word(),
    )
    checks = tuple(claim_checks(report, genuine.tcbs, expectation, report.report_data))
    if not all(check.passed for check in checks):
        raise ClaimsRejected(checks)


def _tdx_quote(files: Mapping[str, bytes]) -> TdxQuote:
    raw = _one(files, ".quote.bin")
    return parse_quote(raw or quote_bytes(_one(files, ".pb")))


def _tdx_genuine(
    files: Mapping[str, bytes], roots: TrustRoots, now: datetime, options: Options
) -> None:
    verify_genuine(
        _tdx_quote(files),
        root_spki=roots.intel_spki,
        now=now,
        allow_v5=bool(options.get("allow_quote_v5")),
    )


def _tdx_tcb(
    files: Mapping[str, bytes], roots: TrustRoots, now: datetime, options: Options
) -> None:
    quote = _tdx_quote(files)
    chain = verify_genuine(
        quote, root_spki=roots.intel_spki, now=now, allow_v5=bool(options.get("allow_quote_v5"))
    )
    bundle = _one(files, ".collateral.json")
    collateral = parse_collateral(bundle) if bundle else None
    require_status(tcb_of(quote, chain, collateral, root_spki=roots.intel_spki, now=now)[0])


def _tdx_default_policy(
    files: Mapping[str, bytes], roots: TrustRoots, now: datetime, options: Options
) -> None:
    quote = _tdx_quote(files)
    chain = verify_genuine(
        quote, root_spki=roots.intel_spki, now=now, allow_v5=bool(options.get("allow_quote_v5"))
    )
    body = quote.body
    expected = TdxExpectation(
        mr_td=body.mr_td,
        mr_seam=body.mr_seam,
        rtmrs=body.rtmrs,
        xfam=bytes.fromhex("e702060000000000"),
    )
    check_claims(quote, chain, expected, report_data=body.report_data, evaluation_number=None)
    bundle = _one(files, ".collateral.json")
    if not bundle:
        raise CollateralUnavailable("collateral not available")
    verdict, _ = tcb_of(quote, chain, parse_collateral(bundle), root_spki=roots.intel_spki, now=now)
    require_status(verdict)


Answer = Callable[[Mapping[str, bytes], TrustRoots, datetime, Options], None]
_SNP: Mapping[str, Answer] = {
    "genuine": _snp_genuine,
    "chain": _snp_chain,
    "default-policy": _snp_default_policy,
}
_TDX: Mapping[str, Answer] = {
    "genuine": _tdx_genuine,
    "tcb": _tdx_tcb,
    "default-policy": _tdx_default_policy,
}
