"""Reference values from genuine evidence of an unknown machine, for its owner to confirm.

Nothing is compared with a manifest. Evidence that no genuine processor made is refused; other reasons not to trust it become
warnings. The values come in three groups, because trusting them means different things: the machine's firmware levels, the
guest on it, and the identity of this one machine.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contrast_tasks.attestation.carriers import Evidence
from contrast_tasks.attestation.describe import firmware_version, flag_bytes, flag_word
from contrast_tasks.attestation.endorsements.fetch import Endorsements
from contrast_tasks.attestation.endorsements.material import Material, gather, line_of
from contrast_tasks.attestation.flags import named_bits
from contrast_tasks.attestation.snp.document import SnpDocument
from contrast_tasks.attestation.snp.endorsement import TrustAnchor
from contrast_tasks.attestation.snp.flags import (
    ABI_VERSION,
    GUEST_POLICY,
    PLATFORM_INFO,
    POLICY_DEBUG,
)
from contrast_tasks.attestation.snp.lines import LINE_SIMULATED
from contrast_tasks.attestation.snp.tcb import COMPONENTS, Tcb
from contrast_tasks.attestation.snp.verify import GenuineReport, Trust, verify_genuine
from contrast_tasks.attestation.tdx.expectation import hardening_checks
from contrast_tasks.attestation.tdx.flags import TD_ATTRIBUTES
from contrast_tasks.attestation.tdx.pck import PckChain
from contrast_tasks.attestation.tdx.quote import TdxQuote
from contrast_tasks.attestation.tdx.tcb import TcbStatus
from contrast_tasks.attestation.tdx.verify import tcb_of
from contrast_tasks.attestation.tdx.verify import verify_genuine as verify_genuine_quote
from contrast_tasks.attestation.trust_roots import TrustRoots, bundled_roots
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.platforms import SNP_PRODUCTS

# Reference values exist for lines without an FMC level only.
_LEVELS = COMPONENTS[:-1]
# Bits of PLATFORM_INFO that a manifest must allow explicitly, and their members in the settings.
_TO_ALLOW = {1: "tsme_enabled", 7: "tio_enabled"}

Overrides = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a machine proved about itself; byte strings as hex.

    tee: `SEV-SNP` or `TDX`; product: the processor line, empty for TDX. values: for people and JSON.
    levels, guest, machine: tables for [reference_values] of the settings: firmware, guest, and this one machine.
    """

    tee: str
    product: str
    simulated: bool
    values: Mapping[str, Any]
    levels: Overrides = field(default_factory=dict)
    guest: Overrides = field(default_factory=dict)
    machine: Overrides = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def observe(
    evidence: Evidence,
    endorsements: Endorsements,
    *,
    now: datetime,
    roots: TrustRoots | None = None,
) -> Observation:
    """Return the values of genuine evidence. Raises EvidenceRejected for other evidence, naming what was not available."""
    trusted = roots or bundled_roots()
    material = gather(evidence, endorsements, roots=trusted, now=now)
    try:
        if isinstance(material.evidence, SnpDocument):
            return _observe_report(material.evidence, material, trusted, now)
        return _observe_quote(material.evidence, material, trusted, now)
    except EvidenceRejected as err:
        if not material.troubles:
            raise
        lines = [str(err), *(f"not available: {text}" for text in material.troubles)]
        hint = "; ".join(dict.fromkeys(filter(None, (err.hint, *material.hints))))
        raise EvidenceRejected("\n  ".join(lines), hint=hint) from err


def _observe_report(
    document: SnpDocument, material: Material, roots: TrustRoots, now: datetime
) -> Observation:
    line = line_of(document)
    simulated = line == LINE_SIMULATED
    if simulated:
        # With its own root as the anchor, the checks show that the evidence is well-formed; they prove nothing about hardware.
        pin = hashlib.sha256(document.ark_der).digest()
        anchor = TrustAnchor(line=LINE_SIMULATED, root_sha256=pin)
    else:
        anchor = roots.anchor(line)
    genuine = verify_genuine(document, Trust(anchor=anchor, crl=material.crl), now)
    report, tcbs = genuine.report, genuine.tcbs
    return Observation(
        tee="SEV-SNP",
        product=line,
        simulated=simulated,
        values={
            "reported_tcb": str(tcbs.reported),
            "committed_tcb": str(tcbs.committed),
            "launch_tcb": str(tcbs.launch),
            "current_tcb": str(tcbs.current),
            "firmware": firmware_version(report.current_version),
            "measurement": report.measurement.hex(),
            "host_data": report.host_data.hex(),
            "chip_id": report.chip_id.hex(),
            "vmpl": report.vmpl,
            "guest_policy": {
                "word": f"{report.policy:#x}",
                **named_bits(report.policy & ~ABI_VERSION, GUEST_POLICY),
            },
            "platform_info": flag_word(report.platform_info, PLATFORM_INFO),
            "mitigations": f"{report.current_mit_vector:#x}",
        },
        warnings=_report_warnings(genuine, simulated=simulated),
        **_report_overrides(genuine),
    )


