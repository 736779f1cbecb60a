"""Mutated evidence: every parser and verifier raises only our own errors, stays small, and accepts nothing new.

20,000 inputs and more run with the suite, by bytes and by the structure of each format; CONTRAST_FUZZ_ROUNDS multiplies the count
for a longer run. The seed is fixed; the keys of synthetic vendors are not, but a failing input is printed.
"""

import json
import os
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.atls.certificate import make_certificate, new_key
from contrast_tasks.attestation.carriers import open_carrier
from contrast_tasks.attestation.describe import describe
from contrast_tasks.attestation.issuers.devices import VCEK_GUID, parse_certificate_table
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.pki.forms import der_to_pem
from contrast_tasks.attestation.snp.crl import verify_not_revoked
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document, render_document
from contrast_tasks.attestation.snp.endorsement import parse_endorsement, verify_chain
from contrast_tasks.attestation.snp.report import SIGNED_BYTES, parse_report
from contrast_tasks.attestation.snp.verify import Trust, verify_genuine
from contrast_tasks.attestation.tdx.collateral import parse_collateral, verify_collateral
from contrast_tasks.attestation.tdx.document import parse_document as parse_tdx_document
from contrast_tasks.attestation.tdx.document import render_document as render_tdx_document
from contrast_tasks.attestation.tdx.pck import verify_pck_chain
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.sgx_extension import parse_sgx_extension
from contrast_tasks.attestation.tdx.tcb import parse_qe_identity, parse_tcb_info
from contrast_tasks.attestation.tdx.verify import verify_genuine as verify_quote
from contrast_tasks.attestation.trust_roots import bundled_roots, intel_root_spki
from contrast_tasks.errors import ContrastError
from tests.attestation.issuers.test_tsm import table
from tests.fakes.attestation import NOW, AmdIssuer, FakeAmd
from tests.fakes.intel import Intel, PckValues, crl, pem
from tests.fakes.mutation import Mutate, by_bytes, by_der, by_json, by_layout, by_protobuf
from tests.fakes.testdata import ATTESTATION

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.skipif(
        not ATTESTATION.is_dir(), reason="test data of real hardware is not at hand"
    ),
]

ROUNDS = int(os.environ.get("CONTRAST_FUZZ_ROUNDS", "1"))
SHARE = 530  # inputs of each way to spoil a format
MOST_BYTES = 64 * 1024 * 1024
SNP_NOW = datetime(2026, 3, 20, tzinfo=UTC)
TDX_NOW = datetime(2025, 6, 20, 10, 16, 3, tzinfo=UTC)
AMD, INTEL = FakeAmd(), Intel()

