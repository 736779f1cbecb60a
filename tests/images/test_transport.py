import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.mirrors import Mirrors
from contrast_tasks.images.registry import _request
from contrast_tasks.images.transport import _check_redirect, _origin, is_loopback
from contrast_tasks.pods.references import parse_reference


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.77.0.3", "::1", "[::1]"])
def test_addresses_of_this_machine_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", None, "localhost.example", "127.0.0.1.example", "10.0.0.1", "1270.0.0.1"]
)
def test_anything_else_is_not(host: str | None) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("nginx:1", "https://registry-1.docker.io/v2/library/nginx/x"),
        ("ghcr.io/a/b:1", "https://ghcr.io/v2/a/b/x"),
        ("registry.example:5000/a:1", "https://registry.example:5000/v2/a/x"),
        ("localhost:5000/a:1", "http://localhost:5000/v2/a/x"),
        ("127.0.0.1:5000/a:1", "http://127.0.0.1:5000/v2/a/x"),
        ("[::1]:5000/a:1", "http://[::1]:5000/v2/a/x"),
        ("127.0.0.1.example/a:1", "https://127.0.0.1.example/v2/a/x"),
    ],
)
def test_only_a_registry_on_this_machine_is_asked_over_plain_http(reference: str, url: str) -> None:
    parsed = parse_reference(reference)
    (place,) = Mirrors().places(parsed)

    assert _request(parsed, place, "x", 1, ()).url == url


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a.io/x", "https://a.io:443/y"),
        ("https://A.io/x", "https://a.io/y"),
        ("http://a.io/x", "http://a.io:80/"),
    ],
)
def test_the_same_host_is_the_same_origin(one: str, other: str) -> None:
    assert _origin(one) == _origin(other)


@pytest.mark.parametrize(
    "other", ["https://b.io/", "http://a.io/", "https://a.io:444/", "https://a.io.b.io/"]
)
def test_another_host_scheme_or_port_is_another_origin(other: str) -> None:
    assert _origin("https://a.io/") != _origin(other)


def test_a_redirect_from_https_to_http_is_refused() -> None:
    with pytest.raises(ImageError, match=r"redirected to http://b\.io, wanted https"):
        _check_redirect("https://a.io/x", "http://b.io/x", "image a")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://a.io/", "https://b.io/"),
        ("http://a.io/", "https://b.io/"),
        ("http://a/", "http://b/"),
    ],
)
def test_a_redirect_that_loses_no_protection_is_followed(before: str, after: str) -> None:
    _check_redirect(before, after, "image a")
