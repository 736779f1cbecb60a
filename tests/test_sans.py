import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.sans import is_unsound_uri, san_kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("203.0.113.34", "ip"),
        ("0.0.0.0", "ip"),
        ("255.255.255.255", "ip"),
        ("::1", "ip"),
        ("fe80::1", "ip"),
        ("::ffff:203.0.113.34", "ip"),
        ("spiffe://example.org/web", "uri"),
        ("https://a", "uri"),
        ("urn:uuid:x", "uri"),
        ("*", "dns"),
        ("web", "dns"),
        ("web.default.svc.cluster.local", "dns"),
        ("*.example.org", "dns"),
        ("example.org.", "dns"),
        ("a_b", "dns"),
        ("Web", "dns"),
        ("4u", "dns"),
        ("x" * 63, "dns"),
    ],
)
def test_a_name_has_its_kind(text: str, kind: str) -> None:
    assert san_kind(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a b",
        "web\n",
        "\x00",
        "300.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "01.2.3.4",
        "1",
        "::g",
        ":::",
        "1:2",
        "web:8080",
        "://x",
        "a..b",
        ".a",
        "-a",
        "a-",
        "w*b",
        "*.*.a",
        "a.*",
        "**",
        "x" * 64,
        ".".join(["x" * 60] * 5),
        "http://a b",
        "h\u00e9",
        "*\n",
    ],
)
def test_what_no_certificate_can_name_has_no_kind(text: str) -> None:
    assert san_kind(text) is None


@given(st.ip_addresses())
def test_every_address_is_one(address: object) -> None:
    assert san_kind(str(address)) == "ip"


# What crypto/x509 of Go 1.26 said of certificates with these names beside another.
@pytest.mark.parametrize(
    ("text", "is_unsound"),
    [
        ("https://u@h/", False),
        ("https://[::1]/", False),
        ("https://h_o/a%20b?c#d", False),
        ("http://h:99999/", False),
        ("a://", False),
        ("a:/b", False),
        ("urn:x:y", False),
        ("web:8080/x", False),
        ("web", False),
        ("https://a..b/", True),
        ("https://.x/", True),
        ("http://[::1", True),
        ("http://::1/", True),
        ("http://h:x/", True),
        ("http://a%2fb/", True),
        ("http://a%41/", True),
    ],
)
def test_a_uri_that_go_cannot_parse_is_unsound(text: str, is_unsound: bool) -> None:
    assert is_unsound_uri(text) is is_unsound
