"""Errors of attested TLS, as branches of the project's tree.

EvidenceRejected
├── BadPeerCertificate    not self-signed, expired, a critical or doubled extension: not the form of attested TLS
├── EvidenceMissing       no evidence in the certificate, or none of a type that a reference value speaks of
├── NoReferenceAccepted   every reference value of the right type refused; `.rejections` has each reason
└── OwnEvidenceRefused    the peer judged our evidence and refused it
CoordinatorUnreachable
└── HandshakeFailed       no connection, no nonce, an alert, the end of the stream or of the time
    └── OtherProtocol     the peer speaks no TLS, an older one, or not HTTP/2

A peer on the network never sees these texts: it gets a TLS alert and nothing else.
"""

from collections.abc import Mapping

from contrast_tasks.errors import CoordinatorUnreachable, EvidenceRejected


class BadPeerCertificate(EvidenceRejected):
    """The peer's certificate does not have the form that attested TLS demands."""


class EvidenceMissing(EvidenceRejected):
    """The peer's certificate carries no evidence that could be judged."""


class NoReferenceAccepted(EvidenceRejected):
    """Several reference values could judge the evidence and each refused; the reasons are kept by name."""

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
    """No attested connection came about; nothing can be said about the peer's evidence."""


class OtherProtocol(HandshakeFailed):
    """The peer speaks no TLS, an older one, or not HTTP/2: it is no Coordinator."""
