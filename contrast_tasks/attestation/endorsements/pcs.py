"""Intel's provisioning certification service: the addresses of collateral, and one bundle from its four answers.

A local provisioning certificate caching service (PCCS) has the same addresses and can serve as a mirror.

Source: Intel PCS API v4 (docs/internals/attestation.md 3.4).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote

from contrast_tasks.attestation.endorsements.fetch import Endorsements, Freshness
from contrast_tasks.attestation.errors import (
    CollateralRejected,
    EndorsementRejected,
    MalformedEvidence,
)
from contrast_tasks.attestation.pki.forms import load_crl
from contrast_tasks.attestation.pki.validity import Period, require_current
from contrast_tasks.attestation.tdx.collateral import (
    Collateral,
    verified_pck_crl,
    verified_qe_identity,
    verified_root_crl,
    verified_tcb_info,
    verify_collateral,
)
from contrast_tasks.attestation.tdx.pck import PckChain, common_name
from contrast_tasks.attestation.tdx.tcb import QE_IDENTITY, TCB_INFO
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.web.answers import Answer

SERVICE = "https://api.trustedservices.intel.com"
CERTIFICATES = "https://certificates.trustedservices.intel.com"
ROOT_CRL_URL = f"{CERTIFICATES}/IntelSGXRootCA.der"
QE_IDENTITY_URL = f"{SERVICE}/tdx/certification/v4/qe/identity"
# A list in DER is never hex: its second byte is not a digit.
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})+\s*")
_CHAIN_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Collateral whose parts are all valid until `end`."""

    collateral: Collateral
    end: datetime


def tcb_info_url(fmspc: bytes) -> str:
    """Return the address of the TDX TCB info of a processor family; fmspc has 6 bytes."""
    return f"{SERVICE}/tdx/certification/v4/tcb?fmspc={fmspc.hex()}"


def pck_crl_url(authority: str) -> str:
    """Return the address of the PCK revocation list; authority is `platform` or `processor`."""
    return f"{SERVICE}/sgx/certification/v4/pckcrl?ca={authority}&encoding=der"


def fetch_collateral(
    endorsements: Endorsements, chain: PckChain, *, root_spki: bytes, now: datetime
) -> Collateral:
    """Fetch, verify and keep the collateral for one platform.

    Raises EndorsementUnavailable if Intel does not answer, CollateralRejected if its answers do not verify or are for another
    platform.
    """
    fetch = partial(
        fetch_parts,
        endorsements,
        chain.facts.fmspc,
        chain.authority,
        root_spki=root_spki,
        now=now,
    )
    verify = partial(verify_collateral, chain=chain, root_spki=root_spki, now=now)
    collateral = fetch().collateral
    try:
        verify(collateral)
    except EvidenceRejected:
        # Cached parts may no longer fit each other, for example after a change of signers: fetch all of them.
        collateral = fetch(freshness=Freshness.NETWORK_FIRST).collateral
        verify(collateral)
    return collateral


def fetch_parts(
    endorsements: Endorsements,
    fmspc: bytes,
    authority: str,
    *,
    root_spki: bytes,
    now: datetime,
    freshness: Freshness = Freshness.CACHE_FIRST,
) -> Bundle:
    """Fetch and keep the four parts for a kind of platform, each verified up to the pinned root and valid now.

    freshness: for the two signed objects; revocation lists are fetched every time. Raises as `fetch_collateral`.
    """
    kind = _Kind(fmspc, authority)
    parts = [
        endorsements.fetch(
            url,
            _current(part, root_spki, kind, now),
            freshness if part.member else Freshness.NETWORK_FIRST,
            issued=lambda checked: checked.period.since,
        )
        for url, part in _addresses(kind)
    ]
    collateral = _assemble(*(part.answer for part in parts))
    return Bundle(collateral=collateral, end=min(part.period.until for part in parts))


def cached_collateral(
    endorsements: Endorsements, fmspc: bytes, authority: str
) -> Collateral | None:
    """Return the cached collateral for a platform, None if a part is missing; never uses the network.

    Only the form of the parts is checked; the caller verifies them.
    """
    answers: list[Answer] = []
    for url, part in _addresses(_Kind(fmspc, authority)):
        answer = endorsements.cached(url, part.check_form)
        if answer is None:
            return None
        answers.append(answer)
    return _assemble(*answers)


