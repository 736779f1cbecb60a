"""Judge TDX documents of attested TLS against one reference value, with the collateral at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contrast_tasks.attestation.errors import WrongPolicyHash
from contrast_tasks.attestation.tdx.document import TDX_OID, parse_document
from contrast_tasks.attestation.tdx.levels import TcbVerdict
from contrast_tasks.attestation.tdx.pck import PckChain
from contrast_tasks.attestation.tdx.quote import TdxQuote
from contrast_tasks.attestation.tdx.verify import (
    CollateralSource,
    TdxExpectation,
    check_claims,
    require_status,
    tcb_of,
    verify_genuine,
)

_HOST_DATA_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxEvidence:
    """A quote that one reference value accepts."""

    quote: TdxQuote
    chain: PckChain
    verdict: TcbVerdict
    reference_name: str

    @property
    def host_data(self) -> bytes:
        """Return the 32 bytes that name the guest's policy; the other 16 of MRCONFIGID were checked to be zero."""
        return self.quote.body.mr_config_id[:_HOST_DATA_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxValidator:
    """Judges documents against one reference value; immutable, so any number of handshakes may share it.

    name: for messages, as `tdx-0`. root_spki: the pinned root key. collateral: what is at hand, None is nothing.
    policy_hashes: if given, the policy must be one of these (hex). allow_v5: quotes of version 5, off by default.
    """

    name: str
    expectation: TdxExpectation
    root_spki: bytes
    collateral: CollateralSource | None = None
    policy_hashes: Sequence[str] | None = None
    allow_v5: bool = False
    oid: str = TDX_OID

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> TdxEvidence:
        """Return the evidence if it is genuine, up to date and in the state demanded; never waits for the network.

        report_data: the 64 bytes it has to bind. Raises EvidenceRejected; WrongPolicyHash if only the policy differs.
        """
        return self.verify_quote(parse_document(document), report_data, now)

    def verify_quote(self, quote: TdxQuote, report_data: bytes, now: datetime) -> TdxEvidence:
        """Judge a quote that came without a document; else as `verify`."""
        chain = verify_genuine(quote, root_spki=self.root_spki, now=now, allow_v5=self.allow_v5)
        bundle = self.collateral(chain.facts.fmspc, chain.authority) if self.collateral else None
        verdict, verified = tcb_of(quote, chain, bundle, root_spki=self.root_spki, now=now)
        require_status(verdict)
        check_claims(
            quote,
            chain,
            self.expectation,
            report_data=report_data,
            evaluation_number=verified.evaluation_number,
        )
        evidence = TdxEvidence(quote=quote, chain=chain, verdict=verdict, reference_name=self.name)
        if self.policy_hashes is not None and evidence.host_data.hex() not in self.policy_hashes:
            raise WrongPolicyHash(evidence.host_data.hex(), tuple(self.policy_hashes))
        return evidence
