"""Which addresses of services and proxies are taken, from wherever they come."""

import pytest

from contrast_tasks.addresses import is_address, is_proxy
from contrast_tasks.attestation.endorsements.network import network_from_environment, parse_mirrors
from contrast_tasks.errors import SettingsError, UsageError
from contrast_tasks.prepare.inject import way_to_vendors

ADDRESSES = ("https://a", "http://a:8080", "https://[::1]:8080/x", "https://a.example/path?x=y@z")
NONE = ("a", "ftp://a", "https://", "https:///x", "https://u:p@a", "https://a b", "https://a/ b")
WITHOUT_PLACE = ("http://[x", "http://a:port", "http://a:65536", "http://a:0", "http://:80")


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_has_a_scheme_and_a_host(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", [*NONE, *WITHOUT_PLACE])
def test_what_has_no_host_and_port_is_no_address(text: str) -> None:
    assert not is_address(text)
    assert not is_proxy(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("http://a:3128", True), ("http://a/", True), ("https://a", False), ("http://a/x", False)],
)
def test_a_proxy_is_spoken_to_without_tls_and_has_no_path(text: str, expected: bool) -> None:
    assert is_proxy(text) is expected


@pytest.mark.parametrize("text", WITHOUT_PLACE)
def test_mirrors_and_proxies_that_cannot_be_asked_are_refused_at_once(text: str) -> None:
    with pytest.raises(UsageError, match="wanted PREFIX=REPLACEMENT"):
        parse_mirrors([f"https://vendor.example={text}"])
    with pytest.raises(SettingsError, match="CONTRAST_ENDORSEMENTS_PROXY"):
        network_from_environment({"CONTRAST_ENDORSEMENTS_PROXY": text}, default=True)


@pytest.mark.parametrize(
    ("prefix", "replacement"),
    [
        ("https://a.example", "http://b.example:8080"),
        ("https://a.example/tcb?fmspc=", "https://b.example/tcb?kind="),
        ("https://a.example", "https://b.example/?url=https://a.example"),
    ],
)
def test_guests_understand_the_mirrors_that_settings_take(prefix: str, replacement: str) -> None:
    (entry,) = way_to_vendors({prefix: replacement}, "")

    network = network_from_environment({entry["name"]: entry["value"]}, default=True)

    assert network is not None
    assert network.mirrors == {prefix: replacement}
