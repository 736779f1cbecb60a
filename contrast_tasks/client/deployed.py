"""The local deployment's pods, and the address of a Coordinator."""

from collections.abc import Callable

from contrast_tasks.addresses import USER_API_PORT, host_and_port
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.control import NodeAbsent
from contrast_tasks.local.messages import PodStatus
from contrast_tasks.local.paths import local_paths
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings

Given = str | Callable[[], str] | None
"""HOST[:PORT] of a user API, or what finds it; None: that of the local deployment."""


def coordinator_address(settings: Settings, given: Given) -> tuple[str, int]:
    """Return host and port of the user API at HOST[:PORT]; given None: of the local deployment's Coordinator.

    Raises ClusterError if none runs here, UsageError for a malformed address.
    """
    if given is None:
        if not settings.is_local:
            raise UsageError("no coordinator was given", hint="name it with -c HOST:PORT")
        for pod in running_pods(settings):
            if pod.role == ROLE_COORDINATOR:
                return pod.address, USER_API_PORT
        raise ClusterError(
            "no coordinator is deployed here", hint=f"start one with '{command('deploy')}'"
        )
    if callable(given):
        given = given()
    address = host_and_port(given, USER_API_PORT)
    if address is None or not address[1]:
        raise UsageError(
            f"coordinator is {given!r}, wanted host:port",
            hint="an address only, as 203.0.113.7:1313; one of IPv6 in brackets, as [2001:db8::7]:1313",
        )
    return address


def address_of(given: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`. Raises UsageError for any other form; the port is required."""
    address = host_and_port(given)
    if address is None or not address[1]:
        raise UsageError(f"coordinator is {given!r}, wanted HOST:PORT")
    return address


def running_pods(settings: Settings) -> tuple[PodStatus, ...]:
    """Return the pods of the local deployment. Raises NodeAbsent if it does not run."""
    try:
        return NodeClient(paths=local_paths(settings.root)).status()
    except NodeAbsent as err:
        err.hint = f"start it with '{command('deploy')}'"
        raise
