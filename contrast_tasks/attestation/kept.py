"""What is kept of the vendors' publications, in the form that verification during a handshake asks for it.

Reading a file is all the waiting there is; what is not kept, or is not valid any more, is absent, and evidence that needs it is
refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from contrast_tasks.attestation import kds, pcs
from contrast_tasks.attestation.amd import LINES
from contrast_tasks.attestation.endorsements import Endorsements
from contrast_tasks.attestation.tdx_collateral import Collateral


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEndorsements:
    """The sources that `validators_for` takes; safe to use from any thread.

    endorsements: a cache that is never asked to fetch. clock: the instant that lists are judged at.
    """

    endorsements: Endorsements
    clock: Callable[[], datetime]

    def crl(self, line: str) -> bytes | None:
        """Return the revocation list of a product line; a `CrlSource`."""
        if line not in LINES:
            return None
        return kds.cached_crl(self.endorsements, line, now=self.clock())

    def collateral(self, fmspc: bytes, authority: str) -> Collateral | None:
        """Return the collateral of a platform; a `CollateralSource`."""
        return pcs.cached_collateral(self.endorsements, fmspc, authority)
