"""The evidence that a Coordinator presents, before anything is known to judge it by.

During the handshake only one thing is checked: that the evidence was made for this connection's key and nonce. Whether it is
genuine is for the caller to find out afterwards, with the network if need be; nothing is sent over the connection.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contrast_tasks.addresses import host_and_port
from contrast_tasks.attestation.carriers import Carried, Evidence, evidence_of
from contrast_tasks.attestation.snp.document import OID_SNP_DOCUMENT, SnpDocument
from contrast_tasks.attestation.tdx.document import TDX_OID
from contrast_tasks.errors import EvidenceRejected, UsageError

HANDSHAKE_S = 30.0
_HOST_DATA_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Evidence bound to a connection, and not judged."""

    carried: Carried

    @property
    def host_data(self) -> bytes:
        """Return the 32 bytes that name the policy, as far as the evidence can be believed."""
        evidence = self.carried.evidence
        if isinstance(evidence, SnpDocument):
            return evidence.report.host_data
        return evidence.body.mr_config_id[:_HOST_DATA_BYTES]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorder:
    """Stands in for a validator: takes any well-formed evidence that binds the connection."""

    name: str
    oid: str

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> Presented:
        del now
        carried = evidence_of(self.oid, document, "document")
        if _report_data(carried.evidence) != report_data:
            raise EvidenceRejected(
                "the evidence was not made for this connection",
                hint="a replay, or a relay in between",
            )
        return Presented(carried=carried)


def _report_data(evidence: Evidence) -> bytes:
    if isinstance(evidence, SnpDocument):
        return evidence.report.report_data
    return evidence.body.report_data


def presented_evidence(
    host: str,
    port: int,
    *,
    now: datetime,
    timeout_s: float = HANDSHAKE_S,
    connect: Callable[..., Any] | None = None,
) -> Carried:
    """Return what the Coordinator at an address presents; the connection is closed again.

    Raises EvidenceRejected if it presents nothing or nothing for this connection, CoordinatorUnreachable.
    """
    dial = connect or _connect()
    recorders = (
        _Recorder(name="snp", oid=OID_SNP_DOCUMENT),
        _Recorder(name="tdx", oid=TDX_OID),
    )
    with dial(host, port, validators=recorders, now=now, timeout_s=timeout_s) as peer:
        presented = peer.evidence
    if not isinstance(presented, Presented):
        raise EvidenceRejected(f"{host}:{port} presents no evidence")
    return presented.carried


def address_of(given: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; raises UsageError for one of another form, the port may not be left out."""
    found = host_and_port(given)
    if found is None or not found[1]:
        raise UsageError(f"coordinator is {given!r}, wanted HOST:PORT")
    return found


def _connect() -> Callable[..., Any]:
    from contrast_tasks.atls.client import connect

    return connect
