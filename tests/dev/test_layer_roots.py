import json
from pathlib import Path

import pytest

from contrast_tasks.errors import UsageError
from dev.layers.chore import run_layer_roots
from dev.verdicts import SomeFailed
from tests.fakes.testdata import AKS

AT_HAND = pytest.mark.skipif(not AKS.is_dir(), reason="the recorded layers are not at hand")
NAME = "one-file-ustar"


@AT_HAND
def test_every_archive_has_what_the_nodes_own_tools_made_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_layer_roots([str(AKS / "layers")])

    *lines, total = capsys.readouterr().out.splitlines()
    expected = json.loads((AKS / "layers/roots.json").read_text())
    assert total == f"{len(expected)} passed, 0 failed"
    one = expected[NAME]
    assert f"ok {NAME}.tar.gz: {one['diff_id']} {one['tail_sha256']} {one['root']}" in lines


@AT_HAND
def test_another_root_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = f"{NAME}.tar.gz"
    expected = json.loads((AKS / "layers/roots.json").read_text())[NAME]
    (tmp_path / archive).write_bytes((AKS / "layers" / archive).read_bytes())
    (tmp_path / "roots.json").write_text(json.dumps({NAME: expected | {"root": "0" * 64}}))

    with pytest.raises(SomeFailed):
        run_layer_roots([str(tmp_path)])

    out = capsys.readouterr().out
    assert f"root: found {expected['root']}, expected {'0' * 64}" in out
    assert out.endswith("0 passed, 1 failed\n")


def test_an_absent_archive_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "roots.json").write_text('{"a": {}}')

    with pytest.raises(SomeFailed):
        run_layer_roots([str(tmp_path)])

    assert "FAILED a.tar.gz: read: " in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["a", "b"], ["/nowhere"]])
def test_a_folder_with_roots_is_wanted(words: list[str]) -> None:
    with pytest.raises(UsageError):
        run_layer_roots(words)
