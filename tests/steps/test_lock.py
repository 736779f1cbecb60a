import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.lock import parse_lock
from contrast_tasks.images.registry import Registry
from contrast_tasks.images.resolve import ImageSource
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.lock import complete_lock, run_lock, why_not_locked
from contrast_tasks.tasks.store import Store
from tests.fakes.images import MadeImage, file, make_image, tar, write_images
from tests.fakes.registry import FakeRegistry

CART = "shop/cart:v1"
TILL = "shop/till:v1"


def image(content: bytes = b"1") -> MadeImage:
    return make_image([tar(file("bin/run", content))], process={"Cmd": ["/bin/run"]})


def project(root: Path, **images: MadeImage) -> Settings:
    named = {f"shop/{name}:v1": made for name, made in images.items()}
    write_images(root / "build/images", named)
    return Settings(
        root=root, platform="local", sources=("deployment",), image_layouts=("build/images",)
    )


def no_registry(stack: ExitStack) -> ImageSource:
    raise AssertionError("the registry was opened")


def open_fake(stack: ExitStack) -> ImageSource:
    return stack.enter_context(
        Registry(find_credential=lambda *_: None, sleep=lambda _: None, attempts=2)
    )


def locked(settings: Settings) -> dict[str, str]:
    lock = parse_lock((settings.root / settings.lock).read_bytes())
    return {reference: entry.digest for reference, entry in lock.images.items()}


def test_images_of_a_layout_are_locked_without_a_registry(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image(), till=image(b"2"))

    result = run_lock(settings, [TILL, CART, CART], registry=no_registry)

    assert result == {
        "changed": True,
        "added": [CART, TILL],
        "updated": [],
        "kept": [],
        "dropped": [],
    }
    assert locked(settings) == {CART: image().digest, TILL: image(b"2").digest}


