"""What the chore `first_minutes` makes of a page and of a shell's times; it runs as a whole by hand only, for it takes minutes."""

from dev.first_minutes import PAGE, Block, Time, blocks_of, read_times, transcript

_PAGE = """# Title

<!-- debian -->
```sh
apt-get update
```

Not pasted:

```toml
platform = "local"
```

## 1. Begin

<!-- local -->
```sh
mkdir shop
cd shop
```

```sh
ls
```
"""
# As dash writes them, after `date +%s.%N`.
_MARKS = """100.250000000
0m0.010000s 0m0.020000s
0m0.500000s 0m0.250000s
161.500000000
0m0.010000s 0m0.020000s
1m2.500000s 0m0.750000s
161.500000000
0m0.010000s 0m0.020000s
1m2.500000s 0m0.750000s
"""


def test_marked_blocks_are_pasted_in_order() -> None:
    assert list(blocks_of(_PAGE)) == [
        Block("", "apt-get update\n"),
        Block("1. Begin", "mkdir shop\ncd shop\n"),
    ]


def test_the_page_begins_with_packages_and_ends_with_nothing_running() -> None:
    texts = [block.text for block in blocks_of(PAGE.read_text())]

    assert texts[0].startswith("apt-get update")
    assert texts[-1] == "contrast-tasks stop\n"


def test_a_block_takes_the_time_between_two_marks() -> None:
    assert read_times(_MARKS) == [Time(61.2, 62.5), Time(0.0, 0.0)]


def test_a_transcript_has_commands_what_they_said_and_times() -> None:
    shown = transcript(list(blocks_of(_PAGE)), ["Hit:1\n", ""], read_times(_MARKS))

    assert shown == (
        "$ apt-get update\nHit:1\n-- 61.2 s, 62.5 s of processor time\n\n"
        "== 1. Begin\n\n$ mkdir shop\n$ cd shop\n-- 0.0 s, 0.0 s of processor time\n\n"
        "== in all: 61 s, 62 s of processor time\n"
    )
