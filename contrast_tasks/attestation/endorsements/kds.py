"""AMD's key distribution service: the addresses of certificates and revocation lists, and the checks of its answers.

Source: AMD publication 57230 (docs/internals/attestation.md 2.5).
"""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlencode

from contrast_tasks.attestation.endorsements.fetch import (
    Endorsements,
    Freshness,
    require_certificate_body,
)
from contrast_tasks.attestation.errors import EndorsementRejected
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.pki.validity import require_current
from contrast_tasks.attestation.snp.crl import parse_list
from contrast_tasks.attestation.snp.endorsement import (
    KIND_VCEK,
    LINE_TURIN,
    parse_endorsement,
    verify_chain,
)
from contrast_tasks.attestation.snp.lines import amd_anchor
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.web.answers import Answer

SERVICE = "https://kdsintf.amd.com"
_TURIN_HWID_BYTES = 8


def vcek_url(line: str, chip_id: bytes, tcb: Tcb) -> str:
    """Return the address of the certificate of one chip at one TCB.

    chip_id: 64 bytes of the report; Turin uses the first 8. Raises EndorsementRejected if the chip hides its id.
    """
    if not any(chip_id):
        raise EndorsementRejected(
            "the chip id is masked, so its endorsement certificate cannot be fetched",
            hint="the host must deliver the certificate",
        )
    turin = line == LINE_TURIN
    levels = {"fmcSPL": tcb.fmc} if turin else {}
    levels |= {
        "blSPL": tcb.bootloader,
        "teeSPL": tcb.tee,
        "snpSPL": tcb.snp,
        "ucodeSPL": tcb.microcode,
    }
    hwid = chip_id[:_TURIN_HWID_BYTES] if turin else chip_id
    return f"{SERVICE}/vcek/v1/{line}/{hwid.hex()}?{urlencode(levels)}"


def crl_url(line: str, *, kind: str = KIND_VCEK) -> str:
    """Return the address of a line's revocation list; kind is `vcek` or `vlek`."""
    return f"{SERVICE}/{kind}/v1/{line}/crl"


def fetch_vcek(
    endorsements: Endorsements, line: str, chip_id: bytes, tcb: Tcb, *, now: datetime
) -> bytes:
    """Return the endorsement certificate (DER) of one chip at one TCB, verified up to the pinned root."""
    check = _check_vcek(line, chip_id, tcb, now)
    return endorsements.fetch(vcek_url(line, chip_id, tcb), check, Freshness.CACHE_FIRST)


def cached_vcek(
    endorsements: Endorsements, line: str, chip_id: bytes, tcb: Tcb, *, now: datetime
) -> bytes | None:
    """Return the cached certificate, None if there is none; never uses the network."""
    if not any(chip_id):
        return None
    check = _check_vcek(line, chip_id, tcb, now)
    return endorsements.cached(vcek_url(line, chip_id, tcb), check)


def fetch_crl(
    endorsements: Endorsements, line: str, *, now: datetime, kind: str = KIND_VCEK
) -> bytes:
    """Return the newest revocation list (DER) of a line: signed by its pinned root, and current."""
    return endorsements.fetch(
        crl_url(line, kind=kind),
        _check_crl(line, kind, now),
        Freshness.NETWORK_FIRST,
        issued=_issued(line),
    )


def cached_crl(
    endorsements: Endorsements, line: str, *, now: datetime, kind: str = KIND_VCEK
) -> bytes | None:
    """Return the cached revocation list, None if there is none; never uses the network."""
    return endorsements.cached(crl_url(line, kind=kind), _check_crl(line, kind, now))


def newest_crl(line: str, *lists: bytes | None) -> bytes | None:
    """Return the newest of a line's lists, which have passed their check; None if there is none."""
    return max(filter(None, lists), key=_issued(line), default=None)


def crl_end(content: bytes, line: str) -> datetime:
    """Return when a line's revocation list expires."""
    return parse_list(content, parse_certificate(amd_anchor(line).ark_der)).period.until


def _check_vcek(line: str, chip_id: bytes, tcb: Tcb, now: datetime) -> Callable[[Answer], bytes]:
    def check(answer: Answer) -> bytes:
        certificate = require_certificate_body(answer, "endorsement certificate")
        endorsement = parse_endorsement(certificate)
        verify_chain(endorsement, amd_anchor(line), ica_der=b"", ark_der=b"", now=now)
        if endorsement.kind != KIND_VCEK or not chip_id.startswith(endorsement.hwid):
            raise EndorsementRejected(
                f"the service sent the certificate of chip {endorsement.hwid.hex()}, wanted {chip_id.hex()}"
            )
        if endorsement.tcb != tcb:
            raise EndorsementRejected(
                f"the service sent the certificate for {endorsement.tcb}, wanted {tcb}"
            )
        return certificate

    return check


def _check_crl(line: str, kind: str, now: datetime) -> Callable[[Answer], bytes]:
    anchor = amd_anchor(line)
    authority = parse_certificate(anchor.ask_der if kind == KIND_VCEK else anchor.asvk_der)

    def check(answer: Answer) -> bytes:
        content = require_certificate_body(answer, "revocation list")
        found = parse_list(content, parse_certificate(anchor.ark_der))
        # A genuine list that revokes our intermediate is kept even if it has expired: revocation is final.
        if authority.serial not in found.serials:
            what = f"the {kind.upper()} revocation list of {line}"
            require_current(found.period._replace(what=what), now)
        return content

    return check


def _issued(line: str) -> Callable[[bytes], datetime]:
    ark = parse_certificate(amd_anchor(line).ark_der)
    return lambda content: parse_list(content, ark).period.since
