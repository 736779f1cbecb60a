"""Endorsements inside a guest: what is cached now, and what a thread fetches for later handshakes.

Handshakes use what is in memory or in the folder of endorsements, and never wait. `Errands` fetches what was missing or grows
old from the vendor or its mirror, into memory. A peer that was refused for lack of it can succeed at its next attempt. A vendor
is asked only about platforms that proved to be genuine, and about this guest's own.

This guest's own certificate comes from the host's service if there is one (Azure), else from the vendor.

Source: docs/internals/attestation.md 2.5 "Caching rules", 4 (THIM), 7 "SNP issuer order".
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.errands import Errands
from contrast_tasks.attestation.endorsements.fetch import (
    Access,
    Endorsements,
    EndorsementUnavailable,
    Freshness,
    Get,
)
from contrast_tasks.attestation.endorsements.kept import KeptEndorsements, possible_levels
from contrast_tasks.attestation.endorsements.memory import LIFETIME_S, MemoryCache
from contrast_tasks.attestation.endorsements.thim import parse_thim_answer
from contrast_tasks.attestation.snp.lines import LINES
from contrast_tasks.attestation.snp.report import SIGNING_KEY_VCEK, SnpReport
from contrast_tasks.attestation.tdx.collateral import Collateral
from contrast_tasks.attestation.trust_roots import intel_root_spki
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.web.answers import Answer, NoAnswer

_log = logging.getLogger("endorsements")

HOST_SERVICE = "http://169.254.169.254"
THIM_PATH = "/metadata/THIM/amd/certification"
THIM_TIMEOUT_S = 1.5
# Bounds how long one job delays the others.
BUDGET_S = 20.0
# Revocation lists and patch levels are fetched a few times a day.
REFRESH_S = 6 * 3600.0
_SOONEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How a guest reaches vendors and its host.

    get: for vendors and mirrors. get_from_host: for the host's own service, without a proxy; None if it must not be used.
    mirrors: address prefix to its replacement.
    """

    get: Get
    get_from_host: Get | None = None
    mirrors: Mapping[str, str]


