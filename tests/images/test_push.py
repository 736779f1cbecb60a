"""Pushing, as the OCI distribution specification 1.1 describes it; the reference implementation: tests/e2e/test_whole_images.py."""

import base64
from collections.abc import Iterator

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.credentials import Credential
from contrast_tasks.images.documents import OCI_MANIFEST, ImageConfig
from contrast_tasks.images.pack import Entry, PackedImage, pack_image
from contrast_tasks.images.push import Pusher
from tests.fakes.registry import FakeRegistry, Mischief

ME = Credential(username="me", password="secret")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def image(registry: FakeRegistry, content: bytes = b"1") -> PackedImage:
    layer = (Entry(path="app/file", content=content),)
    return pack_image(f"{registry.host}/shop/cart:v1", ImageConfig(), [layer])


def push(packed: PackedImage, credential: Credential | None = None) -> tuple[str, int]:
    waits: list[float] = []
    with Pusher(find_credential=lambda *_: credential, sleep=waits.append) as pusher:
        return pusher.push(packed), pusher.bytes_sent


def test_an_image_is_there_under_its_tag_afterwards(registry: FakeRegistry) -> None:
    packed = image(registry)

    reference, sent = push(packed)

    assert reference == f"{registry.host}/shop/cart:v1@{packed.descriptor.digest}"
    assert registry.manifest("shop/cart", "v1") == (
        OCI_MANIFEST,
        packed.blobs[packed.descriptor.digest],
    )
    blobs = {d: b for d, b in packed.blobs.items() if d != packed.descriptor.digest}
    assert {digest: registry.blob(digest) for digest in blobs} == blobs
    assert sent == sum(map(len, blobs.values()))


def test_what_the_registry_has_is_not_sent_again(registry: FakeRegistry) -> None:
    packed = image(registry)
    push(packed)
    registry.seen.clear()

    _, sent = push(packed)

    assert sent == 0
    assert [seen.method for seen in registry.seen] == ["HEAD", "HEAD", "PUT"]


def test_the_manifest_comes_last(registry: FakeRegistry) -> None:
    push(image(registry))

    assert "/manifests/v1" in registry.seen[-1].path
    assert sum("/manifests/" in seen.path for seen in registry.seen) == 1


def test_one_token_allows_reading_and_writing(registry: FakeRegistry) -> None:
    registry.mischief = Mischief(wants_token=True, password="secret")

    push(image(registry), ME)

    tokens = [seen for seen in registry.seen if seen.path.startswith("/token")]
    assert len(tokens) == 1
    assert "scope=repository%3Ashop%2Fcart%3Apull%2Cpush" in tokens[0].path


def test_a_password_is_sent_to_a_registry_that_asks_for_one(registry: FakeRegistry) -> None:
    registry.mischief = Mischief(wants_basic=True, password="secret")

    push(image(registry), ME)

    expected = f"Basic {base64.b64encode(b'me:secret').decode()}"
    assert registry.seen[-1].authorization == expected


def test_without_a_password_access_is_refused_in_words(registry: FakeRegistry) -> None:
    registry.mischief = Mischief(wants_basic=True, password="secret")

    with pytest.raises(ImageError, match=r"no access to .*: it wants a user name") as caught:
        push(image(registry))

    assert "docker login" in caught.value.hint


def test_a_transient_fault_is_tried_again(registry: FakeRegistry) -> None:
    registry.mischief = Mischief(fail_first=[(503, {}), (429, {"Retry-After": "1"})])

    push(image(registry))

    assert registry.manifest("shop/cart", "v1") is not None


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:1/v2/shop/cart/uploads/1", "https://other.example/x", "//other/x"]
)
def test_an_upload_elsewhere_is_refused(registry: FakeRegistry, place: str) -> None:
    registry.mischief = Mischief(upload_at=place)

    with pytest.raises(ImageError, match="expected its own"):
        push(image(registry))

    assert all(seen.method != "PUT" for seen in registry.seen)


def test_an_upload_may_be_a_whole_address_of_the_registry(registry: FakeRegistry) -> None:
    registry.mischief = Mischief(upload_at=f"http://{registry.host}/v2/shop/cart/uploads/9?state=x")

    push(image(registry))

    assert registry.manifest("shop/cart", "v1") is not None


def test_a_refusal_of_the_registry_is_told(registry: FakeRegistry) -> None:
    body = b'{"errors": [{"code": "DENIED", "message": "read only"}]}'
    registry.mischief = Mischief(fail_with=(405, body))

    with pytest.raises(ImageError, match="answered 405"):
        push(image(registry))
