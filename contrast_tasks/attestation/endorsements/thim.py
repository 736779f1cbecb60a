"""What the host of an Azure guest says about its own endorsement: certificate, chain, level and for how long to keep them.

Nothing in the answer is trusted: the chain is verified like one that a peer sent. This reads its form only, strictly, so that a
service that answers with something else is told from a processor whose certificates do not verify.

Source: docs/internals/attestation.md 4 (`GET /metadata/THIM/amd/certification` on the link-local address, header `Metadata: true`).
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.web.answers import Answer

MAXIMUM_ANSWER_BYTES = 64 * 1024
DEFAULT_LIFETIME_S = 86400
_OK = 200
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----(?:\r?\n)*"
)
_TCB = re.compile(r"[0-9A-Fa-f]{16}")
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformEndorsement:
    """The host's certificates, DER, as the service sent them.

    tcb: the 64-bit TCB version that the certificate is said to be for. lifetime_s: for how long the answer may be kept.
    """

    vcek_der: bytes
    ask_der: bytes
    ark_der: bytes
    tcb: int
    lifetime_s: int


def parse_thim_answer(answer: Answer) -> PlatformEndorsement:
    """Read an answer of the service.

    `vcekCert` holds exactly one certificate in PEM, `certificateChain` exactly two, ASK before ARK, with nothing around them;
    `tcbm` is 16 digits of hex; `cacheControl` counts seconds as text and may be absent. Raises MalformedEvidence.
    """
    if answer.status != _OK:
        raise _malformed(f"has the status {answer.status}, wanted {_OK}")
    if len(answer.body) > MAXIMUM_ANSWER_BYTES:
        raise _malformed(f"has {len(answer.body)} bytes, wanted at most {MAXIMUM_ANSWER_BYTES}")
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError) as err:
        raise _malformed("is not json") from err
    if not isinstance(members, dict):
        raise _malformed("is not a json object")
    (vcek_der,) = _certificates(members, "vcekCert", ("SEV-VCEK",))
    ask_der, ark_der = _certificates(members, "certificateChain", ("SEV-", "ARK-"))
    lifetime = _text(members, "cacheControl", str(DEFAULT_LIFETIME_S))
    if not _SECONDS.fullmatch(lifetime):
        raise _malformed(f"has the cacheControl {lifetime[:40]!r}, wanted a number of seconds")
    tcb = _text(members, "tcbm")
    if not _TCB.fullmatch(tcb):
        raise _malformed(f"has the tcbm {tcb[:40]!r}, wanted 16 digits of hex")
    return PlatformEndorsement(
        vcek_der=vcek_der,
        ask_der=ask_der,
        ark_der=ark_der,
        tcb=int(tcb, 16),
        lifetime_s=int(lifetime),
    )


def _certificates(members: dict[str, Any], name: str, subjects: tuple[str, ...]) -> list[bytes]:
    """Return the certificates of a member, whose subjects begin with `subjects`, in that order."""
    text = _text(members, name)
    bodies, position = [], 0
    while match := _PEM.match(text, position):
        bodies.append(match[1])
        position = match.end()
    if position != len(text):
        raise _malformed(f"has something other than certificates in {name}")
    if len(bodies) != len(subjects):
        raise _malformed(f"has {len(bodies)} certificates in {name}, wanted {len(subjects)}")
    found = []
    for body, wanted in zip(bodies, subjects, strict=True):
        try:
            content = base64.b64decode("".join(body.split()), validate=True)
        except ValueError as err:
            raise _malformed(f"has a certificate in {name} that is not base64") from err
        subject = parse_certificate(content).subject_cn
        if not subject.startswith(wanted):
            raise _malformed(f"has the certificate {subject} in {name}, wanted {wanted}")
        found.append(content)
    return found


def _text(members: dict[str, Any], name: str, default: str | None = None) -> str:
    value = members.get(name, default)
    if not isinstance(value, str):
        found = f"no {name}" if value is None else f"{name} of type {type(value).__name__}"
        raise _malformed(f"has {found}, wanted text")
    return value


def _malformed(what: str) -> MalformedEvidence:
    return MalformedEvidence(
        f"the answer of the host's endorsement service {what}",
        reason="thim",
        hint="the endorsement certificate can come from the vendor's service instead",
    )
