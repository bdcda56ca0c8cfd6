# ruff: noqa: D102  (the contract of every method stands in Shape)
"""What an annotation says about values, as a tree of shapes.

    dict[str, list[Order | Refund]]

    Mapping ── Exact(str)
            └─ Many(list) ── Tagged ── "Order":  Record(Order) ── ...
                                    └─ "Refund": Record(Refund) ── ...

A shape answers four questions: does a value fit, and if not, where and why
(`misfit`)? What does msgspec have to pack for it (`lower`), and how does one get
back from that (`lift`)? What do the bytes look like (`describe`, see schema.py)?

Where everything below a shape is `native`, msgspec packs the values as they are
and reads them typed, in C; `fits` is then all that we add, because msgspec packs
a str where an int is declared without a word, and it could not be read back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from actorstream.codec.classes import find_member, name_of_member
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from enum import Enum

Annotation: TypeAlias = Any
"""Whatever may stand behind a colon."""

Raw: TypeAlias = Any
"""A value of a known shape, or what an untyped reading of its bytes gave."""

TYPED_DICT: Final = "typed dict"
"""Marks the description of one: its values may lack what is not required, where those of other records lack nothing."""

_READ_AS_THEY_ARE: Final = frozenset({type(None), bool, int, float, str, bytes})
_INSTANT_MIN = datetime.min.replace(tzinfo=UTC)
_INSTANT_MAX = datetime.max.replace(tzinfo=UTC)


class Shape(ABC):
    """One node.

    Attributes:
        annotation: What to tell msgspec.
        native: Whether msgspec alone packs and reads this node and all below; set once the tree is complete.
        own_native: The same of this node alone.
        scalar: Whether it may be the key of a packed map.
        exact: The classes of fitting values where the class alone decides, else None.
        name: What the author would call it.
    """

    annotation: Annotation = object
    native: bool = True
    own_native: bool = True
    scalar: bool = False
    exact: frozenset[type] | None = None
    name: str = ""

    def children(self) -> Iterable[Shape]:
        """Give the nodes below this one."""
        return ()

    @abstractmethod
    def fits(self, value: object) -> bool:
        """Tell whether `value` can be packed and read back."""

    def misfit(self, value: object, place: str) -> str:
        """Say where and why `value` does not fit. Only called where it does not."""
        return f"{place} is {_shown(value)}, expected {self.name}"

    def lower(self, value: Raw) -> object:
        """Give what msgspec is to pack for a value that fits."""
        return value if self.native else self._lower(value)

    def lift(self, raw: Raw) -> object:
        """Give the value back from what an untyped reading of its bytes gave."""
        return msgspec.convert(raw, self.annotation) if self.native else self._lift(raw)

    def _lower(self, value: Raw) -> object:
        return value

    def _lift(self, raw: Raw) -> object:
        return msgspec.convert(raw, self.annotation)

    @abstractmethod
    def describe(self, above: tuple[Shape, ...]) -> object:
        """Give the JSON form; `above` holds the records in which this node sits."""


def of_class(raw: Raw, cls: type) -> Raw:
    """Give `raw` if it is a `cls`; CodecError if not."""
    if raw.__class__ is not cls:
        raise CodecError(f"the bytes hold a {type(raw).__name__}, expected a {cls.__name__}: they are damaged")
    return raw


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} (a {type(value).__qualname__})"


class Exact(Shape):
    """A scalar or a native Enum: the class decides."""

    def __init__(self, annotation: object, name: str, classes: Iterable[type], described: object) -> None:
        """Take what may stand here."""
        self.annotation = annotation
        self.name = name
        self.exact: frozenset[type] = frozenset(classes)
        self._described = described
        self._as_read = _READ_AS_THEY_ARE & ({annotation} if isinstance(annotation, type) else self.exact)

    def fits(self, value: object) -> bool:
        return value.__class__ in self.exact

    def lift(self, raw: Raw) -> object:
        return raw if raw.__class__ in self._as_read else msgspec.convert(raw, self.annotation)

    def misfit(self, value: object, place: str) -> str:
        if value.__class__ not in self.exact:
            return super().misfit(value, place)
        if isinstance(value, int):
            return f"{place} is an int of {value.bit_length()} bits, and a typed one has 64: annotate it as object"
        return f"{place} is text that is not valid Unicode"

    def describe(self, above: tuple[Shape, ...]) -> object:
        return self._described


class Instant(Shape):
    """An aware datetime."""

    annotation = datetime
    name = "an aware datetime"

    def lift(self, raw: Raw) -> object:
        return raw if raw.__class__ is datetime else msgspec.convert(raw, self.annotation)

    def fits(self, value: object) -> bool:
        if value.__class__ is not datetime:
            return False
        if value.tzinfo is UTC:
            return True
        return value.utcoffset() is not None and _INSTANT_MIN <= value <= _INSTANT_MAX

    def misfit(self, value: object, place: str) -> str:
        if value.__class__ is datetime and value.utcoffset() is None:
            return f"{place} is {value!r}, a naive datetime: give it a time zone, as in datetime.now(UTC)"
        return super().misfit(value, place)

    def describe(self, above: tuple[Shape, ...]) -> object:
        return "datetime"


class TimeOfDay(Shape):
    """A time without a zone."""

    annotation = time
    name = "a time without a zone"

    def fits(self, value: object) -> bool:
        return value.__class__ is time and value.tzinfo is None

    def describe(self, above: tuple[Shape, ...]) -> object:
        return "time"


class Member(Shape):
    """An Enum whose values are not all str or all int, or a Flag: kept by name."""

    own_native = False

    def __init__(self, cls: type[Enum]) -> None:
        """Take the Enum."""
        self.annotation = self._cls = cls
        self.name = cls.__qualname__
        self.exact = frozenset({cls})

    def fits(self, value: object) -> bool:
        return value.__class__ is self._cls

    def describe(self, above: tuple[Shape, ...]) -> object:
        return {"enum": self.name, "names": sorted(self._cls.__members__)}

    def _lower(self, value: Enum) -> object:
        return name_of_member(value)

    def _lift(self, raw: Raw) -> object:
        return find_member(self._cls, msgspec.convert(raw, str | int))


class OneOf(Shape):
    """A Literal."""

    def __init__(self, annotation: object, values: tuple[object, ...]) -> None:
        """Take the values; those that msgspec does not know go self-describing."""
        self.annotation = annotation
        self.name = "one of " + ", ".join(map(repr, values))
        self._values = frozenset((v.__class__, v) for v in values)
        self._described = {"literal": sorted(map(repr, values))}
        self._plain = self.own_native = all(v.__class__ in (int, str, type(None)) for v in values)

    def fits(self, value: object) -> bool:
        try:
            return (value.__class__, value) in self._values
        except TypeError:
            return False

    def _lower(self, value: object) -> object:
        return value if self._plain else SELF_DESCRIBING.encode(value)

    def _lift(self, raw: Raw) -> object:
        value = raw if self._plain else SELF_DESCRIBING.decode(of_class(raw, bytes))
        if not self.fits(value):
            raise CodecError(f"{value!r:.50} is not {self.name}")
        return value

    def describe(self, above: tuple[Shape, ...]) -> object:
        return self._described


class Opaque(Shape):
    """`object`, or a class of which no more is said: self-describing bytes."""

    own_native = False

    def __init__(self, classes: tuple[type, ...] = (), name: str = "any value") -> None:
        """Take the classes that may stand here; none: any."""
        self.annotation = object
        self.name = name
        self._classes = classes

    def fits(self, value: object) -> bool:
        return not self._classes or isinstance(value, self._classes)

    def misfit(self, value: object, place: str) -> str:
        if not self.fits(value):
            return super().misfit(value, place)
        try:
            SELF_DESCRIBING.encode(value)
        except CodecError as error:
            return f"{place}: {error}"
        return super().misfit(value, place)

    def _lower(self, value: object) -> object:
        return SELF_DESCRIBING.encode(value)

    def _lift(self, raw: object) -> object:
        return SELF_DESCRIBING.decode(of_class(raw, bytes))

    def describe(self, above: tuple[Shape, ...]) -> object:
        return "any"


_ROWS_SEEN_MAX = 64


class Row:
    """Shapes side by side: the parts of a tuple or the fields of a record, checked by their classes at once.

    Attributes:
        settled: Rows of classes that were found to fit, where classes decide: asked before `fits`, for speed.
    """

    def __init__(self, shapes: Sequence[Shape]) -> None:
        """Take the shape of each part."""
        self._shapes = shapes
        self._inexact = [(index, shape) for index, shape in enumerate(shapes) if shape.exact is None]
        self._seen: set[tuple[type, ...]] = set()
        self.settled: AbstractSet[tuple[type, ...]] = frozenset() if self._inexact else self._seen

    def fits(self, parts: tuple[object, ...]) -> bool:
        """Tell whether each part fits its shape."""
        classes = tuple(map(type, parts))
        if classes not in self._seen:
            if len(parts) != len(self._shapes):
                return False
            for shape, cls in zip(self._shapes, classes, strict=True):
                if shape.exact is not None and cls not in shape.exact:
                    return False
            if len(self._seen) < _ROWS_SEEN_MAX:
                self._seen.add(classes)
        return not self._inexact or all(shape.fits(parts[index]) for index, shape in self._inexact)
