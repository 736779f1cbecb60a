"""The options of the Coordinator's process. Most can be given as an environment variable too; the option wins."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from contrast_tasks import lifetimes, variables
from contrast_tasks.addresses import (
    HTTP_API_PORT,
    MESH_API_PORT,
    PROBES_PORT,
    TRANSIT_API_PORT,
    USER_API_PORT,
    host_and_port,
)
from contrast_tasks.attestation.issuers.environment import DEFAULT_ENDORSEMENTS, kept_folder
from contrast_tasks.errors import SettingsError

DEFAULT_STATE = "/var/lib/contrast-coordinator"
_SUMMARY = "Keep the manifest, and issue certificates to the workloads that it names."
_MORE = (
    "`coordinator fsck`, `export` and `import` look after its store; each has a --help of its own."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The addresses to listen on, the folders of state and endorsements, and three switches.

    state: None: in ConfigMaps of the pod's namespace. force_new: accept a first manifest although the history lost its head. with_metrics: serve /metrics.
    with_address: certificates of workloads are also for the address they connect from. certificate_lifetime: of workloads.
    """

    user_api: tuple[str, int]
    mesh_api: tuple[str, int]
    http_api: tuple[str, int]
    transit_api: tuple[str, int]
    http: tuple[str, int]
    state: Path | None
    endorsements: Path
    force_new: bool
    with_metrics: bool
    with_address: bool
    certificate_lifetime: timedelta = timedelta(hours=lifetimes.lifetime_hours(lifetimes.DEFAULT))


def parse_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options; raises SettingsError for a malformed address. Exits for an unknown option."""
    parser = argparse.ArgumentParser(prog="coordinator", description=_SUMMARY, epilog=_MORE)
    for option, port, variable, text in (
        ("--user-api", USER_API_PORT, variables.USER_API, "address of the user API"),
        ("--mesh-api", MESH_API_PORT, variables.MESH_API, "address of the mesh API"),
        ("--http", PROBES_PORT, variables.HTTP, "address of probes and metrics"),
    ):
        default = f"0.0.0.0:{port}"  # the pod's address
        parser.add_argument(
            option,
            metavar="HOST:PORT",
            default=environ.get(variable) or default,
            help=f"{text} (default {default}, or {variable})",
        )
    for option, port, variable, text in (
        ("--http-api", HTTP_API_PORT, variables.HTTP_API, "HTTP attestation"),
        ("--transit-api", TRANSIT_API_PORT, variables.TRANSIT_API, "the transit engine"),
    ):
        parser.add_argument(
            option,
            metavar="HOST:PORT",
            default=environ.get(variable),
            help=f"address of {text} (default port {port} beside the user API, or {variable})",
        )
    parser.add_argument(
        "--state",
        metavar="DIR",
        default=environ.get(variables.STATE),
        help=(
            f"directory of the history (default: ConfigMaps of the pod's namespace on Kubernetes, else {DEFAULT_STATE}; "
            f"or {variables.STATE})"
        ),
    )
    parser.add_argument(
        "--endorsements",
        metavar="DIR",
        default=kept_folder(environ),
        help=f"directory of kept endorsements (default {DEFAULT_ENDORSEMENTS}, or {variables.ENDORSEMENTS})",
    )
    parser.add_argument(
        "--force-new",
        action="store_true",
        help="accept a first manifest although the history lost its newest entry; the old seed is gone",
    )
    parser.add_argument(
        "--certificate-lifetime",
        metavar="TIME",
        default=environ.get(variables.CERTIFICATE_LIFETIME) or lifetimes.DEFAULT,
        help=(
            f"how long certificates of workloads last, in {lifetimes.WANTED} (default {lifetimes.DEFAULT}, "
            f"or {variables.CERTIFICATE_LIFETIME})"
        ),
    )
    given = parser.parse_args(arguments)
    user_api = _address("--user-api", given.user_api)
    return Options(
        user_api=user_api,
        mesh_api=_address("--mesh-api", given.mesh_api),
        http_api=_beside(user_api, HTTP_API_PORT, "--http-api", given.http_api),
        transit_api=_beside(user_api, TRANSIT_API_PORT, "--transit-api", given.transit_api),
        http=_address("--http", given.http),
        state=_state(given.state, environ),
        endorsements=Path(given.endorsements),
        force_new=given.force_new,
        with_metrics=variables.METRICS in environ,
        with_address=variables.PEER_ADDRESS in environ,
        certificate_lifetime=_lifetime(given.certificate_lifetime),
    )


def _state(given: str | None, environ: Mapping[str, str]) -> Path | None:
    # The file system of a container ends with it, and with it the root CA.
    if given is None and "KUBERNETES_SERVICE_HOST" in environ:
        return None
    return Path(given or DEFAULT_STATE)


def _lifetime(text: str) -> timedelta:
    if not re.fullmatch(lifetimes.PATTERN, text):
        raise SettingsError(f"--certificate-lifetime: found {text!r}, wanted {lifetimes.WANTED}")
    return timedelta(hours=lifetimes.lifetime_hours(text))


def _beside(
    user_api: tuple[str, int], port: int, option: str, given: str | None
) -> tuple[str, int]:
    if given:
        return _address(option, given)
    # Whoever leaves the choice of a port to the system means all of them.
    return user_api[0], port if user_api[1] else 0


def _address(option: str, text: str) -> tuple[str, int]:
    found = host_and_port(text)
    if found is None:
        raise SettingsError(f"{option}: found {text!r}, wanted HOST:PORT with a port up to 65535")
    return found
