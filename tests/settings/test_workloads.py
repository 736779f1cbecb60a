"""Settings of workloads by name, by pattern and for all. Source: docs/internals/generate.md 10; the keys of docs/reference/settings.md."""

from pathlib import Path

import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import Pattern, parse_key

HEAD = 'platform = "metal-qemu-snp"\nsources = ["d"]\n'


def load(folder: Path, text: str) -> Settings:
    (folder / "contrast.toml").write_text(HEAD + text)
    return load_settings(folder, environ={})


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("*", ("*", "*", "*")),
        ("shop/*", ("shop", "*", "*")),
        ("StatefulSet/*", ("*", "StatefulSet", "*")),
        ("*/db", ("*", "*", "db")),
        ("shop/StatefulSet/db-*", ("shop", "StatefulSet", "db-*")),
        ("Deployment/web", ("default", "Deployment", "web")),
        ("shop/Deployment/web", ("shop", "Deployment", "web")),
    ],
)
def test_a_key_has_three_parts(key: str, parts: tuple[str, str, str]) -> None:
    assert parse_key(key) == Pattern(*parts)


TABLES = """\
[defaults]
user = "1"
[workloads."*"]
user = "2"
env = { A = "1", B = "1" }
[workloads."shop/*"]
user = "3"
cpu_limits = false
[workloads."StatefulSet/*"]
user = "4"
[workloads."*/db*"]
user = "5"
env = { B = "2" }
[workloads."shop/StatefulSet/db"]
fit_memory = true
"""


@pytest.mark.parametrize(
    ("key", "user", "table"),
    [
        ("Pod/a", "2", "*"),
        ("shop/Pod/a", "3", "shop/*"),
        ("shop/StatefulSet/a", "4", "StatefulSet/*"),
        ("shop/StatefulSet/db", "5", "*/db*"),
        ("default/StatefulSet/a", "4", "StatefulSet/*"),
    ],
)
def test_the_name_says_more_than_the_kind_and_that_more_than_the_namespace(
    tmp_path: Path, key: str, user: str, table: str
) -> None:
    settings = load(tmp_path, TABLES).workload(key)

    assert settings is not None
    assert settings.user == user
    assert settings.place("user").pointer == f"/workloads/{table.replace('/', '~1')}/user"


def test_tables_go_together_key_by_key(tmp_path: Path) -> None:
    settings = load(tmp_path, TABLES).workload("shop/StatefulSet/db")

    assert settings is not None
    assert (settings.fit_memory, settings.cpu_limits) == (True, False)
    assert settings.env == {"A": "1", "B": "2"}
    assert settings.by_table() == {
        '[workloads."*/db*"]': {"user": "5", "env": {"A": "1", "B": "2"}},
        '[workloads."shop/*"]': {"cpu_limits": False},
        '[workloads."shop/StatefulSet/db"]': {"fit_memory": True},
    }


def test_defaults_are_for_all_but_the_coordinator(tmp_path: Path) -> None:
    settings = load(tmp_path, '[defaults]\nuser = "1"\nmemory = "1Gi"\n')
    pod = settings.workload("Pod/a")

    assert pod is not None
    assert (pod.user, pod.memory, settings.memory) == ("1", None, "1Gi")
    assert str(pod.place("user")) == "contrast.toml:4"
    assert settings.workload("StatefulSet/coordinator", is_coordinator=True) is None


def test_a_workload_for_which_no_pattern_is_has_no_settings(tmp_path: Path) -> None:
    assert load(tmp_path, '[workloads."shop/*"]\nuser = "3"\n').workload("Pod/a") is None


@pytest.mark.parametrize("key", ["web", "shop/web", "Deployment", "*/*/*/*", "deployment/web", ""])
def test_a_malformed_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(SettingsError, match="is not"):
        load(tmp_path, f'[workloads."{key}"]\nuser = "1"\n')


@pytest.mark.parametrize(
    ("entry", "lacks"), [('rule = "G031"', "reason"), ('reason = "so"', "rule")]
)
def test_an_ignored_finding_needs_a_reason(tmp_path: Path, entry: str, lacks: str) -> None:
    with pytest.raises(SettingsError, match=rf"lint\.ignore\[0\] has no {lacks}"):
        load(tmp_path, f"[[lint.ignore]]\n{entry}\n")


@pytest.mark.parametrize(
    ("key", "keys"),
    [("Secret/db", ("b",)), ("Secret/x", ("a",)), ("ConfigMap/db", None)],
)
def test_the_most_specific_table_tells_of_an_object_made_elsewhere(
    tmp_path: Path, key: str, keys: tuple[str, ...] | None
) -> None:
    settings = load(
        tmp_path,
        '[elsewhere."Secret/*"]\nkeys = ["a"]\n[elsewhere."default/Secret/db"]\nkeys = ["b"]\n',
    )
    kind, _, name = key.partition("/")

    found = settings.config(kind, "", name)

    assert (found.keys if found else None) == keys


def test_nobody_makes_objects_on_this_machine(tmp_path: Path) -> None:
    tables = '[elsewhere."Secret/a"]\n[elsewhere."Secret/b"]\nvalues = { x = "1" }\n'
    settings = load(tmp_path, tables).replace(platform="local")

    assert settings.config("Secret", "default", "a") is None
    assert settings.config("Secret", "default", "b") is not None