def test_locking_again_changes_nothing(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    run_lock(settings, [CART], registry=no_registry)
    before = (tmp_path / "contrast.lock").stat()

    result = run_lock(settings, [CART], registry=no_registry)

    assert result["changed"] is False
    assert result["kept"] == [CART]
    assert (tmp_path / "contrast.lock").stat().st_mtime_ns == before.st_mtime_ns


def test_the_order_of_references_does_not_matter(tmp_path: Path) -> None:
    one = project(tmp_path / "one", cart=image(), till=image(b"2"))
    other = project(tmp_path / "other", cart=image(), till=image(b"2"))

    run_lock(one, [CART, TILL])
    run_lock(other, [TILL, CART])

    assert (one.root / one.lock).read_bytes() == (other.root / other.lock).read_bytes()


def test_entries_no_longer_in_use_are_dropped(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image(), till=image(b"2"))
    run_lock(settings, [CART, TILL])

    result = run_lock(settings, [TILL])

    assert result["dropped"] == [CART]
    assert list(locked(settings)) == [TILL]


def test_an_image_packed_anew_is_locked_anew(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    run_lock(settings, [CART])
    project(tmp_path, cart=image(b"changed"))

    result = run_lock(settings, [CART], registry=no_registry)

    assert result["updated"] == [CART]
    assert locked(settings) == {CART: image(b"changed").digest}


def test_what_no_layout_has_is_asked_of_its_registry(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    with FakeRegistry() as server:
        reference = server.add("shop/remote", "v1", image(b"3"))

        result = run_lock(settings, [CART, reference], registry=open_fake)

    assert result["added"] == sorted([CART, reference])
    assert locked(settings)[reference] == image(b"3").digest


def test_a_locked_tag_is_not_asked_for_again_unless_told_to(tmp_path: Path) -> None:
    settings = project(tmp_path)
    with FakeRegistry() as server:
        reference = server.add("shop/remote", "v1", image())
        run_lock(settings, [reference], registry=open_fake)
        server.add("shop/remote", "v1", image(b"moved"))

        kept = run_lock(settings, [reference], registry=no_registry)
        updated = run_lock(settings, [reference], registry=open_fake, update=True)

    assert kept["kept"] == [reference]
    assert updated["updated"] == [reference]
    assert locked(settings) == {reference: image(b"moved").digest}


def test_offline_an_image_that_is_not_known_is_refused_with_the_way_out(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())

    with pytest.raises(ImageError) as caught:
        run_lock(settings, [CART, TILL], offline=True, registry=no_registry)

    assert str(caught.value) == (
        f"image {TILL}: it is not locked, build/images has {CART}, "
        "and its registry may not be asked offline"
    )
    assert "contrast-tasks lock" in caught.value.hint
    assert not (tmp_path / "contrast.lock").exists()


def test_offline_a_locked_image_is_kept(tmp_path: Path) -> None:
    settings = project(tmp_path)
    with FakeRegistry() as server:
        reference = server.add("shop/remote", "v1", image())
        run_lock(settings, [reference], registry=open_fake)

    assert run_lock(settings, [reference], offline=True)["kept"] == [reference]


def test_everything_that_fails_is_reported_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    run_lock(settings, [CART])
    before = (tmp_path / "contrast.lock").read_bytes()
    with FakeRegistry() as server:
        missing = f"{server.host}/shop/gone:v1"

        with pytest.raises(ImageError) as caught:
            run_lock(settings, [TILL.upper(), missing], registry=open_fake)

    text = str(caught.value)
    assert text.startswith("2 images cannot be resolved\n")
    assert f"image {missing}: {server.host} answered 404" in text
    assert "image reference 'SHOP/TILL:V1'" in text
    assert (tmp_path / "contrast.lock").read_bytes() == before


def test_what_is_found_beside_a_failure_is_locked_unless_all_are_to_be_asked_again(
    tmp_path: Path,
) -> None:
    settings = project(tmp_path, cart=image())
    with FakeRegistry() as server:
        kept = server.add("shop/kept", "v1", image(b"3"))
        run_lock(settings, [kept], registry=open_fake)
        found, missing = server.add("shop/new", "v1", image(b"4")), f"{server.host}/shop/gone:v1"
        server.add("shop/kept", "v1", image(b"moved"))

        with pytest.raises(ImageError, match="1 image cannot be resolved, 2 more are locked now"):
            run_lock(settings, [CART, kept, found, missing], registry=open_fake)
        first = locked(settings)
        with pytest.raises(ImageError, match=f"^image {missing}: .* answered 404"):
            run_lock(settings, [CART, kept, found, missing], registry=open_fake, update=True)

    assert first.keys() == {CART, kept, found}
    assert first[kept] == image(b"3").digest
    assert locked(settings) == first


def test_a_layout_that_is_not_there_is_refused(tmp_path: Path) -> None:
    settings = Settings(
        root=tmp_path, platform="local", sources=("deployment",), image_layouts=("gone",)
    )

    for run in (run_lock, complete_lock):
        with pytest.raises(ImageError, match="image layout gone: there is no such folder"):
            run(settings, [])
    assert not (tmp_path / "contrast.lock").exists()


def test_the_packed_layout_may_be_missing(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, platform="local", sources=("deployment",))

    assert run_lock(settings, [])["changed"] is True
    assert json.loads((tmp_path / "contrast.lock").read_bytes()) == {"version": 1, "images": []}


@pytest.mark.parametrize("update", [False, True])
def test_no_registry_is_asked_for_what_a_layout_was_meant_to_have(
    tmp_path: Path, update: bool
) -> None:
    settings = project(tmp_path, cart=image())
    message = "image shop/cart:v2: in no layout under this name; build/images has shop/cart:v1"

    with pytest.raises(ImageError) as caught:
        run_lock(settings, ["shop/cart:v2"], registry=no_registry, update=update)
    assert str(caught.value) == message
    assert caught.value.hint.endswith("or pin the image by its digest")

    complete_lock(settings, [CART, "shop/cart:v2"])
    assert locked(settings) == {CART: image().digest}
    assert str(why_not_locked(settings, "shop/cart:v2")) == message
    assert why_not_locked(settings, CART) is None
    assert why_not_locked(settings, "example.com/other:v1") is None


def test_a_locked_image_that_the_layout_spoils_ends_the_task(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    complete_lock(settings, [CART])
    before = (tmp_path / settings.lock).read_bytes()
    project(tmp_path, cart=image(b"2"))
    for blob in (tmp_path / "build/images/blobs/sha256").iterdir():
        blob.write_bytes(b"spoilt")

    with pytest.raises(ImageError):
        complete_lock(settings, [CART])

    assert (tmp_path / settings.lock).read_bytes() == before


def test_a_pinned_image_is_asked_of_its_registry_all_the_same(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    other = make_image([], process={"Cmd": ["other"]})
    with FakeRegistry() as server:
        write_images(tmp_path / "build/images", {f"{server.host}/shop/cart:v1": image()})
        pinned = f"{server.add('shop/cart', 'v2', other)}@{other.digest}"

        result = run_lock(settings, [pinned], registry=open_fake)

    assert result["added"] == [pinned]


def test_no_registry_is_asked_for_another_digest_of_a_name_that_the_layout_has(
    tmp_path: Path,
) -> None:
    settings = project(tmp_path, cart=image())
    with pytest.raises(ImageError) as caught:
        run_lock(settings, ["shop/cart:v1@sha256:" + "0" * 64], registry=no_registry)

    assert f"has this name with the digest {image().digest}" in str(caught.value)
    assert "leave the tag out to ask the registry" in caught.value.hint


def test_what_the_layouts_have_is_told_where_a_registry_fails(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    with FakeRegistry() as server, pytest.raises(ImageError) as caught:
        run_lock(settings, [f"{server.host}/shop/gone:v1"], registry=open_fake)

    assert str(caught.value).endswith(
        "(MANIFEST_UNKNOWN: 'unknown'); build/images has shop/cart:v1"
    )


def test_a_damaged_lock_file_is_refused_and_not_overwritten(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    (tmp_path / "contrast.lock").write_text("{\n  oops")

    with pytest.raises(ImageError, match="lock file: not valid JSON") as caught:
        run_lock(settings, [CART])

    assert str(caught.value.where) == "contrast.lock:2:3"
    assert (tmp_path / "contrast.lock").read_text() == "{\n  oops"


def test_a_damaged_layout_is_refused(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    (tmp_path / "build/images/index.json").write_text("oops")

    with pytest.raises(ImageError, match="manifest: line 1: not valid JSON"):
        run_lock(settings, [CART])


def test_our_default_names_are_asked_of_no_registry(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=image())
    reference = settings.components.coordinator

    with pytest.raises(ImageError) as caught:
        run_lock(settings, [reference], registry=no_registry)

    assert str(caught.value).startswith(f"image {reference}: is a default name of ours")
    assert "'contrast-tasks images build --registry HOST/PATH'" in caught.value.hint


# What the node's own tools make of an archive of two zero blocks; docs/internals/aks.md 2.2.
EMPTY_ROOT = "67450082ab56da1aecc5eae2f18d980cd9e7306e79334a1a826a91cfd90114a8"


def on_aks(settings: Settings) -> Settings:
    return settings.replace(platform="aks-clh-snp")


def roots(settings: Settings) -> list[str | None]:
    lock = parse_lock((settings.root / settings.lock).read_bytes())
    return [layer.root for image in lock.images.values() for layer in image.layers]


def test_root_hashes_are_locked_only_where_layers_are_attached(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=make_image([bytes(1024)]))

    run_lock(settings, [CART])
    before = roots(settings)
    result = run_lock(on_aks(settings), [CART], registry=no_registry)

    assert before == [None]
    assert (result["updated"], roots(settings)) == ([CART], [EMPTY_ROOT])
    assert run_lock(on_aks(settings), [CART])["changed"] is False


def test_root_hashes_stay_locked_on_another_platform(tmp_path: Path) -> None:
    settings = project(tmp_path, cart=make_image([bytes(1024)]))
    run_lock(on_aks(settings), [CART])

    assert run_lock(settings, [CART])["changed"] is False


def test_a_layer_is_read_once_for_its_diff_id(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    with FakeRegistry() as server:
        one = server.add("shop/one", "v1", make_image([bytes(1024)], compress=True))
        settings = on_aks(project(tmp_path))
        run_lock(settings, [one], registry=open_fake, kept=store)
    (tmp_path / settings.lock).unlink()
    cart = on_aks(project(tmp_path, cart=make_image([bytes(1024)])))

    run_lock(cart.replace(platform="local"), [CART])
    (blob,) = [path for path in blobs(tmp_path) if path.stat().st_size == 1024]
    blob.unlink()
    run_lock(cart, [CART], kept=store)

    assert roots(cart) == [EMPTY_ROOT]


def blobs(root: Path) -> list[Path]:
    return sorted((root / "build/images/blobs/sha256").iterdir())


def test_offline_an_image_stays_locked_without_roots_that_only_its_registry_could_tell(
    tmp_path: Path,
) -> None:
    settings = project(tmp_path)
    with FakeRegistry() as server:
        reference = server.add("shop/remote", "v1", make_image([bytes(1024)], compress=True))
        run_lock(settings, [reference], registry=open_fake)

        offline = run_lock(on_aks(settings), [reference], offline=True)
        before = roots(settings)
        online = run_lock(on_aks(settings), [reference], registry=open_fake)

    assert (offline["changed"], before) == (False, [None])
    assert (online["updated"], roots(settings)) == ([reference], [EMPTY_ROOT])


def test_a_layer_that_the_snapshotter_does_not_read_is_refused(tmp_path: Path) -> None:
    settings = on_aks(project(tmp_path))
    with FakeRegistry() as server:
        reference = server.add("shop/plain", "v1", make_image([bytes(1024)]))

        with pytest.raises(ImageError) as caught:
            run_lock(settings, [reference], registry=open_fake)

    problem = "the snapshotter of AKS reads layers with gzip only, found no compression"
    assert str(caught.value) == f"image {reference}: {problem}"
    assert "compressed with gzip" in caught.value.hint


def test_what_does_not_reach_the_guest_is_locked_with_the_root(tmp_path: Path) -> None:
    hidden = tar(file("bin/run", b"1"))
    settings = on_aks(project(tmp_path, cart=make_image([hidden])))

    run_lock(settings, [CART])

    lock = parse_lock((tmp_path / settings.lock).read_bytes())
    assert lock.images[CART].layers[0].lost == ("hidden",)
