"""Run the checks of an index of evidence vectors and compare each verdict with the expected one.

An index is JSON: `{"schema": 2, "vectors": [{"id", "tee": "snp"|"tdx", "files": [...], "checks": [{"check", "at", "options", "result",
"reason"?}]}]}`. The checks are `genuine`, `chain`, `tcb` (TDX) and `default-policy`. AMD vectors have no revocation lists, so
revocation is not checked. A check that cannot be run (a missing file, an unknown check) has the verdict `error`, which is never
expected; the others continue. Only collateral may be missing: then the TCB is rejected.
An index is not trusted: the `roots` of a vector are ignored.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from contrast_tasks.attestation.errors import CollateralUnavailable
from contrast_tasks.attestation.snp.document import SnpDocument
from contrast_tasks.attestation.snp.endorsement import verify_chain
from contrast_tasks.attestation.snp.expectation import SnpExpectation
from contrast_tasks.attestation.snp.expectation import claim_checks as snp_claim_checks
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import GenuineReport, Trust, line_of
from contrast_tasks.attestation.snp.verify import verify_genuine as verify_genuine_snp
from contrast_tasks.attestation.tdx.collateral import parse_collateral
from contrast_tasks.attestation.tdx.expectation import TdxExpectation, claim_checks
from contrast_tasks.attestation.tdx.pck import PckChain, verify_pck_chain
from contrast_tasks.attestation.tdx.quote import TdxQuote
from contrast_tasks.attestation.tdx.verify import require_up_to_date, tcb_of, verify_genuine
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.attestation.verdict import require_all
from contrast_tasks.errors import EvidenceRejected, UsageError
from contrast_tasks.evidence.vector_files import VectorFiles, endorsement_of, is_collateral
from contrast_tasks.trusted_guests import GuestPolicy, PlatformInfo

Load = Callable[[str], bytes | None]
"""File name, relative to the index, to the file's bytes, None if it does not exist; raises UsageError."""

