"""Mutated evidence: every parser and verifier raises only our own errors, stays small, and accepts nothing new.

20,000 inputs run with the suite; CONTRAST_FUZZ_ROUNDS multiplies the count for a longer run. The seed is fixed, so a failure is found
again by running the same test.
"""

import os
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.attestation.describe import describe
from contrast_tasks.attestation.issuers.devices import VCEK_GUID, parse_certificate_table
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document, render_document
from contrast_tasks.attestation.snp.endorsement import parse_endorsement, verify_chain
from contrast_tasks.attestation.snp.report import SIGNED_BYTES, parse_report
from contrast_tasks.attestation.snp.verify import Trust, verify_genuine
from contrast_tasks.attestation.tdx.collateral import parse_collateral, verify_collateral
from contrast_tasks.attestation.tdx.document import parse_document as parse_tdx_document
from contrast_tasks.attestation.tdx.document import render_document as render_tdx_document
from contrast_tasks.attestation.tdx.pck import parse_pck_facts
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.verify import verify_genuine as verify_quote
from contrast_tasks.attestation.trust_roots import bundled_roots, intel_root_spki
from contrast_tasks.errors import ContrastError
from tests.attestation.issuers.test_tsm import table
from tests.fakes.attestation import DATA
from tests.fakes.intel import NOW, Intel, PckValues, certificate, new_key

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="test data of real hardware is not at hand"
)

ROUNDS = int(os.environ.get("CONTRAST_FUZZ_ROUNDS", "1"))
INPUTS = 2000
MOST_BYTES = 64 * 1024 * 1024
SNP_NOW = datetime(2026, 3, 20, tzinfo=UTC)
TDX_NOW = datetime(2025, 6, 20, 10, 16, 3, tzinfo=UTC)
INTERESTING = (b"\0", b"\xff", b"\x80", b"\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff" * 8)


def mutate(source: random.Random, content: bytes) -> bytes:
    """Return `content` after one to three changes of the kinds that break parsers."""
    changed = bytearray(content)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(changed) or 1)
        match source.randrange(7):
            case 0 if changed:
                changed[at] ^= 1 << source.randrange(8)
            case 1:
                piece = source.choice(INTERESTING)
                changed[at : at + len(piece)] = piece
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + source.randint(1, 64)]
            case 4:
                changed[at:at] = source.randbytes(source.randint(1, 64))
            case 5:
                piece = bytes(changed[at : at + source.randint(1, 256)])
                where = source.randrange(len(changed) or 1)
                changed[where:where] = piece
            case _:
                other = source.randrange(len(changed) or 1)
                width = source.randint(1, 16)
                changed[at : at + width], changed[other : other + width] = (
                    changed[other : other + width],
                    changed[at : at + width],
                )
    return bytes(changed)


@dataclass(frozen=True)
class Target:
    """One reader: a good input, and what reading returns that must not change when an input is accepted."""

    good: bytes
    read: Callable[[bytes], object]
    accepts_only: object = None


def snp_genuine(content: bytes) -> bytes:
    document = parse_document(content)
    trust = Trust(anchor=bundled_roots().anchor("Genoa"), check_revocation=False)
    return verify_genuine(document, trust, SNP_NOW).report.raw[:SIGNED_BYTES]


def genoa() -> tuple[bytes, bytes]:
    report = (DATA / "snp" / "genoa-v5-siena.report.bin").read_bytes()
    return report, (DATA / "snp" / "genoa-v5-siena.vcek.der").read_bytes()


def snp_report_target() -> Target:
    report, certificate_der = genoa()

    def read(content: bytes) -> bytes:
        document = SnpDocument(report=parse_report(content), vcek_der=certificate_der)
        trust = Trust(anchor=bundled_roots().anchor("Genoa"), check_revocation=False)
        return verify_genuine(document, trust, SNP_NOW).report.raw[:SIGNED_BYTES]

    return Target(report, read, report[:SIGNED_BYTES])


def snp_document_target() -> Target:
    report, certificate_der = genoa()
    document = SnpDocument(report=parse_report(report), vcek_der=certificate_der, product="Genoa")
    return Target(render_document(document), snp_genuine, report[:SIGNED_BYTES])


def endorsement_target() -> Target:
    _, certificate_der = genoa()

    def read(content: bytes) -> bytes:
        endorsement = parse_endorsement(content)
        verify_chain(
            endorsement, bundled_roots().anchor("Genoa"), ica_der=b"", ark_der=b"", now=SNP_NOW
        )
        return endorsement.certificate.tbs

    return Target(certificate_der, read, parse_endorsement(certificate_der).certificate.tbs)


def quote_target() -> Target:
    raw = (DATA / "tdx" / "v4-uptodate.quote.bin").read_bytes()

    def read(content: bytes) -> bytes:
        quote = parse_quote(content)
        verify_quote(quote, root_spki=intel_root_spki(), now=TDX_NOW)
        return quote.signed

    return Target(raw, read, parse_quote(raw).signed)


def quote_document_target() -> Target:
    raw = (DATA / "tdx" / "v4-uptodate.quote.bin").read_bytes()

    def read(content: bytes) -> bytes:
        quote = parse_tdx_document(content)
        verify_quote(quote, root_spki=intel_root_spki(), now=TDX_NOW)
        return quote.signed

    return Target(render_tdx_document(parse_quote(raw)), read, parse_quote(raw).signed)


def collateral_target() -> Target:
    raw = (DATA / "tdx" / "v4-uptodate.quote.bin").read_bytes()
    bundle = (DATA / "tdx" / "v4-uptodate.collateral.json").read_bytes()
    chain = verify_quote(parse_quote(raw), root_spki=intel_root_spki(), now=TDX_NOW)

    def read(content: bytes) -> object:
        return verify_collateral(
            parse_collateral(content), chain=chain, root_spki=intel_root_spki(), now=TDX_NOW
        )

    return Target(bundle, read, read(bundle))


def certificate_table_target() -> Target:
    return Target(table((VCEK_GUID, b"certificate" * 30)), parse_certificate_table)


def pck_extension_target() -> Target:
    key = new_key()

    def read(content: bytes) -> object:
        leaf = certificate(
            "Intel SGX PCK Certificate", key, "CA", key, authority=False, sgx=content
        )
        return parse_pck_facts(leaf)

    return Target(PckValues().extension(), read)


def description_target() -> Target:
    return Target(Intel().quote(), describe)


def platform_certificate_target() -> Target:
    return Target(Intel().pck.public_bytes(Encoding.DER), describe)


TARGETS: dict[str, Callable[[], Target]] = {
    "SNP report": snp_report_target,
    "SNP document": snp_document_target,
    "AMD certificate": endorsement_target,
    "TDX quote": quote_target,
    "TDX document": quote_document_target,
    "collateral": collateral_target,
    "certificate table": certificate_table_target,
    "PCK extension": pck_extension_target,
    "description": description_target,
    "Intel certificate": platform_certificate_target,
}


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_meets_only_our_own_errors_and_is_never_accepted(name: str) -> None:
    target = TARGETS[name]()
    source = random.Random(f"contrast {name}")
    target.read(target.good)

    tracemalloc.start()
    accepted = []
    for _ in range(INPUTS * ROUNDS):
        content = mutate(source, target.good)
        try:
            result = target.read(content)
        except ContrastError:
            continue
        if target.accepts_only is not None and result != target.accepts_only:
            accepted.append(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert accepted == []
    assert peak < MOST_BYTES


def test_the_suite_reads_twenty_thousand_inputs() -> None:
    assert len(TARGETS) * INPUTS >= 20_000
    assert NOW.tzinfo is UTC
