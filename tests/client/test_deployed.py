"""The address of the Coordinator's user API."""

from pathlib import Path

import pytest

from contrast_tasks.client.deployed import coordinator_address
from contrast_tasks.errors import ClusterError, UsageError
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings


def settings(root: Path, platform: str = "local") -> Settings:
    (root / "contrast.toml").write_text(f'platform = "{platform}"\nsources = ["deployment"]\n')
    return load_settings(root, environ={})


def test_a_clusters_coordinator_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no coordinator was given"):
        coordinator_address(settings(tmp_path, "k3s-qemu-snp"), None)


def test_without_a_running_deployment_the_local_coordinator_is_absent(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="the local backend is not running"):
        coordinator_address(settings(tmp_path), None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7:1313", ("203.0.113.7", 1313)),
        ("coordinator", ("coordinator", 1313)),
        ("[fd00::1]:2", ("fd00::1", 2)),
        ("[fd00::1]", ("fd00::1", 1313)),
    ],
)
def test_the_coordinators_port_may_be_left_out(
    tmp_path: Path, text: str, expected: tuple[str, int]
) -> None:
    assert coordinator_address(settings(tmp_path), text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(":1313", id="no host"),
        pytest.param("203.0.113.7:", id="no port"),
        pytest.param("203.0.113.7:0", id="port 0"),
        pytest.param("203.0.113.7:65536", id="port above 65535"),
        pytest.param("203.0.113.7:١٣", id="port in other digits"),
        pytest.param("fd00::1", id="ipv6 without brackets"),
        pytest.param("https://coordinator:1313", id="url"),
        pytest.param("coordinator:1313/", id="path"),
        pytest.param("co ordinator:1313", id="space"),
        pytest.param("[fd00::1:1313", id="one bracket"),
    ],
)
def test_what_is_no_address_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="wanted host:port") as caught:
        coordinator_address(settings(tmp_path), text)

    assert "203.0.113.7:1313" in caught.value.hint
