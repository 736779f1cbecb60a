"""Intel's provisioning certification service: the addresses of collateral, and how its four answers make one bundle.

A provisioning certificate caching service of one's own (PCCS) has the same addresses and serves as a mirror.

Source: Intel PCS API v4 (docs/internals/attestation.md 3.4).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from cryptography.x509 import CertificateRevocationList

from contrast_tasks.attestation.endorsements.fetch import Endorsements, Freshness, require_period
from contrast_tasks.attestation.errors import (
    CollateralRejected,
    EndorsementRejected,
    MalformedEvidence,
)
from contrast_tasks.attestation.pki.forms import load_crl
from contrast_tasks.attestation.tdx.collateral import (
    Collateral,
    verified_pck_crl,
    verified_qe_identity,
    verified_root_crl,
    verified_tcb_info,
    verify_collateral,
)
from contrast_tasks.attestation.tdx.pck import PckChain, common_name
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.web.answers import Answer

SERVICE = "https://api.trustedservices.intel.com"
CERTIFICATES = "https://certificates.trustedservices.intel.com"
ROOT_CRL_URL = f"{CERTIFICATES}/IntelSGXRootCA.der"
# No list in DER is text: its second byte is not.
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})+\s*")
_CHAIN_LIMIT = 16 * 1024
_TCB_CHAIN, _QE_CHAIN, _CRL_CHAIN = (
    "tcb-info-issuer-chain",
    "sgx-enclave-identity-issuer-chain",
    "sgx-pck-crl-issuer-chain",
)
_TCB_BODY = re.compile(r'\{"tcbInfo":(\{.*\}),"signature":"([0-9a-fA-F]{128})"\}\s*', re.DOTALL)
_QE_BODY = re.compile(
    r'\{"enclaveIdentity":(\{.*\}),"signature":"([0-9a-fA-F]{128})"\}\s*', re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Collateral whose parts are all valid until `end`."""

    collateral: Collateral
    end: datetime


def tcb_info_url(fmspc: bytes) -> str:
    """Return the address of the TDX TCB info of a processor family; fmspc has 6 bytes."""
    return f"{SERVICE}/tdx/certification/v4/tcb?fmspc={fmspc.hex()}"


def qe_identity_url() -> str:
    """Return the address of the TDX quoting enclave's identity."""
    return f"{SERVICE}/tdx/certification/v4/qe/identity"


def pck_crl_url(authority: str) -> str:
    """Return the address of the PCK revocation list; authority is `platform` or `processor`."""
    return f"{SERVICE}/sgx/certification/v4/pckcrl?ca={authority}&encoding=der"


def fetch_collateral(
    endorsements: Endorsements, chain: PckChain, *, root_spki: bytes, now: datetime
) -> Collateral:
    """Fetch, verify and keep the collateral for one platform.

    Raises EndorsementUnavailable where Intel does not answer, CollateralRejected where what it says does not verify, or not for
    this platform.
    """
    kind = (chain.facts.fmspc, chain.authority)
    kept = fetch_parts(endorsements, *kind, root_spki=root_spki, now=now).collateral
    try:
        verify_collateral(kept, chain=chain, root_spki=root_spki, now=now)
    except EvidenceRejected:
        # The copy may not hold together any more, as after a change of signers: ask Intel for all of it.
        fresh = fetch_parts(
            endorsements, *kind, root_spki=root_spki, now=now, freshness=Freshness.NETWORK_FIRST
        ).collateral
        verify_collateral(fresh, chain=chain, root_spki=root_spki, now=now)
        return fresh
    return kept


def fetch_parts(
    endorsements: Endorsements,
    fmspc: bytes,
    authority: str,
    *,
    root_spki: bytes,
    now: datetime,
    freshness: Freshness = Freshness.CACHE_FIRST,
) -> Bundle:
    """Fetch and keep the four parts for a kind of platform, each signed under the pinned root and valid now.

    freshness: of the two signed objects; revocation lists are asked for every time. Raises as `fetch_collateral`.
    """
    kind = _Kind(fmspc=fmspc, authority=authority)
    parts = [
        endorsements.fetch(
            url,
            _current(part, root_spki, kind, now),
            Freshness.NETWORK_FIRST if part.is_list else freshness,
            issued=lambda found: found.since,
        )
        for url, part in _addresses(fmspc, authority)
    ]
    collateral = _assemble(*(part.answer for part in parts))
    return Bundle(collateral=collateral, end=min(part.until for part in parts))


