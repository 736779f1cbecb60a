"""Strings that look like something else are quoted for every reader; others stay plain."""

import re

import pytest
import yaml

from contrast_tasks.kube import emit
from contrast_tasks.kube.documents import parse_documents

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
# The resolution rules of the YAML 1.2 core schema.
CORE = re.compile(
    r"null|Null|NULL|~||true|True|TRUE|false|False|FALSE|[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
    r"|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"
)

AMBIGUOUS = [
    "", "~", "null", "Null", "NULL", "true", "True", "FALSE", "yes", "No", "on", "OFF", "y", "N", "8080", "-1", "+1",
    "0", "0777", "0o17", "0x1F", "0b101", "1_000", "1e3", "1E+3", "1.5", ".5", "1.", "-.5", "1_0.5", "1:30", "1:30.5",
    "190:20:30", ".inf", "-.INF", "+.Inf", ".nan", ".NaN", "2024-01-01", "2024-1-1", "2024-01-01T00:00:00Z",
    "2024-01-01 00:00:00", "=", "<<", "08", "1,000",
]  # fmt: skip
STRUCTURAL = [
    "a: b", "a #b", "a:", "#a", "- a", "-", "? a", "?", ": a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "[a]", "{a}",
    "'a'", '"a"', "a ", " a", "---", "...", "--- a", "a\tb", "a\x00", "\x7f", "\x85", "a\u2028b", "\ufeffa", "a\rb",
    "a\n", "a\nb", "\na", "a\n\n", " a\nb\n", "a\n b\n", "a \nb\n", "é\n", "😀", "\u00a0", "\ue000",
]  # fmt: skip
PLAIN = [
    "700Mi", "web#8080#false", "emoji#127.137.0.1:8081#emoji-svc:8080", "127.0.0.1:80", "contrast-cc", "a b", "/x", "v1.2.3",
    "sha256:0", "a:b", "a#b", "1a", "it's", 'say "x"', "x,y", "x[0]", "$(A)"[1:].strip("()"),
]  # fmt: skip


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_a_text_that_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    assert emit.scalar(text) == f'"{text}"'


@pytest.mark.parametrize("text", PLAIN)
def test_an_ordinary_text_stays_plain(text: str) -> None:
    assert emit.scalar(text) == text
    assert CORE.fullmatch(text) is None


@pytest.mark.first(60)
@pytest.mark.parametrize("text", [*AMBIGUOUS, *STRUCTURAL, *PLAIN])
@pytest.mark.parametrize("place", ["value", "item", "key", "flow"])
def test_every_text_is_read_back_by_both_readers(text: str, place: str) -> None:
    shapes = {
        "value": {"x": text},
        "item": {"x": [text, "z"]},
        "key": {text: "x"},
        "flow": {"x": text},
    }
    style = emit.BlockStyle()
    lines = emit.mapping_lines({"data": shapes[place]}, 0, style)
    written = f"data: {emit.flow(shapes[place])}" if place == "flow" else "\n".join(lines)

    assert parse_documents(f"{HEAD}{written}\n", "a.yml")[0].obj["data"] == shapes[place]
    assert yaml.safe_load(f"{written}\n")["data"] == shapes[place]


@pytest.mark.parametrize("value", [None, True, False, 0, -5, 10**20, 1.5, 1e21, [], {}])
def test_other_values_keep_their_type(value: object) -> None:
    written = "\n".join(emit.entry_lines("x", value, 0, emit.BlockStyle()))

    found = parse_documents(f"{HEAD}{written}\n", "a.yml")[0].obj["x"]
    assert (type(found), found) == (type(value), value)


def test_a_long_text_is_never_folded() -> None:
    policy = "QUJD" * 20_000

    assert emit.entry_lines("x", policy, 0, emit.BlockStyle()) == [f"x: {policy}"]
