"""The image of the command line, of real packages, run by runc as a CI service runs its stages: a checkout mounted, no rights."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from contrast_tasks.files import cache_folder
from contrast_tasks.images.base.downloads import Downloads
from contrast_tasks.images.base.pins import render_pins
from contrast_tasks.images.pack import write_layout
from contrast_tasks.images.packing import pack
from contrast_tasks.images.whole import Assembly, tool_plan
from contrast_tasks.settings.load import load_settings
from contrast_tasks.steps.keys import PROCESSOR
from dev.checkout import ROOT
from dev.others.layout import fetched
from tests.fakes.kube.cluster import RUNTIME_CLASSES
from tests.fakes.kube.kinds import kind
from tests.fakes.kube.server import KubeServer
from tests.fakes.shop import require_namespaces
from tests.fakes.whole_images import missing_libraries, needs_mirrors, unpacked
from tests.fakes.workloads import config_map, make_project

NONROOT = 65532

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("whole images"),
    pytest.mark.skipif(os.geteuid() != 0, reason="files of an image have owners"),
]


class Tool:
    """The image, unpacked in a folder; the folder also has its layout, and the file of its packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout, self.root = folder / "layout", folder / "root"
        with Downloads(cache_folder(os.environ) / "packages") as downloads:
            assembly = Assembly(downloads)
            (plan,) = fetched(assembly, [tool_plan()])
            image = assembly.make(plan, plan.recipe.reference).packed
        assert plan.pins is not None
        self.pins = plan.pins
        self.config = plan.recipe.config
        write_layout(self.layout, [image])
        unpacked(self.layout, "tool", self.root)
        # As in a container that lives for a whole stage: what one command has compiled the next one finds.
        self.home = self.root / "home/nonroot"

    def run(
        self, work: Path, *words: str, user: int = NONROOT, network: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container, without network unless it is that of this machine, with a folder as its working folder and little else to write to."""
        bundle = self.folder / "bundle"
        bundle.mkdir(exist_ok=True)
        bound = {self.config.working_dir: work, "/home/nonroot": self.home}
        spec: dict[str, Any] = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user, "gid": user},
                "args": list(words or self.config.cmd),
                "env": list(self.config.env),
                "cwd": self.config.working_dir,
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.root), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
                *(
                    {"destination": to, "type": "bind", "source": str(path), "options": ["rbind"]}
                    for to, path in bound.items()
                ),
            ],
            "linux": {
                "namespaces": [
                    {"type": each}
                    for each in ("mount", "pid", "ipc", "uts", *([] if network else ["network"]))
                ]
            },
        }
        (bundle / "config.json").write_text(json.dumps(spec))
        state = ["--root", str(self.folder / "state")]
        return subprocess.run(
            ["runc", *state, "run", "--bundle", str(bundle), f"tool-{os.getpid()}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    require_namespaces()
    with needs_mirrors():
        return Tool(tmp_path_factory.mktemp("tool"))


def of_nonroot(folder: Path, user: int = NONROOT) -> Path:
    """Give a folder to the image's user, as a service does that makes the checkout for it."""
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, user, user)
    return folder


def example(folder: Path) -> Path:
    """Return the example as a project of its own, with its images."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copy(ROOT / "contrast.toml", folder)
    pack(load_settings(folder, environ={}))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Return all files but those that are ours to keep."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".contrast" not in path.parts
    }


def in_checkout(
    project: Path, *words: str, variables: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run our command here, without the settings of whoever runs the tests."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAST_")}
    return subprocess.run(
        [sys.executable, "-m", "contrast_tasks", *words],
        cwd=project,
        env={**own, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_image_makes_what_a_checkout_makes(tool: Tool, tmp_path: Path) -> None:
    here = example(tmp_path / "here")
    there = shutil.copytree(here, tmp_path / "there")
    lines = ["lint", "lock --offline", "generate", "generate --check"]
    cache = {"CONTRAST_CACHE_DIR": str(tmp_path / "cache")}

    wanted = [in_checkout(here, *line.split(), variables=cache) for line in lines]
    # Keys, and the processor of this machine, are made by whoever has none.
    for made in [*here.glob("*.pem"), here / PROCESSOR]:
        shutil.copytree(made, there / PROCESSOR) if made.is_dir() else shutil.copy(made, there)
    of_nonroot(there)
    found = [tool.run(there, "contrast-tasks", *line.split()) for line in lines]

    assert [done.returncode for done in found] == [0] * len(lines), found[-1].stderr
    assert [done.returncode for done in wanted] == [0] * len(lines), wanted[-1].stderr
    assert (found[0].stdout, found[0].stderr) == (wanted[0].stdout, wanted[0].stderr)
    assert files(there) == files(here)
    assert {"manifest.json", "contrast.lock"} <= files(there).keys()


STAGE = """
run() { "$@" >out 2>&1; echo "$?" "$@"; }
run contrast-tasks --version
run contrast-coordinator fsck --state .
run contrast-tasks generate --check
run contrast-tasks generate
grep --no-filename "name: mine-" build/deployment/mine.yml
run contrast-tasks generate --check
run contrast-tasks simulate
echo "metadata: [" >deployment/broken.yml
run contrast-tasks lint
run contrast-tasks linr
run git init --quiet .
run git diff --exit-code
run python3 -m contrast_tasks lock --offline
exit 7
"""
ENDED = """
0 contrast-tasks --version
0 contrast-coordinator fsck --state .
5 contrast-tasks generate --check
0 contrast-tasks generate
  name: mine-words
