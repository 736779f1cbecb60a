"""Expansion as the kubelet does it, patterns, quantities and image spellings."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.policy.expectations import Pattern
from contrast_tasks.policy.names import pull_sources
from contrast_tasks.policy.values import (
    ADDRESS,
    API_SERVER_FAMILY,
    SERVICE_FAMILY,
    escape,
    expand,
    literal,
    regex_of,
    sample_of,
    service_value,
    value_of,
)

KNOWN = {"A": ("one",), "B": ("two=2",), "EMPTY": (), "IP": (ADDRESS,)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "one"),
        ("x$(A)y$(B)z", "xoney" + "two=2z"),
        ("$(A)$(A)", "oneone"),
        ("$(EMPTY)", ""),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$$$$(A)", "$$(A)"),
        ("$", "$"),
        ("a$", "a$"),
        ("$A", "$A"),
        ("${A}", "${A}"),
        ("$(A", "$(A"),
        ("$(A$(B)", "$(A$(B)"),
        ("$()", "$()"),
        ("$(A))", "one)"),
        ("$$", "$"),
        ("$x$(A)", "$xone"),
    ],
)
def test_references_are_expanded_as_the_kubelet_does(text: str, expected: str) -> None:
    assert literal(expand(text, KNOWN.get)) == expected


def test_a_value_the_host_knows_becomes_a_pattern() -> None:
    value = value_of(expand("--ip=$(IP)+$(A)", KNOWN.get))

    assert isinstance(value, Pattern)
    assert re.search(value.regex, "--ip=10.0.0.7+one")
    assert not re.search(value.regex, "--ip=10.0.0.7-one")
    assert re.search(value.regex, value.sample)


@given(st.text())
def test_text_without_references_stays_as_it_is(text: str) -> None:
    assert literal(expand(text.replace("$", ""), KNOWN.get)) == text.replace("$", "")


@given(st.text(alphabet="$()ABx"))
def test_expansion_of_anything_has_a_sample_that_matches(text: str) -> None:
    parts = expand(text, {**KNOWN, "AB": (ADDRESS,)}.get)

    assert re.fullmatch(regex_of(parts), sample_of(parts))


@given(st.text())
def test_an_escaped_text_matches_itself_only(text: str) -> None:
    assert re.fullmatch(escape(text), text)
    assert not re.fullmatch(escape(text), text + "x")


@pytest.mark.parametrize(
    ("name", "links", "sample"),
    [
        ("KUBERNETES_SERVICE_HOST", False, "10.0.0.7"),
        ("KUBERNETES_SERVICE_PORT_HTTPS", False, "443"),
        ("KUBERNETES_PORT", False, "tcp://10.0.0.1:443"),
        ("KUBERNETES_PORT_443_TCP", False, "tcp://10.0.0.1:443"),
        ("KUBERNETES_PORT_443_TCP_PROTO", False, "tcp"),
        ("KUBERNETES_PORT_443_TCP_PORT", False, "443"),
        ("KUBERNETES_PORT_443_TCP_ADDR", False, "10.0.0.7"),
        ("DB_SERVICE_HOST", True, "10.0.0.7"),
    ],
)
def test_service_variables_have_values_of_their_kind(name: str, links: bool, sample: str) -> None:
    parts = service_value(name, links=links)

    assert parts is not None
    assert sample_of(parts) == sample


@pytest.mark.parametrize("name", ["DB_SERVICE_HOST", "db_SERVICE_HOST", "HOME", "SERVICE_HOST"])
def test_other_names_are_no_service_variables_without_links(name: str) -> None:
    assert service_value(name, links=False) is None


@pytest.mark.parametrize(
    "entry",
    [
        "DB_SERVICE_HOST=10.0.0.1",
        "DB_SERVICE_HOST=fd00::1",
        "MY_DB_2_SERVICE_PORT=5432",
        "DB_SERVICE_PORT_SQL=5432",
        "DB_PORT=tcp://10.0.0.1:5432",
        "DB_PORT_53_UDP=udp://[fd00::1]:53",
        "DB_PORT_53_UDP_PROTO=udp",
        "DB_PORT_53_UDP_PORT=53",
        "DB_PORT_53_UDP_ADDR=10.0.0.1",
    ],
)
def test_variables_of_services_are_recognised(entry: str) -> None:
    assert re.fullmatch(SERVICE_FAMILY, entry)


@pytest.mark.parametrize(
    "entry",
    [
        "LD_PRELOAD=/x",
        "PATH=/x",
        "DB_SERVICE_HOST=evil.example",
        "DB_SERVICE_HOST=10.0.0.1 x",
        "DB_SERVICE_HOST=",
        "db_SERVICE_HOST=10.0.0.1",
        "_SERVICE_HOST=10.0.0.1",
        "DB_SERVICE_PORT=80;x",
        "DB_PORT=tcp://10.0.0.1",
        "DB_PORT=file:///etc",
        "DB_PORT_53_ICMP=1",
        "HOSTNAME=Evil Host",
        "XHOSTNAME=a",
    ],
)
def test_other_variables_are_not_of_a_service(entry: str) -> None:
    assert not re.fullmatch(SERVICE_FAMILY, entry)


def test_without_links_only_the_api_server_has_variables() -> None:
    assert re.fullmatch(API_SERVER_FAMILY, "KUBERNETES_SERVICE_HOST=10.0.0.1")
    assert not re.fullmatch(API_SERVER_FAMILY, "DB_SERVICE_HOST=10.0.0.1")


def test_a_pinned_image_may_lose_its_tag_but_not_its_repository() -> None:
    digest = "sha256:" + "ab" * 32

    assert pull_sources(f"nginx:1@{digest}") == (
        f"docker.io/library/nginx:1@{digest}",
        f"docker.io/library/nginx@{digest}",
        f"nginx:1@{digest}",
    )


def test_an_unpinned_image_is_bound_by_its_tag() -> None:
    assert pull_sources("nginx") == ("docker.io/library/nginx:latest", "nginx")


def test_what_is_no_reference_has_one_spelling() -> None:
    assert pull_sources("nginx:1@sha256:ab") == ("nginx:1@sha256:ab",)
