"""From documents to records and back. `problems` must have found no fault in a document that is read here."""

from collections.abc import Mapping
from typing import Any, TypeVar

from contrast_tasks.declare.shapes import Leaf, List, Map, NullList, Table
from contrast_tasks.records import REQUIRED, Member, Record

AnyRecord = TypeVar("AnyRecord", bound=Record)


_PLAIN = (str, int)


def to_record(record: type[AnyRecord], document: Mapping[str, Any], **parts: Any) -> AnyRecord:
    """Return the record of a valid document; parts: values of attributes that do not come from it.

    A member that is absent or null gets the value that its declaration names.
    """
    for entry in record.members:
        if entry.attribute not in parts:
            value = _value(document, entry)
            parts[entry.attribute] = (
                _absent(entry, value)
                if value is None or value is REQUIRED
                else _read(entry.shape, value)
            )
    return record(**parts)


def _value(document: Mapping[str, Any], entry: Member) -> Any:
    """Return the value of a member under any of its spellings, REQUIRED if it is absent."""
    for name in (entry.name, *entry.old):
        value: Any = document
        for part in name.split("."):
            value = value.get(part, REQUIRED) if isinstance(value, dict) else REQUIRED
        if value is not REQUIRED:
            return value
    return REQUIRED


def _absent(entry: Member, value: object) -> Any:
    """Return the attribute's value for a member that is absent (REQUIRED) or null (None)."""
    if value is None and isinstance(entry.shape, List):
        return entry.shape.null
    if value is None and isinstance(entry.shape, Map):
        return {}
    return entry.default if entry.absent is REQUIRED else entry.absent


def _read(shape: Any, value: Any) -> Any:
    if isinstance(shape, type):
        return to_record(shape, value)
    if isinstance(shape, List):
        return tuple(_read(shape.element, element) for element in value)
    if isinstance(shape, Map):
        return {key: _read(shape.value, element) for key, element in value.items()}
    if isinstance(shape, Table):
        return {key: lower_hex(shape.keys[key].shape, part) for key, part in value.items()}
    return value


def lower_hex(shape: Any, value: Any) -> Any:
    """Return a value as `to_record` does, with hex in lower case."""
    if isinstance(shape, Leaf) and shape.size_bytes:
        return value.lower()
    if isinstance(shape, List):
        return tuple(lower_hex(shape.element, element) for element in value)
    return _read(shape, value)


def to_json(value: Any) -> Any:
    """Return the document of a record: members in declared order, without those that equal `absent`; keys of maps sorted."""
    # Most values are texts, also those in lists.
    if type(value) is str or value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, Record):
        parts = vars(value)
        return {
            entry.name: to_json(part)
            for entry in value.members
            if (part := parts[entry.attribute]) != entry.absent or entry.written
        }
    if isinstance(value, NullList):
        return None
    if isinstance(value, tuple):
        return [each if type(each) is str else to_json(each) for each in value]
    if isinstance(value, Mapping):
        return {key: to_json(value[key]) for key in sorted(value)}
    return value
