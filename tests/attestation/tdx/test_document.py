"""The TDX document: a quote taken apart and put together to the same bytes."""

from collections.abc import Callable

import pytest

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.proto import tdx_pb2
from contrast_tasks.attestation.tdx.document import parse_document, quote_bytes, render_document
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.evidence_documents import MAX_DOCUMENT_BYTES
from tests.fakes.intel import Intel
from tests.fakes.testdata import ATTESTATION

DATA = ATTESTATION / "tdx"


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.mark.skipif(not DATA.is_dir(), reason="test data of real hardware is not at hand")
def test_a_document_made_elsewhere_holds_the_quotes_bytes() -> None:
    raw = (DATA / "v4-uptodate.quote.bin").read_bytes()
    document = (DATA / "v4-uptodate.quotev4.pb").read_bytes()
    quote = parse_quote(raw)

    assert quote_bytes(document) == raw[: len(raw) - len(quote.trailing)]
    message = tdx_pb2.QuoteV4.FromString(render_document(quote))
    message.extra_bytes = quote.trailing
    assert message.SerializeToString(deterministic=True) == document


def test_a_quote_survives_the_way_through_a_document(intel: Intel) -> None:
    raw = intel.quote()

    document = render_document(parse_quote(raw))

    assert quote_bytes(document) == raw
    assert parse_document(document) == parse_quote(raw)


def test_trailing_bytes_are_left_out(intel: Intel) -> None:
    raw = intel.quote(trailing=b"x" * 100)

    document = render_document(parse_quote(raw))

    assert quote_bytes(document) == raw[:-100]


@pytest.mark.parametrize("body_type", [2, 3], ids=["TDX 1.0", "TDX 1.5"])
def test_a_quote_of_version_5_survives_the_way_through_a_document(
    intel: Intel, body_type: int
) -> None:
    raw = intel.quote(version=5, body_type=body_type)

    document = render_document(parse_quote(raw))

    message = tdx_pb2.QuoteV5.FromString(document)
    assert message.td_quote_body_descriptor.td_quote_body_type == body_type
    assert message.td_quote_body_descriptor.size == {2: 584, 3: 648}[body_type]
    assert quote_bytes(document) == raw
    assert parse_document(document) == parse_quote(raw)


@pytest.mark.skipif(not DATA.is_dir(), reason="test data of real hardware is not at hand")
def test_a_real_quote_of_version_5_survives_too() -> None:
    raw = (DATA / "v5-uptodate.quote.bin").read_bytes()

    assert quote_bytes(render_document(parse_quote(raw))) == raw


@pytest.mark.parametrize(
    "change",
    [
        lambda body: setattr(body, "td_quote_body_type", 2),
        lambda body: setattr(body, "td_quote_body_type", 1),
        lambda body: setattr(body, "td_quote_body_type", 0x10003),
        lambda body: setattr(body, "size", 584),
        lambda body: setattr(body.td_quote_body_v5, "mr_service_td", bytes(47)),
        lambda body: setattr(body.td_quote_body_v5, "tee_tcb_svn2", b""),
        lambda body: body.ClearField("td_quote_body_v5"),
    ],
)
def test_a_body_that_contradicts_its_type_is_refused(
    intel: Intel, change: Callable[[tdx_pb2.TDQuoteBodyDescriptor], None]
) -> None:
    message = tdx_pb2.QuoteV5.FromString(render_document(parse_quote(intel.quote(version=5))))
    change(message.td_quote_body_descriptor)

    with pytest.raises(MalformedEvidence):
        parse_document(message.SerializeToString())


def test_a_document_of_the_other_version_is_refused(intel: Intel) -> None:
    for version, other in ((4, 5), (5, 4)):
        message = tdx_pb2.QuoteV4.FromString(
            render_document(parse_quote(intel.quote(version=version)))
        )
        message.header.version = other

        with pytest.raises(MalformedEvidence):
            parse_document(message.SerializeToString())


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x0a\xff", id="cut short"),
        pytest.param(b"\x08\x01", id="other wire type"),
        pytest.param(bytes(MAX_DOCUMENT_BYTES + 1), id="too large"),
    ],
)
def test_what_is_no_document_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        parse_document(document)


def drop_rtmr(message: tdx_pb2.QuoteV4) -> None:
    del message.td_quote_body.rtmrs[3]


def shorten(field: str) -> Callable[[tdx_pb2.QuoteV4], None]:
    def change(message: tdx_pb2.QuoteV4) -> None:
        body = message.td_quote_body
        setattr(body, field, getattr(body, field)[:-1])

    return change


def set_size(message: tdx_pb2.QuoteV4) -> None:
    message.signed_data_size += 1


def set_outer_size(message: tdx_pb2.QuoteV4) -> None:
    message.signed_data.certification_data.size -= 1


def set_auth_size(message: tdx_pb2.QuoteV4) -> None:
    data = message.signed_data.certification_data.qe_report_certification_data
    data.qe_auth_data.parsed_data_size = 0


def set_chain_size(message: tdx_pb2.QuoteV4) -> None:
    data = message.signed_data.certification_data.qe_report_certification_data
    data.pck_certificate_chain_data.size = 0xFFFFFFFF


def widen_version(message: tdx_pb2.QuoteV4) -> None:
    message.header.version = 4 + 0x10000


def widen_svn(message: tdx_pb2.QuoteV4) -> None:
    data = message.signed_data.certification_data.qe_report_certification_data
    data.qe_report.isv_svn = 0x10000


@pytest.mark.parametrize(
    "change",
    [
        drop_rtmr,
        shorten("mr_td"),
        shorten("mr_config_id"),
        shorten("report_data"),
        set_size,
        set_outer_size,
        set_auth_size,
        set_chain_size,
        widen_version,
        widen_svn,
        lambda message: message.ClearField("header"),
        lambda message: message.ClearField("signed_data"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(
    intel: Intel, change: Callable[[tdx_pb2.QuoteV4], None]
) -> None:
    message = tdx_pb2.QuoteV4.FromString(render_document(parse_quote(intel.quote())))
    change(message)

    with pytest.raises(MalformedEvidence):
        parse_document(message.SerializeToString())
