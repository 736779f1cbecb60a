"""What apt would install of Debian's release, by Debian's signed index.

apt itself solves the dependencies and verifies the signatures, in a folder of its own: the machine's packages do not count.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from contrast_tasks.errors import ContrastError
from contrast_tasks.images.base.pins import DebianPackage

SUITE = "trixie"
PYTHON = "3.13"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_MIRROR = "http://deb.debian.org"
# Only scripts of packages need these, and none is run.
_FOR_SCRIPTS = ("debconf", "dpkg", "mawk", "perl-base", "sensible-utils", "install-info")
_FOR_SCRIPTS_OF_SERVERS = (
    *("adduser", "init-system-helpers", "lsb-base", "sysvinit-utils", "ucf", "logrotate", "cron"),
    *("ssl-cert", "procps", "tzdata-legacy", "iproute2", "passwd", "perl", "locales"),
    *("postgresql-common", "postgresql-client-common", "libllvm19", "libz3-4"),
)
# For commands of git in Perl, which send letters and talk to other version controls.
_FOR_UNUSED_COMMANDS = ("liberror-perl",)
# Of Python's library, what no image uses: databases, terminals, names of zones. Their modules cannot be imported.
_FOR_UNUSED_MODULES = (
    *("libdb5.3t64", "libsqlite3-0", "libncursesw6", "libreadline8t64", "readline-common"),
    *("tzdata", "media-types", "openssl"),
)
_LINE = re.compile(
    r"'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>[0-9]+) SHA256:(?P<sha256>[0-9a-f]{64})"
)


class AptFailed(ContrastError):
    """apt could not read the index or find a package; its words are in the message."""


class Machine(NamedTuple):
    """A folder in which apt knows the index and no installed package."""

    folder: Path

    def run(self, *words: str) -> str:
        """Return what an apt command prints; raises AptFailed."""
        environ = {**os.environ, "APT_CONFIG": str(self.folder / "apt.conf"), "LC_ALL": "C"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
        if done.returncode:
            raise AptFailed(f"{' '.join(words[:2])} failed: {done.stderr.strip()[-400:]}")
        return done.stdout


def debians_own() -> str:
    """Return apt's sources for Debian's release with its security updates."""
    return (
        _source("debian", SUITE)
        + _source("debian", f"{SUITE}-updates")
        + _source("debian-security", f"{SUITE}-security")
    )


def debians_testing() -> str:
    """Return apt's sources for what becomes Debian's next release, also of a mirror that stands still."""
    return _source("debian", "testing", " check-valid-until=no")


def _source(archive: str, suite: str, option: str = "") -> str:
    return f"deb [arch=amd64 signed-by={_KEYS}{option}] {_MIRROR}/{archive} {suite} main\n"


def prepare(folder: Path, *, sources: str = "") -> Machine:
    """Have apt read the index; raises AptFailed if a signature does not verify. sources: Debian's own by default."""
    for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/apt.conf.d"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(sources or debians_own())
    (folder / "status").write_text("")
    (folder / "apt.conf").write_text(
        f'Dir "{folder}"; Dir::State "{folder}"; Dir::State::Lists "lists"; Dir::Cache "cache";\n'
        f'Dir::State::status "{folder}/status"; Dir::Etc "etc"; Dir::Etc::Parts "apt.conf.d";\n'
        f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-";\n'
        'APT::Architecture "amd64"; APT::Architectures "amd64"; APT::Install-Recommends "false";\n'
        'APT::Sandbox::User "root"; Debug::NoLocking "true"; Acquire::ForceHash "SHA256";\n'
    )
    machine = Machine(folder)
    machine.run("apt-get", "update", "-qq", "--error-on=any")
    return machine


def closure(
    machine: Machine, roots: Sequence[str], *, mirror: str = _MIRROR
) -> tuple[DebianPackage, ...]:
    """Return the packages and what they depend on, sorted by name, without what only scripts need.

    mirror: address that paths of packages are relative to.
    """
    left_out = [
        name
        for name in (
            *_FOR_SCRIPTS,
            *_FOR_SCRIPTS_OF_SERVERS,
            *_FOR_UNUSED_COMMANDS,
            *_FOR_UNUSED_MODULES,
        )
        if name not in roots
    ]
    (machine.folder / "status").write_text("".join(map(_installed, left_out)))
    out = machine.run("apt-get", "install", "-qq", "--print-uris", "--yes", *roots)
    lines = out.splitlines()
    found = [match for line in lines if (match := _LINE.fullmatch(line.strip()))]
    if len(found) != len(lines):
        raise AptFailed(f"apt-get printed {lines[0]!r}, expected addresses with SHA-256")
    packages = [_package(match, mirror) for match in found]
    return tuple(sorted(packages, key=lambda each: each.name))


def _installed(name: str) -> str:
    return (
        f"Package: {name}\nStatus: install ok installed\nVersion: 999:0\nArchitecture: amd64\n"
        "Multi-Arch: foreign\nProvides: awk, debconf-2.0\nMaintainer: nobody\nDescription: left out\n\n"
    )


def _package(match: re.Match[str], mirror: str) -> DebianPackage:
    name, version, _ = match["file"].split("_")
    archive, _, path = unquote(match["uri"]).removeprefix(f"{mirror}/").partition("/")
    return DebianPackage(
        name=name,
        version=unquote(version),
        archive=archive,
        path=path,
        size_bytes=int(match["size"]),
        sha256=match["sha256"],
    )


def in_new_folder() -> "tempfile.TemporaryDirectory[str]":
    """Return a folder for `prepare`, removed at the end."""
    return tempfile.TemporaryDirectory(prefix="lock-packages-")
