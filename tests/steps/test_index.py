import json
import os
from pathlib import Path

import pytest

from contrast_tasks.errors import Location
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps import index as stage
from contrast_tasks.steps.index import Entries, Index, Indexed, index_sources
from contrast_tasks.steps.sources import find_sources
from tests.fakes.workloads import FakeProject, config_map, deployment, service, stream

OLD_NS = 10_000_000_000
COORDINATOR = (
    "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: coordinator\nspec:\n  template:\n"
    "    metadata:\n      annotations:\n        contrast.edgeless.systems/pod-role: coordinator\n"
    "    spec:\n      containers: []\n"
)


def _settings(root: Path, *sources: str, include: bool = True) -> Settings:
    return Settings(
        root=root,
        platform="local",
        release_name="v1.21.0",
        sources=sources or ("deployment",),
        include_coordinator=include,
    )


def _indexed(root: Path, recorded: Entries | None = None, *, now_ns: int = 0) -> Indexed:
    return index_sources(_settings(root), recorded or {}, now_ns=now_ns)


def _load(root: Path) -> Index:
    return index_sources(_settings(root, include=False), {}, now_ns=0).index


def _found(root: Path, *sources: str) -> list[str]:
    return list(find_sources(root, sources).paths)


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def test_folders_are_searched_recursively_in_lexical_order(tmp_path: Path) -> None:
    _touch(tmp_path, "d/b.yml", "d/a/z.yaml", "d/a.yml", "d/c.YML", "d/d.txt", "d/.hidden.yml")

    assert _found(tmp_path, "d") == ["d/.hidden.yml", "d/a/z.yaml", "d/a.yml", "d/b.yml"]


def test_the_order_of_sources_is_kept_and_each_file_is_read_once(tmp_path: Path) -> None:
    _touch(tmp_path, "d/b.yml", "d/a.yml", "e/c.yml")

    assert _found(tmp_path, "e", "d/b.yml", "d", "./d") == ["e/c.yml", "d/b.yml", "d/a.yml"]


def test_links_to_folders_are_not_followed_and_links_to_files_are_read_once(tmp_path: Path) -> None:
    _touch(tmp_path, "d/real.yml", "elsewhere/other.yml")
    (tmp_path / "d/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "d/link.yml").symlink_to("real.yml")
    (tmp_path / "d/zlink.yml").symlink_to(tmp_path / "elsewhere/other.yml")

    assert _found(tmp_path, "d") == ["d/link.yml", "d/zlink.yml"]


def test_a_link_to_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "deployment").mkdir()
    (tmp_path / "deployment/gone.yml").symlink_to("nowhere")

    [finding] = _load(tmp_path).findings

    assert (finding.code, finding.where.file) == ("G001", "deployment/gone.yml")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "deployment").mkdir()
    os.mkfifo(tmp_path / "deployment/pipe.yml")

    [finding] = _load(tmp_path).findings

    assert (finding.code, finding.where.file) == ("G001", "deployment/pipe.yml")
    assert "not a regular file" in finding.message


def test_a_name_that_is_not_utf8_is_an_error_that_can_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = os.fsencode(tmp_path / "deployment")
    Path(os.fsdecode(folder + b"/d\xff")).mkdir(parents=True)
    for name in (b"/a\xff.yml", b"/notes\xff.txt"):
        Path(os.fsdecode(folder + name)).write_text("")

    findings = _load(tmp_path).findings

    assert [finding.where.file for finding in findings if "UTF-8" in finding.message] == [
        "deployment/a\\xff.yml",
        "deployment/d\\xff",
    ]


@pytest.mark.parametrize(
    ("prepare", "source", "message"),
    [
        pytest.param([], "nowhere", "found nothing at 'nowhere'", id="absent"),
        pytest.param(["d/a.txt"], "d", "found no YAML or JSON file at 'd'", id="no-yaml"),
        pytest.param(
            ["a.txt"], "a.txt", "found no YAML or JSON file at 'a.txt'", id="other-suffix"
        ),
    ],
)
def test_a_source_without_yaml_is_an_error(
    tmp_path: Path, prepare: list[str], source: str, message: str
) -> None:
    _touch(tmp_path, *prepare)

    where = Location(file="contrast.toml", line=2)
    [finding] = find_sources(tmp_path, [source], where=where).findings

    assert finding.where == where
    assert finding.code == "G001"
    assert finding.message.startswith(message)


@pytest.mark.parametrize(
    ("sources", "outputs"),
    [
        pytest.param(("d",), ["a.yml", "sub/b.yml"], id="one-folder"),
        pytest.param(("d", "e"), ["d/a.yml", "d/sub/b.yml", "e/a.yml"], id="two-folders"),
        pytest.param(("d/a.yml",), ["a.yml"], id="one-file"),
        pytest.param(("d", "d/sub"), ["a.yml", "sub/b.yml"], id="nested"),
    ],
)
def test_outputs_are_relative_to_what_the_sources_have_in_common(
    tmp_path: Path, sources: tuple[str, ...], outputs: list[str]
) -> None:
    _touch(tmp_path, "d/a.yml", "d/sub/b.yml", "e/a.yml")

    assert list(find_sources(tmp_path, sources).paths.values()) == outputs