_ZERO_TCB = Tcb(bootloader=0, tee=0, snp=0, microcode=0)
_AKS_ABI_MINOR = 31
# As generated for every TDX platform; the runtime does not extend RTMR3.
_XFAM = bytes.fromhex("e702060000000000")
_RTMR3 = bytes(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a check accepts that is refused by default."""

    allow_vlek: bool = False
    allow_quote_v5: bool = False


_OPTIONS = tuple(Options.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check: verdicts `accept` or `reject`, and reasons of one word, empty if accepted or not given.

    options: those in effect. found: also `error` if the check could not be run; `detail` says why.
    notes: what was ignored.
    """

    vector: str
    check: str
    at: str
    options: tuple[str, ...] = ()
    expected: str
    expected_reason: str = ""
    found: str
    found_reason: str = ""
    detail: str = ""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether the verdict is the expected one; reasons are not compared."""
        return self.found in {"accept", "reject"} and self.found == self.expected


def run_checks(index: Any, load: Load, roots: TrustRoots) -> Iterator[CheckResult]:
    """Yield the result of every check of an index in order. Raises UsageError if the index has another form."""
    for vector in _members(index, "vectors"):
        names = [str(name) for name in _members(vector, "files")]
        if "checks" in vector:
            yield from _run_vector(vector, _members(vector, "checks"), names, load, roots)


def _members(document: Any, name: str) -> list[Any]:
    value = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(value, list):
        has_id = isinstance(document, Mapping) and "id" in document
        owner = f"entry {document['id']!r}" if has_id else "the index"
        raise UsageError(f"{owner} has no list {name!r}")
    return value


def _run_vector(
    vector: Mapping[str, Any], checks: list[Any], names: list[str], load: Load, roots: TrustRoots
) -> Iterator[CheckResult]:
    name = str(vector.get("id") or "(without id)")
    trouble, files = "", VectorFiles(by_kind={})
    notes: tuple[str, ...] = ()
    try:
        files, notes = _files(names, load)
    except UsageError as err:
        place = f"{err.where.file}: " if err.where is not None else ""
        trouble = f"{place}{err}"
    for check in checks:
        members: Mapping[str, Any] = check if isinstance(check, Mapping) else {}
        result = CheckResult(
            vector=name,
            check=str(members.get("check", "(none)")),
            at=str(members.get("at", "(no instant)")),
            expected=str(members.get("result", "(no result)")),
            expected_reason=str(members.get("reason") or ""),
            found="error",
            notes=notes,
        )
        try:
            if trouble:
                raise UsageError(trouble)  # noqa: TRY301  # the same for each check of the vector
            yield _run_check(result, vector, members, files, roots)
        except UsageError as err:
            yield replace(result, detail=str(err))


def _files(names: list[str], load: Load) -> tuple[VectorFiles, tuple[str, ...]]:
    """Return the existing files, and notes about missing collateral; raises UsageError if another file is missing."""
    found: dict[str, bytes] = {}
    notes = []
    for name in names:
        content = load(name)
        if content is not None:
            found[name] = content
        elif is_collateral(name):
            notes.append(f"{name}: no such file, so there is no collateral")
        else:
            raise UsageError(f"{name}: cannot be read: no such file or directory")
    return VectorFiles.of(found), tuple(notes)


def _run_check(
    result: CheckResult,
    vector: Mapping[str, Any],
    check: Mapping[str, Any],
    files: VectorFiles,
    roots: TrustRoots,
) -> CheckResult:
    verifications = _VERIFICATIONS.get(str(vector.get("tee")))
    if verifications is None:
        raise UsageError(f"tee is {vector.get('tee')!r}, wanted one of {', '.join(_VERIFICATIONS)}")
    verify = verifications.get(result.check)
    if verify is None:
        raise UsageError(
            f"unknown check {result.check!r}, wanted one of {', '.join(verifications)}"
        )
    if result.expected not in {"accept", "reject"}:
        raise UsageError(f"the result is {result.expected!r}, wanted accept or reject")
    now = _instant(result.at)
    options, notes = _options(check.get("options"))
    found, reason, detail = "accept", "", ""
    try:
        verify(files, roots, now, options)
    except EvidenceRejected as err:
        found, reason, detail = "reject", err.reason, str(err)
    return replace(
        result,
        options=tuple(name for name in _OPTIONS if getattr(options, name)),
        found=found,
        found_reason=reason,
        detail=detail,
        notes=result.notes + notes,
    )


def _options(members: Any) -> tuple[Options, tuple[str, ...]]:
    if members is None:
        return Options(), ()
    if not isinstance(members, Mapping):
        raise UsageError(f"the options of a check are {members!r}, wanted an object")
    for name in _OPTIONS:
        if not isinstance(members.get(name), bool | None):
            raise UsageError(f"the option {name} is {members[name]!r}, wanted true or false")
    notes = tuple(
        f"option {name!r} is unknown and has no effect" for name in members if name not in _OPTIONS
    )
    return Options(**{name: bool(members.get(name)) for name in _OPTIONS}), notes


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"the instant does not parse: {text!r}") from err
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _snp_genuine(files: VectorFiles, roots: TrustRoots, now: datetime, options: Options) -> None:
    for document in files.snp_documents():
        verify_genuine_snp(document, _trust(document, roots, options), now)


def _trust(document: SnpDocument, roots: TrustRoots, options: Options) -> Trust:
    return Trust(
        anchor=roots.anchor(line_of(document.report, endorsement_of(document))),
        allow_vlek=options.allow_vlek,
        check_revocation=False,
    )


def _snp_chain(files: VectorFiles, roots: TrustRoots, now: datetime, _: Options) -> None:
    endorsement = files.endorsement()
    # The issuer's name gives the line; the product in some certificates is wrong.
    issuer = endorsement.certificate.issuer_cn
    line = issuer.removeprefix("SEV-").removeprefix("VLEK-")
    verify_chain(endorsement, roots.anchor(line), ica_der=b"", ark_der=b"", now=now)


def _snp_default_policy(
    files: VectorFiles, roots: TrustRoots, now: datetime, options: Options
) -> None:
    for document in files.snp_documents():
        _require_default_policy(verify_genuine_snp(document, _trust(document, roots, options), now))


def _require_default_policy(genuine: GenuineReport) -> None:
    report = genuine.report
    # Only two policies are ever generated; the report's ABI version selects the one that its manifest would have.
    minor = _AKS_ABI_MINOR if report.policy & 0xFF == _AKS_ABI_MINOR else 0
    expectation = SnpExpectation(
        measurement=report.measurement,
        minimum_tcb=_ZERO_TCB,
        guest_policy=GuestPolicy(abi_minor=minor).to_word(),
        platform_info=PlatformInfo().to_word(),
    )
    require_all(snp_claim_checks(report, genuine.tcbs, expectation, report.report_data))


def _tdx_genuine(
    files: VectorFiles, roots: TrustRoots, now: datetime, options: Options
) -> list[tuple[TdxQuote, PckChain]]:
    allow_v5 = options.allow_quote_v5
    return [
        (quote, verify_genuine(quote, root_spki=roots.intel_spki, now=now, allow_v5=allow_v5))
        for quote in files.tdx_quotes()
    ]


def _tdx_chain(files: VectorFiles, roots: TrustRoots, now: datetime, _: Options) -> None:
    for chain_pem in files.pck_chains_pem():
        verify_pck_chain(chain_pem, root_spki=roots.intel_spki, now=now)


def _tdx_tcb(files: VectorFiles, roots: TrustRoots, now: datetime, options: Options) -> None:
    for quote, chain in _tdx_genuine(files, roots, now, options):
        _require_tcb(files, quote, chain, roots, now)


def _require_tcb(
    files: VectorFiles, quote: TdxQuote, chain: PckChain, roots: TrustRoots, now: datetime
) -> None:
    if not files.collateral:
        raise CollateralUnavailable("collateral not available")
    bundle = parse_collateral(files.collateral)
    require_up_to_date(tcb_of(quote, chain, bundle, root_spki=roots.intel_spki, now=now)[0])


def _tdx_default_policy(
    files: VectorFiles, roots: TrustRoots, now: datetime, options: Options
) -> None:
    for quote, chain in _tdx_genuine(files, roots, now, options):
        body = quote.body
        expected = TdxExpectation(
            mr_td=body.mr_td, mr_seam=body.mr_seam, rtmrs=(*body.rtmrs[:3], _RTMR3), xfam=_XFAM
        )
        require_all(
            claim_checks(
                quote,
                chain.facts,
                expected,
                report_data=body.report_data,
                evaluation_number=None,
            )
        )
        _require_tcb(files, quote, chain, roots, now)


_Verification = Callable[[VectorFiles, TrustRoots, datetime, Options], object]
_VERIFICATIONS: Mapping[str, Mapping[str, _Verification]] = {
    "snp": {
        "genuine": _snp_genuine,
        "chain": _snp_chain,
        "default-policy": _snp_default_policy,
    },
    "tdx": {
        "genuine": _tdx_genuine,
        "chain": _tdx_chain,
        "tcb": _tdx_tcb,
        "default-policy": _tdx_default_policy,
    },
}
