"""The verdict on evidence in a file: which reference value of a manifest accepts it, or why each of them refuses it.

The validators are the same as for a connection, but missing certificates, revocation lists and collateral may be fetched
first. Every reference value for this kind of evidence is tried, and each refusal names the first check that failed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from contrast_tasks.attestation.carriers import Evidence, open_carrier
from contrast_tasks.attestation.endorsements.fetch import Endorsements
from contrast_tasks.attestation.endorsements.material import gather
from contrast_tasks.attestation.errors import ClaimsRejected
from contrast_tasks.attestation.snp.document import SnpDocument
from contrast_tasks.attestation.snp.lines import LINE_SIMULATED
from contrast_tasks.attestation.snp.verify import SnpValidator, SnpVerdict
from contrast_tasks.attestation.tdx.collateral import Collateral
from contrast_tasks.attestation.tdx.quote import TdxQuote
from contrast_tasks.attestation.tdx.verify import TdxValidator, TdxVerdict
from contrast_tasks.attestation.trust_roots import TrustRoots, bundled_roots
from contrast_tasks.attestation.validators import Validator, validators_for
from contrast_tasks.errors import EvidenceRejected, MismatchError
from contrast_tasks.manifest.model import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why one reference value refuses: the first check that failed, and the number of other failed checks.

    found, wanted: empty if the evidence was refused before any comparison; then `message` says why.
    """

    reference: str
    check: str
    message: str
    found: str = ""
    wanted: str = ""
    hint: str = ""
    others: int = 0

    def __str__(self) -> str:
        more = f" (and {self.others} more)" if self.others else ""
        return f"{self.reference}: {self.message}{more}"


class NoReferenceAccepts(EvidenceRejected):
    """Every reference value of the right kind refuses; `.rejections` has the reasons, `.troubles` what was not available."""

    def __init__(
        self,
        what: str,
        rejections: Sequence[Rejection],
        *,
        troubles: Sequence[str] = (),
        hints: Sequence[str] = (),
    ) -> None:
        lines = [*map(str, rejections), *(f"not available: {text}" for text in troubles)]
        super().__init__(
            f"no reference value of the manifest accepts the {what}\n  " + "\n  ".join(lines),
            hint="; ".join((*_grouped(rejections), *hints)),
        )
        self.rejections = tuple(rejections)
        self.troubles = tuple(troubles)


class UnknownPolicy(MismatchError):
    """The evidence is acceptable, but the manifest does not list the guest's policy."""


def judge_document(
    content: bytes,
    manifest: Manifest,
    *,
    report_data: bytes | None,
    endorsements: Endorsements,
    now: datetime,
    collateral: Collateral | None = None,
    roots: TrustRoots | None = None,
    allow_vlek: bool = False,
    allow_quote_v5: bool = False,
) -> dict[str, Any]:
    """Return facts about evidence that a reference value of the manifest accepts; JSON values only.

    content: in any form that `open_carrier` reads. report_data: the 64 bytes the evidence must hold; None: not checked.
    collateral: a bundle to use instead of what Intel publishes now. allow_vlek, allow_quote_v5: accept what is refused by default.
    Raises NoReferenceAccepts, UnknownPolicy, MalformedEvidence.
    """
    carried = open_carrier(content)
    trusted = roots or bundled_roots()
    _require_kind(carried.evidence, carried.carrier, manifest)
    material = gather(carried.evidence, endorsements, roots=trusted, now=now, collateral=collateral)
    validators = validators_for(
        manifest,
        crl=material.crl,
        collateral=material.collateral_of,
        roots=roots,
        allow_vlek=allow_vlek,
        allow_quote_v5=allow_quote_v5,
    )
    own = material.evidence.report_data
    accepted, rejections = _first_acceptance(
        validators, material.evidence, own if report_data is None else report_data, now
    )
    if accepted is None:
        raise NoReferenceAccepts(
            carried.carrier, rejections, troubles=material.troubles, hints=material.hints
        )
    return {
        "accepted_by": accepted.reference_name,
        "evidence": carried.carrier,
        "report_data": own.hex(),
        "report_data_checked": report_data is not None,
        **_policy(accepted.host_data.hex(), manifest),
        **_facts(accepted),
        "at_hand": dict(material.sources),
        "refused_by": [asdict(rejection) for rejection in rejections],
    }


def _require_kind(evidence: Evidence, carrier: str, manifest: Manifest) -> None:
    values = manifest.reference_values
    fitting = (values.snp or values.simulated) if isinstance(evidence, SnpDocument) else values.tdx
    if not fitting:
        raise EvidenceRejected(
            f"the {carrier} is of {evidence.tee}, and the manifest has no reference value for that",
            hint="generate the manifest for the platform of the machine",
        )


def _first_acceptance(
    validators: Sequence[Validator], evidence: Evidence, report_data: bytes, now: datetime
) -> tuple[SnpVerdict | TdxVerdict | None, list[Rejection]]:
    rejections: list[Rejection] = []
    for validator in validators:
        try:
            if isinstance(evidence, SnpDocument) and isinstance(validator, SnpValidator):
                return validator.judge(evidence, report_data, now), rejections
            if isinstance(evidence, TdxQuote) and isinstance(validator, TdxValidator):
                return validator.judge(evidence, report_data, now), rejections
        except EvidenceRejected as err:
            rejections.append(rejection_of(validator.name, err))
    return None, rejections


def rejection_of(reference: str, error: EvidenceRejected) -> Rejection:
    """Return why a reference value refuses, from the error that its validator raised."""
    if isinstance(error, ClaimsRejected):
        first, *others = error.failed
        return Rejection(
            reference=reference,
            check=first.field or first.reason,
            message=str(first),
            found=first.found,
            wanted=first.wanted,
            hint=first.hint,
            others=len(others),
        )
    return Rejection(reference=reference, check=error.reason, message=str(error), hint=error.hint)


def _grouped(rejections: Sequence[Rejection]) -> list[str]:
    """Return each hint once, with the names of its reference values if there are several."""
    names: dict[str, list[str]] = {}
    for rejection in rejections:
        if rejection.hint:
            names.setdefault(rejection.hint, []).append(rejection.reference)
    if len(rejections) == 1:
        return list(names)
    return [f"{', '.join(references)}: {hint}" for hint, references in names.items()]


def _policy(host_data_hex: str, manifest: Manifest) -> dict[str, Any]:
    entry = manifest.policies.get(host_data_hex)
    if entry is None:
        known = len(manifest.policies)
        raise UnknownPolicy(
            f"the evidence is acceptable, but its policy hash {host_data_hex} is none of the {known} of the manifest",
            hint="the guest was started from another build: use the manifest that was generated with it",
        )
    return {"policy_hash": host_data_hex, "sans": list(entry.sans), "role": entry.role}


def _facts(accepted: SnpVerdict | TdxVerdict) -> dict[str, Any]:
    if isinstance(accepted, TdxVerdict):
        level = accepted.patch_level
        return {
            "tee": TdxQuote.tee,
            "simulated": False,
            "tcb_status": level.status.name,
            "advisories": list(level.advisories),
            "tee_tcb_svn": accepted.quote.body.tee_tcb_svn.hex(),
        }
    return {
        "tee": SnpDocument.tee,
        "simulated": accepted.line == LINE_SIMULATED,
        "product": accepted.line,
        "reported_tcb": str(accepted.tcbs.reported),
        "checks": [
            {"check": check.reason, "found": check.found, "wanted": check.wanted}
            for check in accepted.checks
        ],
    }
