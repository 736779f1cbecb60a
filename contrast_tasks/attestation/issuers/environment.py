"""The issuer of this process's evidence, by environment variables.

`CONTRAST_EVIDENCE` not set, or `hardware`: evidence of the confidential guest that this process runs in. A `Supply` adds what the
host does not send with a report, from the folder `CONTRAST_ENDORSEMENTS`, or from the host's own service or the vendor, unless
`CONTRAST_ENDORSEMENTS_FETCH` is off.

`CONTRAST_EVIDENCE=simulated:<directory>`: evidence of an existing simulated processor, with the policy hash of its guest in
`CONTRAST_HOST_DATA=<64 hex digits>`. In a real guest the hardware knows the policy hash.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks import variables
from contrast_tasks.errors import SettingsError
from contrast_tasks.evidence_documents import HOST_DATA_BYTES, Issuer

if TYPE_CHECKING:
    from contrast_tasks.attestation.endorsements.supply import Supply
    from contrast_tasks.attestation.issuers.tsm import EvidenceSource

DEFAULT_ENDORSEMENTS = "/var/lib/contrast-endorsements"
_HARDWARE, _SIMULATED = "hardware", "simulated"


def kept_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of endorsements for guests and Coordinators; it need not exist."""
    return Path(environ.get(variables.ENDORSEMENTS) or DEFAULT_ENDORSEMENTS)


def supply_from_environment(
    environ: Mapping[str, str],
    *,
    folder: Path | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> "Supply":
    """Return this process's source of endorsements; it fetches nothing until something is missing.

    folder: overrides the environment's. clock: the time of verification.
    Raises SettingsError naming the invalid variable.
    """
    from contrast_tasks.attestation.endorsements.network import network_from_environment
    from contrast_tasks.attestation.endorsements.supply import Supply

    # Vendors publish nothing about simulated processors.
    is_hardware = environ.get(variables.EVIDENCE, "") in {"", _HARDWARE}
    network = network_from_environment(environ, default=is_hardware)
    return Supply.in_folder(folder or kept_folder(environ), clock, network)


def issuer_from_environment(
    environ: Mapping[str, str],
    supply: "Supply",
    *,
    source: "Callable[[], EvidenceSource] | None" = None,
) -> Issuer:
    """Return the issuer that the environment names.

    supply: endorsements for hardware evidence. source: finds this guest's hardware, by default `find_source`.
    Raises SettingsError naming the variable if it is invalid or this is no confidential guest; ClusterError if the directory
    holds no simulated processor.
    """
    named = environ.get(variables.EVIDENCE, "")
    kind, _, place = named.partition(":")
    if named in ("", _HARDWARE):
        return _hardware_issuer(environ, source, supply)
    if kind != _SIMULATED or not place:
        raise SettingsError(
            f"environment {variables.EVIDENCE} is {_quoted(named)}, wanted {_HARDWARE} or {_SIMULATED}:<directory>",
            hint="the local backend sets it; a confidential guest needs none",
        )
    host_data = _host_data(environ.get(variables.HOST_DATA, ""))
    from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor

    return SimulatedProcessor.load(Path(place)).issuer(host_data)


def prepare(issuer: Issuer, supply: "Supply", *, wait_s: float) -> None:
    """Fetch what this guest's own documents need, and wait at most `wait_s` seconds for it.

    Call it before the first connection. Fetching continues afterwards; documents leave out what has not arrived.
    """
    from contrast_tasks.attestation.issuers.hardware import SnpIssuer, TdxIssuer

    if isinstance(issuer, SnpIssuer | TdxIssuer):
        issuer.prepare()
        supply.settle(wait_s)


def _hardware_issuer(
    environ: Mapping[str, str],
    source: "Callable[[], EvidenceSource] | None",
    supply: "Supply",
) -> Issuer:
    if variables.HOST_DATA in environ:
        raise SettingsError(
            f"environment {variables.HOST_DATA} is set, which is for {variables.EVIDENCE}={_SIMULATED}:<directory> only",
            hint="hardware itself reports the policy that its guest was started with",
        )
    from contrast_tasks.attestation.issuers.devices import find_source
    from contrast_tasks.attestation.issuers.hardware import SnpIssuer, TdxIssuer
    from contrast_tasks.attestation.issuers.tsm import SEV_GUEST, IssuerError

    try:
        hardware = (source or find_source)()
        if hardware.provider == SEV_GUEST:
            return SnpIssuer(hardware, certificate=supply.own_certificate, crl=supply.crl)
        return TdxIssuer(hardware, collateral=supply.collateral)
    except IssuerError as err:
        named = _quoted(environ.get(variables.EVIDENCE, ""))
        raise SettingsError(
            f"environment {variables.EVIDENCE} is {named}, which needs hardware: {err}",
            hint=err.hint or "see the guest's kernel log about sev-guest or tdx_guest",
        ) from err


def _host_data(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != HOST_DATA_BYTES:
        raise SettingsError(
            f"environment {variables.HOST_DATA} is {_quoted(text)}, wanted the policy hash as "
            f"{2 * HOST_DATA_BYTES} hex digits"
        )
    return value


def _quoted(text: str) -> str:
    return f"'{text}'" if text else "not set"
