"""`output.in_place`: the user's files are annotated themselves, as often as wanted, and edited in between."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from contrast_tasks.cli import snapshot
from contrast_tasks.images.lock import Lock, render_lock
from tests.fakes.commands import Terminal
from tests.fakes.sweeps import rest_swept
from tests.fakes.workloads import IMAGE, FakeProject, deployment, locked, make_project

IN_PLACE = "\n[output]\nin_place = true\n"
POLICY = "io.katacontainers.config.agent.policy"
EDITED = "shop/app:v2"
MESH = """\
      annotations:
        contrast.edgeless.systems/servicemesh-ingress: ''
        example/note: a
"""


@pytest.fixture
def in_place(terminal: Terminal, project: FakeProject) -> FakeProject:
    """Return the project with the Coordinator among its files, which annotates them in place."""
    # The workload's own metadata is where this release reads mesh annotations.
    project.settings(IN_PLACE)
    project.lock(locked(EDITED))
    assert terminal.run("coordinator", "--write", "deployment/coordinator.yml").code == 0
    return project


def sources(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "deployment").rglob("*"))
        if path.is_file()
    }


def generate(terminal: Terminal, *words: str) -> str:
    shown = terminal.run("generate", *words)
    assert shown.code == 0, shown.err
    return shown.err


def pod(text: str, name: str) -> dict[str, Any]:
    for document in yaml.safe_load_all(text):
        if document and (document["kind"], document["metadata"]["name"]) == ("Deployment", name):
            template: dict[str, Any] = document["spec"]["template"]
            return template
    raise AssertionError(name)


def elsewhere(in_place: FakeProject, tmp_path: Path, files: dict[str, bytes]) -> Path:
    """Return another clone: settings, lock file and given sources, and nothing that was kept between runs."""
    root = tmp_path / "clone"
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in ("contrast.toml", "contrast.lock"):
        shutil.copy(in_place.root / name, root / name)
    return root


def test_the_files_get_what_the_build_directory_would_get(
    terminal: Terminal, in_place: FakeProject
) -> None:
    generate(terminal, "--set", "output.in_place=false")
    wanted = {
        name.removeprefix("build/"): content
        for name, content in in_place.outputs().items()
        if name.startswith("build/deployment/")
    }
    manifest = in_place.read("manifest.json")

    generate(terminal)

    assert sources(in_place.root) == wanted
    assert in_place.read("manifest.json") == manifest
    assert not (in_place.root / "build/deployment").exists()
    assert "# the image of cart" in in_place.read("deployment/shop.yml")


def test_the_second_run_has_nothing_to_do_and_changes_no_byte(
    terminal: Terminal, in_place: FakeProject
) -> None:
    generate(terminal)
    before = {path: path.stat() for path in (in_place.root / "deployment").rglob("*.y*ml")}

    assert generate(terminal).startswith("up to date")
    assert generate(terminal).startswith("up to date")

    for path, status in before.items():
        now = path.stat()
        assert (now.st_mtime_ns, now.st_ino) == (status.st_mtime_ns, status.st_ino)


def test_the_snapshot_holds_for_files_that_were_annotated(
    terminal: Terminal, in_place: FakeProject
) -> None:
    # Files of this moment are not trusted yet, so the test is of a moment later.
    now = time.time_ns
    terminal.patch.setattr(time, "time_ns", lambda: now() + 3_600 * 10**9)
    terminal.patch.chdir(in_place.root)
    for _ in range(2):
        generate(terminal)

    assert '"deployment/shop.yml"' in (in_place.root / ".contrast/snapshot.json").read_text()

    assert snapshot.unchanged(["generate"], str(in_place.root)) is not None
    text = in_place.read("deployment/shop.yml")
    in_place.write("shop.yml", text.replace("replicas: 1", "replicas: 2", 1))
    assert "generated 1 of 4 workloads" in generate(terminal)


def test_another_clone_gets_the_same_bytes_from_annotated_files(
    terminal: Terminal, in_place: FakeProject, tmp_path: Path
) -> None:
    generate(terminal)
    annotated = sources(in_place.root)
    root = elsewhere(in_place, tmp_path, annotated)

    generate(Terminal(root, terminal.capture, terminal.patch))

    assert sources(root) == annotated
    assert (root / "manifest.json").read_bytes() == (in_place.root / "manifest.json").read_bytes()


PATTERN_OF_IMAGE = rf"image: {IMAGE}\S* "


@pytest.mark.parametrize(
    ("pattern", "new"),
    rest_swept(
        [
            pytest.param(PATTERN_OF_IMAGE, f"image: {EDITED} ", id="image"),
            pytest.param(
                r"      - name: shelf\n",
                "      - name: shelf\n          env: [{name: A, value: b}]\n",
                id="variable",
            ),
            pytest.param(
                r" +contrast.edgeless.systems/servicemesh-ingress: .*\n", "", id="no-mesh"
            ),
            pytest.param(
                "servicemesh-ingress: ''", "skip-initializer: 'true'", id="no-initializer"
            ),
            pytest.param("servicemesh-ingress: ''", "workload-secret-id: a", id="secret"),
        ],
        kept=lambda _pattern, new: new in {f"image: {EDITED} ", ""},
    ),
)
def test_an_edit_of_an_annotated_file_counts_as_one_of_the_pristine_file(
    terminal: Terminal, in_place: FakeProject, tmp_path: Path, pattern: str, new: str
) -> None:
    # Release v1.21.0 reads mesh annotations on the pod template, where they are beside the policy.
    in_place.settings(IN_PLACE, **{"platform": '"metal-qemu-tdx"', "runtime.release": '"v1.21.0"'})
    shutil.rmtree(in_place.root / "deployment/till")
    text = deployment("shelf").replace(
        "    metadata:\n      labels:", f"    metadata:\n{MESH}      labels:"
    )
    in_place.write("shop.yml", text)
    files = {**sources(in_place.root), "deployment/shop.yml": _edited(text, pattern, new).encode()}
    other = elsewhere(in_place, tmp_path, files)
    # The reference values of that platform are for the user to give.
    assert Terminal(other, terminal.capture, terminal.patch).run("generate").code == 13
    assert terminal.run("generate").code == 13

    in_place.write("shop.yml", _edited(in_place.read("deployment/shop.yml"), pattern, new))

    assert terminal.run("generate").code == 13
    template = pod(in_place.read("deployment/shop.yml"), "shelf")
    assert template == pod((other / "deployment/shop.yml").read_text(), "shelf")
    assert in_place.read("manifest.json") == (other / "manifest.json").read_text()
    assert "0 files written" in (done := terminal.run("generate").err) or "up to date" in done


def _edited(text: str, pattern: str, new: str) -> str:
    edited, count = re.subn(pattern, new, text, count=1)
    assert count == 1, text
    return edited


def test_a_pod_that_is_no_longer_confidential_is_left_without_additions(
    terminal: Terminal, in_place: FakeProject
) -> None:
    generate(terminal)
    text = in_place.read("deployment/till/till.yaml")
    line = "      runtimeClassName: contrast-cc-metal-qemu-snp-0a1b2c3d\n"
    assert line in text
    in_place.write("till/till.yaml", text.replace(line, ""))

    generate(terminal, "--set", "defaults.runtime_class=false")

    template = pod(in_place.read("deployment/till/till.yaml"), "till")
    assert set(template["spec"]) == {"containers"}
    assert "annotations" not in template["metadata"]


def test_mode_and_link_stay(terminal: Terminal, in_place: FakeProject) -> None:
    real = in_place.root / "files" / "till.yaml"
    real.parent.mkdir()
    link = in_place.root / "deployment/till/till.yaml"
    link.rename(real)
    link.symlink_to("../../files/till.yaml")
    real.chmod(0o640)

    generate(terminal)

    assert link.is_symlink()
    assert POLICY in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


def _move_out(root: Path) -> None:
    link, real = root / "deployment/till/till.yaml", root.parent / "till.yaml"
    shutil.move(link, real)
    link.symlink_to(real)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(
            lambda root: (root / "deployment/shop.yml").chmod(0o444),
            "deployment/shop.yml: error: deployment/shop.yml is read-only",
            id="read-only",
        ),
        pytest.param(
            _move_out,
            "deployment/till/till.yaml: error: deployment/till/till.yaml lies outside the project",
            id="link-to-the-outside",
        ),
    ],
)
def test_a_file_that_must_not_be_written_is_named_and_nothing_is_written(
    terminal: Terminal, in_place: FakeProject, change: Any, found: str
) -> None:
    change(in_place.root)
    before = sources(in_place.root)

    shown = terminal.run("generate")

    assert shown.code == 2
    assert found in shown.err
    assert sources(in_place.root) == before
    assert not (in_place.root / "manifest.json").exists()


def test_a_source_outside_of_the_project_is_refused(
    terminal: Terminal, in_place: FakeProject
) -> None:
    shutil.copytree(in_place.root / "deployment", in_place.root.parent / "others")

    shown = terminal.run("generate", "../others")

    assert shown.code == 2
    assert (
        "sources has '../others' and output.in_place is true, expected a place inside" in shown.err
    )


def test_nothing_is_written_if_one_workload_fails(
    terminal: Terminal, in_place: FakeProject
) -> None:
    in_place.write("wrong.yml", deployment("wrong").replace(IMAGE, "unknown/image:1"))
    before = sources(in_place.root)

    shown = terminal.run("generate")

    assert shown.code == 12
    assert sources(in_place.root) == before
    assert not (in_place.root / "manifest.json").exists()


def test_lines_of_findings_are_those_of_the_annotated_file(
    terminal: Terminal, in_place: FakeProject
) -> None:
    generate(terminal)
    text = in_place.read("deployment/shop.yml")
    line = text.splitlines().index("---", text.splitlines().index("  name: shelf") - 8)
    in_place.write(
        "shop.yml",
        text.replace(
            "  name: shelf\nspec:",
            "  name: shelf\n  annotations: {contrast.edgeless.systems/pod-rôle: a}\nspec:",
        ),
    )
    wanted = next(
        number
        for number, row in enumerate(in_place.read("deployment/shop.yml").splitlines(), 1)
        if "pod-rôle" in row
    )

    for command in ("lint", "generate"):
        assert f"deployment/shop.yml:{wanted}: error[G110" in terminal.run(command).err
    assert wanted > line


def test_a_missing_coordinator_is_an_error_that_names_the_command(
    terminal: Terminal, in_place: FakeProject
) -> None:
    (in_place.root / "deployment/coordinator.yml").unlink()

    shown = terminal.run("generate")

    assert shown.code == 12
    assert "error[G061 no-coordinator]" in shown.err
    assert "contrast-tasks coordinator" in shown.err


def test_plan_shows_the_file_and_writes_nothing(terminal: Terminal, in_place: FakeProject) -> None:
    before = sources(in_place.root)

    first = terminal.run("plan")

    assert "changed deployment/shop.yml" in first.out + first.err
    assert sources(in_place.root) == before
    generate(terminal)
    again = terminal.run("plan", "--detailed-exitcode")
    assert again.code == 0, again.out + again.err


def test_what_was_edited_in_an_addition_is_written_again(
    terminal: Terminal, in_place: FakeProject
) -> None:
    generate(terminal)
    before = sources(in_place.root)
    text = in_place.read("deployment/shop.yml")
    in_place.write(
        "shop.yml",
        text.replace(
            "            - name: COORDINATOR_HOST", "            - name: COORDINATOR_HOST\n"
        ),
    )
    in_place.write(
        "till/till.yaml",
        in_place.read("deployment/till/till.yaml").replace(f"{POLICY}: ", f"{POLICY}: A"),
    )

    generate(terminal)

    assert sources(in_place.root) == before


def test_the_lock_decides_which_digest_is_the_users_own(
    terminal: Terminal, in_place: FakeProject
) -> None:
    generate(terminal)
    pinned = f"{IMAGE}@{locked(IMAGE).digest}"
    assert pinned in in_place.read("deployment/shop.yml")
    entries = [locked(name) for name in (EDITED,)]
    (in_place.root / "contrast.lock").write_bytes(render_lock(Lock(entries)))

    shown = terminal.run("generate")

    assert shown.code == 12
    assert f"image {pinned}" in shown.err


def test_cleaning_leaves_the_users_files(terminal: Terminal, in_place: FakeProject) -> None:
    from contrast_tasks.steps.project import Spec
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.workspace import open_workspace

    generate(terminal)
    terminal.patch.chdir(in_place.root)

    tasks = load_tasks(open_workspace(Spec(root=str(in_place.root)), is_fresh=True))

    targets = {name for task in tasks for name in task.targets}
    assert "manifest.json" in targets
    assert not {name for name in targets if name.startswith("deployment")}


def test_without_the_setting_sources_are_only_read(terminal: Terminal, tmp_path: Path) -> None:
    project = make_project(tmp_path / "other")
    before = sources(project.root)

    generate(Terminal(project.root, terminal.capture, terminal.patch))

    assert sources(project.root) == before
