"""Periods of validity: of certificates, and of what vendors publish about their processors."""

from datetime import datetime
from typing import NamedTuple

from cryptography import x509

from contrast_tasks.attestation.errors import (
    CollateralRejected,
    EndorsementRejected,
    HardwareRejected,
)
from contrast_tasks.attestation.pki.forms import utc_text


class Period(NamedTuple):
    """The time from `since` to `until`, both included, in which `what` is valid."""

    what: str
    since: datetime
    until: datetime

    @classmethod
    def of_certificate(cls, certificate: x509.Certificate, what: str) -> "Period":
        """Return a certificate's validity; keep it, for the library parses the dates at each access."""
        return cls(what, certificate.not_valid_before_utc, certificate.not_valid_after_utc)

    @classmethod
    def of_crl(cls, crl: x509.CertificateRevocationList, what: str) -> "Period":
        """Return a revocation list's period; raises CollateralRejected if it has no end."""
        if crl.next_update_utc is None:
            raise CollateralRejected(f"{what} has no next update")
        return cls(what, crl.last_update_utc, crl.next_update_utc)

    def problem(self, now: datetime) -> str:
        """Return why `now` is outside the period, empty if it is inside."""
        if now < self.since:
            return f"{self.what} is valid from {utc_text(self.since)}, but it is {utc_text(now)}"
        if now > self.until:
            return f"{self.what} expired {utc_text(self.until)}, but it is {utc_text(now)}"
        return ""


def require_valid(certificate: Period, now: datetime) -> None:
    """Raise EndorsementRejected unless a certificate is valid at `now`."""
    _require(certificate, now, EndorsementRejected, "certificate")


def require_current(publication: Period, now: datetime) -> None:
    """Raise CollateralRejected unless a vendor's publication is valid at `now`."""
    _require(publication, now, CollateralRejected, "collateral")


def _require(period: Period, now: datetime, error: type[HardwareRejected], kind: str) -> None:
    problem = period.problem(now)
    if problem:
        is_early = now < period.since
        hint = "" if is_early else f"; if it is right, fetch the {kind} again"
        raise error(
            problem,
            reason=f"{kind}-not-yet-valid" if is_early else f"{kind}-expired",
            hint=f"check this machine's clock{hint}",
        )
