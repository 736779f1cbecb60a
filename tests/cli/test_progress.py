"""Progress of long commands, with a clock that stands still until it is moved."""

import io
from typing import Any

import pytest

from contrast_tasks.cli.console import Console
from contrast_tasks.cli.progress import Bar, PlainLines, Work, has_bars


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(clock: Clock) -> Work:
    return Work("resolving", 3, "image", clock=clock)


def test_counts_have_done_total_and_bytes(work: Work) -> None:
    assert work.counts == "0 of 3 images"

    work.begin("redis")
    work.end("redis", 5 << 20)

    assert work.counts == "1 of 3 images, 5 MiB"


def test_the_slowest_is_what_began_first_and_has_not_ended(work: Work, clock: Clock) -> None:
    for name in ("redis", "nginx", "postgres"):
        work.begin(name)
        clock.now += 3
    work.end("redis")

    assert work.slowest == "nginx 6 s"


def test_nothing_is_slow_in_the_first_seconds(work: Work, clock: Clock) -> None:
    work.begin("redis")
    clock.now += 1.5

    assert work.slowest == ""


def test_plain_lines_come_every_ten_seconds_at_most(work: Work, clock: Clock) -> None:
    said: list[str] = []
    PlainLines(work, said.append)

    for name, seconds in (("redis", 9), ("nginx", 2), ("postgres", 3)):
        clock.now += seconds
        work.end(name)

    assert said == ["resolving 2 of 3 images"]


def test_plain_lines_name_what_goes_on_for_long(work: Work, clock: Clock) -> None:
    said: list[str] = []
    PlainLines(work, said.append)

    for _ in range(3):
        work.begin("redis")
        clock.now += 10
    work.begin("redis")

    assert said == [f"resolving 0 of 3 images, redis {seconds} s" for seconds in (10, 20, 30)]


def test_a_bar_shows_the_counts_below_the_lines_and_leaves_nothing(work: Work) -> None:
    terminal = Terminal()
    shown = Bar(work, terminal)
    assert not shown.write("before the first second\n")

    work.end("redis")
    shown.show()
    assert shown.write("wrote \x1b[31ma file\x1b[0m [not markup]\n")
    drawn = terminal.getvalue()
    shown.close()

    assert "resolving" in drawn
    assert "1 of 3 images" in drawn
    assert "[not markup]" in drawn
    # The cursor is on the bar's line, which is erased and shown again at the end.
    assert terminal.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
    assert not shown.write("after\n")


def test_a_closed_bar_is_not_shown_by_a_late_timer(work: Work) -> None:
    terminal = Terminal()
    shown = Bar(work, terminal)
    shown.close()

    shown.show()

    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("stream", "term", "wanted"),
    [(Terminal(), "xterm", True), (Terminal(), "dumb", False), (io.StringIO(), "xterm", False)],
)
def test_bars_are_for_terminals(stream: Any, term: str, wanted: bool) -> None:
    assert has_bars(stream, term) is wanted


@pytest.mark.parametrize("form", ["json", "events", "sarif", "junit"])
def test_machines_are_told_nothing(form: str) -> None:
    terminal = Terminal()
    console = Console(form=form, stderr=terminal, environ={"TERM": "xterm"})

    with console.progress("generating", 1000, "workload") as progress:
        progress.begin("Deployment/web")
        progress.end("Deployment/web")

    assert terminal.getvalue() == ""


def test_an_interrupt_ends_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    def close(bar: Bar) -> None:
        closed.append(bar)

    monkeypatch.setattr(Bar, "close", close)
    console = Console(stderr=Terminal(), environ={"TERM": "xterm"})

    with pytest.raises(KeyboardInterrupt), console.progress("generating", 1, "workload"):
        raise KeyboardInterrupt

    assert len(closed) == 1