def cached_collateral(
    endorsements: Endorsements, fmspc: bytes, authority: str
) -> Collateral | None:
    """Return the collateral at hand for a platform, None if a part is missing; never waits for the network.

    Only the form of the parts is checked here; the caller verifies them, at the instant that matters.
    """
    answers: list[Answer] = []
    for url, part in _addresses(fmspc, authority):
        answer = endorsements.cached(url, part.check_form)
        if answer is None:
            return None
        answers.append(answer)
    return _assemble(*answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    fmspc: bytes
    authority: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One of the four answers: how it is read.

    check_form: raises CollateralRejected for an answer of another form. period: since when and until when it is valid, after
    every signature was verified up to the root key, and that it speaks of this kind of platform.
    """

    name: str
    is_list: bool
    check_form: Callable[[Answer], Answer]
    period: "Callable[[Answer, bytes, _Kind], tuple[datetime, datetime]]"


def _addresses(fmspc: bytes, authority: str) -> tuple[tuple[str, _Part], ...]:
    """Return address and part of the four, in the order of `_assemble`."""
    return (
        (tcb_info_url(fmspc), _TCB_INFO),
        (qe_identity_url(), _QE_IDENTITY),
        (pck_crl_url(authority), _PCK_CRL),
        (ROOT_CRL_URL, _ROOT_CRL),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    answer: Answer
    since: datetime
    until: datetime


def _current(
    part: _Part, root_spki: bytes, kind: _Kind, now: datetime
) -> Callable[[Answer], _Checked]:
    """Return the check of a part that verifies it as far as it can be by itself."""

    def current(answer: Answer) -> _Checked:
        try:
            since, until = part.period(part.check_form(answer), root_spki, kind)
        except (MalformedEvidence, EndorsementRejected) as err:
            raise CollateralRejected(f"{part.name}: {err}") from err
        require_period(part.name, since, until, now)
        return _Checked(answer=answer, since=since, until=until)

    return current


def _assemble(tcb: Answer, qe: Answer, pck_crl: Answer, root_crl: Answer) -> Collateral:
    tcb_text, tcb_signature = _inner(tcb, _TCB_BODY, "TCB info")
    qe_text, qe_signature = _inner(qe, _QE_BODY, "QE identity")
    return Collateral(
        pck_crl_issuer_chain=_chain(pck_crl, _CRL_CHAIN),
        root_ca_crl=list_der(root_crl),
        pck_crl=list_der(pck_crl),
        tcb_info_issuer_chain=_chain(tcb, _TCB_CHAIN),
        tcb_info=tcb_text,
        tcb_info_signature=tcb_signature,
        qe_identity_issuer_chain=_chain(qe, _QE_CHAIN),
        qe_identity=qe_text,
        qe_identity_signature=qe_signature,
    )


def _inner(answer: Answer, pattern: re.Pattern[str], what: str) -> tuple[str, bytes]:
    """Cut the inner object out as text: its signature covers these very characters."""
    try:
        match = pattern.fullmatch(answer.body.decode())
    except UnicodeDecodeError as err:
        raise CollateralRejected(f"{what} is not UTF-8") from err
    if match is None:
        raise CollateralRejected(f"{what} is not a signed object as Intel sends it")
    return match[1], bytes.fromhex(match[2])


def _chain(answer: Answer, header: str) -> bytes:
    text = unquote(answer.headers.get(header, ""))
    if (
        not text.isascii()
        or not text.startswith("-----BEGIN CERTIFICATE-----")
        or len(text) > _CHAIN_LIMIT
    ):
        raise CollateralRejected(f"the answer lacks its issuer chain in the header {header}")
    return text.encode()


def _tcb_info_form(answer: Answer) -> Answer:
    _inner(answer, _TCB_BODY, "TCB info")
    _chain(answer, _TCB_CHAIN)
    return answer


def _tcb_info_period(answer: Answer, root_spki: bytes, kind: _Kind) -> tuple[datetime, datetime]:
    text, signature = _inner(answer, _TCB_BODY, "TCB info")
    found = verified_tcb_info(_chain(answer, _TCB_CHAIN), text, signature, root_spki)
    if found.fmspc != kind.fmspc:
        raise CollateralRejected(
            f"TCB info is for FMSPC {found.fmspc.hex()}, wanted {kind.fmspc.hex()}"
        )
    return found.issue_date, found.next_update


def _qe_identity_form(answer: Answer) -> Answer:
    _inner(answer, _QE_BODY, "QE identity")
    _chain(answer, _QE_CHAIN)
    return answer


def _qe_identity_period(answer: Answer, root_spki: bytes, _: _Kind) -> tuple[datetime, datetime]:
    text, signature = _inner(answer, _QE_BODY, "QE identity")
    found = verified_qe_identity(_chain(answer, _QE_CHAIN), text, signature, root_spki)
    return found.issue_date, found.next_update


def _pck_crl_form(answer: Answer) -> Answer:
    _chain(answer, _CRL_CHAIN)
    return _crl_form(answer)


def _pck_crl_period(answer: Answer, root_spki: bytes, kind: _Kind) -> tuple[datetime, datetime]:
    chain = _chain(answer, _CRL_CHAIN)
    found, issuer = verified_pck_crl(chain, list_der(answer), root_spki)
    if kind.authority not in common_name(issuer).lower():
        raise CollateralRejected(
            f"PCK CRL is from {common_name(issuer)!r}, wanted the {kind.authority} CA's"
        )
    return _period_of(found)


def _crl_form(answer: Answer) -> Answer:
    load_crl(list_der(answer), "the answer")
    return answer


def _root_crl_period(answer: Answer, root_spki: bytes, _: _Kind) -> tuple[datetime, datetime]:
    return _period_of(verified_root_crl(list_der(answer), root_spki))


def list_der(answer: Answer) -> bytes:
    """Return a revocation list as DER, which Intel's caching service spells in hex."""
    if _HEX.fullmatch(answer.body):
        return bytes.fromhex(answer.body.decode())
    return answer.body


def _period_of(crl: CertificateRevocationList) -> tuple[datetime, datetime]:
    if crl.next_update_utc is None:
        raise CollateralRejected("a revocation list says nothing of its end")
    return crl.last_update_utc, crl.next_update_utc


_TCB_INFO = _Part(
    name="TCB info", is_list=False, check_form=_tcb_info_form, period=_tcb_info_period
)
_QE_IDENTITY = _Part(
    name="QE identity", is_list=False, check_form=_qe_identity_form, period=_qe_identity_period
)
_PCK_CRL = _Part(name="PCK CRL", is_list=True, check_form=_pck_crl_form, period=_pck_crl_period)
_ROOT_CRL = _Part(name="root CRL", is_list=True, check_form=_crl_form, period=_root_crl_period)
