import json
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.steps.accepted import (
    Row,
    accept,
    assemble,
    frame_of,
    is_plain,
    load_rows,
    save_rows,
    to_check,
)

CODE = "c0de"


def _row(number: int, **more: Any) -> Row:
    head = {
        "policy_sha256": f"{number:064x}",
        "sans": [f"app-{number}", "*"],
        "workload_secret_id": f"secret-{number}",
        "role": "",
        "findings": [],
    }
    return Row(f"inputs-{number}", head | more)


def _manifest(*rows: Row) -> Manifest:
    entries = {
        row.policy_sha256: PolicyEntry(
            sans=tuple(row.head["sans"]),
            workload_secret_id=row.head["workload_secret_id"],
            role=row.head["role"],
        )
        for row in rows
    }
    return Manifest(
        policies=dict(sorted(entries.items())),
        reference_values=defaults_for("aks-clh-snp"),
        workload_owner_key_digests=(),
        seedshare_owner_pub_keys=(),
    )


ROWS = {
    "c": _row(3, role="coordinator"),
    "b": _row(2, sans=["<b> & 'c'", '"Policies": {}', "    },"]),
    "a": _row(1, workload_secret_id=""),
}


def _accepted(*names: str, rows: dict[str, Row]) -> dict[str, Row]:
    manifest = _manifest(*(rows[name] for name in names))
    known = accept(rows, names, frame_of(manifest), render_manifest(manifest).decode())
    assert known is not None
    return known


def test_entries_accepted_together_give_the_bytes_of_the_whole() -> None:
    whole = _manifest(*ROWS.values())

    known = _accepted("a", "b", "c", rows=ROWS)

    assert assemble(known, frame_of(whole)).encode() == render_manifest(whole)


def test_entries_accepted_one_after_the_other_give_the_same_bytes() -> None:
    whole = _manifest(*ROWS.values())
    known = ROWS
    for name in ROWS:
        known = _accepted(name, rows=known)

    assert assemble(known, frame_of(whole)).encode() == render_manifest(whole)


def test_workloads_without_a_policy_have_no_entry() -> None:
    rows = ROWS | {"plain": _row(4, policy_sha256="")}
    known = _accepted("a", "b", "c", rows=rows)

    assert assemble(known, frame_of(_manifest())).encode() == render_manifest(
        _manifest(*ROWS.values())
    )
    assert is_plain(rows.values())
    assert sorted(to_check(rows)) == ["a", "b", "c"]


def test_only_new_entries_and_coordinators_are_checked() -> None:
    known = _accepted("a", "c", rows=ROWS)

    assert sorted(to_check(known)) == ["b", "c"]


@pytest.mark.parametrize(
    ("frame", "checked"),
    [
        pytest.param("no place for policies", "{}", id="no-frame"),
        pytest.param('{\n  "Policies": {},\n  "A": 1\n}\n', "{}", id="other-text"),
        pytest.param(
            '{\n  "Policies": {}\n}\n',
            '{\n  "Policies": {\n    "a": {\n    },\n    "b": {\n    }\n  }\n}\n',
            id="other-number",
        ),
    ],
)
def test_text_that_is_not_as_expected_is_not_taken_apart(frame: str, checked: str) -> None:
    assert accept(ROWS, ["a"], frame, checked) is None


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"policy_sha256": f"{2:064x}"}, id="policy"),
        pytest.param({"workload_secret_id": "secret-2"}, id="secret"),
    ],
)
def test_what_two_workloads_share_is_for_the_whole_check(more: dict[str, str]) -> None:
    assert not is_plain([*ROWS.values(), _row(9, **more)])


def test_empty_secrets_are_not_shared() -> None:
    assert is_plain([_row(1, workload_secret_id=""), _row(2, workload_secret_id="")])


def test_rows_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "state/accepted"
    known = _accepted("a", "b", "c", rows=ROWS)

    save_rows(path, CODE, known)

    assert load_rows(path, CODE) == known
    assert load_rows(path, "other") == {}


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "changed", "json"])
def test_a_damaged_file_counts_as_absent(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "accepted"
    save_rows(path, CODE, ROWS)
    content = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut": content[:-1],
                "changed": content.replace(b"app-1", b"app-2"),
                "json": json.dumps({"version": 1}).encode(),
            }[damage]
        )

    assert load_rows(path, CODE) == {}


def test_a_file_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    save_rows(tmp_path / "file/accepted", CODE, ROWS)

    assert load_rows(tmp_path / "file/accepted", CODE) == {}
