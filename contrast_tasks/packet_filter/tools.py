"""The programs that write packet filter rules: iptables and ip6tables, each in two variants for two parts of the kernel.

The variants do not see each other's rules, and a packet has to pass both. Guests use the older one, iptables-legacy, so it
comes first; kernels without that part have nf_tables.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from contrast_tasks.errors import ClusterError
from contrast_tasks.packet_filter.rules import Meaning, RuleSet, parse_listing
from contrast_tasks.records import Record

Family = Literal["IPv4", "IPv6"]

_PROGRAMS: Final[Mapping[Family, str]] = {"IPv4": "iptables", "IPv6": "ip6tables"}
# PATH of a container often lacks them.
_SYSTEM_FOLDERS: Final = "/usr/sbin:/sbin"
# Another program may hold the lock while it writes.
_WAIT_S: Final = "10"
_LIMIT_S: Final = 60
_LOCK_VARIABLE: Final = "XTABLES_LOCKFILE"


class PacketFilterError(ClusterError):
    """The packet filter is not as it must be, so nothing may be let in."""


class ToolFailed(PacketFilterError):
    """A tool or the kernel part behind it refused; nothing was written."""


Run = Callable[[Sequence[str], str], str]
"""Runs a command with a text as its input; returns what it printed, raises ToolFailed."""


def run_tool(argv: Sequence[str], text: str) -> str:
    """Run one of the tools in this process' network namespace."""
    try:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            env=_environment(os.environ),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ToolFailed(f"{Path(argv[0]).name} cannot be run: {err}") from err
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise ToolFailed(f"{Path(argv[0]).name}: {said}")
    return done.stdout


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    chosen = {"LC_ALL": "C", "PATH": f"{environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"}
    if lock := environ.get(_LOCK_VARIABLE):
        chosen[_LOCK_VARIABLE] = lock
    elif not os.access("/run", os.W_OK):
        chosen[_LOCK_VARIABLE] = str(Path(tempfile.gettempdir()) / "contrast-xtables.lock")
    return chosen


class Tool(Record):
    """One variant of iptables or ip6tables; run: how commands are carried out."""

    program: str
    family: Family
    run: Run

    @property
    def name(self) -> str:
        """Return the program's name."""
        return Path(self.program).name

    def is_legacy(self) -> bool:
        """Return whether it is the older variant. Raises ToolFailed."""
        if self.name.endswith(("-legacy", "-nft")):
            return self.name.endswith("-legacy")
        return "nf_tables" not in self.run([self.program, "--version"], "")

    def list_rules(self, table: str, chain: str = "") -> list[Meaning]:
        """Return the rules of a table, or of one of its chains. Raises ToolFailed."""
        more = [chain] if chain else []
        argv = [self.program, "-w", _WAIT_S, "-t", table, "-S", *more]
        return parse_listing(self.run(argv, ""))

    def change(self, table: str, line: str) -> None:
        """Carry out one command, such as `-D INPUT -p tcp -j DROP`. Raises ToolFailed."""
        self.run([self.program, "-w", _WAIT_S, "-t", table, *line.split()], "")

    def write(self, rules: RuleSet) -> None:
        """Write the rules in one step, and read them back.

        Raises ToolFailed, and PacketFilterError if the kernel then has other rules than were written.
        """
        text = rules.transaction(self.list_rules(rules.table))
        self.run([f"{self.program}-restore", "-w", _WAIT_S, "--noflush"], text)
        if difference := rules.difference(self.list_rules(rules.table)):
            raise PacketFilterError(f"{self.name}: {difference}")


def find_tools(
    family: Family,
    *,
    run: Run = run_tool,
    which: Callable[[str], str | None] = lambda name: shutil.which(
        name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"
    ),
) -> list[Tool]:
    """Return the installed variants, the one that guests use first; without a variant's own name the plain one."""
    base = _PROGRAMS[family]
    found = [which(name) for name in (f"{base}-legacy", f"{base}-nft")]
    programs = [path for path in found if path] or [path for path in [which(base)] if path]
    return [Tool(program=path, family=family, run=run) for path in programs]


def write_with_first(rules: RuleSet, tools: Sequence[Tool]) -> Tool:
    """Write the rules with the first tool that can, and return it.

    Raises ToolFailed naming what each lacks, and PacketFilterError if what was written is not there.
    """
    failures = []
    for tool in tools:
        try:
            tool.write(rules)
        except ToolFailed as err:
            failures.append(str(err))
        else:
            return tool
    raise ToolFailed("; ".join(failures) or "no iptables is installed")
