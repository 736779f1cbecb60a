"""Intel's provisioning certification service: where collateral stands, and how its four answers make one bundle.

Source: Intel PCS API v4 (spec/attestation 3.4).
"""

import re
from collections.abc import Callable
from datetime import datetime
from urllib.parse import unquote

from contrast_tasks.attestation.endorsements.fetch import Answer, Endorsements, Freshness
from contrast_tasks.attestation.errors import CollateralRejected
from contrast_tasks.attestation.pki.forms import load_crl
from contrast_tasks.attestation.tdx.collateral import Collateral, verify_collateral
from contrast_tasks.attestation.tdx.pck import PckChain
from contrast_tasks.attestation.tdx.tcb import parse_qe_identity, parse_tcb_info
from contrast_tasks.errors import EvidenceRejected

SERVICE = "https://api.trustedservices.intel.com"
CERTIFICATES = "https://certificates.trustedservices.intel.com"
ROOT_CRL_URL = f"{CERTIFICATES}/IntelSGXRootCA.der"
_CHAIN_LIMIT = 16 * 1024
_TCB_BODY = re.compile(r'\{"tcbInfo":(\{.*\}),"signature":"([0-9a-fA-F]{128})"\}\s*', re.DOTALL)
_QE_BODY = re.compile(
    r'\{"enclaveIdentity":(\{.*\}),"signature":"([0-9a-fA-F]{128})"\}\s*', re.DOTALL
)


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

    A bundle from the cache that does not verify is dropped and fetched anew, once. Raises EndorsementUnavailable where Intel
    does not answer, CollateralRejected where its fresh answers do not verify.
    """
    addresses = _addresses(chain.facts.fmspc, chain.authority)
    for last in (False, True):
        answers = [
            endorsements.fetch(url, _current(check, now), freshness)
            for url, check, freshness in addresses
        ]
        collateral = _assemble(*answers)
        try:
            verify_collateral(collateral, chain=chain, root_spki=root_spki, now=now)
        except EvidenceRejected:
            for url, _, _ in addresses:
                endorsements.drop(url)
            if last:
                raise
        else:
            return collateral
    raise AssertionError  # the second round returns or raises


def cached_collateral(
    endorsements: Endorsements, fmspc: bytes, authority: str
) -> Collateral | None:
    """Return the collateral at hand for a platform, None if a part is missing; never waits for the network."""
    answers: list[Answer] = []
    for url, check, _ in _addresses(fmspc, authority):
        answer = endorsements.cached(url, check)
        if answer is None:
            return None
        answers.append(answer)
    return _assemble(*answers)


Check = Callable[[Answer], Answer]


def _addresses(fmspc: bytes, authority: str) -> tuple[tuple[str, Check, Freshness], ...]:
    """Return address, check and freshness of the four parts, in the order of `_assemble`."""
    return (
        (tcb_info_url(fmspc), _check_tcb_info, Freshness.CACHE_FIRST),
        (qe_identity_url(), _check_qe_identity, Freshness.CACHE_FIRST),
        (pck_crl_url(authority), _check_pck_crl, Freshness.NETWORK_FIRST),
        (ROOT_CRL_URL, _check_crl, Freshness.NETWORK_FIRST),
    )


def _current(check: Check, now: datetime) -> Check:
    """Return a check that also refuses signed objects whose time is over, so that they are fetched anew."""

    def current(answer: Answer) -> Answer:
        check(answer)
        if check is _check_tcb_info:
            until = parse_tcb_info(_inner(answer, _TCB_BODY, "TCB info")[0]).next_update
        elif check is _check_qe_identity:
            until = parse_qe_identity(_inner(answer, _QE_BODY, "QE identity")[0]).next_update
        else:
            return answer
        if now > until:
            raise CollateralRejected(
                f"it expired at {until:%Y-%m-%dT%H:%M:%SZ}", reason="collateral-expired"
            )
        return answer

    return current


def _assemble(tcb: Answer, qe: Answer, pck_crl: Answer, root_crl: Answer) -> Collateral:
    tcb_text, tcb_signature = _inner(tcb, _TCB_BODY, "TCB info")
    qe_text, qe_signature = _inner(qe, _QE_BODY, "QE identity")
    return Collateral(
        pck_crl_issuer_chain=_chain(pck_crl, "sgx-pck-crl-issuer-chain"),
        root_ca_crl=root_crl.body,
        pck_crl=pck_crl.body,
        tcb_info_issuer_chain=_chain(tcb, "tcb-info-issuer-chain"),
        tcb_info=tcb_text,
        tcb_info_signature=tcb_signature,
        qe_identity_issuer_chain=_chain(qe, "sgx-enclave-identity-issuer-chain"),
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
    if not text.startswith("-----BEGIN CERTIFICATE-----") or len(text) > _CHAIN_LIMIT:
        raise CollateralRejected(f"the answer lacks its issuer chain in the header {header}")
    return text.encode()


def _check_tcb_info(answer: Answer) -> Answer:
    _inner(answer, _TCB_BODY, "TCB info")
    _chain(answer, "tcb-info-issuer-chain")
    return answer


def _check_qe_identity(answer: Answer) -> Answer:
    _inner(answer, _QE_BODY, "QE identity")
    _chain(answer, "sgx-enclave-identity-issuer-chain")
    return answer


def _check_pck_crl(answer: Answer) -> Answer:
    _chain(answer, "sgx-pck-crl-issuer-chain")
    return _check_crl(answer)


def _check_crl(answer: Answer) -> Answer:
    load_crl(answer.body, "the answer")
    return answer
