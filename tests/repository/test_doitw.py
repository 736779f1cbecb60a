"""The wrapper, against an environment whose interpreter is a small shell script."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.fakes.signals import interruptible

ROOT = Path(__file__).resolve().parents[2]

UV = """#!/bin/sh
printf '%s\\n' "$*, system's certificates $UV_SYSTEM_CERTS" >>"{log}"
exit {code}
"""

INTERPRETER = """#!/bin/sh
if [ "$1" = "-m" ] && [ "$2" = "pip" ]; then
    printf '%s\\n' "$*" >>"{log}"
    exit {pip}
fi
printf 'cwd=%s\\n' "$PWD"
printf 'project=%s\\n' "$CONTRAST_PROJECT"
printf 'command=%s\\n' "$CONTRAST_COMMAND"
for argument in "$@"; do printf 'argument=%s\\n' "$argument"; done
exit 7
"""


class Checkout:
    """A copy of the wrapper and its lock in a folder with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.venv = self.root / ".venv"
        self.pip_log = folder / "pip.log"
        self.uv_log = folder / "uv.log"
        self.tools = folder / "tools"
        self.tools.mkdir()
        (self.venv / "bin").mkdir(parents=True)
        for name in ("doitw", "requirements.lock"):
            shutil.copy(ROOT / name, self.root / name)

    def interpreter(self, *, pip: int = 0) -> None:
        path = self.venv / "bin" / "python"
        path.write_text(INTERPRETER.format(log=self.pip_log, pip=pip))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def uv(self, folder: Path, *, code: int = 0) -> None:
        path = folder / "uv"
        path.write_text(UV.format(log=self.uv_log, code=code))
        path.chmod(0o755)

    def stamp(self) -> None:
        shutil.copy(self.root / "requirements.lock", self.venv / "requirements.lock")

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        program: Path | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        others = [
            folder
            for folder in os.environ["PATH"].split(os.pathsep)
            if not (Path(folder) / "uv").exists()
        ]
        path = os.pathsep.join([str(self.tools), *others])
        keep = {"PATH": path, "HOME": str(self.root), **environment}
        return subprocess.run(
            [str(program or self.root / "doitw"), *arguments],
            cwd=cwd or self.root,
            env=keep,
            text=True,
            capture_output=True,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_an_installed_environment_is_used_at_once_without_pip(checkout: Checkout) -> None:
    checkout.interpreter()
    checkout.stamp()

    done = checkout.run("generate", "a b", "")

    assert done.returncode == 7
    assert "argument=generate\nargument=a b\nargument=\n" in done.stdout
    assert done.stderr == ""
    assert not checkout.pip_log.exists()


def test_it_works_from_any_directory_and_keeps_the_callers(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.interpreter()
    checkout.stamp()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    done = checkout.run("verify", cwd=elsewhere)

    assert f"cwd={elsewhere}\n" in done.stdout
    assert f"project={checkout.root}\n" in done.stdout
    assert f"command={checkout.root}/doitw\n" in done.stdout


def test_a_link_by_the_programs_name_is_the_program_for_the_project_where_the_user_is(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.interpreter()
    checkout.stamp()
    (checkout.tools / "contrast-tasks").symlink_to(checkout.root / "doitw")

    done = checkout.run("lint", cwd=tmp_path, program=checkout.tools / "contrast-tasks")
    named = checkout.run(
        "lint", program=checkout.tools / "contrast-tasks", CONTRAST_PROJECT="/a/project"
    )

    assert f"cwd={tmp_path}\nproject=\ncommand=contrast-tasks\n" in done.stdout
    assert "project=/a/project\n" in named.stdout


def test_hints_can_name_a_wrapper_that_was_given_to_a_shell(checkout: Checkout) -> None:
    checkout.interpreter()
    checkout.stamp()

    done = subprocess.run(
        ["sh", "doitw", "stop"],
        cwd=checkout.root,
        env={"PATH": os.environ["PATH"]},
        text=True,
        capture_output=True,
        check=False,
    )

    assert "command=./doitw\n" in done.stdout


def test_the_first_run_installs_by_hash_and_leaves_a_stamp(checkout: Checkout) -> None:
    checkout.interpreter()
    checkout.uv(checkout.tools)

    done = checkout.run("generate")

    assert done.returncode == 7
    asked = checkout.uv_log.read_text()
    assert "--require-hashes --no-build -r" in asked
    assert "system's certificates true" in asked
    assert not checkout.pip_log.exists()
    assert re.search(r"^doitw: made in \d+ s, \d+ MB$", done.stderr, re.MULTILINE)
    lock = (checkout.root / "requirements.lock").read_bytes()
    assert (checkout.venv / "requirements.lock").read_bytes() == lock
    assert not checkout.venv.with_name(".venv.lock").exists()


def test_without_uv_pip_installs_it_from_the_lock(checkout: Checkout) -> None:
    checkout.interpreter()
    checkout.uv(checkout.root)
    python = checkout.venv / "bin" / "python"
    # What pip would have brought is there after it.
    brings = f'cp "{checkout.root}/uv" "{checkout.venv}/bin/uv"\n    exit 0'
    python.write_text(python.read_text().replace("exit 0", brings))

    done = checkout.run("generate")

    assert done.returncode == 7
    assert checkout.pip_log.read_text().count("pip install") == 1
    asked = (checkout.venv / "uv.txt").read_text().splitlines()
    assert [line.split("==")[0] for line in asked if not line.startswith(" ")] == ["uv"]
    assert all("--hash=sha256:" in line for line in asked[1:])
    assert "pip install" in checkout.uv_log.read_text()


@pytest.mark.parametrize(
    ("arguments", "uv_runs"), [({}, 1), ({"CONTRAST_PIP_ARGS": "--no-index --find-links w"}, 0)]
)
def test_pip_takes_over_where_uv_fails_or_pip_has_arguments(
    checkout: Checkout, arguments: dict[str, str], uv_runs: int
) -> None:
    checkout.interpreter()
    checkout.uv(checkout.tools, code=2)

    done = checkout.run("generate", **arguments)

    assert done.returncode == 7
    log = checkout.pip_log.read_text()
    assert log.endswith(
        f"{arguments.get('CONTRAST_PIP_ARGS', '')} -r {checkout.root}/requirements.lock\n".lstrip()
    )
    runs = checkout.uv_log.read_text().count("pip install") if checkout.uv_log.exists() else 0
    assert runs == uv_runs
    assert ("uv failed, pip takes over" in done.stderr) == bool(uv_runs)


def test_a_changed_lock_installs_again_in_place(checkout: Checkout) -> None:
    checkout.interpreter()
    checkout.stamp()
    with (checkout.root / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")

    checkout.uv(checkout.tools)
    checkout.run("generate")

    assert checkout.uv_log.read_text().count("pip install") == 1


def test_a_failed_install_leaves_no_stamp_and_says_so(checkout: Checkout) -> None:
    checkout.interpreter(pip=1)

    done = checkout.run("generate")

    assert done.returncode == 3
    assert "environment could not be made" in done.stderr
    assert not (checkout.venv / "requirements.lock").exists()
    assert not checkout.venv.with_name(".venv.lock").exists()


def test_an_interrupt_of_the_first_run_is_told_and_leaves_no_stamp(checkout: Checkout) -> None:
    checkout.interpreter()
    checkout.uv(checkout.tools)
    uv = checkout.tools / "uv"
    uv.write_text(uv.read_text().replace("exit 0", "kill -INT $PPID"))

    with interruptible():
        done = checkout.run("generate")

    assert done.returncode == 130
    assert done.stderr.endswith("doitw: interrupted, run again to go on\n")
    assert not (checkout.venv / "requirements.lock").exists()
    assert not checkout.venv.with_name(".venv.lock").exists()


def test_a_lock_left_by_a_dead_first_run_is_taken_over(checkout: Checkout) -> None:
    checkout.interpreter()
    held = checkout.venv.with_name(".venv.lock")
    held.mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    (held / "pid").write_text(f"{gone.pid}\n")

    done = checkout.run("generate")

    assert done.returncode == 7
    assert not held.exists()


def test_a_machine_without_a_usable_python_gets_a_hint(checkout: Checkout) -> None:
    for name in ("sh", "dirname", "cmp", "mkdir", "rm", "cat"):
        found = shutil.which(name)
        assert found is not None
        (checkout.tools / name).symlink_to(found)
    old = checkout.tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    done = subprocess.run(
        ["sh", str(checkout.root / "doitw"), "generate"],
        env={"PATH": str(checkout.tools)},
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 3
    assert "no Python 3.11 or newer" in done.stderr
    assert "hint:" in done.stderr


def test_a_link_to_the_wrapper_finds_the_checkout(checkout: Checkout, tmp_path: Path) -> None:
    checkout.interpreter()
    checkout.stamp()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "absolute").symlink_to(checkout.root / "doitw")
    (folder / "relative").symlink_to("absolute")

    done = subprocess.run(
        [str(folder / "relative"), "generate"],
        env={"PATH": os.environ["PATH"]},
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 7
    assert f"project={checkout.root}\n" in done.stdout


def test_a_place_that_cannot_be_written_is_told_at_once(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    done = checkout.run("generate", CONTRAST_VENV=str(tmp_path / "file" / "venv"))

    assert done.returncode == 3
    assert "its folder may not be written" in done.stderr
    assert "hint: set CONTRAST_VENV" in done.stderr


def test_an_environment_without_its_interpreter_is_made_again(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.stamp()
    (checkout.venv / "bin" / "python").symlink_to(tmp_path / "gone")
    maker = tmp_path / "python"
    maker.write_text(
        "#!/bin/sh\n"
        '[ "$1" = "-c" ] && exit 0\n'
        f'rm -f "$4/bin/python"; cp "{tmp_path}/made" "$4/bin/python"; echo "$2 $3" >"{tmp_path}/asked"\n'
    )
    made = tmp_path / "made"
    made.write_text(INTERPRETER.format(log=checkout.pip_log, pip=0))
    for path in (maker, made):
        path.chmod(0o755)

    done = checkout.run("generate", PYTHON=str(maker))

    assert done.returncode == 7
    assert (tmp_path / "asked").read_text() == "venv --clear\n"
    assert (checkout.venv / "requirements.lock").exists()
