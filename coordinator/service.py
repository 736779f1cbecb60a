"""The running Coordinator: both APIs, HTTP attestation, the transit engine, the probes and the watch of the history, started in order and stopped in reverse."""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from contrast_tasks.attestation.claims import claims_of
from contrast_tasks.attestation.issuers.environment import (
    issuer_from_environment,
    prepare,
    supply_from_environment,
)
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.catalogue import LATER_RULES
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.packet_filter.deny import is_in_guest, lift_deny
from coordinator.attest import Attestation
from coordinator.extapi import PeerCount
from coordinator.history import History
from coordinator.listener import HttpListener
from coordinator.mesh_tls import MeshTls
from coordinator.metrics import (
    CERTIFICATES,
    RECOVERIES,
    REPAIRS,
    ROLLBACKS,
    STORE_SECONDS,
    Metrics,
    gauges_of,
)
from coordinator.options import Options
from coordinator.peers import PeerRecovery, asker
from coordinator.presence import LockPresence, Presence
from coordinator.probes import Probes, ProbeServer
from coordinator.state import Guard
from coordinator.store.base import Store
from coordinator.store.file import FileStore
from coordinator.store.measured import MeasuredStore
from coordinator.transit import Transit
from coordinator.transport import (
    Context,
    count_refused,
    extension_methods,
    mesh_methods,
    serve_mesh_api,
    serve_user_api,
    user_methods,
)
from coordinator.unavailable import HistoryInconsistent
from coordinator.watch import Observation, watch

if TYPE_CHECKING:
    from contrast_tasks.atls.types import Validators
    from contrast_tasks.attestation.endorsements.supply import Supply
    from contrast_tasks.manifest.model import Manifest
    from coordinator.state import State

_log = logging.getLogger("coordinator")

# For each of the two APIs; Kubernetes allows 30 s for everything by default.
_GRACE_S = 10.0
# More than an attacker has addresses at hand; a thread that waits for its peer costs little.
_HTTP_THREADS = 64
_TRANSIT_THREADS = 64


def run(options: Options, environ: Mapping[str, str], wait: Callable[[], object]) -> None:
    """Serve until `wait` returns; everything that was started has stopped when this returns.

    Raises ClusterError if an address cannot be bound or the guest's rule against connections not lifted, SettingsError for
    unusable evidence settings.
    """
    peers = PeerCount()
    methods = (*user_methods(), *extension_methods(peers), *mesh_methods(claims_of))
    metrics = Metrics([(method.service, method.name) for method in methods])
    store, presence, close_store = _open_store(options, environ)
    guard = Guard(
        History(MeasuredStore(store, partial(_observe_store, metrics))),
        parse=parse_new,
        parse_stored=parse_stored,
        now=lambda: datetime.now(UTC),
        presence=presence,
        force_new=options.force_new,
        certificate_lifetime=options.certificate_lifetime,
    )
    supply = supply_from_environment(environ, folder=options.endorsements, clock=guard.now)
    issuer = issuer_from_environment(environ, supply=supply)
    if is_in_guest(environ):
        # No initializer and no sidecar does it for the Coordinator.
        _log.info("Incoming connections are let in", extra={"rules": lift_deny()})
    prepare(issuer, supply, wait_s=0)
    guard.audit.on_event = partial(_count_event, metrics)
    context = Context(guard=guard, metrics=metrics, peers=peers)
    started, stop = threading.Event(), threading.Event()
    watcher = threading.Thread(target=watch, args=(guard, stop), name="history-watch")
    probes = Probes(
        status=guard.status,
        is_started=started.is_set,
        is_alive=lambda: watcher.is_alive() or not started.is_set(),
        now=guard.now,
        metrics=(lambda: metrics.scrape(lambda: gauges_of(guard, peers.of(presence))))
        if options.with_metrics
        else None,
    )
    with ExitStack() as stack:
        stack.callback(close_store)
        stack.callback(supply.stop)
        stack.callback(guard.audit.flush, is_last=True)
        stack.callback(guard.presence.withdraw)
        probe_server = ProbeServer(*options.http, probes)
        stack.callback(probe_server.stop)
        probe_server.start()
        user_api = serve_user_api(options.user_api, issuer=issuer, context=context)
        stack.callback(user_api.stop, _GRACE_S)
        mesh_api = serve_mesh_api(
            options.mesh_api,
            issuer=issuer,
            context=context,
            make_validators=lambda state: _validators_of(state, supply),
            claims=claims_of,
            with_address=options.with_address,
        )
        stack.callback(mesh_api.stop, _GRACE_S)
        http_api = HttpListener(
            options.http_api, Attestation(guard, issuer), threads=_HTTP_THREADS, option="--http-api"
        )
        stack.callback(http_api.stop)
        http_api.start()
        transit_api = HttpListener(
            options.transit_api,
            Transit(guard, metrics),
            threads=_TRANSIT_THREADS,
            option="--transit-api",
            secure=MeshTls(guard, partial(count_refused, context, "transit")),
        )
        stack.callback(transit_api.stop)
        transit_api.start()
        if isinstance(presence, LockPresence):
            presence.address = f"127.0.0.1:{mesh_api.port}"
        ask = asker(issuer, lambda manifest: _coordinator_validators(manifest, supply), guard.now)
        recovering = threading.Thread(
            target=PeerRecovery(guard, ask, partial(_count_recovery, metrics)).watch,
            args=(stop, started.set),
            name="peer-recovery",
        )
        auditing = threading.Thread(target=guard.audit.keep, args=(stop,), name="audit")
        for thread in (watcher, recovering, auditing):
            thread.start()
            stack.callback(thread.join)
        stack.callback(stop.set)
        ports = {
            "user_api": user_api.port,
            "mesh_api": mesh_api.port,
            "http_api": http_api.port,
            "transit_api": transit_api.port,
            "http": probe_server.port,
        }
        _log_start(guard, ports)
        wait()
        _log.info("Coordinator is stopping")


