"""The registry client against the reference implementation of a registry, the Debian package docker-registry."""

from collections.abc import Iterator

import pytest
import urllib3

from contrast_tasks.errors import ImageError
from contrast_tasks.images.describe import describe
from contrast_tasks.images.documents import digest_of
from contrast_tasks.images.registry import Registry
from contrast_tasks.pods.references import parse_reference
from tests.fakes.images import MadeImage, file, make_image, make_index, tar
from tests.fakes.real_registry import needs_registry, real_registry

pytestmark = [pytest.mark.e2e, needs_registry]

LAYER = tar(file("etc/passwd", b"root:x:0:0::/:\n"), file("bin/cart", b"x" * 4000))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with real_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


def push(host: str, repository: str, tag: str, image: MadeImage) -> str:
    """Push an image as the distribution specification says; return its reference."""
    base = f"http://{host}/v2/{repository}"
    inner = []
    with urllib3.PoolManager(retries=False, timeout=10) as session:
        for digest, content in image.blobs.items():
            if b'"mediaType"' in content[:200] and b'"schemaVersion"' in content[:50]:
                inner.append((digest, content))
                continue
            started = session.request("POST", f"{base}/blobs/uploads/")
            place = f"{started.headers['Location']}&digest={digest}"
            assert session.request("PUT", place, body=content).status == 201
        # Manifests after what they name, an index after its manifests.
        inner.sort(key=lambda item: b'"manifests"' in item[1])
        for digest, content in inner:
            name = tag if digest == image.digest else digest
            kind = content.split(b'"mediaType": "')[1].split(b'"')[0].decode()
            answer = session.request(
                "PUT", f"{base}/manifests/{name}", body=content, headers={"Content-Type": kind}
            )
            assert answer.status == 201, answer.data
    return f"{host}/{repository}:{tag}"


def client() -> Registry:
    return Registry(find_credential=lambda *_: None, sleep=lambda _: None)


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_is_described(host: str, docker: bool) -> None:
    image = make_image([LAYER], compress=True, docker=docker)
    reference = push(host, f"shop/cart{int(docker)}", "v1", image)

    with client() as registry:
        entry = describe(parse_reference(reference), registry)

    assert entry.digest == image.digest
    assert entry.layers[0].diff_id == digest_of(LAYER)
    assert entry.passwd == "root:x:0:0::/:\n"


def test_of_an_index_the_linux_amd64_image_is_described(host: str) -> None:
    image = make_image([LAYER])
    index = make_index({("linux", "arm64"): make_image([LAYER + LAYER]), ("linux", "amd64"): image})
    reference = push(host, "shop/multi", "v1", index)

    with client() as registry:
        entry = describe(parse_reference(reference), registry)
        pinned = describe(parse_reference(reference).pinned(entry.digest), registry)

    assert (entry.digest, entry.manifest_digest) == (index.digest, image.digest)
    assert pinned.layers == entry.layers


def test_an_unknown_tag_is_reported_with_the_registrys_code(host: str) -> None:
    with client() as registry, pytest.raises(ImageError, match=r"404 \(MANIFEST_UNKNOWN: "):
        describe(parse_reference(f"{host}/shop/cart:none"), registry)
