"""`./doitw first_minutes`: does what docs/first-minutes.md says as a newcomer, on a Debian that was made a minute ago.

The blocks of the page are pasted one after the other into one shell. What it says goes to build/first-minutes/transcript.txt with
the time of each, the times alone to times.json beside it. The Debian is that of this machine, of required packages only, with
this machine's mirrors, proxies and certificate authorities; it has namespaces of its own, and nothing of it is left. It needs root
and debootstrap, and downloads about 400 MB.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks.errors import ContrastError
from contrast_tasks.files import pretty_json, write_atomic
from dev.checkout import ROOT

PAGE = ROOT / "docs" / "first-minutes.md"
_BLOCK = re.compile(
    r"^## ([^\n]*)|<!-- (?:debian|local) -->\n```sh\n(.*?)```", re.MULTILINE | re.DOTALL
)
_CHECKOUT, _NOTES = "/root/checkout", "newcomer"
# How this machine reaches what it downloads.
_WAYS = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")  # fmt: skip
_ENTER = f"""
set -eu
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir outside
pivot_root . outside
umount -l outside
rmdir outside
shift
cd /root
exec env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 NO_COLOR=1 \\
    DEBIAN_FRONTEND=noninteractive CHECKOUT={_CHECKOUT} "$@" sh -eu /{_NOTES}/paste
"""
_BEGIN = f"""\
exec 3>/{_NOTES}/times
mark() {{ date +%s.%N >&3; times >&3; }}
mark
"""


class NotBare(ContrastError):
    """There is no bare Debian, or a block of the page fails on it."""


class Block(NamedTuple):
    """A block of the page below the heading `title`."""

    title: str
    text: str


class Time(NamedTuple):
    """How long a block took, and how long it and what it waited for had a processor, in seconds."""

    wall_s: float
    processor_s: float


def run_first_minutes() -> dict[str, Any]:
    """Do all of it. Raises NotBare, with the last lines of the block that fails."""
    if os.geteuid() or not shutil.which("debootstrap"):
        raise NotBare(
            "expected to be root and to find debootstrap", hint="apt-get install debootstrap"
        )
    blocks = list(blocks_of(PAGE.read_text()))
    with tempfile.TemporaryDirectory(prefix="contrast-newcomer-") as name:
        root = Path(name) / "debian"
        root.mkdir()  # which anybody may enter, as the user that apt downloads as
        _make_bare(root)
        size = subprocess.check_output(["du", "-sm", str(root)], text=True).split()[0]
        sys.stderr.write(f"a bare Debian of {size} MB; now the page:\n")
        code = _paste(root, blocks)
        notes = root / _NOTES
        times = read_times((notes / "times").read_text())
        said = [(notes / f"{number}").read_text(errors="replace") for number in range(len(times))]
        if code:
            last = (notes / f"{len(times)}").read_text(errors="replace")
            raise NotBare(f"block {len(times) + 1} failed with status {code}:\n{last[-2000:]}")
    folder = ROOT / "build" / "first-minutes"
    write_atomic(folder / "transcript.txt", transcript(blocks, said, times).encode())
    rows = [
        {"title": block.title, "command": block.text.splitlines()[0], **time._asdict()}
        for block, time in zip(blocks, times, strict=True)
    ]
    write_atomic(folder / "times.json", pretty_json({"version": 1, "blocks": rows}))
    return {"wrote": ["build/first-minutes/transcript.txt", "build/first-minutes/times.json"]}


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks that are pasted on a new machine, in order."""
    title = ""
    for heading, text in _BLOCK.findall(page):
        title = heading or title
        if text:
            yield Block(title, text)


def read_times(text: str) -> list[Time]:
    """Return the time between marks; each is the time of day, and the two lines of the shell's `times`.

    Source: POSIX, Shell Command Language, times.
    """
    lines = text.splitlines()
    marks = [
        (float(lines[at]), sum(map(_seconds, f"{lines[at + 1]} {lines[at + 2]}".split())))
        for at in range(0, len(lines), 3)
    ]
    return [
        Time(round(after[0] - before[0], 1), round(after[1] - before[1], 1))
        for before, after in pairwise(marks)
    ]


def _seconds(text: str) -> float:
    minutes, _, seconds = text.removesuffix("s").partition("m")
    return int(minutes) * 60 + float(seconds)


def transcript(blocks: Sequence[Block], said: Sequence[str], times: Sequence[Time]) -> str:
    """Return all blocks with what was shown, as one text."""
    parts, title = [], ""
    for block, shown, time in zip(blocks, said, times, strict=True):
        if block.title != title:
            parts.append(f"== {block.title}\n\n")
        title = block.title
        parts += [f"$ {line}\n" for line in block.text.splitlines()]
        parts.append(f"{shown}-- {time.wall_s} s, {time.processor_s} s of processor time\n\n")
    wall, processor = (sum(each) for each in zip(*times, strict=True))
    return f"{''.join(parts)}== in all: {wall:.0f} s, {processor:.0f} s of processor time\n"


def _make_bare(root: Path) -> None:
    """Make a Debian of required packages in an empty folder, with a clone of what is committed here."""
    sources = _sources()
    codename = next(iter(sources)).partition(" ")[2]
    mirror = next(iter(sources)).partition(" ")[0]
    _run("debootstrap", "--variant=minbase", codename, str(root), mirror)
    lines = "".join(f"deb {uri_and_suite} main\n" for uri_and_suite in sources)
    (root / "etc/apt/sources.list").write_text(lines)
    ways = [line for line in _run("apt-config", "dump").splitlines() if "Proxy" in line]
    (root / "etc/apt/apt.conf.d/proxies").write_text("".join(f"{line}\n" for line in ways))
    for name in ("etc/resolv.conf", "etc/hosts"):
        shutil.copy(Path("/") / name, root / name)
    authorities = "usr/local/share/ca-certificates"
    shutil.copytree(Path("/") / authorities, root / authorities, dirs_exist_ok=True)
    _run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), f"{root}{_CHECKOUT}")


def _sources() -> list[str]:
    """Return mirror and suite of each source of Debian's packages, that of the release itself first."""
    suite = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line
    )
    codename = suite.get("VERSION_CODENAME", "")
    words = ("indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    found = sorted(set(_run("apt-get", *words, "Origin: Debian").splitlines()))
    if not any(line.endswith(f" {codename}") for line in found):
        raise NotBare("no mirror of Debian's packages is known here", hint="run 'apt-get update'")
    return sorted(found, key=lambda line: not line.endswith(f" {codename}"))


def _run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotBare(
            f"{words[0]} failed with status {done.returncode}",
            hint=done.stdout[-500:] + done.stderr[-500:],
        )
    return done.stdout


def _paste(root: Path, blocks: Sequence[Block]) -> int:
    """Run the blocks in the new root and return the shell's status."""
    notes = root / _NOTES
    notes.mkdir()
    script = _BEGIN + "".join(
        f"exec >/{_NOTES}/{number} 2>&1\n{block.text}mark\n" for number, block in enumerate(blocks)
    )
    (notes / "paste").write_text(script)
    ways = [f"{name}={os.environ[name]}" for name in _WAYS if name in os.environ]
    namespaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private")
    command = [*namespaces, "sh", "-c", _ENTER, "sh", str(root), *ways]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