0 contrast-tasks generate --check
0 contrast-tasks simulate
12 contrast-tasks lint
2 contrast-tasks linr
0 git init --quiet .
0 git diff --exit-code
0 python3 -m contrast_tasks lock --offline
"""


def test_a_stage_ends_as_the_command_does(tool: Tool, tmp_path: Path) -> None:
    """Lines of a stage that a shell runs, as a user that the image does not know, with their exit codes; kubectl renders a source."""
    project = make_project(tmp_path / "work")
    project.settings(sources='["deployment", "mine/kustomization.yaml"]')
    project.write("../mine/kustomization.yaml", "resources: [map.yml]\nnamePrefix: mine-\n")
    project.write("../mine/map.yml", config_map("words", greeting="hello"))

    done = tool.run(of_nonroot(project.root, 1234), "bash", "-c", STAGE, user=1234)

    assert (done.returncode, done.stdout) == (7, ENDED.lstrip()), done.stderr


def test_it_deploys_to_a_cluster_with_its_own_kubectl(tool: Tool, tmp_path: Path) -> None:
    project = make_project(tmp_path / "work")
    handler = "contrast-cc-metal-qemu-snp-0a1b2c3d"  # of the project
    body = {"metadata": {"name": handler}, "handler": handler}

    def deploy(*words: str) -> subprocess.CompletedProcess[str]:
        line = ["contrast-tasks", "deploy", "--kubeconfig", "kubeconfig", *words]
        return tool.run(of_nonroot(project.root), *line, network=True)

    with KubeServer() as server:
        server.write_kubeconfig(project.root / "kubeconfig")
        server.cluster.create(RUNTIME_CLASSES, "", body)
        done, broken = deploy(), deploy("--context", "none")

    assert (done.returncode, broken.returncode) == (0, 30), done.stderr
    _, deployments = server.cluster.list(kind("Deployment"), "default")
    assert sorted(each["metadata"]["name"] for each in deployments) == ["cart", "shelf", "till"]


def test_a_job_of_gitlab_finds_all_in_the_image(tool: Tool, tmp_path: Path) -> None:
    """A runner's checkout belongs to root, and everybody may write to it. Source: GitLab Runner's umask of 0000."""
    template = yaml.safe_load((ROOT / "templates/ci/gitlab.yml").read_text())
    job = template[".contrast-tasks"] | template["contrast-lint"]
    project = make_project(tmp_path / "work")
    subprocess.run(["git", "init", "--quiet", project.root], check=True)
    for path in (project.root, *project.root.rglob("*")):
        path.chmod(0o777)
    variables = "export CI_PROJECT_DIR=/work CONTRAST_PROJECT=."
    script = "\n".join([variables, "set -e", *job["before_script"], *job["script"], "git status"])

    done = tool.run(project.root, "sh", "-c", script)

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "/usr/local/bin/contrast-tasks"), (
        done.stderr
    )
    reports = [*job["artifacts"]["paths"], *job["artifacts"]["reports"].values()]
    assert [name for name in reports if name not in done.stdout] == []


def test_without_a_command_it_shows_its_own(tool: Tool, tmp_path: Path) -> None:
    done = tool.run(of_nonroot(tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("contrast-tasks generate deploy set verify\n")


def test_the_image_makes_itself_again(tool: Tool, tmp_path: Path) -> None:
    """Another distribution, another Python, another user, an installation: the same bytes."""
    for package in (*tool.pins.debian, *tool.pins.wheels):
        name = f"{package.sha256}-{package.file}"
        shutil.copyfile(cache_folder(os.environ) / "packages" / name, tmp_path / name)
    (tmp_path / "packages.lock").write_bytes(render_pins(tool.pins))
    code = (
        "from pathlib import Path\n"
        "from contrast_tasks.images.base.downloads import Downloads\n"
        "from contrast_tasks.images.base.pins import parse_pins\n"
        "from contrast_tasks.images.pack import write_layout\n"
        "from contrast_tasks.images.whole import Assembly, tool_plan\n"
        "plan = tool_plan()._replace(pins=parse_pins(Path('packages.lock').read_bytes()))\n"
        "with Downloads(Path(), offline=True) as downloads:\n"
        "    packed = Assembly(downloads).make(plan, plan.recipe.reference).packed\n"
        "write_layout(Path('layout'), [packed])\n"
    )

    done = tool.run(of_nonroot(tmp_path), "python3", "-c", code)

    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "layout") == files(tool.layout)


def test_every_module_can_be_imported_and_every_library_is_there(
    tool: Tool, tmp_path: Path
) -> None:
    site = tool.root / "usr/local/lib/python3.13/dist-packages"
    modules = sorted(
        path.relative_to(site).with_suffix("").as_posix().replace("/", ".")
        for package in ("contrast_tasks", "coordinator")
        for path in (site / package).rglob("*.py")
        if path.name not in {"__init__.py", "__main__.py"}
    )

    done = tool.run(of_nonroot(tmp_path), "python3", "-c", f"import {', '.join(modules)}")

    assert done.returncode == 0, done.stderr
    assert len(modules) > 400
    assert missing_libraries(tool.root) == {}
    assert [path for path in tool.root.rglob("*") if path.lstat().st_mode & 0o6000] == []
