"""What makes and checks a deployment needs nothing that only Linux has: macOS and Windows run it from the same wheel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.workloads import FakeProject, make_project

ROOT = Path(__file__).resolve().parents[2]
# What Python lacks on Windows, and how it opens text there. Source: the availability notes of its library reference. Packages of
# others are loaded before it is taken away, since on Windows they have branches of their own.
WINDOWS = """
import builtins, io, os, signal, socket, sys
import asyncio, concurrent.futures.process, getpass, multiprocessing.connection, ssl, subprocess, tarfile, tempfile
import OpenSSL.SSL, cryptography.x509, doit.cmd_run, jinja2, jsonschema, regorus, urllib3, yaml
for name in ("fcntl", "grp", "posix", "pwd", "pty", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
MISSING = {
    os: "chown fchmod fchown fork geteuid getegid getgid getpgid getuid killpg lchown mkfifo nice "
    "pread pwrite register_at_fork sched_getaffinity sched_setaffinity setsid setuid statvfs sync uname "
    "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK",
    signal: "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 pthread_sigmask setitimer",
    socket: "AF_UNIX",
}
for module, names in MISSING.items():
    for name in names.split():
        delattr(module, name)

def open_as_windows(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, *more, **others):
    if "b" not in mode:
        encoding = "cp1252" if encoding in (None, "locale") else encoding
        newline = "\\r\\n" if newline is None and mode.strip("rt") else newline
    return opened(file, mode, buffering, encoding, errors, newline, *more, **others)

opened, io.open, builtins.open = io.open, open_as_windows, open_as_windows
from contrast_tasks.cli.main import main
for line in sys.argv[1:]:
    code = main(line.split())
    print(line, code, flush=True)
"""
LINES = ("lint", "generate", "generate --always", "plan", "lock", "simulate", "coordinator")
CHECKS = ("config show --origin", "init --ci gitlab", "generate --check")


@pytest.mark.e2e
def test_a_deployment_is_made_and_checked_without_what_windows_lacks(tmp_path: Path) -> None:
    """The bytes are those that Linux makes with all it has."""
    project: FakeProject = make_project(tmp_path / "a project")
    same: FakeProject = make_project(tmp_path / "the same")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}

    done = subprocess.run(
        [sys.executable, "-c", WINDOWS, *LINES, *CHECKS],
        cwd=project.root,
        env={**kept, "PYTHONPATH": str(ROOT), "CONTRAST_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    codes = [line for line in done.stdout.splitlines() if line[:-2] in (*LINES, *CHECKS)]
    assert codes == [f"{line} 0" for line in (*LINES, *CHECKS)], done.stderr
    subprocess.run(
        [sys.executable, "-m", "contrast_tasks", "--quiet", "generate"],
        cwd=same.root,
        env={**kept, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert project.outputs() == same.outputs()
    assert "manifest.json" in same.outputs()
