"""Attest a Coordinator over HTTP, where attested TLS does not get through.

The answer is worth as much as what a session of attested TLS returns: evidence that is judged by the same validators, made for
our nonce and over the history and both CAs. The TLS of an https address adds nothing to that. Source: docs/internals/coordinator.md 12.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from contrast_tasks.addresses import HTTP_API_PORT, USER_API_PORT, is_address, joined
from contrast_tasks.client.coordinator import Reach, until_reached
from contrast_tasks.client.history import newest_transition
from contrast_tasks.client.session import NoCoordinator, coordinator_validators, explain
from contrast_tasks.errors import (
    ContrastError,
    CoordinatorUnreachable,
    EvidenceRejected,
    MismatchError,
    UsageError,
)
from contrast_tasks.releases.choose import first_with

if TYPE_CHECKING:
    from contrast_tasks.api.userapi import ManifestHistory
    from contrast_tasks.manifest.model import Manifest
    from contrast_tasks.web.answers import Answer

_LIMIT_S, _LOOK_S = 60.0, 5.0
# A history of 64 MiB in base64, and the evidence.
_MAX_ANSWER_BYTES = 96 * 1024 * 1024
_PRECONDITION_FAILED = 412
_INTERNAL_ERROR = 500
# Of proxies that cannot reach it.
_GATEWAY_ERRORS = (502, 503, 504)
_HINT = f"name its HTTP attestation, usually port {HTTP_API_PORT}, as http://203.0.113.7:{HTTP_API_PORT}"


def is_url(coordinator: str) -> bool:
    """Return whether a Coordinator was named by a URL."""
    return coordinator.startswith(("http://", "https://"))


def history_over_http(
    url: str, manifest: "Manifest", *, say: Callable[[str], None], reach: Reach
) -> "ManifestHistory":
    """Return the history that a Coordinator presents and its evidence vouches for, waiting for it if need be.

    manifest: whose reference values judge the evidence. Raises EvidenceRejected, MismatchError, CoordinatorUnreachable,
    UsageError.
    """
    if "@" in url:
        # It may be followed by a password, so it is not repeated.
        raise UsageError("the address of the coordinator has a user, wanted none", hint=_HINT)
    if not is_address(url) or "?" in url or "#" in url:
        raise UsageError(
            f"coordinator is {url!r}, wanted http:// or https:// with a host", hint=_HINT
        )
    return until_reached(lambda: _attested(url, manifest), say=say, reach=reach)


def _attested(url: str, manifest: "Manifest") -> "ManifestHistory":
    from contrast_tasks.api import attest
    from contrast_tasks.api.userapi import ManifestHistory
    from contrast_tasks.atls.certificate import judge_document
    from contrast_tasks.decode import DecodeError

    nonce = secrets.token_bytes(attest.NONCE_BYTES)
    answer = _post(url, attest.render_request(nonce))
    try:
        told = attest.parse_answer(answer.body)
    except DecodeError as err:
        raise NoCoordinator(f"this is no coordinator: {url}: {err}", hint=_HINT) from err
    history = ManifestHistory(
        manifests=told.manifests,
        policies=told.policies,
        root_ca_pem=told.root_ca_pem,
        mesh_ca_pem=told.mesh_ca_pem,
        latest_transition=None,
    )
    expected = attest.report_data(
        nonce, newest_transition(history), told.root_ca_pem, told.mesh_ca_pem
    )
    now = datetime.now(UTC)
    try:
        judge_document(
            told.document, told.oid, expected, coordinator_validators(manifest, now), now
        )
    except (EvidenceRejected, MismatchError) as err:
        user_api = joined(urlsplit(url).hostname or "", USER_API_PORT)
        explain(err, manifest, url, user_api=user_api)
        raise
    return history


def _post(url: str, body: bytes) -> "Answer":
    """Return the answer of status 200. Raises CoordinatorUnreachable."""
    from contrast_tasks.api.attest import CONTENT_TYPE, PATH
    from contrast_tasks.web.answers import OK, CannotAsk, NoAnswer
    from contrast_tasks.web.client import Bound, HttpClient

    bound = Bound(max_bytes=_MAX_ANSWER_BYTES, seconds=_LIMIT_S)
    place = url.rstrip("/").removesuffix(PATH) + PATH
    try:
        with HttpClient() as client:
            answer = client.ask(place, bound, headers={"Content-Type": CONTENT_TYPE}, form=body)
    except CannotAsk as err:
        raise NoCoordinator(f"cannot ask {url}: {err}", hint=_HINT) from err
    except NoAnswer as err:
        if url.startswith("http:") and _speaks_tls(url):
            host = urlsplit(url).netloc
            raise NoCoordinator(
                f"this is no coordinator's HTTP attestation: {url} speaks TLS",
                hint=f"if it is its user API, name it without http://, as -c {host}; else {_HINT}",
            ) from err
        raise CoordinatorUnreachable(f"cannot reach {url}: {err}", hint=_HINT) from err
    if answer.status != OK:
        raise _error(url, answer)
    return answer


def _speaks_tls(url: str) -> bool:
    """Return whether the port of an http:// address, which has not answered, answers a handshake of TLS."""
    from contrast_tasks.web.answers import NoAnswer, NotTrusted
    from contrast_tasks.web.client import Bound, HttpClient

    bound = Bound(max_bytes=_MAX_ANSWER_BYTES, seconds=_LOOK_S)
    try:
        with HttpClient() as client:
            client.ask(f"https://{urlsplit(url).netloc}/", bound)
    except NoAnswer as err:
        return isinstance(err, NotTrusted)
    return True


def _error(url: str, answer: "Answer") -> ContrastError:
    from contrast_tasks.api.attest import parse_refusal
    from contrast_tasks.api.errors import REASONS, CoordinatorFailed, not_ready

    code, text = parse_refusal(answer.body)
    if answer.status == _PRECONDITION_FAILED and text:
        return not_ready("Attest", text, code if code in REASONS else "")
    if answer.status in _GATEWAY_ERRORS:
        return CoordinatorUnreachable(f"cannot reach {url}: HTTP status {answer.status}")
    if answer.status == _INTERNAL_ERROR and text:
        return CoordinatorFailed(
            f"coordinator {url} failed to attest", hint="see the coordinator's log"
        )
    first = first_with(lambda row: "httpapi" in dict(row.coordinator.ports))
    return NoCoordinator(
        f"this is no coordinator's HTTP attestation: {url}: HTTP status {answer.status}",
        hint=f"{_HINT}; releases before {first} have none",
    )
