"""Reading JSON with the place of what is wrong."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import pytest

from contrast_tasks.decode import DecodeError, Json, parse_json, read_record

DOCUMENT = '{"a": {"name": "x", "ports": [1, true]}}'


def test_members_are_read_by_type() -> None:
    place = parse_json(DOCUMENT).at("a")

    assert place.at("name").text() == "x"
    assert place.at("ports").items()[0].integer() == 1
    assert [name for name, _ in place.members()] == ["name", "ports"]
    assert place.get("absent") is None


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda top: top.at("b"), "/b: missing"),
        (
            lambda top: top.text(),
            "the document: found an object, wanted a string",
        ),
        (
            lambda top: top.at("a").at("name").integer(),
            "/a/name: found a string, wanted an integer",
        ),
        (
            lambda top: top.at("a").at("ports").texts(),
            "/a/ports/0: found an integer, wanted a string",
        ),
        (
            lambda top: top.at("a").at("ports").items()[1].integer(),
            "/a/ports/1: found true or false, wanted an integer",
        ),
        (lambda top: top.at("a").at("name").at("x"), "/a/name: found a string, wanted an object"),
        (lambda top: top.at("a").at("name").items(), "/a/name: found a string, wanted a list"),
    ],
)
def test_another_form_is_told_with_its_place(read: Callable[[Json], object], message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(parse_json(DOCUMENT))

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: not valid JSON"),
        (b"\xff", "line 1: byte 0xff is not valid UTF-8"),
        ("[" * 100_000, "line 1: nested too deeply"),
        ('{"a": 1,\n"a": 2}', "line 2: member 'a' occurs twice"),
    ],
)
def test_other_content_is_no_document(content: bytes | str, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        parse_json(content)


@dataclass(frozen=True, kw_only=True)
class Port:
    number: int
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Server:
    ports: tuple[Port, ...]
    places: Mapping[str, tuple[str, int]]
    is_up: bool
    load: float


SERVER = Server(
    ports=(Port(number=1, name=None), Port(number=2, name="web")),
    places={"a": ("127.0.0.1", 1)},
    is_up=True,
    load=1,
)


def test_a_record_is_read_by_the_types_of_its_fields() -> None:
    assert read_record(Server, parse_json(json.dumps(asdict(SERVER)))) == SERVER


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"load": "high"}, "/load: found a string, wanted an integer"),
        ({"more": 1}, "/more: unknown"),
        ({"ports": [{"number": 1}]}, "/ports/0/name: missing"),
        ({"places": {"a": ["x"]}}, "/places/a: found a list, wanted a list of 2"),
        ({"is_up": 1}, "/is_up: found an integer, wanted true or false"),
    ],
)
def test_another_record_is_told_with_its_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_record(Server, Json({**json.loads(json.dumps(asdict(SERVER))), **change}))

    assert str(caught.value) == message
