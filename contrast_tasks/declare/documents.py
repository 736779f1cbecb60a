"""From documents to records and back; what is read here has been judged before."""

from collections.abc import Mapping
from typing import Any, TypeVar

from contrast_tasks.declare.shapes import Leaf, List, Map, NullList, Table
from contrast_tasks.records import REQUIRED, Member, Record

AnyRecord = TypeVar("AnyRecord", bound=Record)


def to_record(record: type[AnyRecord], document: Mapping[str, Any], **parts: Any) -> AnyRecord:
    """Return the record of a document that has its shape; parts: attributes with values of their own.

    What is absent or null has the value its declaration names for that.
    """
    for entry in record.members:
        if entry.attribute not in parts:
            found = _found(document, entry)
            parts[entry.attribute] = (
                _absent(entry, found)
                if found is None or found is REQUIRED
                else _read(entry.shape, found)
            )
    return record(**parts)


def _found(document: Mapping[str, Any], entry: Member) -> Any:
    """Return the value of a member, REQUIRED where it is absent."""
    for name in (entry.name, *entry.old):
        found: Any = document
        for part in name.split("."):
            found = found.get(part, REQUIRED) if isinstance(found, dict) else REQUIRED
        if found is not REQUIRED:
            return found
    return REQUIRED


def _absent(entry: Member, found: None) -> Any:
    """Return the value of a member that is absent, or null."""
    if found is None and isinstance(entry.shape, List):
        return entry.shape.null
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
    """Return a value as `to_record` keeps it, with capitals in hex made small."""
    if isinstance(shape, Leaf) and shape.size_bytes:
        return value.lower()
    if isinstance(shape, List):
        return tuple(lower_hex(shape.element, element) for element in value)
    return _read(shape, value)


def to_json(value: Any) -> Any:
    """Return the document of a record: members in declared order, without those that say nothing; other keys sorted."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Record):
        return {
            entry.name: to_json(part)
            for entry in value.members
            if (part := getattr(value, entry.attribute)) != entry.absent or entry.written
        }
    if isinstance(value, NullList):
        return None
    if isinstance(value, tuple):
        return [to_json(element) for element in value]
    if isinstance(value, Mapping):
        return {key: to_json(value[key]) for key in sorted(value)}
    return value
