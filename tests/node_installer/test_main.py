"""The command of the node installer: what it refuses before it touches a node."""

from pathlib import Path

import pytest

from contrast_tasks.node_installer.__main__ import main


@pytest.mark.parametrize(
    "handler",
    ["", "..", "../..", "contrast-cc-../..", "contrast-cc-metal-qemu-tdx-0123abcd"],
)
def test_a_handler_that_is_none_of_the_platform_removes_nothing(
    tmp_path: Path, handler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "opt/edgeless/contrast-cc-metal-qemu-snp-0123abcd/bin/shim"
    kept.parent.mkdir(parents=True)
    kept.write_text("")

    arguments = ["--uninstall", "--handler", handler, "Metal-QEMU-SNP"]

    assert main(arguments, {"HOST_MOUNT": str(tmp_path)}) == 1
    assert "error: " in capsys.readouterr().err
    assert kept.exists()
