import json
import time
from typing import Any

import pytest

from contrast_tasks import schema
from contrast_tasks.declare.documents import to_json
from contrast_tasks.errors import ImageError
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.lock import Layer, Lock, LockedImage, parse_lock, render_lock

ONE = "sha256:" + "1" * 64
TWO = "sha256:" + "2" * 64
THREE = "sha256:" + "3" * 64


def locked(reference: str = "emojivoto/web:v11", **changes: Any) -> LockedImage:
    values: dict[str, Any] = {
        "reference": reference,
        "digest": ONE,
        "config": ImageConfig(
            entrypoint=("/bin/web",), env=("A=ä", "B="), user="65532", volumes=("/data",)
        ),
        "layers": (Layer(digest=TWO, diff_id=THREE, size_bytes=10, unpacked_bytes=10240),),
        "passwd": "root:x:0:0::/:\n",
        "group": "",
    }
    return LockedImage(**(values | changes))


def document(*images: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "images": list(images) or [to_json(locked())]}


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """Return a good document with one value replaced, or taken away where `to` is ..."""
    whole = document()
    place: Any = whole
    for key in path[:-1]:
        place = place[key]
    if to is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return whole


def test_a_lock_reads_back_as_it_was_written() -> None:
    images = [locked("b:1"), locked("a:1", manifest_digest=TWO), locked("a:2", layers=())]

    content = render_lock(Lock(images))
    read = parse_lock(content)

    assert set(read.images.values()) == set(images)
    assert render_lock(read) == content


def test_images_are_sorted_whatever_the_order_they_were_locked_in() -> None:
    one, other = locked("a:1"), locked("b:1")

    assert render_lock(Lock([one, other])) == render_lock(Lock([other, one]))


def test_an_empty_lock_is_valid() -> None:
    assert parse_lock(render_lock(Lock())).images == {}


def test_what_is_written_satisfies_the_schema() -> None:
    content = render_lock(Lock([locked(), locked("a:1", manifest_digest=TWO)]))

    assert schema.validate(json.loads(content), "lock") == []


BAD = [
    pytest.param(changed("version", to=2), "version is 2, expected 1", id="version"),
    pytest.param(changed("version", to=True), "version is true", id="version true"),
    pytest.param(changed("images", to={}), "images is a table, expected an array", id="images"),
    pytest.param(
        changed("images", 0, to="a:1"), 'images[0] is "a:1", expected a table', id="image"
    ),
    pytest.param(document() | {"more": 1}, "unknown key 'more'", id="unknown key"),
    pytest.param(changed("images", to=...), "the document has no 'images'", id="no images"),
    pytest.param(changed("images", 0, "tag", to="x"), "unknown key 'tag'", id="image key"),
    pytest.param(
        changed("images", 0, "digest", to=...), "images[0] has no 'digest'", id="no digest"
    ),
    pytest.param(
        changed("images", 0, "digest", to="sha256:1"), 'digest is "sha256:1"', id="digest"
    ),
    pytest.param(changed("images", 0, "digest", to=1), "digest is 1", id="digest number"),
    pytest.param(
        changed("images", 0, "digest", to=ONE + "\n"), "expected sha256:", id="digest newline"
    ),
    pytest.param(
        changed("images", 0, "manifest_digest", to=""), 'manifest_digest is ""', id="index"
    ),
    pytest.param(changed("images", 0, "reference", to=5), "reference is 5", id="reference"),
    pytest.param(
        changed("images", 0, "config", to=[]), "config is [], expected a table", id="config"
    ),
    pytest.param(changed("images", 0, "config", "cmd", to=...), "config has no 'cmd'", id="no cmd"),
    pytest.param(changed("images", 0, "config", "Cmd", to=[]), "unknown key 'Cmd'", id="Cmd"),
    pytest.param(
        changed("images", 0, "config", "env", to="A=1"), 'env is "A=1", expected an array', id="env"
    ),
    pytest.param(
        changed("images", 0, "config", "env", to=[1]),
        "env is [1], expected an array",
        id="env item",
    ),
    pytest.param(changed("images", 0, "config", "user", to=0), "user is 0", id="user number"),
    pytest.param(
        changed("images", 0, "layers", to={}), "layers is a table, expected an array", id="layers"
    ),
    pytest.param(
        changed("images", 0, "layers", 0, to=1), "layers[0] is 1, expected a table", id="layer"
    ),
    pytest.param(
        changed("images", 0, "layers", 0, "size_bytes", to=-1), "size_bytes is -1", id="size"
    ),
    pytest.param(
        changed("images", 0, "layers", 0, "size_bytes", to=1.5), "size_bytes is 1.5", id="fraction"
    ),
    pytest.param(
        changed("images", 0, "layers", 0, "unpacked_bytes", to=True), "is true", id="size true"
    ),
    pytest.param(
        changed("images", 0, "layers", 0, "diff_id", to=...),
        "layers[0] has no 'diff_id'",
        id="diff_id",
    ),
    pytest.param(
        changed("images", 0, "passwd", to=None), "passwd is null, expected a string", id="passwd"
    ),
    pytest.param([], "the document is [], expected a table", id="list"),
]


