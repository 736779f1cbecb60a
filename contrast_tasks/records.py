"""Records: immutable values whose members are declared once, each with its spelling, its shape and its meaning.

Defining a record class takes a twentieth of the time of a dataclass, which matters because every start defines dozens.
The type checker is told that records are keyword-only, frozen dataclasses; at run time they are not: `dataclasses.replace`,
`fields` and `asdict` raise TypeError. Use `Record.replace`, `Record.parts` and `declare.documents.to_json`.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

if TYPE_CHECKING:
    from contrast_tasks.catalogue import Entry


class _Marker:
    """A value that differs from every value in a document."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


REQUIRED: Any = _Marker("REQUIRED")
"""Instead of a default: there is none."""
REFUSED: Any = _Marker("REFUSED")
"""Instead of the value of null: null is not accepted."""


class _Declaration:
    """Base of `Member`, which is itself a record and so does not exist yet when `Record` is defined."""

    name: str
    default: Any
    replace: Any


def member(
    shape: Any,
    meaning: str,
    *,
    name: str = "",
    default: Any = REQUIRED,
    absent: Any = REQUIRED,
    **more: Any,
) -> Any:
    """Declare one member of a record; arguments as in `Member`. The name defaults to the attribute's."""
    return Member(shape=shape, meaning=meaning, name=name, default=default, absent=absent, **more)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(member,))
class Record:
    """An immutable value with named parts; equality and hash ignore parts whose name begins with `_`."""

    parts: ClassVar[tuple[str, ...]] = ()
    members: "ClassVar[tuple[Member, ...]]" = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    _names: ClassVar[frozenset[str]] = frozenset()
    _compared: "ClassVar[itemgetter[Any]]"

    def __init_subclass__(cls, *, first: tuple[str, ...] = (), kw_only: bool = True) -> None:
        """Collect the declarations; first: names of members that documents list before the inherited ones."""
        own = [name for name in cls.__annotations__ if name not in cls.parts]
        defaults, members = dict(cls.defaults), {entry.attribute: entry for entry in cls.members}
        for name in own:
            value: Any = cls.__dict__.get(name, REQUIRED)
            if isinstance(value, _Declaration):
                declared = value.replace(attribute=name, name=value.name or name)
                members[name], value = declared, declared.default
            defaults[name] = value
            if name in cls.__dict__:
                delattr(cls, name)
        cls.parts = (*cls.parts, *own)
        cls._names = frozenset(cls.parts)
        compared = [name for name in cls.parts if name[0] != "_"]
        if compared:
            cls._compared = itemgetter(*compared)
        cls.defaults = {name: value for name, value in defaults.items() if value is not REQUIRED}
        ordered = dict.fromkeys((*first, *members))
        cls.members = tuple(members[name] for name in ordered)

    def __init__(self, *arguments: Any, **values: Any) -> None:
        if arguments:
            values = {**dict(zip(self.parts, arguments, strict=False)), **values}
        if len(values) != len(self.parts):
            values = {**self.defaults, **values}
        if values.keys() != self._names:
            given = {**self.defaults, **values}
            name, absent = type(self).__name__, sorted(self._names - given.keys())
            raise TypeError(f"{name} needs {absent}" if absent else f"{name} has no {[*values]}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable, '{name}' cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable, '{name}' cannot be deleted")

    def __eq__(self, other: object) -> bool:
        compared = self._compared
        return other.__class__ is self.__class__ and compared(self.__dict__) == compared(
            other.__dict__
        )

    def __hash__(self) -> int:
        return hash((type(self), self._compared(self.__dict__)))

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={self.__dict__[n]!r}" for n in self.parts if n[0] != "_")
        return f"{type(self).__name__}({shown})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values for some parts."""
        changed = object.__new__(type(self))
        own = self.__dict__
        # Without what a cached_property keeps there too.
        changed.__dict__.update({name: own[name] for name in self.parts})
        changed.__dict__.update(changes)
        if len(changed.__dict__) != len(self.parts):
            raise TypeError(f"{type(self).__name__} has no {[*changes.keys() - self._names]}")
        return changed


class Suspect(Record, kw_only=False):
    """A well-formed value that no machine has; fault: the finding to report."""

    value: object
    fault: "Entry"
    reason: str


class Member(Record, _Declaration):
    """One member of a document and the attribute it becomes.

    shape: a shape of `declare.shapes`, or a record class. name: spelling in the document; for settings the dotted key.
    default: of the attribute. absent: the attribute's value if the document lacks the member or has null.
    written: write the member even if its value is `absent`. old: spellings of earlier releases, accepted on reading.
    fault: finding to report for a malformed value, None for M003. missing: finding to report for `blank`, the placeholder
    of a value that only the user knows.
    settable: contrast.toml and a file of reference values may set it. measured: only the file may.
    In members of the manifest: zero is what a release that has the member writes where there is no value; needed: such a
    release refuses a manifest without it.
    """

    shape: Any
    meaning: str
    name: str
    attribute: str = ""
    default: Any
    absent: Any
    written: bool = False
    old: tuple[str, ...] = ()
    fault: "Entry | None" = None
    missing: "Entry | None" = None
    blank: str | None = ""
    suspect: Suspect | None = None
    settable: bool = False
    measured: bool = False
    zero: Any = None
    needed: bool = False

    @property
    def key(self) -> str:
        """Return the key in contrast.toml: the attribute's name without its encoding."""
        return self.attribute.removesuffix("_hex")
