"""Handshake steps compute one after the other, and wait for the hardware all at once.

Python computes on one thread at a time in any case. Threads that compute at once only wait for each other, and the loop, which
asks for the interpreter many times for each connection, waits for all of them each time.
"""

import threading
from dataclasses import dataclass

from contrast_tasks.evidence_documents import Issuer

COMPUTING = threading.Lock()
"""Held by the step of a handshake, but for the time in which the hardware makes evidence."""


@dataclass(frozen=True, slots=True)
class ReleasingIssuer:
    """Lets another handshake go on while the inner issuer waits for the hardware."""

    inner: Issuer

    @property
    def oid(self) -> str:
        """Return the inner issuer's."""
        return self.inner.oid

    def issue(self, report_data: bytes) -> bytes:
        """Return the inner issuer's document. Only for steps that hold COMPUTING."""
        COMPUTING.release()
        try:
            return self.inner.issue(report_data)
        finally:
            COMPUTING.acquire()
