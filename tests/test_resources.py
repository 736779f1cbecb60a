from pathlib import Path

import pytest

from contrast_tasks import resources

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, content in (("schemas/b.json", "b"), ("schemas/a/c.json", "c"), ("templates/.x", "")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    return tmp_path


def test_a_checkout_has_its_own_schemas() -> None:
    content = (REPOSITORY / "schemas" / "lock.schema.json").read_bytes()

    assert resources.read_bytes("schemas/lock.schema.json") == content
    assert resources.read_text("schemas/lock.schema.json") == content.decode()


def test_names_are_sorted_full_and_without_hidden_files(folder: Path) -> None:
    assert resources.names("schemas") == ["schemas/a/c.json", "schemas/b.json"]
    assert resources.names("templates") == []


def test_an_unknown_resource_is_refused(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        resources.read_bytes("schemas/none.json")
