"""Row 51 of the list of what a verifier must reject: answers of the host's endorsement service in another form."""

import json
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.attestation.endorsements.thim import PlatformEndorsement, parse_thim_answer
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


def test_a_good_answer_is_read_whole() -> None:
    assert parse_thim_answer(answer()) == PlatformEndorsement(
        vcek_der=CHAIN.vcek_der,
        ask_der=CHAIN.ask_der,
        ark_der=CHAIN.ark_der,
        tcb=TCB.to_word(),
        lifetime_s=86400,
    )


@pytest.mark.parametrize(
    ("changed", "lifetime_s"),
    [
        pytest.param(answer("cacheControl"), 86400, id="no lifetime means a day"),
        pytest.param(answer(cacheControl="0"), 0, id="no lifetime at all"),
        pytest.param(answer(more="members"), 86400, id="unknown member"),
        pytest.param(answer(vcekCert=VCEK.replace("\n", "\r\n")), 86400, id="windows lines"),
        pytest.param(answer(vcekCert=VCEK.rstrip()), 86400, id="no newline at the end"),
    ],
)
def test_another_spelling_of_a_good_answer_is_read(changed: Answer, lifetime_s: int) -> None:
    read = parse_thim_answer(changed)

    assert read.vcek_der == CHAIN.vcek_der
    assert read.lifetime_s == lifetime_s


ONE, TWO = "wanted 1", "wanted 2"
OTHER = "something other than certificates in"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(answer(vcekCert=VCEK + ASK), f"2 certificates in vcekCert, {ONE}", id="two PEMs for one"),
        pytest.param(answer(vcekCert=VCEK + ASK + ARK), f"3 certificates in vcekCert, {ONE}", id="three PEMs for one"),
        pytest.param(answer(vcekCert=""), f"0 certificates in vcekCert, {ONE}", id="none for one"),
        pytest.param(answer(certificateChain=ASK), f"1 certificates in certificateChain, {TWO}", id="one PEM for two"),
        pytest.param(answer(certificateChain=ASK + ARK + VCEK), f"3 certificates in certificateChain, {TWO}", id="three PEMs for two"),
        pytest.param(answer(certificateChain=""), f"0 certificates in certificateChain, {TWO}", id="none for two"),
        pytest.param(answer(certificateChain=ARK + ASK), "the certificate ARK-Milan in certificateChain, wanted SEV-", id="chain in the wrong order"),
        pytest.param(answer(vcekCert=ASK), "the certificate SEV-Milan in vcekCert, wanted SEV-VCEK", id="another certificate"),
        pytest.param(answer(vcekCert=VCEK + "trailing"), f"{OTHER} vcekCert", id="trailing text"),
        pytest.param(answer(vcekCert=" " + VCEK), f"{OTHER} vcekCert", id="leading space"),
        pytest.param(answer(certificateChain=ASK + "text\n" + ARK), f"{OTHER} certificateChain", id="text between"),
        pytest.param(answer(certificateChain=ASK + ARK + "\0"), f"{OTHER} certificateChain", id="trailing NUL"),
        pytest.param(answer(vcekCert="no PEM"), f"{OTHER} vcekCert", id="non-PEM"),
        pytest.param(answer(vcekCert=VCEK.replace("CERTIFICATE", "PUBLIC KEY")), f"{OTHER} vcekCert", id="another PEM"),
        pytest.param(answer(vcekCert=VCEK.replace("M", "=", 1)), "not base64", id="broken base64"),
        pytest.param(answer(vcekCert=VCEK.splitlines()[0] + "\nTUlJ\n-----END CERTIFICATE-----\n"), "not DER", id="PEM of something else"),
        pytest.param(answer(vcekCert=None), "no vcekCert, wanted text", id="null"),
        pytest.param(answer("certificateChain"), "no certificateChain, wanted text", id="absent"),
        pytest.param(answer(vcekCert=[VCEK]), "vcekCert of type list, wanted text", id="list"),
        pytest.param(answer(cacheControl="-1"), "cacheControl '-1', wanted a number of seconds", id="negative lifetime"),
        pytest.param(answer(cacheControl="1.5"), "cacheControl '1.5'", id="fraction of a second"),
        pytest.param(answer(cacheControl=""), "cacheControl ''", id="empty lifetime"),
        pytest.param(answer(cacheControl="9" * 10), "cacheControl '9999999999'", id="lifetime of centuries"),
        pytest.param(answer(cacheControl="\u0661"), "cacheControl", id="digit of another script"),
        pytest.param(answer(cacheControl=86400), "cacheControl of type int, wanted text", id="lifetime as number"),
        pytest.param(answer(tcbm=GOOD["tcbm"][1:]), "wanted 16 digits of hex", id="short level"),
        pytest.param(answer(tcbm="0x" + GOOD["tcbm"][2:]), "wanted 16 digits of hex", id="level with prefix"),
        pytest.param(answer("tcbm"), "no tcbm, wanted text", id="no level"),
        pytest.param(Answer(status=500, body=answer().body), "status 500, wanted 200", id="500"),
        pytest.param(Answer(status=204), "status 204, wanted 200", id="no content"),
        pytest.param(Answer(status=200), "is not json", id="empty body"),
        pytest.param(Answer(status=200, body=b"<html>"), "is not json", id="web page"),
        pytest.param(Answer(status=200, body=b"[]"), "is not a json object", id="list in place of object"),
        pytest.param(Answer(status=200, body=b"\xff\xfe"), "is not json", id="not text"),
        pytest.param(Answer(status=200, body=b"[" * 60_000), "is not json", id="nested too deep"),
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
