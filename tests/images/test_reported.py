"""What users of other tools reported about images: each case of testdata/reports as its expected.txt says."""

from collections.abc import Callable

import pytest

from contrast_tasks.images.lock import LockedImage, parse_lock
from tests.fakes.commands import Terminal

APP = "registry.example/shop/app:v1"
Reported = Callable[[str], Terminal]


def locked(terminal: Terminal) -> LockedImage:
    """Run `lock` and return the entry of the case's image."""
    shown = terminal.run("lock")
    assert shown.code == 0, shown.err
    return parse_lock((terminal.root / "contrast.lock").read_bytes()).images[APP]


@pytest.mark.first(2)
@pytest.mark.parametrize(
    ("case", "env"),
    [
        pytest.param("30-config-without-platform", "PATH=/bin", id="30"),
        pytest.param("33-amd64-variants", "LEVEL=v1", id="33"),
        pytest.param("34-absolute-names-in-layer", "PATH=/bin", id="34"),
        pytest.param("36-zstd-layer", "PATH=/bin", id="36"),
        pytest.param("38-layout-tag-only", "PATH=/bin", id="38"),
        pytest.param("38b-layout-tag-with-capitals", "PATH=/bin", id="38b"),
    ],
)
def test_the_image_is_taken(reported: Reported, case: str, env: str) -> None:
    assert locked(reported(case)).config.env == (env,)


def test_34_the_account_files_of_the_upper_layer_count(reported: Reported) -> None:
    assert locked(reported("34-absolute-names-in-layer")).passwd == "app:x:1000:1000::/:\n"


def test_36_the_account_files_of_a_zstd_layer_are_read(reported: Reported) -> None:
    assert "app:x:1000:1000::/:" in locked(reported("36-zstd-layer")).passwd


@pytest.mark.first(2)
@pytest.mark.parametrize(
    "case",
    [
        "30-config-without-platform",
        "33-amd64-variants",
        "34-absolute-names-in-layer",
        "36-zstd-layer",
        "38-layout-tag-only",
        "38b-layout-tag-with-capitals",
    ],
)
def test_a_policy_is_made_of_the_image_with_one_remark(reported: Reported, case: str) -> None:
    """The images name a user, whom only nodes that see the image's files can look up."""
    shown = reported(case).run("generate")

    assert shown.code == 0, shown.err
    found = [line for line in shown.err.splitlines() if line.startswith("deployment/")]
    assert len(found) == 1
    assert found[0].startswith("deployment/a.yml:10: warning[G217 image-user-name]: ")
