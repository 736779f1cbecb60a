"""Which images get this machine's programs underneath: those that could not run what they start."""

from pathlib import Path

import pytest

from contrast_tasks.local.isolated.machine_files import write_machine_files
from contrast_tasks.local.isolated.roots import lacks_programs
from contrast_tasks.local.messages import ImagePlan

ELF = b"\x7fELF\x02\x01\x01"


def image(*entrypoint: str, cmd: tuple[str, ...] = ()) -> ImagePlan:
    return ImagePlan(
        layout="build/images",
        reference="shop/cart:v1",
        digest="sha256:" + "0" * 64,
        entrypoint=entrypoint,
        cmd=cmd,
        env=("PATH=/usr/local/bin:/usr/bin",),
        working_dir="",
        user="",
        volumes=(),
        passwd=None,
        group=None,
    )


@pytest.mark.parametrize(
    ("files", "started", "expected"),
    [
        pytest.param({"app/cart.py": b""}, image("python3", "-m", "cart"), True, id="modules only"),
        pytest.param(
            {"usr/local/bin/cart": b"#!/usr/bin/env python3\n"},
            image("/usr/local/bin/cart"),
            True,
            id="a script without its interpreter",
        ),
        pytest.param({"coredns": ELF}, image("/coredns"), False, id="a program by itself"),
        pytest.param(
            {"usr/local/bin/etcd": ELF}, image(cmd=("etcd",)), False, id="found by its name"
        ),
        pytest.param({"usr/bin/python3": b""}, image("python3"), False, id="a system"),
        pytest.param({"app/x": b""}, image(), True, id="nothing to start"),
    ],
)
def test_an_image_without_programs_is_a_stand_in(
    tmp_path: Path, files: dict[str, bytes], started: ImagePlan, expected: bool
) -> None:
    for name, content in files.items():
        place = tmp_path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    assert lacks_programs(tmp_path, started) is expected


def test_a_link_that_leads_out_of_the_image_counts_as_its_system(tmp_path: Path) -> None:
    (tmp_path / "bin").symlink_to("/usr/bin")

    assert lacks_programs(tmp_path, image("sh")) is False


def test_pods_get_no_file_of_the_machine_that_only_some_may_read(tmp_path: Path) -> None:
    """Who deploys as root can read the machine's private keys."""
    modes = {"ssl/a.pem": 0o644, "ssl/b.pem": 0o640, "ssl/private/a.key": 0o644, "services": 0o600}
    for name, mode in modes.items():
        place = tmp_path / "etc" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"")
        place.chmod(mode)
    (tmp_path / "etc/ssl/private").chmod(0o710)

    write_machine_files(tmp_path / "layer", {}, etc=tmp_path / "etc")

    written = tmp_path / "layer/root/etc"
    found = [str(path.relative_to(written)) for path in written.rglob("*") if path.is_file()]
    assert found == ["ssl/a.pem"]
