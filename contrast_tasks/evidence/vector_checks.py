"""Run the checks of an index of evidence vectors: each question, the verdict expected and the one found.

An index is JSON: `{"schema": 2, "vectors": [{"id", "tee": "snp"|"tdx", "files": [...], "checks": [{"check", "at", "options", "result",
"reason"?}]}]}`. Questions are `genuine`, `chain`, `tcb` (TDX) and `default-policy`. AMD vectors come without revocation lists, so
these are not asked for. A check that cannot be run (a missing file, an unknown question) has the verdict `error`,
which is never the expected one, and the others go on. Only collateral may be missing: then the TCB is rejected.
An index brings no trust with it: the `roots` of a vector are not read.
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
"""File name, relative to the index, to its bytes, None if there is no such file; raises UsageError."""

_ZERO_TCB = Tcb(bootloader=0, tee=0, snp=0, microcode=0)
_AKS_ABI_MINOR = 31
# As generated for every TDX platform; nothing in the runtime extends RTMR3.
_XFAM = bytes.fromhex("e702060000000000")
_RTMR3 = bytes(48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a check switches on that is off by default."""

    allow_vlek: bool = False
    allow_quote_v5: bool = False


_OPTIONS = tuple(Options.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check's outcome; results are `accept` or `reject`, reasons one word (empty where accepted or not given).

    options: those switched on. found: also `error` where the check could not be run, with what is wrong in `detail`.
    notes: what was not understood and did not matter.
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
        """Return whether the verdict is the expected one; reasons are shown, not compared."""
        return self.found in {"accept", "reject"} and self.found == self.expected


def run_checks(index: Any, load: Load, roots: TrustRoots) -> Iterator[CheckResult]:
    """Yield the outcome of every check of an index, in its order. Raises UsageError for an index of another form."""
    for vector in _members(index, "vectors"):
        names = [str(name) for name in _members(vector, "files")]
        checks = _members(vector, "checks") if "checks" in vector else []
        if checks:
            yield from _run_vector(vector, checks, names, load, roots)


def _members(document: Any, name: str) -> list[Any]:
    value = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(value, list):
        owner = f"entry {document['id']!r}" if _has_id(document) else "the index"
        raise UsageError(f"{owner} has no list {name!r}")
    return value


def _has_id(document: Any) -> bool:
    return isinstance(document, Mapping) and "id" in document


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
        said: Mapping[str, Any] = check if isinstance(check, Mapping) else {}
        blank = CheckResult(
            vector=name,
            check=str(said.get("check", "(none)")),
            at=str(said.get("at", "(no instant)")),
            expected=str(said.get("result", "(no result)")),
            expected_reason=str(said.get("reason") or ""),
            found="error",
            notes=notes,
        )
        try:
            if trouble:
                raise UsageError(trouble)  # noqa: TRY301  # told for each of its checks
            yield _answer(blank, vector, said, files, roots)
        except UsageError as err:
            yield replace(blank, detail=str(err))


def _files(names: list[str], load: Load) -> tuple[VectorFiles, tuple[str, ...]]:
    """Return the files that are there and a note for each of collateral that is not; raises UsageError for another."""
    found: dict[str, bytes] = {}
    notes = []
    for name in names:
        content = load(name)
        if content is not None:
            found[name] = content
        elif is_collateral(name):
            notes.append(f"{name}: there is no such file, so no collateral")
        else:
            raise UsageError(f"{name}: cannot be read: no such file or directory")
    return VectorFiles.of(found), tuple(notes)


def _answer(
    blank: CheckResult,
    vector: Mapping[str, Any],
    check: Mapping[str, Any],
    files: VectorFiles,
    roots: TrustRoots,
) -> CheckResult:
    answers = _ANSWERS.get(str(vector.get("tee")))
    if answers is None:
        raise UsageError(f"tee is {vector.get('tee')!r}, wanted one of {', '.join(_ANSWERS)}")
    question = answers.get(blank.check)
    if question is None:
        raise UsageError(f"unknown check {blank.check!r}, wanted one of {', '.join(answers)}")
    if blank.expected not in {"accept", "reject"}:
        raise UsageError(f"the result is {blank.expected!r}, wanted accept or reject")
    now = _instant(blank.at)
    options, notes = _options(check.get("options"))
    found, reason, detail = "accept", "", ""
    try:
        question(files, roots, now, options)
    except EvidenceRejected as err:
        found, reason, detail = "reject", getattr(err, "reason", "rejected"), str(err)
    return replace(
        blank,
        options=tuple(name for name in _OPTIONS if getattr(options, name)),
        found=found,
        found_reason=reason,
        detail=detail,
        notes=blank.notes + notes,
    )


def _options(said: Any) -> tuple[Options, tuple[str, ...]]:
    if said is None:
        return Options(), ()
    if not isinstance(said, Mapping):
        raise UsageError(f"the options of a check are {said!r}, wanted an object")
    for name in _OPTIONS:
        if not isinstance(said.get(name), bool | None):
            raise UsageError(f"the option {name} is {said[name]!r}, wanted true or false")
    notes = tuple(
        f"option {name!r} is not known and has no effect" for name in said if name not in _OPTIONS
    )
    return Options(**{name: bool(said.get(name)) for name in _OPTIONS}), notes


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
    # The name of the issuer tells the line for certain; in some certificates the product is another's.
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
    # Two policies are ever generated; the one whose ABI the report names is the one its manifest would have.
    minor = _AKS_ABI_MINOR if report.policy & 0xFF == _AKS_ABI_MINOR else 0
    expectation = SnpExpectation(
        measurement=report.measurement,
        minimum_tcb=_ZERO_TCB,
        guest_policy=GuestPolicy(abi_minor=minor).to_word(),
        platform_info=PlatformInfo().to_word(),
    )
    require_all(snp_claim_checks(report, genuine.tcbs, expectation, report.report_data))


def _tdx_genuine(files: VectorFiles, roots: TrustRoots, now: datetime, options: Options) -> None:
    _genuine_quotes(files, roots, now, options)


def _genuine_quotes(
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
    for quote, chain in _genuine_quotes(files, roots, now, options):
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
    for quote, chain in _genuine_quotes(files, roots, now, options):
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


Answer = Callable[[VectorFiles, TrustRoots, datetime, Options], None]
_ANSWERS: Mapping[str, Mapping[str, Answer]] = {
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
