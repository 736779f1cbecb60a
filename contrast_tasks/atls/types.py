"""The interfaces of attested TLS: validators, the evidence they vouch for, and the identity of a verified client."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Clock = Callable[[], datetime]


class Evidence(Protocol):
    """What a validator vouches for once it has accepted a document."""

    @property
    def host_data(self) -> bytes:
        """Return the 32 bytes that name the policy the guest was started with."""


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
# Called once per connection, when its handshake starts. Returns the validators for the client and an object that stays
# with the connection (the Coordinator's state). An exception refuses the connection.
RequireClient = Callable[[], tuple[Validators, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerIdentity:
    """The client of one attested connection.

    public_key_spki: DER SubjectPublicKeyInfo of the client certificate, None without one; TLS proved possession of the key.
    certificate_der: that certificate. evidence: set if and only if the listener is mutual.
    snapshot: what the listener's `require_client` returned when this handshake began.
    address: the IP address that the connection came from, None if it is unknown. The network says so, not the evidence.
    """

    public_key_spki: bytes | None
    certificate_der: bytes | None
    evidence: Evidence | None
    snapshot: object
    address: str | None = None


def utc_now() -> datetime:
    """Return the current time in UTC; the default clock of listeners."""
    return datetime.now(UTC)
