"""Records: immutable values whose members are declared once, each with its spelling, its shape and what it means.

A record is made in a twentieth of the time that a dataclass takes, which counts because every run makes them. The
type checker sees keyword-only, frozen dataclasses.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

if TYPE_CHECKING:
    from contrast_tasks.catalogue import Entry


class _Word:
    """A value that no document holds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name


REQUIRED: Any = _Word("REQUIRED")
"""In place of a default: the value must be given."""
REFUSED: Any = _Word("REFUSED")
"""In place of what null is read as: null is no value here."""


class _Declaration:
    """What stands in a record's class in place of a default; `Member` is the one kind of it."""

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
    """Declare one member of a record, by the parts of `Member`; its name is the attribute's where none is given."""
    return Member(shape=shape, meaning=meaning, name=name, default=default, absent=absent, **more)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(member,))
class Record:
    """An immutable value with named parts, compared and hashed by them; a name with `_` in front takes no part in that."""

    parts: ClassVar[tuple[str, ...]] = ()
    members: "ClassVar[tuple[Member, ...]]" = ()
    defaults: ClassVar[Mapping[str, Any]] = {}
    _names: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, *, first: tuple[str, ...] = (), kw_only: bool = True) -> None:
        """Read the declarations; first: what stands before the inherited members in a document."""
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
        cls.defaults = {name: value for name, value in defaults.items() if value is not REQUIRED}
        ordered = dict.fromkeys((*first, *members))
        cls.members = tuple(members[name] for name in ordered)

    def __init__(self, *arguments: Any, **values: Any) -> None:
        parts = self.__dict__
        parts.update(self.defaults)
        parts.update(zip(self.parts, arguments, strict=False))
        parts.update(values)
        if parts.keys() != self._names:
            name, lacking = type(self).__name__, sorted(self._names - parts.keys())
            raise TypeError(f"{name} needs {lacking}" if lacking else f"{name} has no {[*values]}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable, '{name}' stays as it is")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable, '{name}' stays")

    def _compared(self) -> list[Any]:
        return [self.__dict__[name] for name in self.parts if name[0] != "_"]

    def __eq__(self, other: object) -> bool:
        return other.__class__ is self.__class__ and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), *self._compared()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={self.__dict__[n]!r}" for n in self.parts if n[0] != "_")
        return f"{type(self).__name__}({shown})"

    def replace(self, **changes: Any) -> Self:
        """Return the same with other values for some parts."""
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        changed.__dict__.update(changes)
        if len(changed.__dict__) != len(self.parts):
            raise TypeError(f"{type(self).__name__} has no {[*changes.keys() - self._names]}")
        return changed


class Suspect(Record, kw_only=False):
    """A value of the right form that no machine has; fault: the finding about it."""

    value: object
    fault: "Entry"
    reason: str


class Member(Record, _Declaration):
    """One member of a document and the attribute it becomes.

    shape: a shape of `declare.shapes`, or a record. name: the spelling in the document; in a settings file the dotted key.
    default: of the attribute. absent: the value of a document without the member, which `null` stands for too.
    written: the member is written even where its value is `absent`. old: spellings of earlier releases, read only.
    fault: the finding about a value of another form, None for M003. missing: the same about `blank`,
    which stands for a value that only the user can know.
    settable: contrast.toml and a file of reference values may give the value; measured: the file only.
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

    @property
    def key(self) -> str:
        """Return the key of the value in contrast.toml; the encoding stands in the attribute's name only."""
        return self.attribute.removesuffix("_hex")
