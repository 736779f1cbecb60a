"""Which addresses of services and proxies are taken, from wherever they come."""

from pathlib import Path

import pytest

from contrast_tasks.addresses import host_and_port, is_address, is_proxy, joined
from contrast_tasks.attestation.endorsements.network import network_from_environment, parse_mirrors
from contrast_tasks.errors import SettingsError, UsageError
from contrast_tasks.prepare.containers import endorsement_variables
from contrast_tasks.settings.model import Settings

ADDRESSES = ("https://a", "http://a:8080", "https://[::1]:8080/x", "https://a.example/path?x=y@z")
NONE = ("a", "ftp://a", "https://", "https:///x", "https://u:p@a", "https://a b", "https://a/ b")
WITHOUT_PLACE = ("http://[x", "http://a:port", "http://a:65536", "http://a:0", "http://:80")


@pytest.mark.parametrize("text", ["a:1313", "203.0.113.7:0", "[2001:db8::7]:1313"])
def test_host_and_port_are_joined_as_they_are_split(text: str) -> None:
    split = host_and_port(text)

    assert split is not None
    assert joined(*split) == text


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
    settings = Settings(
        root=Path(), platform="local", sources=("d",), mirrors={prefix: replacement}
    )

    (entry,) = endorsement_variables(settings)

    network = network_from_environment({entry["name"]: entry["value"]}, default=True)

    assert network is not None
    assert network.mirrors == {prefix: replacement}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7:1313", ("203.0.113.7", 1313)),
        ("coordinator.shop:0", ("coordinator.shop", 0)),
        ("[2001:db8::7]:1313", ("2001:db8::7", 1313)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("coordinator", ("coordinator", 7)),
        ("[::1]", ("::1", 7)),
    ],
)
def test_a_host_and_a_port_are_told_apart(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text, 7) == expected


@pytest.mark.parametrize(
    "text",
    ["", ":1", "a:", "a:b", "a:-1", "a:65536", "::1", "::1:80", "a/b:1", "u@a:1", "a:\u0661"],
)
def test_another_form_is_neither_host_nor_port(text: str) -> None:
    assert host_and_port(text, 7) is None


def test_without_a_default_the_port_must_be_there() -> None:
    assert host_and_port("coordinator") is None
