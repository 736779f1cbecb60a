"""That the watch over the whole folder finds a secret, in each form that a text could show it in."""

import base64
import logging
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.errors import REASON_ARGUMENT
from contrast_tasks.errors import UsageError
from coordinator.metrics import CERTIFICATES, Metrics
from coordinator.refusal import Refusal
from coordinator.state import Guard, State
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import NOBODY, POLICY, tiny_manifest
from tests.fakes.secrets import SecretWatch

_log = logging.getLogger("coordinator.test")


@pytest.fixture
def state(guard: Guard) -> State:
    request = pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY])
    set_manifest(request, NOBODY, guard)
    return guard.current()


def log_hex(state: State) -> None:
    _log.info("seed %s", state.engine.seed.hex())


def log_extra(state: State) -> None:
    _log.debug("called", extra={"secret": state.engine.workload_secret("web")})


def log_base64_within(state: State) -> None:
    _log.warning("%s", base64.b64encode(b"x" + state.engine.pod_state_seed).decode())


def log_a_cut_text(state: State) -> None:
    _log.error("%s...", state.engine.seed.hex()[:40])


def log_a_private_number(state: State) -> None:
    _log.info("%d", state.engine.transaction_key.private_numbers().private_value)


def log_a_pem(state: State) -> None:
    _log.info("%s", state.ca.mesh_key_pem().decode())


def log_der(state: State) -> None:
    key = state.engine.root_ca_key
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    _log.info("%s", base64.b64encode(der).decode())


def log_a_traceback(state: State) -> None:
    try:
        {}[state.engine.seed]
    except KeyError:
        _log.exception("failed")


def raise_it(state: State) -> None:
    with pytest.raises(UsageError):
        raise UsageError(f"found {state.engine.seed!r}")


def hint_it(state: State) -> None:
    UsageError("found something", hint=state.engine.seed.hex().upper())


def refuse_with_it(state: State) -> None:
    Refusal(REASON_ARGUMENT, "found", found={"field": state.engine.seed.hex()}).render()


def measure_it(state: State) -> None:
    metrics = Metrics()
    metrics.count(CERTIFICATES, (("policy", state.engine.seed.hex()), ("workload", "web")))
    metrics.render({})


@pytest.mark.parametrize(
    "leak",
    [
        log_hex,
        log_extra,
        log_base64_within,
        log_a_cut_text,
        log_a_private_number,
        log_a_pem,
        log_der,
        log_a_traceback,
        raise_it,
        hint_it,
        refuse_with_it,
        measure_it,
    ],
)
def test_a_secret_in_a_text_is_found(
    state: State, secret_watch: SecretWatch, leak: Callable[[State], None]
) -> None:
    assert secret_watch.leaks() == []

    leak(state)

    assert secret_watch.leaks()
    secret_watch.texts.clear()


def test_a_secret_in_the_audit_log_is_found(
    guard: Guard, state: State, secret_watch: SecretWatch
) -> None:
    guard.audit.record("set", seed=state.engine.seed.hex())
    guard.audit.flush()

    assert secret_watch.leaks()
    secret_watch.texts.clear()


def test_digests_and_certificates_are_no_secrets(state: State, secret_watch: SecretWatch) -> None:
    _log.info("%s %s", state.latest.transition_hash.hex(), state.ca.root_ca_pem.decode())
    _log.info("salt %s", state.engine.salt.hex())

    assert secret_watch.leaks() == []
