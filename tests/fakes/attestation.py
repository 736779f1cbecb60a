"""A synthetic AMD: root, intermediate, chip and reports that verify; tests can replace each part by a wrong one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from contrast_tasks.attestation.issuers.simulated_chain import (
    Chain,
    amd_name,
    make_chain,
    revocation_list,
    vcek_certificate,
    vcek_extensions,
)
from contrast_tasks.attestation.issuers.simulated_guest import sign_report
from contrast_tasks.attestation.snp.document import EXTRA_CRL, SnpDocument, render_document
from contrast_tasks.attestation.snp.endorsement import TrustAnchor
from contrast_tasks.attestation.snp.expectation import SnpExpectation
from contrast_tasks.attestation.snp.id_block import FAMILY_ID, GUEST_SVN, IMAGE_ID, id_key_digest
from contrast_tasks.attestation.snp.report import SIGNATURE_BYTES, SnpReport
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import SnpValidator, Trust
from contrast_tasks.evidence_documents import OID_SNP

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
CHIP_ID = bytes(range(1, 65))
HOST_DATA = bytes.fromhex("a1" * 32)
MEASUREMENT = bytes.fromhex("b2" * 48)
REPORT_DATA = bytes.fromhex("c3" * 64)
POLICY = 0x30000
TCB = Tcb(bootloader=4, tee=1, snp=24, microcode=219)
MINIMUM = Tcb(bootloader=3, tee=0, snp=8, microcode=115)


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return the key of that name; 2048 bits, because the verifier does not depend on the size."""
    return rsa.generate_private_key(65537, 2048)


@cache
def chip_key(name: str = "chip") -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


@dataclass(frozen=True, kw_only=True)
class FakeAmd:
    """A vendor with processors of one line; vendors with the same names but another `owner` have other keys."""

    line: str = "Milan"
    owner: str = "genuine"
    tcb: Tcb = TCB
    hwid: bytes = CHIP_ID
    extensions: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def ark_key(self) -> rsa.RSAPrivateKey:
        return rsa_key(f"{self.owner}-ark")

    @property
    def ask_key(self) -> rsa.RSAPrivateKey:
        return rsa_key(f"{self.owner}-ask")

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        return chip_key(self.owner)

    @property
    def chain(self) -> Chain:
        return _chain(
            self.line, self.owner, self.tcb, self.hwid, tuple(sorted(self.extensions.items()))
        )

    @property
    def anchor(self) -> TrustAnchor:
        return TrustAnchor(line=self.line, root_sha256=sha256(self.chain.ark_der).digest())

    @property
    def pinned(self) -> TrustAnchor:
        """Return the anchor with its certificates, as those of real vendors are pinned."""
        chain = self.chain
        return replace(
            self.anchor, ark_der=chain.ark_der, ask_der=chain.ask_der, asvk_der=chain.ask_der
        )

    def vcek(self, **changes: Any) -> bytes:
        """Return an endorsement certificate of this vendor with other dates, another name, issuer or signer."""
        arguments = {
            "key": self.key,
            "issuer": amd_name(f"SEV-{self.line}"),
            "issuer_key": self.ask_key,
            "extensions": vcek_extensions(f"{self.line}-B0", self.tcb, self.hwid),
            "not_before": NOW - timedelta(days=1),
            "not_after": NOW + timedelta(days=365),
            **changes,
        }
        return vcek_certificate(
            arguments.pop("key"),
            arguments.pop("issuer"),
            arguments.pop("issuer_key"),
            arguments.pop("extensions"),
            **arguments,
        )

    def crl(self, *serials: int, age_days: int = 0, key: rsa.RSAPrivateKey | None = None) -> bytes:
        start = NOW - timedelta(days=age_days, hours=1)
        return revocation_list(
            amd_name(f"ARK-{self.line}"),
            key or self.ark_key,
            serials,
            this_update=start,
            next_update=start + timedelta(days=30),
        )

    def report(self, **changes: Any) -> SnpReport:
        """Return a report of a good guest with some fields changed, signed by the chip."""
        return sign_report(replace(good_report(), **changes), self.key)

    def document(self, report: SnpReport | None = None, **changes: Any) -> bytes:
        """Return a document with the chain and a revocation list; parts may be replaced."""
        chain = self.chain
        document = SnpDocument(
            report=report or self.report(),
            vcek_der=chain.vcek_der,
            ask_der=chain.ask_der,
            ark_der=chain.ark_der,
            extras={EXTRA_CRL: chain.crl_der},
        )
        return render_document(replace(document, **changes))

    def validator(self, *, trust: Mapping[str, Any] | None = None, **changes: Any) -> SnpValidator:
        """Return a validator that accepts `document()`, with parts of the expectation changed."""
        expectation = SnpExpectation(
            measurement=MEASUREMENT, minimum_tcb=MINIMUM, guest_policy=POLICY, platform_info=1
        )
        return SnpValidator(
            name="snp-0-TEST",
            expectation=replace(expectation, **changes),
            trust=replace(Trust(anchor=self.anchor), **(trust or {})),
        )


@dataclass(kw_only=True)
class AmdIssuer:
    """A guest on a processor of `vendor`; `lie` maps the honest document and the report data to the document that is sent."""

    vendor: FakeAmd = field(default_factory=FakeAmd)
    host_data: bytes = HOST_DATA
    oid: str = OID_SNP
    lie: Callable[[bytes, bytes], bytes] = lambda document, _report_data: document
    issued: list[bytes] = field(default_factory=list)

    def issue(self, report_data: bytes) -> bytes:
        self.issued.append(report_data)
        report = self.vendor.report(report_data=report_data, host_data=self.host_data)
        return self.lie(self.vendor.document(report), report_data)


def good_report() -> SnpReport:
    """Return the unsigned report of a guest that every default accepts, on a Milan machine."""
    return SnpReport(
        version=5,
        guest_svn=GUEST_SVN,
        policy=POLICY,
        family_id=FAMILY_ID,
        image_id=IMAGE_ID,
        vmpl=0,
        signature_algo=1,
        current_tcb=TCB.to_word(),
        platform_info=0b10_0101,
        signer_info=0,
        report_data=REPORT_DATA,
        measurement=MEASUREMENT,
        host_data=HOST_DATA,
        id_key_digest=id_key_digest(MEASUREMENT, POLICY),
        author_key_digest=bytes(48),
        report_id=bytes.fromhex("d4" * 32),
        report_id_ma=b"\xff" * 32,
        reported_tcb=TCB.to_word(),
        cpuid_family=0x19,
        cpuid_model=1,
        cpuid_stepping=1,
        chip_id=CHIP_ID,
        committed_tcb=TCB.to_word(),
        current_major=1,
        current_minor=55,
        current_build=29,
        committed_major=1,
        committed_minor=55,
        committed_build=29,
        launch_tcb=TCB.to_word(),
        launch_mit_vector=0b1011,
        current_mit_vector=0b1011,
        signature=bytes(SIGNATURE_BYTES),
    )


@cache
def _chain(
    line: str, owner: str, tcb: Tcb, hwid: bytes, changes: tuple[tuple[str, bytes | None], ...]
) -> Chain:
    extensions: dict[str, bytes | None] = {
        **vcek_extensions(f"{line}-B0", tcb, hwid),
        **dict(changes),
    }
    return make_chain(
        ark_key=rsa_key(f"{owner}-ark"),
        ask_key=rsa_key(f"{owner}-ask"),
        key=chip_key(owner),
        line=line,
        extensions={suffix: value for suffix, value in extensions.items() if value is not None},
        now=NOW,
    )
