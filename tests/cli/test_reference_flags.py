"""The flags of the reference product's command line: taken, or refused with the reason, never silently ignored.

Which flags there are: docs/internals/generate.md 2, which states them from the reference product's own code.
"""

import pytest
import yaml

from contrast_tasks.cli.arguments import split_commands
from contrast_tasks.cli.commands import command_module
from tests.fakes.commands import Terminal
from tests.fakes.workloads import COMPONENTS, FakeProject, locked

REPLACED = "registry.example/app:v2"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        pytest.param(["-p", "rules.rego"], "-p cannot be used", id="rules"),
        pytest.param(["--policy", "rules.rego"], "--policy cannot be used", id="rules-long"),
        pytest.param(["-s", "settings.json"], "-s cannot be used", id="settings"),
        pytest.param(["--settings=settings.json"], "--settings cannot be used", id="settings-long"),
        pytest.param(["--reference-value-patches", "a.json"], "nothing to patch", id="patches"),
        pytest.param(["--purge-empty-reference-values"], "no entry of the manifest", id="purge"),
        pytest.param(["--insecure-enable-debug-shell-access"], "no pod gets a shell", id="shell"),
    ],
)
def test_a_flag_that_cannot_be_kept_is_refused_with_a_reason(
    terminal: Terminal, project: FakeProject, words: list[str], found: str
) -> None:
    shown = terminal.run("generate", *words, "deployment/")

    assert shown.code == 2
    assert found in shown.err
    assert "hint: " in shown.err
    assert not (project.root / "build").exists()


def test_the_cache_of_layers_has_no_effect_and_that_is_said(
    terminal: Terminal, project: FakeProject
) -> None:
    shown = terminal.run("generate", "-c", "layers-cache.json")

    assert shown.code == 0
    assert "warning: -c has no effect" in shown.err
    assert not (project.root / "layers-cache.json").exists()


@pytest.mark.parametrize(
    "words",
    [["-w", "a.pem", "-d"], ["--inject-image-store", "--skip-image-store"]],
    ids=["owners", "image-store"],
)
def test_flags_that_contradict_each_other_exclude_each_other(
    terminal: Terminal, words: list[str]
) -> None:
    shown = terminal.run("generate", *words)

    assert shown.code == 2
    assert "not allowed with" in shown.err


def test_an_owner_key_is_not_dropped_where_the_settings_deny_updates(
    terminal: Terminal, project: FakeProject
) -> None:
    assert "owners.disable_updates = true" in project.read("contrast.toml")

    shown = terminal.run("generate", "-w", "owner.pem")

    assert shown.code == 2
    assert "owners.disable_updates is true at contrast.toml:" in shown.err
    assert not (project.root / "manifest.json").exists()


@pytest.mark.parametrize("flag", ["-o", "--output"])
def test_all_annotated_yaml_goes_to_one_file_in_the_order_of_the_arguments(
    terminal: Terminal, project: FakeProject, flag: str
) -> None:
    before = project.read("deployment/shop.yml")

    shown = terminal.run("generate", "deployment/till", "deployment/shop.yml", flag, "all.yml")

    assert shown.code == 0, shown.err
    documents = list(yaml.safe_load_all(project.read("all.yml")))
    parts = [
        each
        for name in ("till/till.yaml", "shop.yml", "coordinator.yml")
        for each in yaml.safe_load_all(project.read(f"build/deployment/{name}"))
        if each
    ]
    assert documents == parts
    assert (project.root / "all.yml").stat().st_mode & 0o777 == 0o644
    assert project.read("deployment/shop.yml") == before


def test_the_one_file_may_not_be_among_the_sources(
    terminal: Terminal, project: FakeProject
) -> None:
    shown = terminal.run("generate", "deployment/", "-o", "deployment/all.yml")

    assert shown.code == 2
    assert "output.combined is 'deployment/all.yml', which is among the sources" in shown.err
    assert not (project.root / "deployment/all.yml").exists()


def test_the_one_file_may_not_be_a_folder(terminal: Terminal, project: FakeProject) -> None:
    (project.root / "folder").mkdir()

    shown = terminal.run("generate", "deployment/", "-o", "folder")

    assert shown.code == 2
    assert "which is a folder" in shown.err


def test_a_form_that_is_neither_is_refused(terminal: Terminal) -> None:
    shown = terminal.run("generate", "--output", "sariff")

    assert shown.code == 2
    assert "invalid choice: 'sariff'" in shown.err


def test_an_image_is_replaced_in_the_pods_and_in_the_lock(
    terminal: Terminal, project: FakeProject
) -> None:
    project.lock(locked(REPLACED))
    (project.root / "images.txt").write_text(f"# ours\n\nshop/app:v1   =   {REPLACED}\n")

    shown = terminal.run("generate", "--image-replacements", "images.txt")

    assert shown.code == 0, shown.err
    text = project.read("build/deployment/shop.yml")
    assert f"image: {REPLACED}@{locked(REPLACED).digest}" in text
    assert "shop/app:v1" not in text


