"""Who makes evidence in this process, as its environment says.

`CONTRAST_EVIDENCE` not set, or `hardware`: the confidential guest that this process runs in. What the host does not deliver with
a report comes from the folder `CONTRAST_ENDORSEMENTS`; no vendor is ever asked.

`CONTRAST_EVIDENCE=simulated:<directory>` names a simulated processor that exists already, `CONTRAST_HOST_DATA=<64 hex digits>`
the policy hash that its guest was started with. In a real guest that is the hardware's business.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from contrast_tasks.errors import SettingsError

if TYPE_CHECKING:
    from contrast_tasks.attestation.issuers.hardware import CertificateLookup, CrlLookup
    from contrast_tasks.attestation.issuers.tsm import EvidenceSource

VARIABLE_EVIDENCE = "CONTRAST_EVIDENCE"
VARIABLE_HOST_DATA = "CONTRAST_HOST_DATA"
VARIABLE_ENDORSEMENTS = "CONTRAST_ENDORSEMENTS"
DEFAULT_ENDORSEMENTS = "/var/lib/contrast-endorsements"
HOST_DATA_BYTES = 32
_HARDWARE, _SIMULATED = "hardware", "simulated"


class Issuer(Protocol):
    """Makes evidence about the guest it runs in."""

    @property
    def oid(self) -> str:
        """Return the dotted OID of the certificate extension that carries the document."""

    def issue(self, report_data: bytes) -> bytes:
        """Return a document over 64 bytes of report data; may block on hardware, never on the network."""


def kept_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that guests and Coordinators take kept endorsements from; it need not exist."""
    return Path(environ.get(VARIABLE_ENDORSEMENTS) or DEFAULT_ENDORSEMENTS)


def issuer_from_environment(
    environ: Mapping[str, str],
    *,
    source: "Callable[[], EvidenceSource] | None" = None,
    endorsements: Path | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Issuer:
    """Return the issuer that the environment names.

    source: finds this guest's hardware, by default `find_source`. endorsements: the folder of kept endorsements, instead of the
    environment's. clock: the instant that kept endorsements are judged at.
    Raises SettingsError, naming the variable, if one is not understood or this is no confidential guest; ClusterError if the
    directory holds no simulated processor.
    """
    named = environ.get(VARIABLE_EVIDENCE, "")
    kind, _, place = named.partition(":")
    if named in ("", _HARDWARE):
        from contrast_tasks.attestation.endorsements.kept import KeptEndorsements

        kept = KeptEndorsements.in_folder(endorsements or kept_folder(environ), clock)
        return _hardware_issuer(environ, source, kept.certificate, kept.crl)
    if kind != _SIMULATED or not place:
        raise SettingsError(
            f"environment {VARIABLE_EVIDENCE} is {_quoted(named)}, wanted {_HARDWARE} or {_SIMULATED}:<directory>",
            hint="the local backend sets it; a confidential guest needs none",
        )
    host_data = _host_data(environ.get(VARIABLE_HOST_DATA, ""))
    from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor

    return SimulatedProcessor.load(Path(place)).issuer(host_data)


def _hardware_issuer(
    environ: Mapping[str, str],
    source: "Callable[[], EvidenceSource] | None",
    certificate: "CertificateLookup",
    crl: "CrlLookup",
) -> Issuer:
    if VARIABLE_HOST_DATA in environ:
        raise SettingsError(
            f"environment {VARIABLE_HOST_DATA} is set, which is for {VARIABLE_EVIDENCE}={_SIMULATED}:<directory> only",
            hint="hardware says itself which policy its guest was started with",
        )
    from contrast_tasks.attestation.issuers.devices import find_source
    from contrast_tasks.attestation.issuers.hardware import issuer_of
    from contrast_tasks.attestation.issuers.tsm import IssuerError

    try:
        return issuer_of((source or find_source)(), certificate=certificate, crl=crl)
    except IssuerError as err:
        named = _quoted(environ.get(VARIABLE_EVIDENCE, ""))
        raise SettingsError(
            f"environment {VARIABLE_EVIDENCE} is {named}, which wants hardware: {err}",
            hint=err.hint or "look at the guest's kernel log for sev-guest or tdx_guest",
        ) from err


def _host_data(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HOST_DATA_BYTES:
        raise SettingsError(
            f"environment {VARIABLE_HOST_DATA} is {_quoted(text)}, wanted the policy hash as "
            f"{2 * HOST_DATA_BYTES} hex digits"
        )
    return value


def _quoted(text: str) -> str:
    return f"'{text}'" if text else "not set"
