import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.errors import ImageError, Location
from contrast_tasks.pods.references import is_digest, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        pytest.param("nginx", "docker.io", "library/nginx", None, None, id="short"),
        pytest.param("nginx:1.27", "docker.io", "library/nginx", "1.27", None, id="tag"),
        pytest.param("emojivoto/web:v11", "docker.io", "emojivoto/web", "v11", None, id="user"),
        pytest.param("localhost/web", "localhost", "web", None, None, id="localhost"),
        pytest.param("localhost:5000/web", "localhost:5000", "web", None, None, id="port, no tag"),
        pytest.param("127.0.0.1:5000/a/b:x", "127.0.0.1:5000", "a/b", "x", None, id="port and tag"),
        pytest.param("[::1]:5000/web:v1", "[::1]:5000", "web", "v1", None, id="IPv6"),
        pytest.param(f"ghcr.io/a/b@{DIGEST}", "ghcr.io", "a/b", None, DIGEST, id="digest"),
        pytest.param(f"ghcr.io/a/b:c@{DIGEST}", "ghcr.io", "a/b", "c", DIGEST, id="tag and digest"),
        pytest.param("a__b/c-d--e.f", "docker.io", "a__b/c-d--e.f", None, None, id="separators"),
        # Source: distribution/reference 3.0; before 2.8.2 such a name was malformed.
        pytest.param("MYREG/shop/app:v1", "MYREG", "shop/app", "v1", None, id="capitals"),
        pytest.param("myReg/app", "myReg", "app", None, None, id="one capital"),
        pytest.param("myreg/shop/app", "docker.io", "myreg/shop/app", None, None, id="none"),
        pytest.param("index.docker.io/a/b", "docker.io", "a/b", None, None, id="old hub name"),
    ],
)
def test_reference_is_taken_apart(
    text: str, registry: str, repository: str, tag: str | None, digest: str | None
) -> None:
    reference = parse_reference(text)

    assert (reference.registry, reference.repository) == (registry, repository)
    assert (reference.tag, reference.digest) == (tag, digest)
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "it is empty", id="empty"),
        pytest.param("Web", "name 'Web' is not lower-case", id="capitals"),
        pytest.param("web:", "tag '' is not", id="empty tag"),
        pytest.param("web:a b", "tag 'a b' is not", id="space in tag"),
        pytest.param("web:" + "a" * 129, "is not 1 to 128", id="long tag"),
        pytest.param("web@sha256:12", "digest 'sha256:12' is not", id="short digest"),
        pytest.param("web@" + DIGEST.upper(), "is not sha256:", id="upper-case digest"),
        pytest.param("web@sha512:" + "0" * 128, "is not sha256:", id="other algorithm"),
        pytest.param("web@", "digest '' is not", id="empty digest"),
        pytest.param("a//b", "name 'a//b' is not", id="empty part"),
        pytest.param("/web", "name '/web' is not", id="leading slash"),
        pytest.param("web/", "name 'web/' is not", id="trailing slash"),
        pytest.param("https://ghcr.io/web", "is not", id="scheme"),
        pytest.param("ghcr.io/../web", "name '../web' is not", id="dots"),
        pytest.param("-a.b/web", "registry '-a.b' is not", id="registry with dash"),
        pytest.param("a.b:port/web", "registry 'a.b:port' is not", id="registry with bad port"),
        pytest.param("web\n", "name 'web\\n' is not", id="newline"),
        pytest.param(f"web:v1@{DIGEST}\n", "is not sha256:", id="newline after digest"),
        pytest.param("a.b/" + "c" * 252, "has 256 characters", id="too long"),
        pytest.param("ghcr.io/${IMAGE}", "is not lower-case", id="placeholder"),
    ],
)
def test_malformed_reference_is_refused_with_the_part_that_is_wrong(
    text: str, problem: str
) -> None:
    where = Location(file="web.yml", line=7)

    with pytest.raises(ImageError, match="image reference") as caught:
        parse_reference(text, where=where)

    assert problem in str(caught.value)
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("docker.io/nginx:latest", "index.docker.io/library/nginx"),
        ("emojivoto/web:v11", "docker.io/emojivoto/web:v11"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
    ],
)
def test_spellings_of_one_reference_have_one_canonical_form(one: str, other: str) -> None:
    assert parse_reference(one).canonical == parse_reference(other).canonical


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("nginx", "nginx:1.27"),
        ("nginx", f"nginx@{DIGEST}"),
        (f"nginx:latest@{DIGEST}", f"nginx@{DIGEST}"),
        ("library/nginx", "localhost/library/nginx"),
    ],
)
def test_different_references_keep_different_canonical_forms(one: str, other: str) -> None:
    assert parse_reference(one).canonical != parse_reference(other).canonical


def test_pinning_keeps_the_tag_for_the_reader() -> None:
    assert str(parse_reference("emojivoto/web:v11").pinned(DIGEST)) == f"emojivoto/web:v11@{DIGEST}"


def test_only_lower_case_sha256_is_a_digest() -> None:
    assert is_digest(DIGEST)
    assert not is_digest(DIGEST + "0")
    assert not is_digest(None)


@given(st.text(max_size=80))
def test_parsing_any_text_gives_a_reference_that_reads_back_or_an_image_error(text: str) -> None:
    try:
        reference = parse_reference(text)
    except ImageError:
        return
    assert str(reference) == text
    assert parse_reference(reference.canonical).canonical == reference.canonical
