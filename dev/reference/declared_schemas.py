"""The JSON Schemas of documents with declared members: settings, manifest, reference values, lock file.

A value that only the user can know may be blank in a generated manifest and in a file of reference values, but not in a
manifest that is set.
"""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.declare.shapes import Leaf, List, Map, Table
from contrast_tasks.images.lock import LockDocument
from contrast_tasks.manifest.forms import releases_with
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.reference_values import FILE_ENTRY
from contrast_tasks.records import REFUSED, REQUIRED, Member, Record
from contrast_tasks.settings.model import SHAPE
from contrast_tasks.trusted_guests import FIXED_GUEST_POLICY

Schema = dict[str, Any]


class _Schemas:
    """The schemas of one file; records become parts of its `$defs`.

    with_blanks: values that only the user knows may be blank. is_partial: no member is required.
    """

    def __init__(self, *, with_blanks: bool = False, is_partial: bool = False) -> None:
        self.with_blanks = with_blanks
        self.is_partial = is_partial
        self.parts: dict[str, Schema] = {}

    def of(self, shape: Any, member: Member | None = None) -> Schema:
        """Return the schema of a shape."""
        if isinstance(shape, Leaf):
            return self._leaf(shape, member)
        if isinstance(shape, List):
            return self._list(shape, member)
        if isinstance(shape, Map):
            return {
                "type": "object",
                "propertyNames": dict(shape.key.schema),
                "additionalProperties": self.of(shape.value),
            }
        if isinstance(shape, Table):
            return self._table(shape.keys)
        return self._record(shape)

    def _leaf(self, leaf: Leaf, member: Member | None) -> Schema:
        schema = dict(leaf.schema)
        if member is None:
            return schema
        if member.suspect and member.suspect.fault is member.fault:
            schema["not"] = {"const": member.suspect.value}
        if member.missing and self.with_blanks:
            return _or(member.blank, schema)
        return schema

    def _list(self, shape: List, member: Member | None) -> Schema:
        is_nullable = shape.null is not REFUSED
        bounds = {
            "minItems": shape.least or None,
            "maxItems": shape.most,
            "uniqueItems": shape.unique or None,
        }
        return {
            "type": ["array", "null"] if is_nullable else "array",
            "items": self.of(shape.element, member),
            **{name: bound for name, bound in bounds.items() if bound is not None},
        }

    def _record(self, record: type[Record]) -> Schema:
        name = record.__name__[0].lower() + record.__name__[1:]
        if name not in self.parts:
            self.parts[name] = {}
            self.parts[name] = self._table({each.name: each for each in record.members})
            for member in record.members:
                self._add_spellings(self.parts[name], member, record)
        return {"$ref": f"#/$defs/{name}"}

    def _add_spellings(self, part: Schema, member: Member, record: type[Record]) -> None:
        """Let a member have the names of other releases, too; one of them is enough."""
        others = [name for name in member.old if name in releases_with(record)]
        for name in others:
            part["properties"][name] = part["properties"][member.name]
            if member.name in part["required"]:
                part["required"].remove(member.name)
                part |= _or_required(name, member.name)

    def _is_required(self, member: Member) -> bool:
        if self.is_partial:
            return False
        is_blank = member.blank is None or isinstance(member.absent, Record)
        return member.absent is REQUIRED or (is_blank and not self.with_blanks)

    def _table(self, members: Mapping[str, Member]) -> Schema:
        required = [name for name, member in members.items() if self._is_required(member)]
        return {
            "type": "object",
            "additionalProperties": False,
            **({"required": required} if required else {}),
            "properties": {name: self._member(member) for name, member in members.items()},
        }

    def _member(self, member: Member) -> Schema:
        schema = self.of(member.shape, member)
        if isinstance(member.shape, type | Table) and member.absent is not REQUIRED:
            may_be_null = member.absent is None or self.with_blanks
            schema = _or(None, schema) if may_be_null else schema
        return {**({"description": member.meaning} if member.meaning else {}), **schema}


def _or(value: object, schema: Schema) -> Schema:
    """Return the schema that allows one value besides another schema; validators report an anyOf without the fault."""
    return {"if": {"const": value}, "then": True, "else": schema}


def settings() -> Schema:
    """Return the body of the schema of contrast.toml."""
    return {
        "title": "Settings",
        "description": "contrast.toml. The program checks it by the declarations that this schema is made from.",
        **_Schemas(is_partial=True).of(SHAPE),
    }


def _or_required(one: str, other: str) -> Schema:
    """Return what makes an object have at least one of two members."""
    return {"if": {"required": [one]}, "then": True, "else": {"required": [other]}}


def _at_least_one(name: str) -> Schema:
    return {"required": [name], "properties": {name: {"type": "array", "minItems": 1}}}


def manifest(title: str, description: str, *, with_blanks: bool) -> Schema:
    """Return the body of a manifest's schema."""
    schemas = _Schemas(with_blanks=with_blanks)
    body = schemas.of(Manifest)
    parts = schemas.parts
    parts["manifest"]["properties"]["Policies"]["minProperties"] = 1
    # The owner list tells whether the release prescribes the guest policy.
    fixed = {"$ref": "#/$defs/fixedGuestPolicy"}
    parts["fixedGuestPolicy"] = {
        "properties": {name: {"enum": list(values)} for name, values in FIXED_GUEST_POLICY.items()}
    }
    guest = {"properties": {"GuestPolicy": fixed}}
    parts["simulatedReference"] |= {"allOf": [guest]}
    parts["manifest"] |= _or_required("WorkloadOwnerPubKeys", "WorkloadOwnerKeyDigests")
    parts["manifest"]["else"] |= {
        "properties": {"ReferenceValues": {"properties": {"snp": {"items": guest}}}}
    }
    hardware = [_at_least_one("snp"), _at_least_one("tdx")]
    simulated = _at_least_one("simulated")
    parts["referenceValues"] |= {
        "anyOf": [*hardware, simulated],
        "not": {"allOf": [simulated, {"anyOf": hardware}]},
    }
    return {"title": title, "description": description, **body, "$defs": parts}


def reference_values() -> Schema:
    """Return the body of the schema of a file of reference values."""
    values = {**_Schemas().of(FILE_ENTRY), "minProperties": 1}
    return {
        "title": "Reference values",
        "description": "The file named by [reference_values] file: measurements by platform name or runtime handler, or "
        "for all platforms. Members are those of the manifest, in any case.",
        "type": "object",
        "minProperties": 1,
        "if": {"anyOf": [{"required": [name]} for name in FILE_ENTRY.keys]},
        "then": {"$ref": "#/$defs/values"},
        "else": {"additionalProperties": {"$ref": "#/$defs/values"}},
        "$defs": {"values": values},
    }


def lock() -> Schema:
    """Return the body of the lock file's schema."""
    schemas = _Schemas()
    body = schemas.of(LockDocument)
    return {
        "title": "Lock file",
        "description": "contrast.lock: what each image reference resolves to.",
        **body,
        "$defs": schemas.parts,
    }


DECLARED = {
    "settings": settings(),
    "manifest": manifest(
        "Deployment manifest",
        "manifest.json of any release, as it is set and verified. Rules that a schema cannot express (one Coordinator, keys that parse) are in "
        "contrast_tasks/manifest/validate.py.",
        with_blanks=False,
    ),
    "manifest.input": manifest(
        "Deployment manifest with values to fill in",
        "manifest.json as generate may write it: values that only the user knows may be null or empty.",
        with_blanks=True,
    ),
    "reference-values": reference_values(),
    "lock": lock(),
}
