"""The cost of verifying evidence, compared with its bare signature verifications and, for TDX, with dcap-qvl."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.attestation.endorsements.fetch import EndorsementCache
from contrast_tasks.attestation.endorsements.kept import KeptEndorsements
from contrast_tasks.attestation.snp.vmsa import CPU_SIGNATURES, MAXIMUM_VCPUS, digests_by_vcpus
from contrast_tasks.attestation.tdx.collateral import Collateral, parse_collateral
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.expectation import TdxExpectation
from contrast_tasks.attestation.tdx.pck import load_chain
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.verify import TdxValidator
from contrast_tasks.attestation.trust_roots import intel_root_spki
from dev.bench.handshakes import measure_handshakes
from dev.bench.signatures import bare, microseconds
from dev.bench.timing import Measured
from tests.fakes.attestation import NOW, REPORT_DATA, FakeAmd
from tests.fakes.intel import Intel, PckValues
from tests.fakes.kept import keep_collateral
from tests.fakes.testdata import ATTESTATION

_TDX = ATTESTATION / "tdx"
_TDX_AT = datetime.fromisoformat("2025-06-20T10:16:03Z")
_COLLATERAL = Collateral.__module__
_SEED = bytes(range(48))
_AP_START = 0x80B004


@dataclass(frozen=True, kw_only=True)
class TdxSample:
    """A quote that is accepted at `now` with its collateral."""

    quote: bytes
    collateral: Collateral
    root_spki: bytes
    now: datetime

    def validator(self) -> TdxValidator:
        """Return a validator that accepts the quote."""
        body = parse_quote(self.quote).body
        return TdxValidator(
            name="tdx-0",
            expectation=TdxExpectation(
                mr_td=body.mr_td,
                mr_seam=body.mr_seam,
                rtmrs=body.rtmrs,
                xfam=body.xfam,
                td_attributes=body.td_attributes,
            ),
            root_spki=self.root_spki,
            collateral=lambda _fmspc, _authority: self.collateral,
        )

    @property
    def verifications(self) -> int:
        """Return the number of ECDSA signatures: quote, QE report, certificates, TCB info, QE identity, two lists."""
        bundle = self.collateral
        chains = (
            parse_quote(self.quote).pck_chain_pem,
            bundle.tcb_info_issuer_chain,
            bundle.qe_identity_issuer_chain,
            bundle.pck_crl_issuer_chain,
        )
        certificates = {entry for chain in chains for entry in load_chain(chain, "chain")}
        return 2 + len(certificates) + 2 + 2


def measure_evidence(folder: Path) -> Iterator[Measured]:
    """Yield the measurements of evidence: microseconds of processor time, the best of several rounds."""
    yield from _measure_snp()
    yield from _measure_tdx(_sample())
    yield from _measure_kept(folder)
    every = microseconds(_extend)
    yield Measured(name=f"launch digests, 1 to {MAXIMUM_VCPUS} vCPUs", value=every, unit="us")
    yield Measured(name="launch digest, one more vCPU", value=every / MAXIMUM_VCPUS, unit="us")
    yield from measure_handshakes(folder)


def _measure_snp() -> Iterator[Measured]:
    amd = FakeAmd()
    validator, document = amd.validator(), amd.document()
    one = microseconds(bare(ec.SECP384R1(), SHA384()))
    yield Measured(name="bare P-384 verification", value=one, unit="us")

    def judge() -> None:
        validator.verify(document, REPORT_DATA, NOW)

    yield _compared("SNP document, warm chain", microseconds(judge), one, budget="600 us")
    yield _compared("SNP document, cold caches", microseconds(judge, before=forget), one)


def _measure_tdx(sample: TdxSample) -> Iterator[Measured]:
    validator = sample.validator()
    quote = parse_quote(sample.quote)
    document = render_document(quote)
    one = microseconds(bare(ec.SECP256R1(), SHA256()))
    every = one * sample.verifications

    def judge() -> None:
        validator.verify(document, quote.body.report_data, sample.now)

    yield Measured(name="bare P-256 verification", value=one, unit="us")
    yield Measured(name=f"{sample.verifications} bare P-256 verifications", value=every, unit="us")
    yield _compared("TDX document, warm caches", microseconds(judge), one, budget="1500 us")
    new = microseconds(judge, before=partial(forget, but=_COLLATERAL))
    yield _compared("TDX document, new platform", new, every, budget="1500 us")
    cold = microseconds(judge, before=forget)
    yield _compared("TDX document, cold caches", cold, every, budget="1500 us")
    peer = _dcap_qvl(sample)
    if peer is not None:
        yield _compared("the same quote, dcap-qvl", microseconds(peer), every)


def _dcap_qvl(sample: TdxSample) -> Callable[[], object] | None:
    """Return the same verification by dcap-qvl, None if it is not installed."""
    try:
        library: Any = importlib.import_module("dcap_qvl")
    except ImportError:
        return None
    bundle = library.QuoteCollateralV3.from_json(json.dumps(sample.collateral.to_json()))
    root = load_chain(parse_quote(sample.quote).pck_chain_pem, "chain")[-1].public_bytes(
        Encoding.DER
    )
    moment = int(sample.now.timestamp())
    return lambda: library.verify_with_root_ca(sample.quote, bundle, root, moment)


def _measure_kept(folder: Path) -> Iterator[Measured]:
    """Yield the cost of reading collateral from the kept folder, which a Coordinator does for each handshake."""
    keep_collateral(EndorsementCache(folder / "kept"), Intel())
    kept = KeptEndorsements.in_folder(folder / "kept", lambda: NOW)
    fmspc = PckValues().fmspc
    assert kept.collateral(fmspc, "platform") is not None
    read = microseconds(lambda: kept.collateral(fmspc, "platform"))
    yield Measured(name="collateral from the kept folder", value=read, unit="us")


def _sample() -> TdxSample:
    """Return a quote of real hardware, or a synthetic one if the test data is missing."""
    if (_TDX / "v4-uptodate.quote.bin").is_file():
        return TdxSample(
            quote=(_TDX / "v4-uptodate.quote.bin").read_bytes(),
            collateral=parse_collateral((_TDX / "v4-uptodate.collateral.json").read_bytes()),
            root_spki=intel_root_spki(),
            now=_TDX_AT,
        )
    intel = Intel()
    return TdxSample(
        quote=intel.quote(),
        collateral=parse_collateral(intel.collateral()),
        root_spki=intel.root_spki,
        now=NOW,
    )


def _extend() -> None:
    signature = CPU_SIGNATURES["Milan"]
    for _ in digests_by_vcpus(_SEED, _AP_START, cpu_signature=signature):
        pass


def _compared(name: str, value: float, base: float, *, budget: str = "") -> Measured:
    return Measured(name=name, value=value, unit="us", ratio=value / base, budget=budget)


def forget(*, but: str = "") -> None:
    """Empty the bounded caches of the attestation package; but: a module that keeps its own. Unbounded ones hold constants."""
    if but and but not in sys.modules:
        raise LookupError(f"module {but} is not loaded")
    for name, module in list(sys.modules.items()):
        if name.startswith("contrast_tasks.attestation.") and name != but:
            for member in vars(module).values():
                parameters = getattr(member, "cache_parameters", None)
                if parameters is not None and parameters()["maxsize"] is not None:
                    member.cache_clear()
