"""Errors of attested TLS, as branches of the project's tree.

EvidenceRejected
├── BadPeerCertificate    not self-signed, expired, a critical or doubled extension: not the form of attested TLS
├── EvidenceMissing       no evidence in the certificate, or none of a type that a reference value is for
├── NoReferenceAccepted   every reference value of the right type refused; `.rejections` has each reason
└── OwnEvidenceRefused    the peer refused our certificate or evidence
CoordinatorUnreachable
└── HandshakeFailed       no connection, no nonce, an alert, an early end of the stream, a timeout
    ├── OtherProtocol     the peer does not speak TLS 1.3 with HTTP/2
    ├── TooSlow           the peer did not do its part in time
    └── NoRoom            there are too many connections at a time

A peer on the network never sees these texts: it gets a TLS alert and nothing else.
"""

from collections.abc import Mapping

from contrast_tasks.errors import CoordinatorUnreachable, EvidenceRejected


class BadPeerCertificate(EvidenceRejected):
    """The peer's certificate does not have the form that attested TLS demands."""


class EvidenceMissing(EvidenceRejected):
    """The peer's certificate carries no evidence that a reference value is for."""


class NoReferenceAccepted(EvidenceRejected):
    """Several reference values are for this type of evidence, and each refuses it; `rejections` by their names."""

    def __init__(self, rejections: Mapping[str, EvidenceRejected]) -> None:
        lines = [f"{name}: {error}" for name, error in rejections.items()]
        hints = list(dict.fromkeys(error.hint for error in rejections.values() if error.hint))
        super().__init__(
            "no reference value accepts the evidence\n  " + "\n  ".join(lines),
            hint="; ".join(hints),
        )
        self.rejections = dict(rejections)


class OwnEvidenceRefused(EvidenceRejected):
    """The peer ended the connection because of the certificate or evidence that we presented."""


class HandshakeFailed(CoordinatorUnreachable):
    """No attested connection came about, and the peer's evidence was not judged."""


class OtherProtocol(HandshakeFailed):
    """The peer does not speak TLS 1.3 with HTTP/2, so it is no Coordinator."""


class TooSlow(HandshakeFailed):
    """The peer did not do its part in time, or stalled or idled while others waited."""


class NoRoom(HandshakeFailed):
    """There are too many connections at a time."""
