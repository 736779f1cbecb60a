import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.settings.edit import with_texts


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", '[components]\na = "1"\nb = "2"\n', id="empty"),
        pytest.param(
            'platform = "local" # here',
            'platform = "local" # here\n\n[components]\na = "1"\nb = "2"\n',
            id="no table, no newline at the end",
        ),
        pytest.param(
            '[components] # ours\n# the old one\na = "0"   # why\n[images]\nlayouts = []\n',
            '[components] # ours\nb = "2"\n# the old one\na = "1"   # why\n[images]\nlayouts = []\n',
            id="one of them is there",
        ),
        pytest.param(
            "[components]\n\"a\" = '0'\nb='0'#x\n",
            '[components]\n"a" = "1"\nb="2"#x\n',
            id="quoted key, literal strings",
        ),
        pytest.param(
            "components = { b = '0', a = 'x = y' }\n",
            'components = { b = "2", a = "1" }\n',
            id="inline table",
        ),
        pytest.param(
            'components.a = "0"\ncomponents.b = "0"\n',
            'components.a = "1"\ncomponents.b = "2"\n',
            id="dotted keys",
        ),
        pytest.param("[components]", '[components]\na = "1"\nb = "2"\n', id="header only"),
    ],
)
def test_values_change_and_the_rest_stays(before: str, after: str) -> None:
    assert with_texts(before, "components", {"a": "1", "b": "2"}) == after


def test_doing_it_again_changes_nothing() -> None:
    once = with_texts('# mine\nplatform = "x"\n', "components", {"a": "1"})

    assert with_texts(once, "components", {"a": "1"}) == once


def test_a_value_with_quotes_is_written_as_toml() -> None:
    assert with_texts("", "components", {"a": 'x"\\y'}) == '[components]\na = "x\\"\\\\y"\n'


@pytest.mark.parametrize(
    "before",
    [
        pytest.param('components = { a = "0" }\n', id="inline table that lacks a key"),
        pytest.param('[components]\na = """0"""\nb = "0"\n', id="string of several lines"),
    ],
)
def test_a_form_that_cannot_be_edited_is_refused_with_the_lines_to_write(before: str) -> None:
    with pytest.raises(SettingsError, match="cannot be edited") as caught:
        with_texts(before, "components", {"a": "1", "b": "2"})

    assert 'b = "2"' in caught.value.hint


def test_a_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not TOML"):
        with_texts("a = \n", "components", {"a": "1"})
