"""Progress of a long command: a line that stays at the bottom of a terminal, and now and then a plain line elsewhere.

Nothing is shown in the first second. On a terminal that is by rich, of the extra `ui`, which is imported then.
"""

import importlib.util
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contrast_tasks.report.model import number_of
from contrast_tasks.report.text import shown

if TYPE_CHECKING:
    from typing import TextIO

_FIRST_S = 1.0
_PLAIN_EVERY_S = 10.0
_REFRESH_HZ = 4
_SLOW_S = 2.0
_KIB, _MIB = 1 << 10, 1 << 20


def has_bars(stream: "TextIO", term: str) -> bool:
    """Return whether a bar can be shown on `stream`; term: the value of TERM."""
    is_able = stream.isatty() and term != "dumb"
    return is_able and importlib.util.find_spec("rich") is not None


class Work:
    """What has been done of one kind of work, counted from any thread. total: how many there are; unit: one of them."""

    def __init__(
        self, verb: str, total: int, unit: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.verb, self.total, self.unit = verb, total, unit
        self.clock = clock
        self.began = clock()
        self.done = 0
        self._bytes = 0
        self._running: dict[str, float] = {}
        self.on_change: Callable[[], None] = _nothing

    def begin(self, name: str) -> None:
        """Note that the work called `name` begins, or that it still goes on."""
        self._running.setdefault(name, self.clock())
        self.on_change()

    def end(self, name: str, size_bytes: int = 0) -> None:
        """Note that it has ended; size_bytes: what was transferred for it."""
        self._running.pop(name, None)
        self.done += 1
        self._bytes += size_bytes
        self.on_change()

    @property
    def counts(self) -> str:
        """Return how much is done, as `12 of 40 images, 3 MiB`."""
        size = f", {_size(self._bytes)}" if self._bytes else ""
        return f"{self.done} of {number_of(self.total, self.unit)}{size}"

    @property
    def words(self) -> str:
        """Return how much is done, and what is being done."""
        return ", ".join(filter(None, (self.counts, self.slowest)))

    @property
    def slowest(self) -> str:
        """Return what has been going on for longest, and for how long; empty if nothing takes long."""
        # A copy, since another thread may show it.
        running = [(began, name) for name, began in tuple(self._running.items())]
        if not running:
            return ""
        began, name = min(running)
        seconds = self.clock() - began
        return f"{name} {seconds:.0f} s" if seconds >= _SLOW_S else ""


def _nothing() -> None:
    pass


def _size(count: int) -> str:
    return f"{count / _MIB:.0f} MiB" if count >= _MIB else f"{count / _KIB:.0f} KiB"


class PlainLines:
    """Says every ten seconds how much is done, when something begins, goes on or has ended."""

    def __init__(self, work: Work, say: Callable[[str], None]) -> None:
        self._work, self._say = work, say
        self._last = work.began
        work.on_change = self._changed

    def _changed(self) -> None:
        now = self._work.clock()
        if now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            self._say(f"{self._work.verb} {self._work.words}")


class Bar:
    """A bar at the bottom of a terminal, from the first second on until `close`."""

    def __init__(self, work: Work, stream: "TextIO") -> None:
        self._work, self._stream = work, stream
        self._lock = threading.Lock()
        self._live: Any = None
        self._is_closed = False
        self._timer = threading.Timer(_FIRST_S, self.show)
        self._timer.daemon = True
        self._timer.start()

    def show(self) -> None:
        """Show the bar, unless it was closed before."""
        from rich.console import Console
        from rich.live import Live

        with self._lock:
            if self._is_closed:
                return
            self._live = Live(
                get_renderable=self._line,
                console=Console(file=self._stream, highlight=False),
                refresh_per_second=_REFRESH_HZ,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _line(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        work = self._work
        line = Table.grid(padding=(0, 1))
        line.add_column()
        line.add_column(width=24)
        line.add_column(no_wrap=True)
        bar = ProgressBar(work.total, work.done, width=24)
        line.add_row(Text(work.verb), bar, Text(shown(work.words)))
        return line

    def write(self, text: str) -> bool:
        """Write lines above the bar; return whether it is there."""
        with self._lock:
            if self._live is None:
                return False
            from rich.text import Text

            self._live.console.print(Text.from_ansi(text.removesuffix("\n")), soft_wrap=True)
            return True

    def close(self) -> None:
        """Remove the bar."""
        self._timer.cancel()
        with self._lock:
            self._is_closed = True
            live, self._live = self._live, None
            if live is not None:
                live.stop()
