"""The endorsement certificate that the host of an Azure guest offers.

Nothing in the answer is trusted: its certificates are verified like those of a peer. Here only its form is checked, strictly, to
distinguish the answer of another service from certificates that do not verify.

Source: docs/internals/attestation.md 4 (`GET /metadata/THIM/amd/certification` on the link-local address, header `Metadata: true`).
"""

import base64
import re

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.web.answers import OK, Answer

MAXIMUM_ANSWER_BYTES = 64 * 1024
_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----(?:\r?\n)*"
)
_TCB = re.compile(r"[0-9A-Fa-f]{16}")
_SECONDS = re.compile(r"[0-9]{1,9}")


def parse_thim_answer(answer: Answer) -> bytes:
    """Return the VCEK (DER) in an answer of the service; raises MalformedEvidence.

    `vcekCert` must hold exactly one certificate in PEM and `certificateChain` exactly two, ASK before ARK, without other text.
    `tcbm` must have 16 hex digits. `cacheControl`, a number of seconds as text, is optional.
    """
    if answer.status != OK:
        raise _malformed(f"has the status {answer.status}, wanted {OK}")
    if len(answer.body) > MAXIMUM_ANSWER_BYTES:
        raise _malformed(f"has {len(answer.body)} bytes, wanted at most {MAXIMUM_ANSWER_BYTES}")
    try:
        document = parse_json(answer.body)
        (vcek_der,) = _certificates(document.at("vcekCert"), ("SEV-VCEK",))
        _certificates(document.at("certificateChain"), ("SEV-", "ARK-"))
        _require(document.get("cacheControl"), _SECONDS, "a number of seconds")
        _require(document.at("tcbm"), _TCB, "16 digits of hex")
    except DecodeError as err:
        raise _malformed(f"cannot be read: {err}") from err
    return vcek_der


def _certificates(place: Json, subjects: tuple[str, ...]) -> list[bytes]:
    """Return the certificates of a member; their subjects must begin with `subjects`, in that order."""
    text = place.text()
    bodies, position = [], 0
    while match := _PEM.match(text, position):
        bodies.append(match[1])
        position = match.end()
    if position != len(text):
        raise DecodeError(f"{place.pointer}: found other text than certificates")
    if len(bodies) != len(subjects):
        raise DecodeError(
            f"{place.pointer}: found {len(bodies)} certificates, wanted {len(subjects)}"
        )
    certificates = []
    for body, subject in zip(bodies, subjects, strict=True):
        try:
            content = base64.b64decode("".join(body.split()), validate=True)
        except ValueError as err:
            raise DecodeError(f"{place.pointer}: found a certificate that is not base64") from err
        found = parse_certificate(content).subject_cn
        if not found.startswith(subject):
            raise DecodeError(f"{place.pointer}: found the certificate {found}, wanted {subject}")
        certificates.append(content)
    return certificates


def _require(place: Json | None, pattern: re.Pattern[str], wanted: str) -> None:
    if place is not None and not pattern.fullmatch(place.text()):
        raise DecodeError(f"{place.pointer}: found {place.text()[:40]!r}, wanted {wanted}")


def _malformed(what: str) -> MalformedEvidence:
    return MalformedEvidence(
        f"the answer of the host's endorsement service {what}",
        reason="thim",
        hint="the endorsement certificate can come from the vendor's service instead",
    )
