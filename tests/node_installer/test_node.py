"""Installing and removing on a folder as the node's root, with a systemd that only remembers."""

import base64
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from contrast_tasks.errors import ClusterError, SettingsError
from contrast_tasks.node_installer.files import handler_of, parse_config, read_files
from contrast_tasks.node_installer.node import Node, install, pods_of, runtime_of, uninstall
from contrast_tasks.node_installer.targets import configured, target_of
from contrast_tasks.platforms import platform

METAL = platform("metal-qemu-snp")
HANDLER = "contrast-cc-metal-qemu-snp-00112233"
FOLDER = f"opt/edgeless/{HANDLER}"
CONFIG = json.dumps(
    {
        "files": [
            {
                "url": "file:///assets/shim",
                "path": "/opt/edgeless/@@runtimeName@@/bin/containerd-shim-contrast-cc-v2",
                "executable": True,
            },
            {
                "url": "file:///assets/kata.toml",
                "path": "/opt/edgeless/@@runtimeName@@/etc/configuration-qemu-snp.toml",
            },
        ]
    }
)
ASSETS = {
    "file:///assets/shim": b"\x7fELF shim",
    "file:///assets/kata.toml": b'path = "/opt/edgeless/@@runtimeName@@/bin/qemu-system-x86_64"\n',
}
DEFAULT = 'version = 2\n# mine\n[plugins."io.containerd.grpc.v1.cri"]\n'


class Systemd:
    """Units and since when they run; a restart makes it `now`."""

    def __init__(self, **units: int) -> None:
        self.units = {name.replace("_", "."): since for name, since in units.items()}
        self.restarted: list[str] = []
        self.now = 2_000_000_000

    def __call__(self, words: Sequence[str]) -> tuple[int, str]:
        assert list(words[:5]) == ["nsenter", "--target", "1", "--mount", "--"]
        unit = words[-1]
        match words[6]:
            case "cat":
                return (0 if unit in self.units else 1), ""
            case "show":
                since = self.units[unit]
                return 0, f"@{since}\n" if since else "\n"
            case "restart":
                self.restarted.append(unit)
                self.units[unit] = self.now
                return 0, ""
        raise AssertionError(words)


