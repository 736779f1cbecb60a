"""Pods with and without ID block at `set`, as the reference product's releases wrote them (docs/internals/releases.md 3)."""

from pathlib import Path

import pytest

from contrast_tasks.client.before_set import read_deployed
from contrast_tasks.errors import UsageError
from tests.client.test_policies_of_releases import inside, line_of, outputs, outside
from tests.fakes.testdata import RELEASES

PREFIX = "io.katacontainers.config.hypervisor.snp_"

pytestmark = pytest.mark.skipif(not RELEASES.exists(), reason="the releases' files are not at hand")


def without(release: str, marks: tuple[str, ...], folder: Path) -> Path:
    """Write a release's YAML without the annotations of ID blocks whose line has one of the marks."""
    text = outputs(release, "metal-qemu-snp")[0].read_text()
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if PREFIX not in line or not any(mark in line for mark in marks)]
    assert len(kept) < len(lines)
    (folder / "app.yml").write_text("".join(kept))
    return folder / "app.yml"


@pytest.mark.parametrize("release", ["v1.20.0", "v1.21.0"])
def test_a_pod_without_block_is_refused_where_the_runtime_has_none(
    tmp_path: Path, release: str
) -> None:
    path = without(release, ("_Milan", "_Genoa"), tmp_path)

    with pytest.raises(UsageError, match="has no annotations with an ID block") as caught:
        read_deployed(inside(tmp_path, release, "metal-qemu-snp"), [path], print)

    assert "its guest would start without one, and its evidence would be refused" in str(
        caught.value
    )
    assert caught.value.where is not None
    assert caught.value.where.file == "app.yml"


@pytest.mark.parametrize(
    "marks",
    [
        pytest.param(("_Genoa", "id_block_Milan"), id="no block"),
        pytest.param(("_Genoa", "id_auth_Milan"), id="no authentication"),
        pytest.param(("_Genoa", "guest_policy_Milan"), id="no policy"),
        pytest.param(("id_block_Genoa", "id_auth_Milan"), id="a half of each"),
    ],
)
def test_an_incomplete_block_is_none(tmp_path: Path, marks: tuple[str, ...]) -> None:
    path = without("v1.21.0", marks, tmp_path)

    with pytest.raises(UsageError, match="has no annotations with an ID block"):
        read_deployed(inside(tmp_path, "v1.21.0", "metal-qemu-snp"), [path], print)


@pytest.mark.parametrize("product", ["_Milan", "_Genoa"])
def test_one_product_is_enough(tmp_path: Path, product: str) -> None:
    path = without("v1.21.0", (product,), tmp_path)

    assert read_deployed(inside(tmp_path, "v1.21.0", "metal-qemu-snp"), [path], print).policies


@pytest.mark.parametrize(
    ("chosen", "platform"), [("v1.16.0", "metal-qemu-snp"), ("v1.21.0", "metal-qemu-tdx")]
)
def test_a_block_is_refused_where_the_runtime_refuses_it(
    tmp_path: Path, chosen: str, platform: str
) -> None:
    path = outputs("v1.21.0", "metal-qemu-snp")[0]

    with pytest.raises(
        UsageError, match=rf"which release {chosen} of the runtime refuses"
    ) as caught:
        read_deployed(inside(tmp_path, chosen, platform), [path], print)

    assert caught.value.where is not None
    assert caught.value.where.line == line_of(path, f"{PREFIX}guest_policy_Genoa")


def test_outside_of_a_project_nothing_is_known_of_blocks(tmp_path: Path) -> None:
    path = without("v1.21.0", ("_Milan", "_Genoa"), tmp_path)

    assert read_deployed(outside(tmp_path), [path], print).policies