def test_an_image_is_replaced_however_it_is_spelled(
    terminal: Terminal, project: FakeProject
) -> None:
    project.lock(locked(REPLACED))
    (project.root / "images.txt").write_text(f"docker.io/shop/app:v1 = {REPLACED}\n")

    shown = terminal.run("generate", "--image-replacements", "images.txt")

    assert shown.code == 0, shown.err
    assert REPLACED in project.read("build/deployment/shop.yml")


def test_a_changed_replacement_is_noticed(terminal: Terminal, project: FakeProject) -> None:
    project.lock(locked(REPLACED))
    words = ("generate", "--image-replacements", "images.txt")
    (project.root / "images.txt").write_text("# none\n")
    for _ in range(3):
        assert terminal.run(*words).code == 0
    (project.root / "images.txt").write_text(f"shop/app:v1={REPLACED}\n")

    assert terminal.run(*words).code == 0

    assert REPLACED in project.read("build/deployment/shop.yml")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("a\n", "images.txt:1: error: found 'a', expected two images", id="one"),
        pytest.param("\na = b = c\n", "images.txt:2: ", id="three"),
        pytest.param("a = B\n", "images.txt:1: ", id="not-an-image"),
        pytest.param("a = b\na = c\n", "is replaced at line 1 too", id="twice"),
        pytest.param("a = b\ndocker.io/a = c\n", "docker.io/a is", id="spelled-twice"),
        pytest.param("a = b\nb = c\n", "b is replaced itself at line 2", id="chain"),
    ],
)
def test_a_faulty_line_of_replacements_is_named(
    terminal: Terminal, project: FakeProject, text: str, found: str
) -> None:
    (project.root / "images.txt").write_text(text)

    shown = terminal.run("generate", "--image-replacements", "images.txt")

    assert shown.code in (2, 20)
    assert found in shown.err


def test_the_workspace_has_the_files_with_default_names(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONTRAST_PROJECT", raising=False)

    shown = terminal.run("--workspace-dir", "work", "generate", "deployment/")

    assert shown.code == 2
    assert "project work is not a directory" in shown.err


@pytest.mark.parametrize(
    ("level", "is_silent"), [("warn", False), ("INFO", False), ("error", True), ("9", True)]
)
def test_the_log_level_decides_how_much_is_said(
    terminal: Terminal, project: FakeProject, level: str, is_silent: bool
) -> None:
    del project

    shown = terminal.run("generate", "--log-level", level)

    assert shown.code == 0
    assert ("generated 4 of 4 workloads" not in shown.err) is is_silent


def test_an_unknown_log_level_is_refused(terminal: Terminal) -> None:
    shown = terminal.run("generate", "--log-level", "loud")

    assert shown.code == 2
    assert "is 'loud', expected debug, info, warn, error or a number" in shown.err


@pytest.mark.parametrize("command", ["set", "verify", "recover", "generate"])
def test_every_short_flag_means_what_the_reference_product_means(command: str) -> None:
    # Source: docs/internals/generate.md 2.1 to 2.4.
    wanted = {
        "generate": {"-p": "policy", "-s": "settings", "-c": "genpolicy-cache-path"}
        | {"-m": "manifest", "-w": "add-workload-owner-key", "-d": "disable-updates"},
        "set": {"-m": "manifest", "-c": "coordinator"},
        "verify": {"-m": "manifest", "-c": "coordinator"},
        "recover": {"-m": "manifest", "-c": "coordinator"},
    }[command]
    from contrast_tasks.cli.arguments import parser_of

    options = parser_of(command)._option_string_actions
    for short, long in wanted.items():
        assert options[short] is options[f"--{long}"]
    assert command_module(command).EXAMPLE.startswith(command)
    assert split_commands([command, "-m", "a.json"]) == [[command, "-m", "a.json"]]


def test_without_a_settings_file_it_is_said_where_the_annotated_files_are(
    terminal: Terminal, project: FakeProject
) -> None:
    (project.root / "contrast.toml").unlink()
    words = ["generate", "--reference-values", "k3s-qemu-snp", "--set", 'defaults.memory="160Mi"']
    words += ["--set", f"components = {{ reference = true, {COMPONENTS} }}"]
    words += ["--set", 'runtime.class="contrast-cc-k3s-qemu-snp-0a1b2c3d"']

    shown = terminal.run(*words, "deployment/")

    assert shown.code == 13, shown.err
    assert "the annotated files are other ones; with --in-place deployment/ has them" in shown.err
    again = terminal.run(*words, "deployment/")
    assert "--in-place" not in again.err