class Machine:
    """A node in a folder."""

    def __init__(self, root: Path, platform_name: str = "metal-qemu-snp", **units: int) -> None:
        self.host = root / "host"
        self.proc = root / "proc"
        self.proc.mkdir(parents=True)
        self.systemd = Systemd(**(units or {"containerd_service": 1}))
        self.said: list[str] = []
        self.platform = platform(platform_name)
        self.node = Node(
            host=self.host,
            proc=self.proc,
            target=target_of(self.platform),
            run=self.systemd,
            now=lambda: 1_700_000_000.5,
            say=self.said.append,
        )

    @property
    def config(self) -> Path:
        return self.host / self.node.target.containerd_config

    def write(self, path: str, text: str) -> None:
        place = self.host / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        os.utime(place, (1000, 1000))

    def install(self, credentials: bytes | None = None, handler: str = HANDLER) -> None:
        config = parse_config(CONFIG.encode())
        contents = read_files(config, ASSETS.__getitem__)
        install(
            self.node,
            runtime_of(self.platform, handler, self.node.target),
            config,
            contents,
            credentials,
        )

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Return mode and content of every file, without backups."""
        return {
            path.relative_to(self.host).as_posix(): (path.stat().st_mode, path.read_bytes())
            for path in sorted(self.host.rglob("*"))
            if path.is_file() and path.suffix != ".bak"
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    found.write("etc/containerd/config.toml", DEFAULT)
    return found


def test_files_configuration_and_a_restart(machine: Machine) -> None:
    machine.install()

    shim = machine.host / FOLDER / "bin/containerd-shim-contrast-cc-v2"
    kata = machine.host / FOLDER / "etc/configuration-qemu-snp.toml"
    assert stat.S_IMODE(shim.stat().st_mode) == 0o755
    assert kata.read_text() == f'path = "/{FOLDER}/bin/qemu-system-x86_64"\n'
    assert f'ConfigPath = "/{FOLDER}/etc/configuration-qemu-snp.toml"' in machine.config.read_text()
    assert machine.systemd.restarted == ["containerd.service"]
    backup = machine.config.with_name("config.toml.1700000000.bak")
    assert backup.read_text() == DEFAULT


def test_a_second_run_changes_and_restarts_nothing(machine: Machine) -> None:
    machine.install()
    before, machine.said[:] = machine.tree(), []

    machine.install()

    assert machine.tree() == before
    assert machine.said == []
    assert machine.systemd.restarted == ["containerd.service"]


def test_a_restart_that_did_not_happen_is_made_up_for(machine: Machine) -> None:
    machine.install()
    machine.systemd.units["containerd.service"] = 5  # started before the configuration changed

    machine.install()

    assert machine.systemd.restarted == ["containerd.service"] * 2


def test_a_unit_that_does_not_run_is_started(tmp_path: Path) -> None:
    machine = Machine(tmp_path, containerd_service=0)
    machine.write("etc/containerd/config.toml", DEFAULT)

    machine.install()

    assert machine.systemd.restarted == ["containerd.service"]


def test_removing_restores_every_byte_and_restarts_once(machine: Machine) -> None:
    machine.config.chmod(0o600)
    before = machine.tree()
    machine.install(credentials=b"[registries]\n")
    machine.systemd.restarted.clear()

    uninstall(machine.node, HANDLER)
    uninstall(machine.node, HANDLER)

    assert machine.tree() == before
    assert machine.systemd.restarted == ["containerd.service"]


def test_the_newest_backup_stays(machine: Machine) -> None:
    machine.write("etc/containerd/config.toml.1600000000.bak", "old")
    machine.write("etc/containerd/config.toml.mine.bak", "mine")
    machine.install()

    uninstall(machine.node, HANDLER)

    assert sorted(path.name for path in machine.config.parent.iterdir()) == [
        "config.toml",
        "config.toml.1700000000.bak",
        "config.toml.mine.bak",
    ]


def test_nothing_is_removed_while_a_pod_runs(machine: Machine) -> None:
    machine.install()
    before = machine.tree()
    for number, program in (
        ("17", f"/{FOLDER}/bin/containerd-shim-contrast-cc-v2"),
        ("18", f"/{FOLDER}/bin/qemu-system-x86_64 (deleted)"),
        ("19", "/usr/bin/containerd-shim-runc-v2"),
        ("20", f"/{FOLDER}x/bin/other"),
    ):
        (machine.proc / number).mkdir()
        (machine.proc / number / "exe").symlink_to(program)
    (machine.proc / "self").mkdir()

    with pytest.raises(ClusterError, match=f"2 pods of {HANDLER} run on this node"):
        uninstall(machine.node, HANDLER)

    assert pods_of(machine.proc, HANDLER) == (17, 18)
    assert machine.tree() == before


def test_a_configuration_that_cannot_be_edited_stays(machine: Machine) -> None:
    machine.write("etc/containerd/config.toml", "disabled_plugins = ['cri']\nversion = 2\n")
    before = machine.config.read_bytes()

    with pytest.raises(ClusterError, match="turns the CRI plugin off"):
        machine.install()

    assert machine.config.read_bytes() == before
    assert machine.systemd.restarted == []


def test_a_configuration_that_others_may_write_is_closed_to_them(machine: Machine) -> None:
    machine.config.chmod(0o666)

    machine.install()

    assert stat.S_IMODE(machine.config.stat().st_mode) == 0o644


def test_credentials_are_for_root_only(machine: Machine) -> None:
    machine.install(credentials=b"[registries]\n")

    place = machine.host / FOLDER / "etc/host-config/contrast-imagepuller.toml"
    assert (place.read_bytes(), stat.S_IMODE(place.stat().st_mode)) == (b"[registries]\n", 0o600)


def test_a_node_without_the_unit_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, docker_service=1)
    machine.write("etc/containerd/config.toml", DEFAULT)

    with pytest.raises(ClusterError, match=r"none of the units containerd\.service"):
        machine.install()


RENDERED = 'version = 3\n[plugins."io.containerd.cri.v1.runtime".containerd]\n'


@pytest.mark.parametrize(
    ("name", "distribution", "unit"),
    [("k3s-qemu-snp", "k3s", "k3s-agent.service"), ("rke2-qemu-tdx", "rke2", "rke2-agent.service")],
)
def test_distributions_get_a_template_and_lose_it_again(
    tmp_path: Path, name: str, distribution: str, unit: str
) -> None:
    machine = Machine(tmp_path, name, **{unit.replace(".", "_"): 1})
    place = f"var/lib/rancher/{distribution}/agent/etc/containerd/config.toml"
    machine.write(place, RENDERED)
    before = machine.tree()
    handler = HANDLER.replace("metal-qemu-snp", name)

    machine.install(handler=handler)

    assert machine.systemd.restarted == [unit]
    template = (machine.host / f"{place}.tmpl").read_text()
    assert (machine.host / place).read_text() == RENDERED
    # As the distribution does when it starts.
    (machine.host / place).write_text(template)
    machine.install(handler=handler)
    assert machine.systemd.restarted == [unit]
    uninstall(machine.node, handler)
    (machine.host / place).write_text(RENDERED)
    assert machine.tree() == before


def test_a_template_of_the_administrator_is_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "k3s-qemu-snp", k3s_service=1)
    place = "var/lib/rancher/k3s/agent/etc/containerd/config.toml"
    machine.write(place, RENDERED)
    machine.write(f"{place}.tmpl", '{{ template "base" . }}\n')
    before = machine.tree()

    machine.install()
    uninstall(machine.node, HANDLER)

    assert machine.tree() == before


def test_a_distribution_that_has_not_started_yet_is_waited_for(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "k3s-qemu-snp", k3s_service=1)

    with pytest.raises(ClusterError, match="is not there yet, expected it from k3s"):
        machine.install()


class TestTarget:
    """The ConfigMap as a folder. Source: docs/internals/runtime.md 4.5."""

    def test_it_says_where_things_are(self, tmp_path: Path) -> None:
        (tmp_path / "containerd-config-path").write_text(" /etc/other/config.toml\n")
        (tmp_path / "systemd-unit-name").write_text("a.service, b.service c.service\n")
        (tmp_path / "kata-config-path").write_text("etc/kata.toml")
        (tmp_path / "..data").mkdir()

        found = configured(target_of(METAL), tmp_path)

        assert found.containerd_config == "etc/other/config.toml"
        assert found.units == ("a.service", "b.service", "c.service")
        assert runtime_of(METAL, HANDLER, found).kata_config == "/etc/kata.toml"

    def test_without_a_folder_the_platform_decides(self, tmp_path: Path) -> None:
        assert configured(target_of(METAL), tmp_path / "gone") == target_of(METAL)

    @pytest.mark.parametrize(
        ("name", "text", "told"),
        [
            ("systemd-unit-name", " \n", "systemd-unit-name cannot be empty"),
            ("unit", "x", "unit is no key"),
            ("containerd-config-path", "../etc/shadow", "below the node's root"),
        ],
    )
    def test_a_wrong_file_is_refused(self, tmp_path: Path, name: str, text: str, told: str) -> None:
        (tmp_path / name).write_text(text)

        with pytest.raises(SettingsError, match=told):
            configured(target_of(METAL), tmp_path)


class TestFiles:
    """contrast-node-install.json. Source: docs/internals/runtime.md 4.1."""

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("path", "/etc/passwd"),
            ("path", "/opt/edgeless/@@runtimeName@@/../x"),
            ("path", "/opt/edgeless/@@runtimeName@@/.."),
            ("path", "/opt/edgeless/@@runtimeName@@"),
            ("url", "http://mirror.example/shim"),
            ("url", "https://mirror.example/shim"),
            ("executable", "yes"),
            ("more", 1),
        ],
    )
    def test_a_wrong_entry_is_refused(self, member: str, value: object) -> None:
        document = json.loads(CONFIG)
        document["files"][0][member] = value

        with pytest.raises(SettingsError):
            parse_config(json.dumps(document).encode())

    @pytest.mark.parametrize("good", [True, False])
    def test_content_is_held_against_its_hash(self, *, good: bool) -> None:
        content = b"shim"
        digest = hashlib.sha256(content if good else b"other").digest()
        document = json.loads(CONFIG)
        document["files"] = [
            {
                "url": "https://mirror.example/shim",
                "path": "/opt/edgeless/@@runtimeName@@/bin/shim",
                "integrity": f"sha256-{base64.b64encode(digest).decode()}",
            }
        ]
        config = parse_config(json.dumps(document).encode())

        if good:
            assert list(read_files(config, lambda _: content).values()) == [content]
        else:
            with pytest.raises(ClusterError, match="has other content"):
                read_files(config, lambda _: content)

    def test_the_name_changes_with_platform_and_content(self) -> None:
        names = {
            handler_of(METAL, {"/a": b"1"}),
            handler_of(METAL, {"/a": b"2"}),
            handler_of(METAL, {"/b": b"1"}),
            handler_of(platform("metal-qemu-tdx"), {"/a": b"1"}),
        }

        assert len({name[-8:] for name in names}) == 4
        assert handler_of(METAL, {"/a": b"1"}) == handler_of(METAL, {"/a": b"1"})
