"""What issuers, certificates of attested TLS and validators must agree on about evidence documents.

Source: docs/internals/attestation.md 1.1, 1.4, 2.6, 3.6.
"""

from typing import Protocol

# Extensions of a certificate of attested TLS, by the kind of document they carry.
OID_SNP = "1.3.9901.2.1"
OID_TDX = "1.3.9901.2.2"
# Of guests that nothing protects, in two spellings of the reference product; no validator takes them.
OID_INSECURE = "1.3.9901.2.3"
OID_INSECURE_REPORT = "1.3.9901.2.99"
EVIDENCE_OIDS = frozenset({OID_SNP, OID_TDX, OID_INSECURE, OID_INSECURE_REPORT})
MAX_DOCUMENT_BYTES = 64 * 1024
REPORT_DATA_BYTES = 64
# The policy hash, a SHA-256.
HOST_DATA_BYTES = 32


class Issuer(Protocol):
    """Makes evidence about the guest it runs in."""

    @property
    def oid(self) -> str:
        """Return the dotted OID of the certificate extension that carries the document."""

    def issue(self, report_data: bytes) -> bytes:
        """Return a document over 64 bytes of report data; may block on hardware, never on the network."""