REPORT_FIELDS = by_layout(
    0, 4, 8, 0x10, 0x20, 0x30, 0x34, 0x38, 0x40, 0x48, 0x4C, 0x50, 0x90, 0xC0, 0xE0, 0x110, 0x140, 0x160, 0x180, 0x188,
    0x18B, 0x1A0, 0x1E0, 0x1E8, 0x1EB, 0x1EC, 0x1EF, 0x1F0, 0x1F8, 0x200, 0x208, 0x2A0, 0x2D0, 0x2E8, 0x318, 0x330,
)  # fmt: skip
QUOTE_FIELDS = by_layout(
    0, 2, 4, 8, 12, 28, 48, 64, 112, 160, 168, 176, 184, 232, 280, 328, 376, 424, 472, 520, 568, 632, 636, 700, 764, 766,
    770, 1154, 1218, 1220, 1252, 1254, 1258,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One reader: a good input, ways to spoil it, and what reading returns that must not change when an input is accepted.

    nothing: no input may be accepted at all, also not the good one.
    """

    good: bytes
    read: Callable[[bytes], object]
    mutations: tuple[Mutate, ...] = (by_bytes,)
    accepts_only: object = None
    nothing: bool = False


def genoa() -> tuple[bytes, bytes]:
    report = (ATTESTATION / "snp" / "genoa-v5-siena.report.bin").read_bytes()
    return report, (ATTESTATION / "snp" / "genoa-v5-siena.vcek.der").read_bytes()


def judge_genoa(document: SnpDocument) -> bytes:
    trust = Trust(anchor=bundled_roots().anchor("Genoa"), check_revocation=False)
    return verify_genuine(document, trust, SNP_NOW).report.raw[:SIGNED_BYTES]


def snp_report_target() -> Target:
    report, certificate_der = genoa()

    def read(content: bytes) -> bytes:
        return judge_genoa(SnpDocument(report=parse_report(content), vcek_der=certificate_der))

    return Target(report, read, (by_bytes, REPORT_FIELDS), report[:SIGNED_BYTES])


def snp_document_target() -> Target:
    report, certificate_der = genoa()
    document = SnpDocument(report=parse_report(report), vcek_der=certificate_der, product="Genoa")
    return Target(
        render_document(document),
        lambda content: judge_genoa(parse_document(content)),
        (by_bytes, by_protobuf),
        report[:SIGNED_BYTES],
    )


def endorsement_target() -> Target:
    _, certificate_der = genoa()

    def read(content: bytes) -> bytes:
        endorsement = parse_endorsement(content)
        verify_chain(
            endorsement, bundled_roots().anchor("Genoa"), ica_der=b"", ark_der=b"", now=SNP_NOW
        )
        return endorsement.certificate.tbs

    tbs = parse_endorsement(certificate_der).certificate.tbs
    return Target(certificate_der, read, (by_bytes, by_der), tbs)


def authority_target() -> Target:
    chain = AMD.chain

    def read(content: bytes) -> bytes:
        endorsement = parse_endorsement(chain.vcek_der)
        ica, _ = verify_chain(
            endorsement, AMD.anchor, ica_der=content, ark_der=chain.ark_der, now=NOW
        )
        return ica.tbs

    tbs = parse_certificate(chain.ask_der).tbs
    return Target(chain.ask_der, read, (by_bytes, by_der), tbs)


def amd_list_target() -> Target:
    ark, ask = (parse_certificate(one) for one in (AMD.chain.ark_der, AMD.chain.ask_der))

    def read(content: bytes) -> None:
        verify_not_revoked(ask, ark, [content], NOW)

    return Target(AMD.crl(ask.serial), read, (by_bytes, by_der), nothing=True)


def quote_target() -> Target:
    raw = (ATTESTATION / "tdx" / "v4-uptodate.quote.bin").read_bytes()

    def read(content: bytes) -> bytes:
        quote = parse_quote(content)
        verify_quote(quote, root_spki=intel_root_spki(), now=TDX_NOW)
        return quote.signed

    return Target(raw, read, (by_bytes, QUOTE_FIELDS), parse_quote(raw).signed)


def quote_document_target() -> Target:
    raw = (ATTESTATION / "tdx" / "v4-uptodate.quote.bin").read_bytes()

    def read(content: bytes) -> bytes:
        quote = parse_tdx_document(content)
        verify_quote(quote, root_spki=intel_root_spki(), now=TDX_NOW)
        return quote.signed

    document = render_tdx_document(parse_quote(raw))
    return Target(document, read, (by_bytes, by_protobuf), parse_quote(raw).signed)


def newer_quote_document_target() -> Target:
    raw = INTEL.quote(version=5)

    def read(content: bytes) -> bytes:
        quote = parse_tdx_document(content)
        verify_quote(quote, root_spki=INTEL.root_spki, now=NOW, allow_v5=True)
        return quote.signed

    document = render_tdx_document(parse_quote(raw))
    return Target(document, read, (by_bytes, by_protobuf), parse_quote(raw).signed)


def collateral_target() -> Target:
    raw = (ATTESTATION / "tdx" / "v4-uptodate.quote.bin").read_bytes()
    bundle = (ATTESTATION / "tdx" / "v4-uptodate.collateral.json").read_bytes()
    chain = verify_quote(parse_quote(raw), root_spki=intel_root_spki(), now=TDX_NOW)

    def read(content: bytes) -> object:
        return verify_collateral(
            parse_collateral(content), chain=chain, root_spki=intel_root_spki(), now=TDX_NOW
        )

    return Target(bundle, read, (by_bytes, by_json), read(bundle))


def intel_list_target() -> Target:
    chain = verify_pck_chain(
        pem(INTEL.pck, INTEL.ca, INTEL.root), root_spki=INTEL.root_spki, now=NOW
    )
    bundle = parse_collateral(INTEL.collateral())

    def read(content: bytes) -> object:
        collateral = replace(bundle, pck_crl=content)
        return verify_collateral(collateral, chain=chain, root_spki=INTEL.root_spki, now=NOW)

    revoking = crl(INTEL.ca_name, INTEL.ca_key, [INTEL.pck.serial_number])
    return Target(revoking, read, (by_bytes, by_der), nothing=True)


def tcb_info_target() -> Target:
    # As if Intel had signed it, since the reader behind the signature has to stand on its own.
    return Target(
        json.dumps(INTEL.tcb_info(), separators=(",", ":")).encode(),
        lambda content: parse_tcb_info(content.decode("latin-1")),
        (by_json, by_bytes),
    )


def qe_identity_target() -> Target:
    return Target(
        json.dumps(INTEL.qe_identity(), separators=(",", ":")).encode(),
        lambda content: parse_qe_identity(content.decode("latin-1")),
        (by_json, by_bytes),
    )


def certificate_table_target() -> Target:
    entries = by_layout(0, 16, 20, 24, 40, 44, 48)
    content = table((VCEK_GUID, b"certificate" * 30))
    return Target(content, parse_certificate_table, (by_bytes, entries))


def pck_extension_target() -> Target:
    return Target(PckValues().extension(), parse_sgx_extension, (by_der, by_bytes))


def pck_certificate_target() -> Target:
    leaf = INTEL.pck.public_bytes(Encoding.DER)

    def read(content: bytes) -> bytes:
        chain = der_to_pem(content) + pem(INTEL.ca, INTEL.root)
        verified = verify_pck_chain(chain, root_spki=INTEL.root_spki, now=NOW)
        return verified.leaf.tbs_certificate_bytes

    return Target(leaf, read, (by_der, by_bytes), INTEL.pck.tbs_certificate_bytes)


def carrier_target() -> Target:
    certificate = make_certificate(new_key(), AmdIssuer(), bytes(32), NOW)
    return Target(certificate.public_bytes(Encoding.DER), open_carrier, (by_der, by_bytes))


def description_target() -> Target:
    return Target(INTEL.quote(), describe, (by_bytes, QUOTE_FIELDS))


def document_description_target() -> Target:
    return Target(AMD.document(), describe, (by_protobuf, by_bytes))


def certificate_description_target() -> Target:
    return Target(INTEL.pck.public_bytes(Encoding.DER), describe, (by_der, by_bytes))


TARGETS: dict[str, Callable[[], Target]] = {
    "SNP report": snp_report_target,
    "SNP document": snp_document_target,
    "AMD certificate": endorsement_target,
    "AMD authority": authority_target,
    "AMD revocation list": amd_list_target,
    "TDX quote": quote_target,
    "TDX document": quote_document_target,
    "TDX document of version 5": newer_quote_document_target,
    "collateral": collateral_target,
    "Intel revocation list": intel_list_target,
    "TCB info": tcb_info_target,
    "QE identity": qe_identity_target,
    "certificate table": certificate_table_target,
    "PCK extension": pck_extension_target,
    "PCK certificate": pck_certificate_target,
    "carrier": carrier_target,
    "description": description_target,
    "description of a document": document_description_target,
    "description of a certificate": certificate_description_target,
}


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_meets_only_our_own_errors_and_is_never_accepted(name: str) -> None:
    target = TARGETS[name]()
    source = random.Random(f"contrast {name}")
    if not target.nothing:
        target.read(target.good)

    accepted: list[bytes] = []
    refused, peak = 0, 0
    for _ in range(ROUNDS):
        inputs = [mutate(source, target.good) for mutate in target.mutations for _ in range(SHARE)]
        tracemalloc.start()
        for content in inputs:
            try:
                result = target.read(content)
            except ContrastError:
                refused += 1
                continue
            if target.nothing or (
                target.accepts_only is not None and result != target.accepts_only
            ):
                accepted.append(content)
        peak = max(peak, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert accepted == []
    assert refused > SHARE * ROUNDS // 2
    assert peak < MOST_BYTES


def test_the_suite_reads_twenty_thousand_inputs() -> None:
    ways = sum(len(target().mutations) for target in TARGETS.values())

    assert ways * SHARE >= 20_000
