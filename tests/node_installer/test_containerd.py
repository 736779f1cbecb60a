"""The runtime in containerd's configuration. Keys and values: docs/internals/runtime.md 4.4."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import ClusterError
from contrast_tasks.node_installer.containerd import MADE, Runtime, with_runtime, without_runtime

RECORDED = Path(__file__).with_name("recorded")
HANDLER = "contrast-cc-metal-qemu-snp-00112233"
OTHER = "contrast-cc-metal-qemu-tdx-44556677"
FOLDER = f"/opt/edgeless/{HANDLER}"
RUNTIME = Runtime(
    handler=HANDLER, folder=FOLDER, kata_config=f"{FOLDER}/etc/configuration-qemu-snp.toml"
)
SECOND = RUNTIME.replace(handler=OTHER)
TABLE = {
    "runtime_type": "io.containerd.contrast-cc.v2",
    "runtime_path": f"{FOLDER}/bin/containerd-shim-contrast-cc-v2",
    "pod_annotations": ["io.katacontainers.*"],
    "privileged_without_host_devices": True,
    "options": {"ConfigPath": f"{FOLDER}/etc/configuration-qemu-snp.toml"},
}
# As Debian's package and k3s' rendering have it, with comments of an administrator.
V2 = """\
version = 2 # ours

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.6" # mirrored
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""
V3 = """\
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "runc"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
"""


def runtimes(text: str, plugin: str) -> Any:
    return tomllib.loads(text)["plugins"][plugin]["containerd"]["runtimes"]


@pytest.mark.parametrize(
    ("before", "plugin"),
    [
        pytest.param(V2, "io.containerd.grpc.v1.cri", id="version 2"),
        pytest.param(V3, "io.containerd.cri.v1.runtime", id="version 3"),
        pytest.param(
            V3.replace("version = 3", "version = 4"), "io.containerd.cri.v1.runtime", id="version 4"
        ),
        pytest.param("version = 2\n", "io.containerd.grpc.v1.cri", id="nothing else"),
        pytest.param(
            'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\nruntimes.runc.runtime_type = "x"\n',
            "io.containerd.grpc.v1.cri",
            id="dotted keys",
        ),
        pytest.param(V2.rstrip("\n"), "io.containerd.grpc.v1.cri", id="last line without an end"),
    ],
)
def test_a_runtime_is_added_and_every_byte_restored(before: str, plugin: str) -> None:
    after = with_runtime(before, RUNTIME)

    assert runtimes(after, plugin)[HANDLER] == TABLE
    assert after.startswith(before)
    assert with_runtime(after, RUNTIME) == after
    assert without_runtime(after, HANDLER) == before


def test_a_gpu_gets_its_annotations_and_aks_its_snapshotter() -> None:
    runtime = RUNTIME.replace(snapshotter=True, passes_devices=True)

    document = tomllib.loads(with_runtime(V2, runtime))

    table = document["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"][HANDLER]
    assert table["pod_annotations"] == ["io.katacontainers.*", "cdi.k8s.io/*"]
    assert table["snapshotter"] == f"tardev-{HANDLER}"
    assert document["proxy_plugins"] == {
        f"tardev-{HANDLER}": {
            "type": "snapshot",
            "address": f"/run/containerd/tardev-snapshotter-{HANDLER}.sock",
        }
    }
    assert without_runtime(with_runtime(V2, runtime), HANDLER) == V2


@pytest.mark.parametrize("before", [V2, V2.rstrip("\n")])
@pytest.mark.parametrize("first_out", [HANDLER, OTHER])
def test_runtimes_beside_each_other_go_in_any_order(before: str, first_out: str) -> None:
    both = with_runtime(with_runtime(before, RUNTIME), SECOND)
    second_out = OTHER if first_out == HANDLER else HANDLER

    one = without_runtime(both, first_out)

    assert one is not None
    assert second_out in runtimes(one, "io.containerd.grpc.v1.cri")
    assert first_out not in runtimes(one, "io.containerd.grpc.v1.cri")
    assert without_runtime(one, second_out) == before


