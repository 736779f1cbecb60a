"""The recovery of a restarted local Coordinator with the project's own share and key."""

import http.client
from collections.abc import Callable, Sequence

from contrast_tasks.addresses import PROBES_PORT
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import ContrastError, CoordinatorUnreachable, UsageError
from contrast_tasks.local.client import NodeClient
from contrast_tasks.report.hints import command, recovery_hint
from contrast_tasks.settings.model import Settings

# How long a Coordinator may take to start.
START_LIMIT_S = 60.0
_PROBE_LIMIT_S = 10.0
_RECOVER_LIMIT_S = 30.0

Say = Callable[[str], None]


def recover_if_needed(
    settings: Settings,
    client: NodeClient,
    address: str,
    *,
    say: Say,
    had_certificates: Sequence[str],
) -> tuple[str, ...]:
    """Recover the Coordinator if it is in recovery mode; return the names of the pods that were restarted.

    had_certificates: pods with certificates of the earlier mesh CA; they are restarted after a recovery.
    Raises CoordinatorUnreachable if an owner has to help.
    """
    if not client.paths.state.is_dir():
        return ()
    state, reason = coordinator_state(address)
    if state == "inconsistent":
        raise CoordinatorUnreachable(
            f"the coordinator cannot use its history: {reason}",
            hint=f"restore .contrast/local/state, or begin a new history with '{command('deploy --fresh')}'",
        )
    if state != "recovery":
        return ()
    used = _recover(settings, address, say)
    say(f"the coordinator was restarted without its seed, recovered it with {used}")
    stale = [
        pod.name
        for pod in client.status()
        if pod.role != ROLE_COORDINATOR and pod.name in had_certificates
    ]
    restarted = tuple(client.restart(stale)) if stale else ()
    for name in restarted:
        say(f"restarted {name}, for a certificate of the new mesh CA")
    return restarted


def _recover(settings: Settings, address: str, say: Say) -> str:
    """Recover the Coordinator and return the names of the files used."""
    from contrast_tasks.client.recover import recover_local

    state = "the coordinator is in recovery mode:"
    try:
        return recover_local(settings, host=address, say=say, timeout_s=_RECOVER_LIMIT_S)
    except UsageError as err:
        place = f"{err.where}: " if err.where else ""
        raise CoordinatorUnreachable(
            f"{state} it cannot be recovered from here: {place}{err}", hint=recovery_hint()
        ) from err
    except ContrastError as err:
        raise CoordinatorUnreachable(f"{state} {err}", hint=err.hint or recovery_hint()) from err


def coordinator_state(address: str) -> tuple[str, str]:
    """Return state and reason from the Coordinator's readiness probe; two empty texts if it does not answer."""
    connection = http.client.HTTPConnection(address, PROBES_PORT, timeout=_PROBE_LIMIT_S)
    try:
        connection.request("GET", "/probe/readiness")
        document = parse_json(connection.getresponse().read())
        return document.at("status").text(), document.at("reason").text()
    except (OSError, http.client.HTTPException, DecodeError):
        return "", ""
    finally:
        connection.close()
