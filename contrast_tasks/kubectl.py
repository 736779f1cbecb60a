"""The user's own kubectl as a program: how it is run, and what its errors mean."""

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread, Timer
from typing import IO, NamedTuple, Protocol

from contrast_tasks.errors import ClusterError

_TIMEOUT_S = 300
# A line of kubectl's log, as `E1128 03:44:19.099484   21711 memcache.go:265] ...`.
_LOG_LINE = re.compile(r"[EWIF]\d{4} \d\d:\d\d:")
_WARNING = "Warning: "
_WAITS = re.compile(r"--timeout=(\d+)s")
_CONFLICT = re.compile(r"Apply failed with \d+ conflict")
# kubectl goes on with what to do about conflicts by its own options.
_ADVICE = "Please review the fields above"
_PLACE_ABSENT = re.compile(r'namespaces "([^"]+)" not found')
# Files of a list cannot be told apart in kubectl's messages, and the objects' names stand there anyway.
_STDIN = re.compile(r'(?:unable to recognize )?"?STDIN"?:? ?')
_ERROR = "error: "
_REASON = re.compile(r"Error from server \((\w+)\)")
_DENIED = re.compile(
    r'cannot (\w+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?'
)
# What kubectl says where nothing it asks can be answered, and what to do then.
_NO_WAY = (
    (
        re.compile(r"getting credentials|must be logged in|provide credentials|Unauthorized"),
        "log in to the cluster again, or choose another context with --context",
    ),
    (
        re.compile(r"was refused|connection refused|Unable to connect|dial tcp|x509|rejected our"),
        "does the cluster run, and is its context the one that you mean (--context)?",
    ),
)
_TIMED_OUT = ("timed out waiting for the condition", "context deadline exceeded")

OnLine = Callable[[str], None]


class Said(NamedTuple):
    """What kubectl printed, and the API server's warnings."""

    text: str
    warnings: tuple[str, ...] = ()


class Run(Protocol):
    """Runs kubectl with these arguments and this input; on_line: is told each line that it prints, when it comes.

    Raises ClusterError, KubectlFailed with its error output if it fails.
    """

    def __call__(self, arguments: Sequence[str], content: str, on_line: OnLine, /) -> Said:
        """Return what it printed."""


class KubectlFailed(ClusterError):
    """kubectl ended with an error.

    text: what it printed before. reasons: the API server's, as `Conflict`. denied: what the user may not do, each as `list on
    events in namespace shop`. is_late: what it waited for did not happen in time. has_no_way: the API server does not answer
    at all, or does not know the user.
    """

    text = ""
    reasons: frozenset[str] = frozenset()
    denied: tuple[str, ...] = ()
    is_late = False
    has_no_way = False


def unheard(_line: str) -> None:
    """Take a line that nobody waits for."""


def run_kubectl(arguments: Sequence[str], content: str = "", on_line: OnLine = unheard) -> Said:
    """Run kubectl and return its output; a Run."""
    limit_s = _TIMEOUT_S + sum(int(found[1]) for found in map(_WAITS.fullmatch, arguments) if found)
    # What kubectl says of errors waits in a file, so that it never waits for a reader.
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        try:
            process = subprocess.Popen(
                ["kubectl", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        except FileNotFoundError as err:
            raise ClusterError(
                "kubectl is not installed", hint="install it, or use platform local"
            ) from err
        except OSError as err:
            raise ClusterError(f"kubectl cannot be run: {(err.strerror or '').lower()}") from err
        text, is_late = _talk(process, content, on_line, limit_s)
        if is_late:
            raise ClusterError(f"kubectl {verb_of(arguments)} did not end within {limit_s} s")
        errors.seek(0)
        lines = errors.read().strip().splitlines()
    if process.returncode != 0:
        failed = refused(arguments, lines)
        failed.text = text
        raise failed
    warnings = (line.removeprefix(_WARNING) for line in lines if line.startswith(_WARNING))
    return Said(text, tuple(dict.fromkeys(warnings)))


def _talk(
    process: "subprocess.Popen[bytes]", content: str, on_line: OnLine, limit_s: int
) -> tuple[str, bool]:
    """Return what a process prints until it ends, and whether it was killed after limit_s seconds."""
    late = Event()

    def end() -> None:
        late.set()
        process.kill()

    feeder = Thread(target=_feed, args=(process.stdin, content))
    timer = Timer(limit_s, end)
    lines: list[str] = []
    with process:
        feeder.start()
        timer.start()
        try:
            # A carriage return ends no line: logs of pods have them, behind the place that begins a line.
            for found in process.stdout or ():
                lines.append(found.decode(errors="replace"))
                on_line(lines[-1])
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
            feeder.join()
    return "".join(lines), late.is_set()


def _feed(stdin: IO[bytes], content: str) -> None:
    # It need not read all, or any.
    with contextlib.suppress(BrokenPipeError), stdin:
        stdin.write(content.encode())


def verb_of(arguments: Sequence[str]) -> str:
    """Return what kubectl is to do."""
    return next((word for word in arguments if not word.startswith("-")), "")


def refused(arguments: Sequence[str], lines: Sequence[str]) -> KubectlFailed:
    """Return the error of a kubectl that failed; lines: its error output."""
    told = list(_without_log(lines))
    message = _STDIN.sub("", "\n".join(dict.fromkeys(told or lines))).removeprefix(_ERROR)
    no_way = next((hint for words, hint in _NO_WAY if words.search(message)), "")
    denied = tuple(
        f"{verb} on {plural}{f'.{group}' if group else ''}{f' in namespace {place}' if place else ''}"
        for verb, plural, group, place in dict.fromkeys(_DENIED.findall(message))
    )
    hint = no_way
    if no_way:
        # What follows is advice about kubectl's configuration.
        message = message.partition("\n")[0]
    elif _CONFLICT.search(message):
        message = message.partition(_ADVICE)[0].rstrip()
        # For example after `kubectl apply` of the same objects without --server-side.
        hint = "another tool owns these fields; deploy --take-over sets them all the same"
    elif absent := _PLACE_ABSENT.search(message):
        hint = f"make it with 'kubectl create namespace {absent[1]}', or add it to the sources"
    elif denied:
        hint = f"it takes a Role with the verb {', '.join(denied)}; --context chooses another user"
    failed = KubectlFailed(
        f"kubectl {verb_of(arguments)} failed: {message or 'it said nothing'}", hint=hint
    )
    failed.reasons, failed.denied = frozenset(_REASON.findall(message)), denied
    failed.is_late = any(words in message for words in _TIMED_OUT)
    failed.has_no_way = bool(no_way)
    return failed


def _without_log(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines that are neither kubectl's log, whose entries may have further lines, nor warnings."""
    is_log = False
    for line in lines:
        is_log = bool(_LOG_LINE.match(line)) or (is_log and line.startswith(("\t", " >")))
        if not is_log and not line.startswith(_WARNING):
            yield line