@pytest.mark.parametrize(("bad", "problem"), BAD)
def test_malformed_lock_is_refused_by_us_and_by_the_schema(bad: Any, problem: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_lock(json.dumps(bad).encode(), "contrast.lock")

    assert problem in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.file == "contrast.lock"
    assert schema.validate(bad, "lock") != []


def test_a_reference_locked_twice_is_refused_at_the_line_of_the_second() -> None:
    content = json.dumps(document(to_json(locked()), to_json(locked())), indent=2).encode()
    second = content.decode().split("\n")

    with pytest.raises(ImageError, match=r"emojivoto/web:v11 is listed twice") as caught:
        parse_lock(content)

    assert caught.value.where is not None
    assert caught.value.where.line == len(second) - second[::-1].index(
        '      "reference": "emojivoto/web:v11",'
    )


def test_a_digest_unlike_that_of_the_reference_is_refused_with_both() -> None:
    entry = to_json(locked()) | {"reference": f"emojivoto/web@{TWO}"}

    with pytest.raises(ImageError) as caught:
        parse_lock(json.dumps(document(entry)).encode())

    assert f"digest is {ONE}, the reference wants {TWO}" in str(caught.value)


def test_a_reference_may_be_pinned_to_the_image_inside_of_an_index() -> None:
    entry = locked(f"emojivoto/web@{TWO}", manifest_digest=TWO)

    assert parse_lock(render_lock(Lock([entry]))).images[entry.reference] == entry


def test_a_malformed_reference_is_refused() -> None:
    entry = to_json(locked()) | {"reference": "Not An Image"}

    with pytest.raises(ImageError, match="image reference 'Not An Image'"):
        parse_lock(json.dumps(document(entry)).encode())


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ImageError, match="string holds an unpaired surrogate"):
        parse_lock(b'{"version": 1, "images": [{"reference": "\\uD800"}]}')


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ImageError, match="member 'version' occurs twice"):
        parse_lock(b'{"version": 1, "version": 1, "images": []}')


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param(b'{\n  "version": 1,\n  oops\n}', 3, id="syntax"),
        pytest.param(b"", 1, id="empty"),
        pytest.param(b"\xff\xfe\x00", 1, id="not text"),
        pytest.param(b"[" * 100_000, 1, id="deep"),
    ],
)
def test_what_is_not_json_is_refused_with_the_line(content: bytes, line: int | None) -> None:
    with pytest.raises(ImageError, match="lock file: ") as caught:
        parse_lock(content, "contrast.lock")

    assert caught.value.where is not None
    assert caught.value.where.line == line


@pytest.mark.parametrize(
    "asked",
    [
        "emojivoto/web:v11",
        "docker.io/emojivoto/web:v11",
        f"emojivoto/web:v11@{ONE}",
        f"emojivoto/web@{ONE}",
        f"emojivoto/web@{TWO}",
        f"emojivoto/web:other@{ONE}",
    ],
)
def test_every_spelling_of_a_locked_image_finds_it(asked: str) -> None:
    image = locked(manifest_digest=TWO)

    assert Lock([image]).resolve(asked) == image


@pytest.mark.parametrize(
    "asked",
    [
        "emojivoto/web",
        "emojivoto/web:v12",
        "emojivoto/emoji:v11",
        f"emojivoto/web:v11@{THREE}",
        f"other/web@{ONE}",
    ],
)
def test_another_image_is_not_found(asked: str) -> None:
    assert Lock([locked()]).resolve(asked) is None


def test_asking_for_a_malformed_reference_is_an_error() -> None:
    with pytest.raises(ImageError, match="image reference"):
        Lock([locked()]).resolve("emojivoto/web:")


def test_a_hundred_images_are_parsed_in_a_few_milliseconds() -> None:
    layers = tuple(
        Layer(digest=TWO, diff_id=THREE, size_bytes=n, unpacked_bytes=n) for n in range(12)
    )
    env = tuple(f"NAME_{n}=value {n}" for n in range(20))
    images = [
        locked(
            f"registry.example/team/image{n}:v{n}",
            config=ImageConfig(env=env),
            layers=layers,
            passwd="user:x:1000:1000::/home/user:/bin/sh\n" * 30,
        )
        for n in range(100)
    ]
    content = render_lock(Lock(images))

    # Processor time, the best of five: what the machine does besides is no news.
    times = []
    for _ in range(5):
        start = time.process_time()
        parse_lock(content)
        times.append(time.process_time() - start)

    assert min(times) < 0.1