class _Kind(NamedTuple):
    """The platforms that collateral is for."""

    fmspc: bytes
    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One of the four answers.

    chain_header: the header with the issuer chain, empty if there is none. member: of the signed JSON object, empty for a
    revocation list. verified: verifies every signature up to the root key and that the answer is for a kind of platform;
    returns the period in which it is valid.
    """

    name: str
    chain_header: str = ""
    member: str = ""
    verified: Callable[[Answer, bytes, _Kind], Period]

    def chain(self, answer: Answer) -> bytes:
        """Return the issuer chain in PEM; raises CollateralRejected."""
        text = unquote(answer.headers.get(self.chain_header, ""))
        is_pem = text.isascii() and text.startswith("-----BEGIN CERTIFICATE-----")
        if not is_pem or len(text) > _CHAIN_LIMIT:
            raise CollateralRejected(
                f"the answer lacks its issuer chain in the header {self.chain_header}"
            )
        return text.encode()

    def signed(self, answer: Answer) -> tuple[str, bytes]:
        """Return the inner object as its exact text, which the signature covers, and the signature."""
        pattern = rf'\{{"{self.member}":(\{{.*\}}),"signature":"([0-9a-fA-F]{{128}})"\}}\s*'
        try:
            match = re.fullmatch(pattern, answer.body.decode(), re.DOTALL)
        except UnicodeDecodeError as err:
            raise CollateralRejected(f"{self.name} is not UTF-8") from err
        if match is None:
            raise CollateralRejected(f"{self.name} is not a signed object in Intel's form")
        return match[1], bytes.fromhex(match[2])

    def check_form(self, answer: Answer) -> Answer:
        """Return an answer of the right form; raises CollateralRejected or MalformedEvidence."""
        if self.chain_header:
            self.chain(answer)
        if self.member:
            self.signed(answer)
        else:
            load_crl(list_der(answer), "the answer")
        return answer


def _addresses(kind: _Kind) -> tuple[tuple[str, _Part], ...]:
    """Return address and part of the four answers, in the order of `_assemble`."""
    return (
        (tcb_info_url(kind.fmspc), _TCB_INFO),
        (QE_IDENTITY_URL, _QE_IDENTITY),
        (pck_crl_url(kind.authority), _PCK_CRL),
        (ROOT_CRL_URL, _ROOT_CRL),
    )


class _Checked(NamedTuple):
    answer: Answer
    period: Period


def _current(
    part: _Part, root_spki: bytes, kind: _Kind, now: datetime
) -> Callable[[Answer], _Checked]:
    """Return a function that verifies a part as far as possible without the others."""

    def current(answer: Answer) -> _Checked:
        try:
            period = part.verified(part.check_form(answer), root_spki, kind)
        except (MalformedEvidence, EndorsementRejected) as err:
            raise CollateralRejected(f"{part.name}: {err}") from err
        require_current(period, now)
        return _Checked(answer, period)

    return current


def _assemble(tcb: Answer, qe: Answer, pck_crl: Answer, root_crl: Answer) -> Collateral:
    tcb_text, tcb_signature = _TCB_INFO.signed(tcb)
    qe_text, qe_signature = _QE_IDENTITY.signed(qe)
    return Collateral(
        pck_crl_issuer_chain=_PCK_CRL.chain(pck_crl),
        root_ca_crl=list_der(root_crl),
        pck_crl=list_der(pck_crl),
        tcb_info_issuer_chain=_TCB_INFO.chain(tcb),
        tcb_info=tcb_text,
        tcb_info_signature=tcb_signature,
        qe_identity_issuer_chain=_QE_IDENTITY.chain(qe),
        qe_identity=qe_text,
        qe_identity_signature=qe_signature,
    )


def list_der(answer: Answer) -> bytes:
    """Return a revocation list as DER; Intel's caching service sends hex."""
    if _HEX.fullmatch(answer.body):
        return bytes.fromhex(answer.body.decode())
    return answer.body


def _tcb_info(answer: Answer, root_spki: bytes, kind: _Kind) -> Period:
    info = verified_tcb_info(_TCB_INFO.chain(answer), *_TCB_INFO.signed(answer), root_spki)
    if info.fmspc != kind.fmspc:
        raise CollateralRejected(
            f"TCB info is for FMSPC {info.fmspc.hex()}, wanted {kind.fmspc.hex()}"
        )
    return info.period


def _qe_identity(answer: Answer, root_spki: bytes, _: _Kind) -> Period:
    chain = _QE_IDENTITY.chain(answer)
    return verified_qe_identity(chain, *_QE_IDENTITY.signed(answer), root_spki).period


def _pck_crl(answer: Answer, root_spki: bytes, kind: _Kind) -> Period:
    crl, issuer = verified_pck_crl(_PCK_CRL.chain(answer), list_der(answer), root_spki)
    name = common_name(issuer)
    if kind.authority not in name.lower():
        raise CollateralRejected(f"PCK CRL is from {name!r}, wanted the {kind.authority} CA's")
    return Period.of_crl(crl, _PCK_CRL.name)


def _root_crl(answer: Answer, root_spki: bytes, _: _Kind) -> Period:
    return Period.of_crl(verified_root_crl(list_der(answer), root_spki), _ROOT_CRL.name)


_TCB_INFO = _Part(
    name=TCB_INFO, chain_header="tcb-info-issuer-chain", member="tcbInfo", verified=_tcb_info
)
_QE_IDENTITY = _Part(
    name=QE_IDENTITY,
    chain_header="sgx-enclave-identity-issuer-chain",
    member="enclaveIdentity",
    verified=_qe_identity,
)
_PCK_CRL = _Part(name="PCK CRL", chain_header="sgx-pck-crl-issuer-chain", verified=_pck_crl)
_ROOT_CRL = _Part(name="root CRL", verified=_root_crl)
