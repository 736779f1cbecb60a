import dataclasses
import pickle
from collections.abc import Callable

import pytest

from contrast_tasks.declare.documents import to_json, to_record
from contrast_tasks.declare.problems import problems
from contrast_tasks.declare.shapes import BOOL, List, NullList, hex_digits, integer, table_of
from contrast_tasks.records import Record, member


class Part(Record):
    level: int = member(integer(0, 9), "a level", name="Level")
    is_on: bool = member(BOOL, "a switch", name="IsOn", default=True, absent=False)


class Whole(Record):
    keys: tuple[str, ...] = member(List(hex_digits(1), null=NullList()), "keys", name="Keys")
    part: Part = member(Part, "a part", name="Part", old=("Piece",))
    note: str = ""
    _place: int = 0


class More(Whole, first=("first",)):
    first: int = member(integer(0, 1), "what stands first", name="First")


PART = Part(level=3)
WHOLE = Whole(keys=("ab",), part=PART)


def test_values_are_equal_by_their_parts_and_a_hidden_one_takes_no_part() -> None:
    assert Whole(keys=("ab",), part=Part(level=3), _place=7) == WHOLE
    assert hash(Whole(keys=("ab",), part=PART, _place=7)) == hash(WHOLE)
    assert WHOLE.replace(note="x") != WHOLE
    assert WHOLE.replace(note="x").note == "x"


def test_a_value_survives_pickling_and_says_its_parts() -> None:
    assert pickle.loads(pickle.dumps(WHOLE)) == WHOLE
    assert repr(PART) == "Part(level=3, is_on=True)"


def test_nothing_may_be_left_out_added_or_changed() -> None:
    with pytest.raises(TypeError, match=r"Part needs \['level'\]"):
        Part()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Part has no"):
        Part(level=1, more=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="Part has no"):
        PART.replace(more=2)
    with pytest.raises(AttributeError, match="immutable"):
        PART.level = 4  # type: ignore[misc]
    with pytest.raises(AttributeError, match="immutable"):
        del PART.level


@pytest.mark.parametrize("function", [dataclasses.asdict, dataclasses.fields, dataclasses.replace])
def test_the_functions_of_dataclasses_refuse_a_record(function: Callable[[Part], object]) -> None:
    with pytest.raises(TypeError, match="dataclass"):
        function(PART)


def test_a_document_has_the_declared_order_and_leaves_out_what_says_nothing() -> None:
    value = More(keys=("ab",), part=Part(level=1, is_on=False), first=0)

    document = to_json(value)

    assert list(document.items()) == [("First", 0), ("Keys", ["ab"]), ("Part", {"Level": 1})]
    assert to_record(More, document) == value


def test_null_and_an_old_spelling_are_read() -> None:
    value = to_record(Whole, {"Keys": None, "Piece": {"Level": 2, "IsOn": True}})

    assert value == Whole(keys=(), part=Part(level=2))
    assert to_json(value) == {"Keys": None, "Part": {"Level": 2, "IsOn": True}}


def test_every_problem_is_told_with_its_path() -> None:
    document = {"Keys": ["xy", 1], "Part": {"IsOn": 1, "Levl": 3}}

    found = list(problems(document, table_of(Whole), complete=True))

    assert [(problem.path, problem.message, problem.hint) for problem in found] == [
        (("Keys", 0), 'Keys[0] is "xy", expected 2 hex digits', ""),
        (("Keys", 1), "Keys[1] is 1, expected 2 hex digits", ""),
        (("Part", "IsOn"), "Part.IsOn is 1, expected true or false", ""),
        (
            ("Part", "Levl"),
            "unknown key 'Levl' in [Part], expected one of Level, IsOn",
            "did you mean 'Level'?",
        ),
        (("Part",), "Part has no 'Level'", ""),
    ]
