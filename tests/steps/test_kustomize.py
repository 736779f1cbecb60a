"""Kustomizations and charts among the sources. kubectl is the real one; its output is what the files of the test say."""

import shutil
from pathlib import Path

import pytest

from contrast_tasks.errors import GraphError
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.index import Indexed, index_sources
from contrast_tasks.steps.kustomize import inputs_of, render
from contrast_tasks.steps.sources import find_sources
from tests.fakes.commands import stand_in

DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  template:
    spec:
      containers:
      - name: web
        image: web:1
"""
SOURCE = "overlays/prod/kustomization.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "base/kustomization.yml": "resources: [web.yml]\n",
        "base/web.yml": DEPLOYMENT,
        SOURCE: "resources:\n- ../../base\nnamePrefix: prod-\nconfigMapGenerator:\n- name: notes\n  files: [a=note.txt]\n",
        "overlays/prod/note.txt": "hello\n",
        "overlays/prod/unused.yml": DEPLOYMENT,
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def index(root: Path, *sources: str, in_place: bool = False) -> Indexed:
    settings = Settings(
        root=root,
        platform="local",
        release_name="v1.21.0",
        sources=sources,
        include_coordinator=False,
        in_place=in_place,
    )
    return index_sources(settings, {}, now_ns=0)


def test_the_inputs_are_the_files_that_kustomizations_name(project: Path) -> None:
    found = {str(path.relative_to(project)) for path in inputs_of(project / "overlays/prod")}

    assert found == {
        *("overlays/prod", SOURCE, "overlays/prod/note.txt"),
        *("base", "base/kustomization.yml", "base/web.yml"),
    }


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kubectl_renders_a_kustomization_and_its_base(project: Path) -> None:
    found = index(project, SOURCE).index

    [source] = found.files
    assert (source.file, source.output) == ("build/rendered/overlays/prod.yml", "prod.yml")
    assert list(found.workloads) == ["Deployment.prod-web"]
    [workload] = found.workloads.values()
    line = (project / source.file).read_text().splitlines()[workload.line - 1]
    assert line == "apiVersion: apps/v1"
    assert found.findings == ()
    assert {SOURCE, "base/web.yml", "base"} <= set(found.directories)


def test_it_is_rendered_again_when_an_input_changes_or_the_result_was_edited(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    stand_in(monkeypatch, tmp_path / "bin", f'echo "$*" >>{log}; echo "a: 1"')

    def runs() -> int:
        render(project, SOURCE, "build")
        return len(log.read_text().splitlines())

    assert [runs(), runs()] == [1, 1]
    (project / "base/web.yml").write_text(DEPLOYMENT.replace("web:1", "web:2"))
    assert [runs(), runs()] == [2, 2]
    (project / "overlays/prod/unused.yml").unlink()  # a name in the folder
    assert [runs(), runs()] == [3, 3]
    rendered = project / "build/rendered/overlays/prod.yml"
    rendered.write_text(rendered.read_text() + "b: 2\n")
    assert [runs(), runs()] == [4, 4]
    assert log.read_text().splitlines()[0] == f"kustomize {project}/overlays/prod"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param("error: no such\nresource", id="plain"),
        pytest.param(
            'E1130 17:30:01.318409   11995 run.go:72] "command failed" err="error: no such\\nresource"',
            id="line-of-a-log",  # kubectl 1.34
        ),
    ],
)
def test_what_kubectl_refuses_is_told_at_the_kustomization(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str
) -> None:
    (tmp_path / "said").write_text(said)
    stand_in(monkeypatch, tmp_path / "bin", f"cat {tmp_path}/said >&2; exit 1")

    [finding] = index(project, SOURCE).index.findings

    assert str(finding.where) == SOURCE
    assert finding.message == "'kubectl kustomize' refuses it: error: no such resource"


def test_without_a_program_that_renders_the_hint_names_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(project))

    with pytest.raises(GraphError, match="neither kubectl nor kustomize") as caught:
        render(project, SOURCE, "build")

    assert "install kubectl" in caught.value.hint


def test_a_kustomization_cannot_be_annotated_in_place(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(monkeypatch, tmp_path / "bin", f"cat {project}/base/web.yml")

    [finding] = index(project, SOURCE, in_place=True).index.findings

    assert "cannot be annotated in place" in finding.message


def test_in_a_folder_it_is_told_how_to_name_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)

    found = find_sources(project, ["base"])

    assert list(found.paths) == ["base/web.yml"]
    [finding] = found.findings
    assert finding.hint.startswith("name 'base/kustomization.yml' in sources")


def test_a_chart_is_told_with_the_command_that_renders_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Chart.yaml", "A.yaml", "values.yaml", "templates/web.yaml"):
        (tmp_path / "chart" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "chart" / name).write_text("image: {{ .Values.image }}\n")
    monkeypatch.chdir(tmp_path)

    found = find_sources(tmp_path, ["chart"])

    assert found.paths == {}
    assert "'helm template NAME chart -f VALUES > FILE'" in found.findings[0].hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("values.yaml", "image: a\nreplicas: 2\n"),
        ("values-prod.yaml", "image: a\n"),
        ("web.yaml", "metadata:\n  name: {{ .Release.Name }}-web\n"),
        ("web.yaml", "{{- if $x }}\nkind: Pod\n"),
    ],
)
def test_parts_of_a_chart_alone_are_told_apart(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)

    [file] = index(tmp_path, name).index.files

    assert "helm template" in file.findings[0].hint