def test_a_newer_version_of_the_lines_replaces_the_old_ones() -> None:
    old = with_runtime(V2, RUNTIME.replace(kata_config="/old"))

    assert with_runtime(old, RUNTIME) == with_runtime(V2, RUNTIME)


def test_what_is_written_behind_the_lines_stays() -> None:
    text = with_runtime(V2, RUNTIME) + '[debug]\n  level = "info"\n'

    assert without_runtime(text, HANDLER) == f'{V2}[debug]\n  level = "info"\n'


def test_without_a_file_one_is_made_and_removed_with_the_last_runtime() -> None:
    made = with_runtime(None, RUNTIME)
    both = with_runtime(made, SECOND)

    assert runtimes(made, "io.containerd.grpc.v1.cri")[HANDLER] == TABLE
    assert without_runtime(both, OTHER) == made
    assert without_runtime(made, HANDLER) is None


def test_a_template_is_not_read_as_toml_and_keeps_what_it_says() -> None:
    template = '{{ template "base" . }}\n# mine\n'

    after = with_runtime(template, RUNTIME, rendered=V3)

    assert after.startswith(template)
    assert without_runtime(after, HANDLER) == template
    # Once the distribution has rendered it, the runtime is in there already.
    assert with_runtime(after, RUNTIME, rendered=with_runtime(V3, RUNTIME)) == after


def test_without_a_template_one_is_made_of_what_is_rendered() -> None:
    after = with_runtime(None, RUNTIME, rendered=V3)

    assert after == MADE + with_runtime(V3, RUNTIME)
    assert with_runtime(after, RUNTIME, rendered=after) == after
    assert with_runtime(None, RUNTIME, rendered=after) == after
    assert without_runtime(after, HANDLER) is None


def test_the_same_runtime_of_another_installer_is_left_alone() -> None:
    theirs = re.sub(r"^# contrast-tasks.*\n", "", with_runtime(V2, RUNTIME), flags=re.MULTILINE)

    assert with_runtime(theirs, RUNTIME) == theirs


@pytest.mark.parametrize(
    ("before", "told"),
    [
        pytest.param("version = \n", "not TOML", id="no TOML"),
        pytest.param("[plugins.cri]\n", "version 1, expected 2", id="no version"),
        pytest.param("version = 1\n", "version 1, expected 2", id="version 1"),
        pytest.param("version = 'x'\n", "expected 2 or later", id="version is a text"),
        pytest.param(
            'version = 2\ndisabled_plugins = ["cri"]\n', "turns the CRI plugin off", id="docker"
        ),
        pytest.param(
            'version = 3\ndisabled_plugins = ["io.containerd.cri.v1.runtime"]\n',
            "turns the CRI plugin off",
            id="off by its whole name",
        ),
        pytest.param(
            'version = 2\nplugins = { "io.containerd.grpc.v1.cri" = {} }\n',
            "cannot be added",
            id="inline table",
        ),
        pytest.param('version = 2\nx = """\n', "not TOML", id="string without an end"),
        pytest.param(
            with_runtime(V2, RUNTIME)
            .replace("# contrast-tasks: runtime", "# x")
            .replace("io.containerd.contrast-cc.v2", "other"),
            f"another runtime {HANDLER}",
            id="another runtime of this name",
        ),
    ],
)
def test_what_cannot_be_edited_is_refused(before: str, told: str) -> None:
    with pytest.raises(ClusterError, match=told):
        with_runtime(before, RUNTIME)


def test_removing_what_is_not_there_changes_nothing() -> None:
    assert without_runtime(V2, HANDLER) == V2
    assert without_runtime(None, HANDLER) is None


@pytest.mark.parametrize(
    ("version", "plugin"),
    [("1.6.20", "io.containerd.grpc.v1.cri"), ("2.4.2", "io.containerd.cri.v1.runtime")],
)
def test_a_recorded_default_gets_the_runtime_and_every_byte_back(version: str, plugin: str) -> None:
    # What `containerd config default` of that version printed.
    before = (RECORDED / f"{version}.toml").read_bytes().decode()

    after = with_runtime(before, RUNTIME)

    assert runtimes(after, plugin)[HANDLER] == TABLE
    assert set(runtimes(after, plugin)) == {*runtimes(before, plugin), HANDLER}
    assert without_runtime(after, HANDLER) == before


