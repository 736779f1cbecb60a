"""The Coordinator as a process: `python -m coordinator`.

Every option can be given as an environment variable, too; the option wins. The Coordinator's own evidence comes from the
confidential guest it runs in, unless CONTRAST_EVIDENCE and CONTRAST_HOST_DATA name a simulated one. Peers are judged by what
they present, by the kept endorsements, and by what a background thread has fetched from the vendors, unless
CONTRAST_ENDORSEMENTS_FETCH is off. No handshake waits for the network. Standard output stays empty, the log goes to standard
error.
Exit codes: 0 stopped by SIGTERM or SIGINT; 2 options or settings; 30 an address cannot be bound; 1 our bug.
"""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks import variables
from contrast_tasks.addresses import (
    MESH_API_PORT,
    PROBES_PORT,
    USER_API_PORT,
    host_and_port,
)
from contrast_tasks.attestation.issuers.environment import (
    DEFAULT_ENDORSEMENTS,
    issuer_from_environment,
    kept_folder,
    prepare,
    supply_from_environment,
)
from contrast_tasks.errors import ContrastError, SettingsError
from coordinator import logs

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest

_log = logging.getLogger("coordinator")

# For each of the two APIs; Kubernetes allows 30 s for everything by default.
_GRACE_S = 10.0
_EXIT_BUG = 1
_DEFAULT_STATE = "/var/lib/contrast-coordinator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where to listen and where the state lies."""

    user_api: tuple[str, int]
    mesh_api: tuple[str, int]
    http: tuple[str, int]
    state: Path
    endorsements: Path
    force_new: bool
    with_metrics: bool


def parse_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options; raises SettingsError for an address that is not HOST:PORT, exits for unknown ones."""
    parser = argparse.ArgumentParser(prog="coordinator", description=__doc__.partition("\n")[0])
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
    parser.add_argument(
        "--state",
        metavar="DIR",
        default=environ.get(variables.STATE) or _DEFAULT_STATE,
        help=f"directory of the history (default {_DEFAULT_STATE}, or {variables.STATE})",
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
    given = parser.parse_args(arguments)
    return Options(
        user_api=_address("--user-api", given.user_api),
        mesh_api=_address("--mesh-api", given.mesh_api),
        http=_address("--http", given.http),
        state=Path(given.state),
        endorsements=Path(given.endorsements),
        force_new=given.force_new,
        with_metrics="CONTRAST_METRICS" in environ,
    )


def run(
    options: Options,
    environ: Mapping[str, str],
    wait: Callable[[], object],
) -> None:
    """Serve until `wait` returns; everything that was started is stopped before this returns.

    Raises ClusterError when an address cannot be bound, and what is wrong with the evidence settings.
    """
    from contrast_tasks.attestation.claims import claims_of
    from contrast_tasks.attestation.validators import validators_for
    from coordinator.history import History
    from coordinator.metrics import Metrics
    from coordinator.probes import Probes, ProbeServer
    from coordinator.state import Guard
    from coordinator.store.file import FileStore
    from coordinator.transport import (
        Context,
        mesh_methods,
        serve_mesh_api,
        serve_user_api,
        user_methods,
    )
    from coordinator.watch import watch

    stop = threading.Event()
    guard = Guard(
        History(FileStore(options.state)),
        parse=_parse_manifest,
        now=lambda: datetime.now(UTC),
        force_new=options.force_new,
    )
    methods = (*user_methods(), *mesh_methods(claims_of))
    metrics = Metrics([(method.service, method.name) for method in methods])
    context = Context(guard=guard, metrics=metrics)
    supply = supply_from_environment(environ, folder=options.endorsements, clock=guard.now)
    issuer = issuer_from_environment(environ, supply=supply)
    prepare(issuer, supply, wait_s=0)
    started = threading.Event()
    watcher = threading.Thread(target=watch, args=(guard, stop), name="history-watch")
    probes = Probes(
        status=guard.status,
        is_started=started.is_set,
        is_alive=lambda: watcher.is_alive() or not started.is_set(),
        now=guard.now,
        metrics=(lambda status: metrics.render(generation=status.generation, state=status.name))
        if options.with_metrics
        else None,
    )
    with ExitStack() as stack:
        stack.callback(supply.stop)
        probe_server = ProbeServer(*options.http, probes)
        stack.callback(probe_server.stop)
        probe_server.start()
        user_api = serve_user_api(options.user_api, issuer=issuer, context=context)
        stack.callback(user_api.stop, _GRACE_S)
        mesh_api = serve_mesh_api(
            options.mesh_api,
            issuer=issuer,
            context=context,
            make_validators=lambda state: validators_for(
                state.manifest,
                crl=supply.crl,
                collateral=supply.collateral,
                certificate=supply.certificate,
            ),
            claims=claims_of,
        )
        stack.callback(mesh_api.stop, _GRACE_S)
        watcher.start()
        stack.callback(watcher.join)
        stack.callback(stop.set)
        started.set()
        status = guard.status()
        _log.info(
            "Coordinator started",
            extra={
                "user_api": user_api.port,
                "mesh_api": mesh_api.port,
                "http": probe_server.port,
                "state": status.name,
                "reason": status.reason,
            },
        )
        if status.name in {"inconsistent", "unknown"}:
            _log.error("The history cannot be served: %s", status.reason)
        wait()
        _log.info("Coordinator is stopping")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code."""
    # Blocked in every thread and fetched by one call: no handler, so no code that could be interrupted.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        logs.configure(os.environ)
        options = parse_options(sys.argv[1:] if arguments is None else arguments, os.environ)
        run(options, os.environ, lambda: signal.sigwait(signals))
    except ContrastError as err:
        _report(err)
        return err.exit_code
    except Exception:  # noqa: BLE001  # the outermost handler of the process
        _log.exception("the coordinator failed")
        return _EXIT_BUG
    return 0


def _parse_manifest(content: bytes) -> "Manifest":
    from contrast_tasks.attestation.validators import validators_for
    from contrast_tasks.manifest.codec import parse_manifest

    manifest = parse_manifest(content)
    # A manifest whose reference values cannot be used would lock every workload out.
    validators_for(manifest)
    return manifest


def _report(error: ContrastError) -> None:
    if not logging.getLogger().handlers:
        logs.configure({})
    extra = {"hint": error.hint} if error.hint else {}
    _log.error("%s", error, extra=extra)


def _address(option: str, text: str) -> tuple[str, int]:
    found = host_and_port(text)
    if found is None:
        raise SettingsError(f"{option}: found {text!r}, wanted HOST:PORT with a port up to 65535")
    return found


if __name__ == "__main__":
    sys.exit(main())