def _lowest(genuine: GenuineReport) -> Tcb:
    """Return the highest minimum TCB that accepts the report: of each level, the lowest in the TCB versions compared with it."""
    tcbs = (genuine.tcbs.reported, genuine.tcbs.committed, genuine.tcbs.launch)
    return Tcb(**{name: min(getattr(tcb, name) for tcb in tcbs) for name in _LEVELS})


def _report_overrides(genuine: GenuineReport) -> dict[str, Overrides]:
    line, report = genuine.line, genuine.report
    if line not in SNP_PRODUCTS:
        return {}
    minimum = _lowest(genuine)
    levels: Overrides = {"minimum_tcb": {name: getattr(minimum, name) for name in _LEVELS}}
    allowed = {name: True for bit, name in _TO_ALLOW.items() if report.platform_info >> bit & 1}
    if allowed:
        levels["platform_info"] = allowed
    found = {
        "levels": {"snp": {line: levels}},
        "guest": {"snp": {line: {"trusted_measurement": report.measurement.hex()}}},
    }
    if any(report.chip_id):
        found["machine"] = {"snp": {line: {"allowed_chip_ids": [report.chip_id.hex()]}}}
    return found


def _report_warnings(genuine: GenuineReport, *, simulated: bool) -> tuple[str, ...]:
    report, tcbs = genuine.report, genuine.tcbs
    found = []
    if simulated:
        found.append("the machine is simulated: its evidence proves nothing about hardware")
    elif genuine.line not in SNP_PRODUCTS:
        found.append(
            f"a manifest has no reference values for processors of the line {genuine.line}"
        )
    if report.policy & POLICY_DEBUG:
        found.append("the guest may be debugged by its host, which can then read all of its memory")
    if report.vmpl:
        found.append(f"the report was asked for at VMPL {report.vmpl}, a manifest accepts 0")
    if not any(report.id_key_digest):
        found.append("the guest was launched without an ID block, a manifest demands one")
    if not tcbs.reported == tcbs.committed == tcbs.launch:
        found.append("reported, committed and launch TCB differ: the lowest of each level is taken")
    if not any(report.chip_id):
        found.append("the chip hides its id, so this machine cannot be pinned")
    return tuple(found)


def _observe_quote(
    quote: TdxQuote, material: Material, roots: TrustRoots, now: datetime
) -> Observation:
    chain = verify_genuine_quote(quote, root_spki=roots.intel_spki, now=now)
    body, facts = quote.body, chain.facts
    warnings = [str(check) for check in hardening_checks(body) if not check.passed]
    status, advisories, warning = _patch_level(quote, chain, material, roots, now)
    if warning:
        warnings.append(warning)
    piid = facts.platform_instance_id
    return Observation(
        tee="TDX",
        product="",
        simulated=False,
        values={
            "tcb_status": status,
            "advisories": advisories,
            "tee_tcb_svn": body.tee_tcb_svn.hex(),
            "mr_seam": body.mr_seam.hex(),
            "mr_td": body.mr_td.hex(),
            **{f"rtmr{index}": rtmr.hex() for index, rtmr in enumerate(body.rtmrs)},
            "host_data": quote.host_data.hex(),
            "xfam": body.xfam.hex(),
            "td_attributes": flag_bytes(body.td_attributes, TD_ATTRIBUTES),
            "fmspc": facts.fmspc.hex(),
            "platform_instance_id": piid.hex() if piid else None,
        },
        levels={
            "tdx": {
                "mr_seam": body.mr_seam.hex(),
                "minimum_tee_tcb_svn": body.tee_tcb_svn.hex(),
            }
        },
        guest={
            "tdx": {
                "mr_td": body.mr_td.hex(),
                "rtmrs": [rtmr.hex() for rtmr in body.rtmrs],
                "xfam": body.xfam.hex(),
                "td_attributes": body.td_attributes.hex(),
            }
        },
        machine={"tdx": {"allowed_piids": [piid.hex()]}} if piid else {},
        warnings=tuple(warnings),
    )


def _patch_level(
    quote: TdxQuote, chain: PckChain, material: Material, roots: TrustRoots, now: datetime
) -> tuple[str, list[str], str]:
    """Return the status in a word, Intel's advisories, and a warning unless manifests accept that status."""
    if material.collateral is None:
        return "unknown", [], f"the patch level is unknown: {'; '.join(material.troubles)}"
    try:
        level, _ = tcb_of(quote, chain, material.collateral, root_spki=roots.intel_spki, now=now)
    except EvidenceRejected as err:
        return "not listed", [], f"the patch level is not acceptable: {err}"
    status, warning = level.status, ""
    if status is not TcbStatus.UpToDate:
        warning = f"the patch level is {status.name}, a manifest accepts UpToDate"
    return status.name, list(level.advisories), warning