def containerds() -> list[Path]:
    """Return the containerds of this machine: Debian's, and one of a later version where one is on the way."""
    return [Path(found) for name in ("containerd", "containerd2") if (found := shutil.which(name))]


@pytest.mark.e2e
@pytest.mark.skipif(not containerds(), reason="containerd is not installed (apt package)")
@pytest.mark.parametrize("program", containerds(), ids=lambda path: path.name)
def test_real_containerd_reads_its_own_default_with_the_runtime(
    program: Path, tmp_path: Path
) -> None:
    default = subprocess.run([program, "config", "default"], capture_output=True, check=True)
    before = default.stdout.decode()
    plugin = "io.containerd.cri.v1.runtime"
    if tomllib.loads(before)["version"] == 2:
        plugin = "io.containerd.grpc.v1.cri"
    file = tmp_path / "config.toml"
    after = with_runtime(before, RUNTIME)
    file.write_text(after)

    dumped = subprocess.run(
        [program, "--config", str(file), "config", "dump"], capture_output=True, check=True
    )

    found = runtimes(dumped.stdout.decode(), plugin)[HANDLER]
    assert {key: found[key] for key in TABLE} == TABLE
    assert without_runtime(after, HANDLER) == before


@pytest.mark.e2e
@pytest.mark.skipif(not containerds(), reason="containerd is not installed (apt package)")
@pytest.mark.parametrize("program", containerds(), ids=lambda path: path.name)
def test_real_containerd_reads_what_is_made_without_a_file(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(with_runtime(None, RUNTIME))

    dumped = subprocess.run(
        [program, "--config", str(file), "config", "dump"], capture_output=True, check=True
    )

    plugins = tomllib.loads(dumped.stdout.decode())["plugins"]
    found = [
        table["containerd"]["runtimes"][HANDLER]
        for name, table in plugins.items()
        if name in {"io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"}
        and HANDLER in table.get("containerd", {}).get("runtimes", {})
    ]
    assert [{key: each[key] for key in TABLE} for each in found] == [TABLE]


def _may_unshare() -> bool:
    words = ["unshare", "--net", "--mount", "true"]
    return (
        os.geteuid() == 0
        and subprocess.run(words, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.e2e
@pytest.mark.skipif(not containerds(), reason="containerd is not installed (apt package)")
@pytest.mark.skipif(not _may_unshare(), reason="needs root, for namespaces and mounts")
@pytest.mark.parametrize("program", containerds(), ids=lambda path: path.name)
def test_real_containerd_runs_and_knows_the_runtime(program: Path, tmp_path: Path) -> None:
    default = subprocess.run([program, "config", "default"], capture_output=True, check=True)
    (tmp_path / "config.toml").write_text(with_runtime(default.stdout.decode(), RUNTIME))
    socket = tmp_path / "containerd.sock"
    daemon = subprocess.Popen(
        [
            *("unshare", "--net", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"'),
            *("-", str(program), "--config", str(tmp_path / "config.toml")),
            *("--root", str(tmp_path / "root"), "--state", str(tmp_path / "state")),
            *("--address", str(socket)),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    log: list[str] = []
    try:
        # It ends the log too if it does not start.
        for line in daemon.stderr:
            log.append(line)
            if "containerd successfully booted" in line:
                break
        listed = subprocess.run(
            [program.with_name("ctr"), "--address", socket, "plugins", "ls"],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        daemon.terminate()
        daemon.communicate()

    # The CRI plugin says what it starts with; it does not start with a runtime that it does not understand.
    (started,) = [line for line in log if re.search(r"starting cri plugin|Start cri plugin", line)]
    for text in (HANDLER, f"{FOLDER}/bin/containerd-shim-contrast-cc-v2", "io.katacontainers.*"):
        assert text in started
    states = [line.split()[-1] for line in listed.stdout.splitlines() if " cri " in line]
    assert states == ["ok"], listed.stdout
