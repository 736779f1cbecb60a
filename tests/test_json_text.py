import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.json_text import NotJson, find_places, read_json
from contrast_tasks.pointers import escape

# Python 3.13 names the comma, earlier ones what stands in place of a member.
TRAILING_COMMA = 8 if sys.version_info >= (3, 13) else 9


@pytest.mark.parametrize(
    ("content", "message", "line", "column"),
    [
        pytest.param(b"", "is empty, expected a JSON", 1, None, id="empty"),
        pytest.param(b'{"a": 1,\n "b" 2}', "not valid JSON: expecting ':'", 2, 6, id="syntax"),
        pytest.param(b'{"a": 1,}', "not valid JSON", 1, TRAILING_COMMA, id="trailing-comma"),
        pytest.param(b'{"a": 1}\n{}', "not valid JSON: extra data", 2, 1, id="trailing-data"),
        pytest.param(b'{"a":\n "NaN", "b":\n NaN}', "NaN is not a JSON number", 3, None, id="nan"),
        pytest.param(b'{"a": -Infinity}', "-Infinity is not a JSON", 1, None, id="infinity"),
        pytest.param(b"\xef\xbb\xbf{}", "byte order mark", 1, None, id="byte-order-mark"),
        pytest.param(b'{\n"a": "\xff"}', "byte 0xff is not valid UTF-8", 2, None, id="utf-8"),
        pytest.param(b"{}".decode().encode("utf-16"), "not valid UTF-8", 1, None, id="utf-16"),
        pytest.param(b'{"a": "\t"}', "not valid JSON: invalid control", 1, 8, id="control"),
        pytest.param(b'{\n"a": "\\ud800"}', "unpaired surrogate", 2, None, id="surrogate"),
        pytest.param(b'{"\\udc00": 1}', "unpaired surrogate", 1, None, id="surrogate-in-name"),
        pytest.param(b"[\n[" * 100_000, "nested too deeply", 51, None, id="depth"),
        pytest.param(b"\xef\xbb\xbf", "byte order mark", 1, None, id="byte-order-mark-alone"),
        pytest.param(b" \n", "is empty, expected a JSON", 1, None, id="blank"),
        pytest.param(
            b'{"a": 1,\n"b": 2,\n"a": 3}',
            "member 'a' occurs twice, first on line 1",
            3,
            None,
            id="duplicate",
        ),
        pytest.param(
            b'{"x": [{"a~/b": 1,\n"a~/b": 3}]}',
            "member 'a~/b' occurs twice, first on line 1",
            2,
            None,
            id="inner-duplicate",
        ),
        pytest.param(
            b'{"a": 1,\n"\\u0061": 3}',
            "member 'a' occurs twice",
            2,
            None,
            id="escaped-duplicate",
        ),
    ],
)
def test_what_is_not_strict_json_is_refused_with_its_place(
    content: bytes, message: str, line: int | None, column: int | None
) -> None:
    with pytest.raises(NotJson) as caught:
        read_json(content)

    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize("text", ["1e2", "1.0", "-0.0", "1E400", "9" * 41, "-" + "9" * 5000])
def test_numbers_that_are_no_integers_anybody_reads_keep_their_spelling(text: str) -> None:
    number = read_json(f"[{text}]".encode()).document[0]

    assert (isinstance(number, int), str(number)) == (False, text)


def test_the_same_member_in_two_objects_is_no_duplicate() -> None:
    parsed = read_json(b'[{"a": 1}, {"a": 1}, {"a": {"a": 1}}]')

    assert parsed.document == [{"a": 1}, {"a": 1}, {"a": {"a": 1}}]


def test_paired_surrogates_are_one_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"').document == "\N{GRINNING FACE}"


def test_lines_are_known_for_members_and_elements() -> None:
    text = '{\n  "a": [\n    1,\n    {"b/c": "x\\"}"}\n  ],\n  "d": {}, "e": [[], [\n2]]\n}\n'

    assert find_places(text).lines == {
        "": 1,
        "/a": 2,
        "/a/0": 3,
        "/a/1": 4,
        "/a/1/b~1c": 4,
        "/d": 6,
        "/e": 6,
        "/e/0": 6,
        "/e/1": 6,
        "/e/1/0": 7,
    }


@pytest.mark.parametrize(
    ("pointer", "line"),
    [("/a/b", 3), ("/a/b/c/d", 3), ("/a/x", 2), ("/y", 1), ("", 1)],
)
def test_a_value_that_is_not_there_has_the_line_of_what_is_around_it(
    pointer: str, line: int
) -> None:
    parsed = read_json(b'{\n"a": {\n"b": 1}}')

    assert parsed.line(pointer) == line


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 10**40, 10**40 - 1) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


def pointers(value: Any, base: str = "") -> set[str]:
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(escape(key), inner) for key, inner in value.items()]
    if isinstance(value, list):
        items = [(str(index), inner) for index, inner in enumerate(value)]
    inner_pointers = (pointers(inner, f"{base}/{step}") for step, inner in items)
    return {base}.union(*inner_pointers)


@given(VALUES, st.sampled_from([None, 0, 2]))
def test_every_value_of_any_document_has_a_place(value: Any, indent: int | None) -> None:
    content = json.dumps(value, indent=indent).encode()

    parsed = read_json(content)

    assert parsed.document == value
    assert parsed.places.lines.keys() == pointers(value)
    assert parsed.places.duplicates == ()
