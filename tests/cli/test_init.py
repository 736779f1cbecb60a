"""`init` in folders as people have them."""

import json
from pathlib import Path

import pytest
import yaml

from contrast_tasks.settings.load import load_settings
from tests.fakes.commands import Terminal, quiet_environment
from tests.fakes.workloads import deployment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    quiet_environment(monkeypatch, tmp_path / "cache")
    (tmp_path / "shop").mkdir()
    return Terminal(tmp_path / "shop", capsys, monkeypatch)


def put(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_yml", ".yml").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_a_folder_with_workloads_becomes_the_source(terminal: Terminal) -> None:
    put(
        terminal.root,
        k8s__web_yml=deployment("web"),
        docs__notes_yml="a: 1\n",
        build__x_yml=deployment("x"),
    )

    shown = terminal.run("init", "--platform", "K3s-QEMU-SNP")

    assert shown.code == 0
    assert shown.err == (
        "left out docs/notes.yml: they hold no Kubernetes object\n"
        "wrote contrast.toml\nwrote .contrast/settings.schema.json\nwrote .gitignore\n"
        "next: 'contrast-tasks lint' shows what else the deployment needs\n"
    )
    settings = load_settings(terminal.root, environ={})
    assert (settings.platform, settings.sources) == ("k3s-qemu-snp", ("k8s",))
    schema = json.loads((terminal.root / ".contrast/settings.schema.json").read_bytes())
    assert schema == json.loads((ROOT / "schemas/settings.schema.json").read_bytes())
    first = (terminal.root / "contrast.toml").read_text().splitlines()[0]
    assert first == "#:schema .contrast/settings.schema.json"


# What other programs have beside a deployment, and what is none of theirs although it looks so.
OTHERS = {
    "compose.yml": "services: {web: {image: nginx}}\n",
    "mkdocs.yml": "nav: []\nemoji: !!python/name:material.extensions.emoji.twemoji\n",
    "playbook.yaml": "- hosts: all\n",
    "tsconfig.json": '// a comment\n{"kind": 1,}',
    "k8s/values.yaml": "kind: small\nmetadata: {a: b}\n",
    "k8s/skaffold.yaml": "apiVersion: skaffold/v4beta6\nkind: Config\nmetadata: {name: web}\n",
    "k8s/kind.yml": "apiVersion: kind.x-k8s.io/v1alpha4\nkind: Cluster\nnodes: []\n",
}
NO_PODS = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"


@pytest.mark.parametrize(
    ("words", "sources"),
    [
        pytest.param((), ("broken.yml", "k8s/web.yml", "shop.yml"), id="the folder"),
        pytest.param((".",), ("broken.yml", "k8s/web.yml", "shop.yml"), id="named"),
        pytest.param(("k8s",), ("k8s/web.yml",), id="one folder"),
        pytest.param(("deploy", "shop.yml"), ("deploy", "shop.yml"), id="like a command"),
        pytest.param(("k8s/web.yml",), ("k8s/web.yml",), id="a file"),
    ],
)
def test_files_of_other_programs_are_left_out_with_a_word(
    terminal: Terminal, words: tuple[str, ...], sources: tuple[str, ...]
) -> None:
    texts = {
        **OTHERS,
        "k8s/web.yml": deployment("web"),
        "k8s/empty.yml": "\n",
        "shop.yml": NO_PODS,
        "deploy/shop.yml": NO_PODS,
        "broken.yml": deployment("till") + "\t- x\n",
        ".github/workflows/ci.yml": "on: push\n",
    }
    for name, text in texts.items():
        put(terminal.root, **{name.replace("/", "__"): text})

    shown = terminal.run("init", *words)

    assert load_settings(terminal.root, environ={}).sources == sources
    for name in OTHERS if words in ((), (".",)) else ():
        assert name in shown.err
    assert ("nothing there runs pods" in shown.err) == (words in ((), (".",)))
    assert "no Kubernetes object" not in terminal.run("lint").err


@pytest.mark.parametrize(
    ("hidden", "sources"), [("k8s/.lint.yml", ("k8s/web.yml",)), ("k8s/.keep", ("k8s",))]
)
def test_a_folder_is_no_source_if_lint_would_read_other_hidden_files_in_it(
    terminal: Terminal, hidden: str, sources: tuple[str, ...]
) -> None:
    put(terminal.root, **{"k8s__web_yml": deployment("web"), hidden.replace("/", "__"): "a: 1\n"})

    terminal.run("init")

    assert load_settings(terminal.root, environ={}).sources == sources


def test_a_chart_beside_a_workload_leaves_the_workload_in(terminal: Terminal) -> None:
    put(
        terminal.root,
        k8s__chart__Chart_yaml="name: a\n",
        k8s__chart__templates__web_yaml="{{ x }}\n",
        k8s__web_yml=deployment("web"),
    )

    shown = terminal.run("init", "k8s")

    assert "k8s/chart is a chart" in shown.err
    assert load_settings(terminal.root, environ={}).sources == ("k8s/web.yml",)


def test_a_kustomization_in_a_named_folder_is_the_source(terminal: Terminal) -> None:
    put(
        terminal.root,
        k8s__kustomization_yml="resources: [web.yml]\n",
        k8s__web_yml=deployment("web"),
    )

    terminal.run("init", "k8s")

    assert load_settings(terminal.root, environ={}).sources == ("k8s/kustomization.yml",)


def test_every_line_that_is_commented_out_is_a_setting(terminal: Terminal) -> None:
    put(terminal.root, web_yml=deployment("web"))
    terminal.run("init")
    file = terminal.root / "contrast.toml"
    lines = file.read_text().splitlines()
    commented = [line[2:] for line in lines if " = " in line and line.startswith("# ")]
    commented += [line[2:] for line in lines if line.startswith("# [workloads")]

    file.write_text(
        "\n".join(line.removeprefix("# ") if line[2:] in commented else line for line in lines)
    )

    settings = load_settings(terminal.root, environ={})
    assert len(commented) > 10
    assert settings.for_all.memory == "700Mi"
    assert settings.workload("Deployment/web") is not None


def test_paths_are_relative_to_the_users_folder(terminal: Terminal) -> None:
    put(terminal.root, a__web_yml=deployment("web"), b__x_yml=deployment("x"))

    terminal.run("init", "b/x.yml", "a")

    assert load_settings(terminal.root, environ={}).sources == ("b/x.yml", "a")


def test_settings_that_are_there_stay_and_the_rest_is_added_once(terminal: Terminal) -> None:
    (terminal.root / "contrast.toml").write_text("mine")
    (terminal.root / ".gitignore").write_text("build\n*.log")

    first, second = terminal.run("init"), terminal.run("init")

    assert "contrast.toml is there already and stays as it is" in first.err
    assert "wrote" not in second.err
    assert (terminal.root / "contrast.toml").read_text() == "mine"
    ignored = (terminal.root / ".gitignore").read_text().splitlines()
    assert ignored[:3] == ["build", "*.log", "/.contrast/"]
    assert "/build/" not in ignored
    assert "/seedshare-owner.pem" in ignored


def test_the_base_of_a_kustomization_is_no_source(terminal: Terminal) -> None:
    put(
        terminal.root,
        base__kustomization_yml="resources: [web.yml]\n",
        base__web_yml=deployment("web"),
        prod__kustomization_yml="resources: [../base]\n",
    )

    terminal.run("init")

    assert load_settings(terminal.root, environ={}).sources == ("prod/kustomization.yml",)


def test_of_several_kustomizations_the_user_names_one(terminal: Terminal) -> None:
    put(terminal.root, dev__kustomization_yml="{}\n", prod__kustomization_yml="{}\n")

    shown = terminal.run("init")

    assert shown.code == 2
    assert "dev/kustomization.yml, prod/kustomization.yml; expected one to be named" in shown.err
    assert not (terminal.root / "contrast.toml").exists()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("init",), "found no deployment here"),
        (("init", "nope"), "found nothing at 'nope'"),
        (("init", "chart/templates"), "found no Kubernetes object in chart/templates"),
        (("init", "--platform", "metal"), "unknown platform 'metal'"),
    ],
)
def test_without_a_deployment_nothing_is_written(
    terminal: Terminal, words: tuple[str, ...], wanted: str
) -> None:
    put(terminal.root, chart__Chart_yaml="name: a\n", chart__templates__web_yaml="{{ x }}\n")

    shown = terminal.run(*words)

    assert shown.code == 2
    assert wanted in shown.err
    assert sorted(path.name for path in terminal.root.iterdir()) == ["chart"]