def test_a_source_outside_the_project_has_its_output_inside(tmp_path: Path) -> None:
    _touch(tmp_path, "project/x", "outside/a.yml")

    found = find_sources(tmp_path / "project", ["../outside"])

    assert found.paths == {"../outside/a.yml": "a.yml"}


def test_workloads_and_what_they_take_values_from_are_indexed(tmp_path: Path) -> None:
    project = FakeProject(tmp_path)
    text = stream(config_map("prices"), service("cart"), deployment("cart", config="prices"))
    project.write(
        "shop.yml",
        text.replace(
            "name: cart\nspec:\n  replicas", "name: cart\n  namespace: shop\nspec:\n  replicas"
        ),
    )

    index = _load(tmp_path)

    [workload] = index.workloads.values()
    assert (workload.id, workload.key) == ("shop.Deployment.cart", "shop/Deployment/cart")
    assert (workload.file, workload.position) == ("deployment/shop.yml", 2)
    assert workload.images == ("shop/app:v1",)
    assert workload.uses == (
        ("ConfigMap", "shop", "prices"),
        ("ServiceAccount", "shop", "default"),
    )
    assert index.places == {("ConfigMap", "default", "prices"): ("deployment/shop.yml", 0)}


def test_an_unchanged_file_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeProject(tmp_path).write("a.yml", deployment("a"))
    later = (tmp_path / "deployment/a.yml").stat().st_ctime_ns + OLD_NS
    first = _indexed(tmp_path, now_ns=later)
    monkeypatch.setattr("builtins.open", _never)
    monkeypatch.setattr(stage, "_parsed", _never)

    again = _indexed(tmp_path, first.entries, now_ns=later)

    assert again.index.workloads == first.index.workloads
    assert (again.is_new, first.is_new) == (False, True)


def test_a_touched_file_is_not_parsed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = FakeProject(tmp_path).write("a.yml", deployment("a"))
    first = _indexed(tmp_path)
    os.utime(path, ns=(1, 1))
    monkeypatch.setattr(stage, "_parsed", _never)

    assert _indexed(tmp_path, first.entries).index.workloads == first.index.workloads


def test_a_young_file_is_read_again(tmp_path: Path) -> None:
    path = FakeProject(tmp_path).write("a.yml", deployment("a"))

    indexed = _indexed(tmp_path, now_ns=path.stat().st_ctime_ns + 1)

    assert indexed.entries["deployment/a.yml"]["signature"] is None


def test_what_was_kept_as_json_is_as_good(tmp_path: Path) -> None:
    path = FakeProject(tmp_path).write("a.yml", deployment("a", config="prices"))
    later = path.stat().st_ctime_ns + OLD_NS
    first = _indexed(tmp_path, now_ns=later)

    again = _indexed(tmp_path, json.loads(json.dumps(first.entries)), now_ns=later)

    assert (again.index, again.is_new) == (first.index, False)


def test_a_file_that_is_not_kubernetes_has_findings_and_no_documents(tmp_path: Path) -> None:
    project = FakeProject(tmp_path)
    project.write("a.yml", deployment("a"))
    project.write("b.yml", "kind: Deployment\n")

    index = _load(tmp_path)

    assert list(index.workloads) == ["Deployment.a"]
    assert {finding.code for source in index.files for finding in source.findings} == {"G003"}


def test_our_coordinator_is_added_when_no_source_has_one(tmp_path: Path) -> None:
    FakeProject(tmp_path).write("coordinator.yml", deployment("a"))

    index = _indexed(tmp_path).index

    assert [source.file for source in index.files] == [
        "deployment/coordinator.yml",
        "<coordinator.yml>",
    ]
    assert index.files[1].output == "contrast-coordinator.yml"


def test_our_coordinator_is_not_added_beside_another(tmp_path: Path) -> None:
    FakeProject(tmp_path).write("mine.yml", COORDINATOR)

    index = _indexed(tmp_path).index

    assert [source.file for source in index.files] == ["deployment/mine.yml"]


def test_facts_do_not_change_with_what_checks_over_all_sources_do_not_see(tmp_path: Path) -> None:
    project = FakeProject(tmp_path)
    project.write("a.yml", deployment("a"))
    before = _load(tmp_path).files[0]
    project.write("a.yml", deployment("a").replace("replicas: 1", "replicas: 2"))

    after = _load(tmp_path).files[0]

    assert after.digest != before.digest
    assert after.facts == before.facts


def _never(*arguments: object, **more: object) -> object:
    raise AssertionError("parsed although nothing changed")
