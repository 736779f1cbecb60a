"""HTTP attestation on port 1314, for callers that cannot speak attested TLS: docs/internals/coordinator.md 12.

    POST /attest    evidence over the caller's nonce, the history of manifests and both CAs, from one snapshot of the state

It has no secrets and no side effects. A refusal is JSON with version, code and error.
"""

import json
import logging
from email.message import Message
from http import HTTPStatus

from contrast_tasks import __version__
from contrast_tasks.api import attest
from contrast_tasks.api.errors import REASON_ARGUMENT, REASON_INTERNAL
from contrast_tasks.decode import DecodeError
from contrast_tasks.errors import ContrastError
from contrast_tasks.evidence_documents import Issuer
from coordinator.history import HistoryCorrupt
from coordinator.listener import Answer, Request
from coordinator.refusal import Refusal, refusal_from
from coordinator.state import Guard
from coordinator.unavailable import InRecovery, NoManifest
from coordinator.userapi import check_answer_size

_log = logging.getLogger("coordinator.attest")


class Attestation:
    """Answers requests for evidence; independent of HTTP."""

    max_body_bytes = attest.MAX_REQUEST_BYTES
    body_methods = frozenset({"POST"})

    def __init__(self, guard: Guard, issuer: Issuer) -> None:
        self._guard = guard
        self._issuer = issuer

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request; what went wrong inside is told by the log only."""
        fault = _fault(request)
        if fault is not None:
            return self.refuse(fault)
        try:
            return self._attest(attest.parse_request(request.body))
        except DecodeError:
            return self.refuse(HTTPStatus.BAD_REQUEST)
        except (NoManifest, InRecovery) as err:
            told = refusal_from(err)
            return _refusal(HTTPStatus.PRECONDITION_FAILED, told.reason, str(told))
        except Refusal as err:
            return _refusal(HTTPStatus.PRECONDITION_FAILED, err.reason, str(err))
        except ContrastError as err:
            _log.warning("Attest refused: %s", err)
        except Exception:  # noqa: BLE001  # the outermost handler of a request
            _log.exception("Attest failed")
        return self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    def refuse(self, status: HTTPStatus) -> Answer:
        """Return a refusal with the status' own words."""
        is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        code = REASON_INTERNAL if is_ours else REASON_ARGUMENT
        return _refusal(status, code, status.phrase.lower())

    def _attest(self, nonce: bytes) -> Answer:
        state = self._guard.current()
        documents, cas = state.documents, (state.ca.root_ca_pem, state.ca.mesh_ca_pem)
        if not documents.is_whole:
            # The answer has no member for gaps; the user API has.
            raise HistoryCorrupt("the history has a gap")
        check_answer_size(documents, "attestation over http")
        sizes = [documents.sizes(documents.manifest_names), documents.sizes(documents.policy_names)]
        wanted = attest.report_data(nonce, state.latest.transition_hash, *cas)
        document = self._issuer.issue(wanted)
        _log.info("Attest succeeded", extra={"generation": state.generation})
        head = attest.render_evidence(__version__, self._issuer.oid, document)
        return Answer(
            HTTPStatus.OK,
            attest.CONTENT_TYPE,
            head,
            # A history has up to 64 MiB, of which a caller costs only what it takes.
            rest=attest.state_parts(documents.manifests, documents.policies, *cas),
            rest_bytes=attest.state_bytes(sizes, *cas),
        )


def _fault(request: Request) -> HTTPStatus | None:
    """Return what is wrong with a request whose body was not looked at yet, None if nothing is."""
    if request.path != attest.PATH:
        return HTTPStatus.NOT_FOUND
    if request.method != "POST":
        return HTTPStatus.METHOD_NOT_ALLOWED
    kind = _media_type(request.headers)
    if kind == attest.CONTENT_TYPE:
        return None
    return HTTPStatus.UNSUPPORTED_MEDIA_TYPE if kind else HTTPStatus.BAD_REQUEST


def _media_type(headers: Message) -> str:
    """Return the media type in lower case without parameters, "" if there is none or it is malformed."""
    text = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return text if text.count("/") == 1 and text.isascii() and text.isprintable() else ""


def _refusal(status: HTTPStatus, code: str, text: str) -> Answer:
    told = {"version": __version__, "status_code": int(status), "code": code, "error": text}
    return Answer(status, attest.CONTENT_TYPE, json.dumps(told).encode() + b"\n")
