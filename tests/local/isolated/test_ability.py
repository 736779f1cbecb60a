"""What is missing for namespaces, in one line."""

import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from contrast_tasks.local.isolated import ability as module
from contrast_tasks.local.isolated.ability import Ability, find_ability


def refusing(monkeypatch: pytest.MonkeyPatch, stderr: str, *, uid: int) -> list[list[str]]:
    """Let every trial fail with these last words, for this user; return the commands."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1, "", stderr)

    fake = SimpleNamespace(
        run=run, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired
    )
    monkeypatch.setattr(module, "subprocess", fake)
    monkeypatch.setattr(module, "os", SimpleNamespace(geteuid=lambda: uid))
    return commands


def there(name: str) -> str:
    return f"/bin/{name}"


def test_missing_tools_are_named_with_their_packages() -> None:
    found = find_ability(lambda name: None if name in {"runc", "ip"} else there(name))

    assert found == "there is no ip and no runc (install iproute2 and runc)"


def test_forbidden_user_namespaces_are_named_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = "unshare: unshare failed: Operation not permitted\n"
    commands = refusing(monkeypatch, last, uid=12345)

    found = find_ability(there)

    assert isinstance(found, str)
    assert found.startswith("unshare: unshare failed: Operation not permitted (allow user")
    assert found.endswith("or deploy as root)")
    assert "\n" not in found
    assert all("--user" in command for command in commands)


def test_the_message_of_runc_comes_without_its_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    line = 'time="2026-11-30T09:57:54Z" level=error msg="runc run failed: no \\"cgroup\\" here"\n'
    refusing(monkeypatch, f"warning\n{line}", uid=0)

    assert find_ability(there) == (
        'runc run failed: no \\"cgroup\\" here (root of this machine may not make what a node needs)'
    )


def test_a_command_in_a_node_ends_with_whoever_started_it() -> None:
    assert "--kill-child" in Ability(users="all", limits=True).command
    assert "--user" not in Ability(users="all", limits=True).command
    mapped = Ability(users="mapped", limits=False)
    assert {"--user", "--map-root-user", "--map-auto"} <= set(mapped.command)
    assert mapped.overlay_options == "userxattr,"


@pytest.mark.e2e
def test_a_trial_leaves_nothing_on_the_machine() -> None:
    mounts = Path("/proc/self/mounts")
    before = mounts.read_text()

    find_ability()

    assert list(Path(tempfile.gettempdir()).glob("contrast-trial-*")) == []
    assert mounts.read_text() == before
