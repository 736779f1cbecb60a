"""The seams of attested TLS: who issues evidence, who judges it, and what comes out of the judgement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Clock = Callable[[], datetime]


class Evidence(Protocol):
    """What a validator vouches for after it accepted a document."""

    @property
    def host_data(self) -> bytes:
        """Return the 32 bytes that name the policy the guest was started with."""


class Issuer(Protocol):
    """Makes evidence about the guest it runs in."""

    @property
    def oid(self) -> str:
        """Return the dotted OID of the certificate extension that carries the document."""

    def issue(self, report_data: bytes) -> bytes:
        """Return a document over 64 bytes of report data; may block on hardware, never on the network."""


class Validator(Protocol):
    """Judges documents of one type against one reference value."""

    @property
    def name(self) -> str:
        """Return the name for messages, as `snp-0-MILAN`."""

    @property
    def oid(self) -> str:
        """Return the dotted OID of the extension whose documents this validator understands."""

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> Evidence:
        """Return the evidence or raise EvidenceRejected; never blocks on the network."""


Validators = Sequence[Validator]
# Called once per connection at the start of its handshake: the validators to judge the client with, and any object
# (the Coordinator's state) that travels with the connection. Raising refuses the connection.
RequireClient = Callable[[], tuple[Validators, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIdentity:
    """What is known about the client of one attested connection.

    public_key_spki: DER SubjectPublicKeyInfo of the client certificate, None when it sent none; TLS proved possession.
    certificate_der: that certificate; evidence: set if and only if the listener is mutual.
    snapshot: the object that the listener's `require_client` returned when this handshake began.
    """

    public_key_spki: bytes | None
    certificate_der: bytes | None
    evidence: Evidence | None
    snapshot: Any


def utc_now() -> datetime:
    """Return the present instant in UTC; the default clock of listeners."""
    return datetime.now(UTC)
