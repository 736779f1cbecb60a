"""Row 51 of the list of what a verifier must reject: answers of the host's endorsement service in another form."""

import json
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.attestation.endorsements.thim import parse_thim_answer
from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.web.answers import Answer
from tests.fakes.attestation import TCB, FakeAmd

CHAIN = FakeAmd().chain
VCEK, ASK, ARK = map(ssl.DER_cert_to_PEM_cert, (CHAIN.vcek_der, CHAIN.ask_der, CHAIN.ark_der))
GOOD = {
    "vcekCert": VCEK,
    "tcbm": f"{TCB.to_word():016X}",
    "certificateChain": ASK + ARK,
    "cacheControl": "86400",
}


def answer(*absent: str, **changes: Any) -> Answer:
    members = {name: value for name, value in (GOOD | changes).items() if name not in absent}
    return Answer(status=200, body=json.dumps(members).encode())


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(answer(), id="usual"),
        pytest.param(answer("cacheControl"), id="no lifetime given"),
        pytest.param(answer(cacheControl="0"), id="no lifetime at all"),
        pytest.param(answer(more="members"), id="unknown member"),
        pytest.param(answer(vcekCert=VCEK.replace("\n", "\r\n")), id="windows lines"),
        pytest.param(answer(vcekCert=VCEK.rstrip()), id="no newline at the end"),
    ],
)
def test_the_endorsement_certificate_of_a_good_answer_is_returned(good: Answer) -> None:
    assert parse_thim_answer(good) == CHAIN.vcek_der


ONE, TWO = "wanted 1", "wanted 2"
OTHER = "found other text than certificates"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(answer(vcekCert=VCEK + ASK), f"/vcekCert: found 2 certificates, {ONE}", id="two PEMs for one"),
        pytest.param(answer(vcekCert=VCEK + ASK + ARK), f"/vcekCert: found 3 certificates, {ONE}", id="three PEMs for one"),
        pytest.param(answer(vcekCert=""), f"/vcekCert: found 0 certificates, {ONE}", id="none for one"),
        pytest.param(answer(certificateChain=ASK), f"/certificateChain: found 1 certificates, {TWO}", id="one PEM for two"),
        pytest.param(answer(certificateChain=ASK + ARK + VCEK), f"/certificateChain: found 3 certificates, {TWO}", id="three PEMs for two"),
        pytest.param(answer(certificateChain=""), f"/certificateChain: found 0 certificates, {TWO}", id="none for two"),
        pytest.param(answer(certificateChain=ARK + ASK), "/certificateChain: found the certificate ARK-Milan, wanted SEV-", id="chain in the wrong order"),
        pytest.param(answer(vcekCert=ASK), "/vcekCert: found the certificate SEV-Milan, wanted SEV-VCEK", id="another certificate"),
        pytest.param(answer(vcekCert=VCEK + "trailing"), f"/vcekCert: {OTHER}", id="trailing text"),
        pytest.param(answer(vcekCert=" " + VCEK), f"/vcekCert: {OTHER}", id="leading space"),
        pytest.param(answer(certificateChain=ASK + "text\n" + ARK), f"/certificateChain: {OTHER}", id="text between"),
        pytest.param(answer(certificateChain=ASK + ARK + "\0"), f"/certificateChain: {OTHER}", id="trailing NUL"),
        pytest.param(answer(vcekCert="no PEM"), f"/vcekCert: {OTHER}", id="non-PEM"),
        pytest.param(answer(vcekCert=VCEK.replace("CERTIFICATE", "PUBLIC KEY")), f"/vcekCert: {OTHER}", id="another PEM"),
        pytest.param(answer(vcekCert=VCEK.replace("M", "=", 1)), "not base64", id="broken base64"),
        pytest.param(answer(vcekCert=VCEK.splitlines()[0] + "\nTUlJ\n-----END CERTIFICATE-----\n"), "not DER", id="PEM of something else"),
        pytest.param(answer(vcekCert=None), "/vcekCert: found null, wanted a string", id="null"),
        pytest.param(answer("certificateChain"), "/certificateChain: missing", id="absent"),
        pytest.param(answer(vcekCert=[VCEK]), "/vcekCert: found a list, wanted a string", id="list"),
        pytest.param(answer(cacheControl="-1"), "/cacheControl: found '-1', wanted a number of seconds", id="negative lifetime"),
        pytest.param(answer(cacheControl="1.5"), "/cacheControl: found '1.5'", id="fraction of a second"),
        pytest.param(answer(cacheControl=""), "/cacheControl: found ''", id="empty lifetime"),
        pytest.param(answer(cacheControl="9" * 10), "/cacheControl: found '9999999999'", id="lifetime of centuries"),
        pytest.param(answer(cacheControl="\u0661"), "cacheControl", id="digit of another script"),
        pytest.param(answer(cacheControl=86400), "/cacheControl: found an integer, wanted a string", id="lifetime as number"),
        pytest.param(answer(tcbm=GOOD["tcbm"][1:]), "wanted 16 digits of hex", id="short level"),
        pytest.param(answer(tcbm="0x" + GOOD["tcbm"][2:]), "wanted 16 digits of hex", id="level with prefix"),
        pytest.param(answer("tcbm"), "/tcbm: missing", id="no level"),
        pytest.param(Answer(status=500, body=answer().body), "status 500, wanted 200", id="500"),
        pytest.param(Answer(status=204), "status 204, wanted 200", id="no content"),
        pytest.param(Answer(status=200), "cannot be read: ", id="empty body"),
        pytest.param(Answer(status=200, body=b"<html>"), "cannot be read: ", id="web page"),
        pytest.param(Answer(status=200, body=b"[]"), "the document: found a list, wanted an object", id="list in place of object"),
        pytest.param(Answer(status=200, body=b"\xff\xfe"), "cannot be read: ", id="not text"),
        pytest.param(Answer(status=200, body=b"[" * 60_000), "cannot be read: ", id="nested too deep"),
        pytest.param(Answer(status=200, body=bytes(65_537)), "65537 bytes, wanted at most 65536", id="oversized"),
    ],
)  # fmt: skip
def test_51_an_answer_in_another_form_is_refused(bad: Answer, message: str) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        parse_thim_answer(bad)

    assert message in str(caught.value)
    assert caught.value.reason in {"thim", "certificate-form"}


@given(st.binary(max_size=200))
def test_any_bytes_raise_our_own_error_only(body: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        parse_thim_answer(Answer(status=200, body=body))