def test_a_chart_is_told_with_the_command_that_renders_it(terminal: Terminal) -> None:
    put(terminal.root, chart__Chart_yaml="name: a\n", web_yml=deployment("web"))

    shown = terminal.run("init")

    assert (
        "chart is a chart: render it with 'helm template NAME chart -f VALUES > FILE'" in shown.err
    )
    assert load_settings(terminal.root, environ={}).sources == ("web.yml",)


@pytest.mark.parametrize(
    ("service", "file", "said"),
    [
        ("github", ".github/workflows/contrast.yml", 'project: "shop"'),
        ("gitlab", ".gitlab/contrast.yml", 'CONTRAST_PROJECT: "shop"'),
        ("pre-commit", ".pre-commit-config.yaml", 'args: [--project, "shop"]'),
    ],
)
def test_checks_are_written_where_the_service_looks_in_the_repository(
    terminal: Terminal, service: str, file: str, said: str
) -> None:
    put(terminal.root, web_yml=deployment("web"))
    repository = terminal.root.parent
    (repository / ".git").mkdir()

    first = terminal.run("init", "--ci", service)
    text = (repository / file).read_text()
    (repository / file).write_text("# mine\n")
    second = terminal.run("init", "--ci", service)

    assert said in text
    assert "path/to" not in text
    assert yaml.safe_load(text)
    assert f"wrote ../{file}\n" in first.err
    assert f"in ../{file} name your copy of contrast-tasks and the commit to use\n" in first.err
    # Source: GitLab's CI/CD YAML syntax reference, `include:local`; other services find their file by its name.
    included = f"include it in .gitlab-ci.yml: 'include: [{{local: {file}}}]'\n"
    assert (included in first.err) is (service == "gitlab")
    assert (repository / file).read_text() == "# mine\n"
    assert f"../{file} is there already and stays as it is; it needs:\n" in second.err
    assert second.out == text


def test_a_chart_that_is_named_is_refused_with_the_command_that_renders_it(
    terminal: Terminal,
) -> None:
    put(terminal.root, chart__Chart_yaml="name: a\n", chart__templates__web_yaml="{{ x }}\n")

    shown = terminal.run("init", "chart")

    assert shown.code == 2
    assert "found a chart at 'chart'" in shown.err
    assert "'helm template NAME chart -f VALUES > FILE'" in shown.err
    assert not (terminal.root / "contrast.toml").exists()


def test_a_project_elsewhere_is_told_by_its_path(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(terminal.root, web_yml=deployment("web"))
    terminal.run("init")
    other = terminal.root.parent / "other"
    other.mkdir()

    shown = Terminal(other, capsys, monkeypatch).run("init", "--project", "../shop")

    assert shown.err == (
        f"{terminal.root / 'contrast.toml'} is there already and stays as it is\n"
        "  hint: '--project .' makes the current folder a project\n"
    )