def _observe_store(metrics: Metrics, operation: str, result: str, seconds: float) -> None:
    metrics.observe(STORE_SECONDS, (("op", operation), ("result", result)), seconds)


def _count_recovery(metrics: Metrics, result: str) -> None:
    metrics.count(RECOVERIES, (("kind", "peer"), ("result", result)))


def _count_event(metrics: Metrics, event: str, members: Mapping[str, object]) -> None:
    """Count what the audit log records and metrics show too."""
    if event == "certificates":
        labels = tuple((name, str(members[name])) for name in ("policy", "workload"))
        metrics.count(CERTIFICATES, labels)
    elif event == "rollback" or members.get("seen") == Observation.ROLLBACK.value:
        metrics.count(ROLLBACKS)
    if event in {"head-restored", "objects-restored"}:
        metrics.count(REPAIRS)


def _open_store(
    options: Options, environ: Mapping[str, str]
) -> tuple[Store, Presence, Callable[[], None]]:
    """Return the store, who else uses it, and what closes it."""
    if options.state is not None:
        return FileStore(options.state), LockPresence(options.state), lambda: None
    from coordinator.kubernetes.api import Account, Api
    from coordinator.kubernetes.configmaps import ConfigMapStore
    from coordinator.kubernetes.pods import PodPresence

    api = Api(Account.of_pod(environ))
    return ConfigMapStore(api), PodPresence(api), api.close


def parse_new(content: bytes) -> "Manifest":
    """Return a manifest that is to be set. Raises ContrastError."""
    manifest = parse_manifest(content)
    # A manifest whose reference values cannot be used would lock every workload out.
    validators_for(manifest)
    return manifest


def parse_stored(content: bytes) -> "Manifest":
    """Return a manifest that was in force, which may break rules that came later. Raises ContrastError."""
    return parse_manifest(content, tolerated=LATER_RULES)


def _coordinator_validators(manifest: "Manifest", supply: "Supply") -> "Validators":
    return validators_for(
        manifest,
        coordinator_only=True,
        crl=supply.crl,
        collateral=supply.collateral,
        certificate=supply.certificate,
    )


def _validators_of(state: "State", supply: "Supply") -> "Validators":
    return validators_for(
        state.manifest,
        crl=supply.crl,
        collateral=supply.collateral,
        certificate=supply.certificate,
    )


def _log_start(guard: Guard, ports: Mapping[str, int]) -> None:
    status = guard.status()
    extra = {**ports, "state": status.name, "reason": status.reason}
    _log.info("Coordinator started", extra=extra)
    if status.name in {HistoryInconsistent.name, "unknown"}:
        _log.error("The history cannot be served: %s", status.reason)