class Supply:
    """The sources for validators and issuers; safe to use from any thread."""

    def __init__(
        self,
        kept: KeptEndorsements,
        network: Network | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use `kept`, and fetch what it lacks in the background if there is a network."""
        self._kept = kept
        self._network = network
        self._clock = kept.clock
        self._errands = Errands(monotonic=monotonic)
        access = Access(
            get=network.get if network else None,
            sleep=self._sleep,
            monotonic=monotonic,
            mirrors=network.mirrors if network else {},
            budget_s=BUDGET_S,
        )
        self._cache = MemoryCache(monotonic=monotonic)
        self._bundles: dict[tuple[bytes, str], pcs.Bundle] = {}
        self._fetching = Endorsements(self._cache, access)
        self._fetched = KeptEndorsements(endorsements=self._fetching, clock=kept.clock)

    @classmethod
    def in_folder(
        cls, folder: Path, clock: Callable[[], datetime], network: Network | None = None
    ) -> Self:
        """Return a supply that uses what `endorsements fetch` stored in a folder, which need not exist."""
        return cls(KeptEndorsements.in_folder(folder, clock), network)

    def crl(self, line: str, kind: str) -> bytes | None:
        """Return the newest cached revocation list of a product line and kind of key; a `CrlSource`."""
        if line not in LINES:
            return None
        self._ask(("list", line, kind), partial(self._fetch_crl, line, kind))
        return kds.newest_crl(line, self._fetched.crl(line, kind), self._kept.crl(line, kind))

    def collateral(self, fmspc: bytes, authority: str) -> Collateral | None:
        """Return the cached collateral of a platform; a `CollateralSource`, to be called for genuine platforms only."""
        self._ask(
            ("collateral", fmspc, authority), partial(self._fetch_collateral, fmspc, authority)
        )
        bundle = self._bundles.get((fmspc, authority))
        if bundle is not None and self._clock() <= bundle.end:
            return bundle.collateral
        return self._kept.collateral(fmspc, authority)

    def own_certificate(self, report: SnpReport) -> bytes:
        """Return the cached endorsement certificate (DER) for this guest's own report, empty if there is none."""
        found = self.certificate(report)
        if not found and report.signing_key == SIGNING_KEY_VCEK and any(report.chip_id):
            place = ("certificate", report.chip_id, report.reported_tcb)
            self._ask(place, partial(self._fetch_certificate, report))
        return found

    def certificate(self, report: SnpReport) -> bytes:
        """Return the cached endorsement certificate (DER) for a peer's report; nothing is fetched, for it is not verified yet."""
        return self._fetched.certificate(report) or self._kept.certificate(report)

    def settle(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until nothing is being fetched; for the time before the first connection."""
        return self._errands.settle(timeout_s)

    def stop(self) -> None:
        """Stop fetching."""
        self._errands.stop()

    def _ask(self, key: tuple[object, ...], job: Callable[[], float]) -> None:
        if self._network is not None:
            self._errands.ask(key, job)

    def _sleep(self, seconds: float) -> None:
        """Wait between attempts, at most until `stop`."""
        if self._errands.stopped.wait(seconds):
            raise EndorsementUnavailable("stopped")

    def _fetch_crl(self, line: str, kind: str) -> float:
        now = self._clock()
        end = kds.crl_end(kds.fetch_crl(self._fetching, line, now=now, kind=kind), line)
        _log.info("Fetched the revocation list of %s for %ss", line, kind)
        return _due_s(now, end)

    def _fetch_collateral(self, fmspc: bytes, authority: str) -> float:
        now = self._clock()
        bundle = pcs.fetch_parts(
            self._fetching,
            fmspc,
            authority,
            root_spki=intel_root_spki(),
            now=now,
            freshness=Freshness.NETWORK_FIRST,
        )
        self._bundles[fmspc, authority] = bundle
        _log.info("Fetched the collateral for FMSPC %s", fmspc.hex())
        return _due_s(now, bundle.end)

    def _fetch_certificate(self, report: SnpReport) -> float:
        if not self._take_from_host(report):
            troubles: list[EvidenceRejected | EndorsementUnavailable] = []
            for line, tcb in possible_levels(report):
                try:
                    kds.fetch_vcek(self._fetching, line, report.chip_id, tcb, now=self._clock())
                    break
                except (EvidenceRejected, EndorsementUnavailable) as err:
                    troubles.append(err)
            else:
                if troubles:
                    raise troubles[-1]
                raise EndorsementUnavailable("no vendor publishes certificates for this processor")
            _log.info("Fetched this processor's endorsement certificate from the vendor")
        # The certificate never changes; the cache forgets it after nine months.
        return LIFETIME_S

    def _take_from_host(self, report: SnpReport) -> bool:
        """Take the certificate from the host's service; return whether it has the one for this report."""
        network = self._network
        if network is None or network.get_from_host is None:
            return False
        place = network.mirrors.get(HOST_SERVICE, HOST_SERVICE)
        try:
            vcek_der = parse_thim_answer(network.get_from_host(place + THIM_PATH, THIM_TIMEOUT_S))
        except NoAnswer as err:
            _log.info("The host has no endorsement service: %s", err)
            return False
        except EvidenceRejected as err:
            _log.warning("The host's endorsement service sent an unusable answer: %s", err)
            return False
        for line, tcb in possible_levels(report):
            # Reading it from the cache verifies it like the vendor's own answer.
            url = kds.vcek_url(line, report.chip_id, tcb)
            self._cache.put(url, Answer(status=200, body=vcek_der))
        if self._fetched.certificate(report):
            _log.info("Took this processor's endorsement certificate from the host")
            return True
        _log.warning(
            "The host's endorsement service sent a certificate for another processor or level"
        )
        return False


def _due_s(now: datetime, end: datetime) -> float:
    """Return the seconds until the next fetch: a few hours, but not beyond the expiry."""
    return min(REFRESH_S, max(_SOONEST_S, (end - now).total_seconds()))
