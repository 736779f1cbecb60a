"""Who makes evidence in this process, as its environment says.

`CONTRAST_EVIDENCE=simulated:<directory>` names a simulated processor that exists already, `CONTRAST_HOST_DATA=<64 hex digits>`
the policy hash that the guest was started with. In a real guest both are the hardware's business.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from contrast_tasks.errors import SettingsError

VARIABLE_EVIDENCE = "CONTRAST_EVIDENCE"
VARIABLE_HOST_DATA = "CONTRAST_HOST_DATA"
HOST_DATA_BYTES = 32
_SIMULATED = "simulated"


class Issuer(Protocol):
    """Makes evidence about the guest it runs in."""

    @property
    def oid(self) -> str:
        """Return the dotted OID of the certificate extension that carries the document."""

    def issue(self, report_data: bytes) -> bytes:
        """Return a document over 64 bytes of report data; may block on hardware, never on the network."""


def issuer_from_environment(environ: Mapping[str, str]) -> Issuer:
    """Return the issuer that the two variables name.

    Raises SettingsError, naming the variable, if one is absent or not understood; ClusterError if the directory holds no
    simulated processor.
    """
    source = environ.get(VARIABLE_EVIDENCE, "")
    kind, _, place = source.partition(":")
    if kind != _SIMULATED or not place:
        raise SettingsError(
            f"environment {VARIABLE_EVIDENCE} is {_quoted(source)}, wanted simulated:<directory>",
            hint="the local backend sets it; nothing else issues evidence outside a confidential guest",
        )
    host_data = _host_data(environ.get(VARIABLE_HOST_DATA, ""))
    from contrast_tasks.attestation.simulated import SimulatedProcessor

    return SimulatedProcessor.load(Path(place)).issuer(host_data)


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
