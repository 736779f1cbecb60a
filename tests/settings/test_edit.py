import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.settings.edit import Change, tables_text, with_changes, with_texts


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
        pytest.param(
            '[components]\na = """0\n"""\nb = "0" # x\n',
            '[components]\na = "1"\nb = "2" # x\n',
            id="string of several lines",
        ),
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
    ],
)
def test_a_form_that_cannot_be_edited_is_refused_with_the_lines_to_write(before: str) -> None:
    with pytest.raises(SettingsError, match="cannot be edited") as caught:
        with_texts(before, "components", {"a": "1", "b": "2"})

    assert 'b = "2"' in caught.value.hint


def test_a_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(SettingsError, match="is not TOML"):
        with_texts("a = \n", "components", {"a": "1"})


WEB = ("workloads", "Deployment/web")


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        pytest.param(
            "",
            Change((*WEB, "cpu_limits"), value=False, why="measured"),
            '[workloads."Deployment/web"]\n# measured\ncpu_limits = false\n',
            id="new table",
        ),
        pytest.param(
            '# mine\n[workloads."Deployment/web"] # here\nuser = "1" # one\n',
            Change((*WEB, "fit_memory"), value=True),
            '# mine\n[workloads."Deployment/web"] # here\nfit_memory = true\nuser = "1" # one\n',
            id="table that is there",
        ),
        pytest.param(
            '[workloads."Deployment/web"]\nremove = [\n  "a", # why\n]\n# end\n',
            Change((*WEB, "remove"), ["b", "a"]),
            '[workloads."Deployment/web"]\nremove = ["a", "b"]\n# end\n',
            id="list that lacks something",
        ),
        pytest.param(
            'defaults.memory = "1Gi" # all\nplatform = "local"\n',
            Change(("defaults", "fit_memory"), value=True, why="so"),
            'defaults.memory = "1Gi" # all\n# so\ndefaults.fit_memory = true\nplatform = "local"\n',
            id="dotted keys",
        ),
        pytest.param(
            '[elsewhere."Secret/a"]\n',
            Change(("elsewhere", "Secret/b"), {}),
            '[elsewhere."Secret/a"]\n\n[elsewhere."Secret/b"]\n',
            id="table without keys",
        ),
        pytest.param(
            '[elsewhere."Secret/b"]\nkeys = ["x"]\n',
            Change(("elsewhere", "Secret/b"), {}),
            '[elsewhere."Secret/b"]\nkeys = ["x"]\n',
            id="table that says more",
        ),
        pytest.param(
            '[defaults]\r\nmemory = "1Gi"\r\n',
            Change(("defaults", "cpu_limits"), value=False),
            '[defaults]\r\ncpu_limits = false\r\nmemory = "1Gi"\r\n',
            id="line ends of Windows",
        ),
    ],
)
def test_a_change_is_made_once_and_the_rest_stays(before: str, change: Change, after: str) -> None:
    assert with_changes(before, [change]) == after
    assert with_changes(after, [change]) == after


def test_changes_are_shown_table_by_table() -> None:
    changes = [
        Change(("defaults", "fit_memory"), value=True, why="a"),
        Change((*WEB, "user"), "1:2"),
        Change(("defaults", "cpu_limits"), value=False),
        Change(("elsewhere", "shop/Secret/db"), {}, why="b"),
    ]

    assert tables_text(changes) == (
        "[defaults]\n# a\nfit_memory = true\ncpu_limits = false\n\n"
        '[workloads."Deployment/web"]\nuser = "1:2"\n\n'
        '[elsewhere."shop/Secret/db"]\n# b\n'
    )
