# ruff: noqa: D102  (the contract of every method stands in Shape)
"""Shapes that have shapes below them: containers, records, and the choice between classes.

How they are packed, whether msgspec does it alone or we lower them first:

    list, tuple      array                          Maybe            nil or the value
    set, frozenset   array in order of its bytes    Tagged           [class name, value]
    dict             map; where keys are not scalars: [[key, value], ...]
    dataclass, Struct, TypedDict   map by field name (added fields with a default, removed and reordered ones: read)
    NamedTuple                     array (fields added at its end with a default: read)
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

import msgspec

from actorstream.codec.shapes import TYPED_DICT, Annotation, Raw, Row, Shape, of_class
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actorstream.codec.records import RecordClass

_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
_PACKING_ERRORS: Final = (OverflowError, UnicodeEncodeError, CodecError)


def fit_all(shape: Shape, values: Iterable[object]) -> bool:
    """Tell whether all of `values` fit `shape`."""
    if shape.exact is not None:
        return shape.exact.issuperset(map(type, values))
    return all(map(shape.fits, values))


def _fails(shape: Shape, value: object) -> bool:
    """Tell whether `value` does not fit, or fits and cannot be packed: an int or a text out of range."""
    if not shape.fits(value):
        return True
    try:
        _pack(shape.lower(value))
    except _PACKING_ERRORS:
        return True
    return False


def _first_misfit(values: Iterable[object], place: str, shape_at: Callable[[int], Shape]) -> str:
    for index, item in enumerate(values):
        shape = shape_at(index)
        if _fails(shape, item):
            return shape.misfit(item, f"{place}[{index}]")
    return f"{place} cannot be packed"


class Many(Shape):
    """A list, tuple, set or frozenset of any length. Sets are packed in the order of their items' bytes."""

    def __init__(self, cls: Annotation, item: Shape) -> None:
        """Take the container's class and what is in it."""
        self._cls = cls
        self._item = item
        self.own_native = cls in (list, tuple)
        self.name = f"a {cls.__name__} of {item.name}"
        self.annotation = cls[item.annotation, ...] if cls is tuple else cls[item.annotation]

    def children(self) -> Iterable[Shape]:
        return (self._item,)

    def fits(self, value: object) -> bool:
        return value.__class__ is self._cls and fit_all(self._item, value)  # type: ignore[arg-type]

    def misfit(self, value: object, place: str) -> str:
        if value.__class__ is not self._cls:
            return super().misfit(value, place)
        return _first_misfit(value, place, lambda _: self._item)  # type: ignore[arg-type]

    def _lower(self, value: Raw) -> object:
        items = value if self._item.native else [self._item.lower(item) for item in value]
        if self._cls in (list, tuple):
            return items
        return [msgspec.Raw(item) for item in sorted(map(_pack, items))]

    def _lift(self, raw: Raw) -> object:
        items = map(self._item.lift, of_class(raw, list))
        return self._cls(items)

    def describe(self, above: tuple[Shape, ...]) -> object:
        return {self._cls.__name__: self._item.describe(above)}


class Fixed(Shape):
    """A tuple of known length."""

    def __init__(self, items: tuple[Shape, ...]) -> None:
        """Take what stands at each index."""
        self._items = items
        self.annotation = tuple[tuple([i.annotation for i in items])]  # type: ignore[misc]
        self.name = f"a tuple of ({', '.join(i.name for i in items)})"
        self._row = Row(items)

    def children(self) -> Iterable[Shape]:
        return self._items

    def fits(self, value: object) -> bool:
        return value.__class__ is tuple and (tuple(map(type, value)) in self._row.settled or self._row.fits(value))

    def misfit(self, value: object, place: str) -> str:
        if not isinstance(value, tuple) or type(value) is not tuple or len(value) != len(self._items):
            return super().misfit(value, place)
        return _first_misfit(value, place, lambda index: self._items[index])

    def _lower(self, value: Raw) -> object:
        return [shape.lower(item) for shape, item in zip(self._items, value, strict=True)]

    def _lift(self, raw: Raw) -> object:
        items = zip(self._items, of_class(raw, list), strict=True)
        return tuple([shape.lift(item) for shape, item in items])

    def describe(self, above: tuple[Shape, ...]) -> object:
        return {"tuple of": [item.describe(above) for item in self._items]}


class Pairs(Shape):
    """A dict."""

    def __init__(self, key: Shape, item: Shape) -> None:
        """Take what its keys and its values are."""
        self._key = key
        self._item = item
        self._as_map = key.scalar
        self.own_native = self._as_map
        self.annotation = dict[key.annotation, item.annotation]  # type: ignore[name-defined]
        self.name = f"a dict of {key.name} to {item.name}"

    def children(self) -> Iterable[Shape]:
        return (self._key, self._item)

    def fits(self, value: object) -> bool:
        return value.__class__ is dict and fit_all(self._key, value) and fit_all(self._item, value.values())

    def misfit(self, value: object, place: str) -> str:
        if not isinstance(value, dict) or type(value) is not dict:
            return super().misfit(value, place)
        for key, item in value.items():
            if _fails(self._key, key):
                return self._key.misfit(key, f"{place} key {key!r:.50}")
            if _fails(self._item, item):
                return self._item.misfit(item, f"{place}[{key!r:.50}]")
        return super().misfit(value, place)

    def _lower(self, value: Raw) -> object:
        key, item = self._key.lower, self._item.lower
        if self._as_map:
            return {k: item(v) for k, v in value.items()}
        return [(key(k), item(v)) for k, v in value.items()]

    def _lift(self, raw: Raw) -> object:
        key, item = self._key.lift, self._item.lift
        pairs = of_class(raw, dict).items() if self._as_map else of_class(raw, list)
        return {key(k): item(v) for k, v in pairs}

    def describe(self, above: tuple[Shape, ...]) -> object:
        return {"dict": [self._key.describe(above), self._item.describe(above)]}


class Maybe(Shape):
    """None or something else."""

    def __init__(self, item: Shape) -> None:
        """Take what may stand there beside None."""
        self._item = item
        self.annotation = item.annotation | None
        self.exact = None if item.exact is None else item.exact | {type(None)}
        self.name = f"{item.name} or None"

    def children(self) -> Iterable[Shape]:
        return (self._item,)

    def fits(self, value: object) -> bool:
        return value is None or self._item.fits(value)

    def misfit(self, value: object, place: str) -> str:
        return self._item.misfit(value, place) + " (or None)"

    def _lower(self, value: object) -> object:
        return None if value is None else self._item.lower(value)

    def _lift(self, raw: object) -> object:
        return None if raw is None else self._item.lift(raw)

    def describe(self, above: tuple[Shape, ...]) -> object:
        return {"maybe": self._item.describe(above)}


class Tagged(Shape):
    """One of several classes, told apart by a tag of our own."""

    own_native = False

    def __init__(self, members: Mapping[type, tuple[str, Shape]]) -> None:
        """Take for each class its tag and its shape."""
        self.members = members
        self._by_tag = dict(members.values())
        self.name = " or ".join(self._by_tag)

    def children(self) -> Iterable[Shape]:
        return self._by_tag.values()

    def fits(self, value: object) -> bool:
        member = self.members.get(value.__class__)
        return member is not None and member[1].fits(value)

    def misfit(self, value: object, place: str) -> str:
        member = self.members.get(value.__class__)
        return super().misfit(value, place) if member is None else member[1].misfit(value, place)

    def _lower(self, value: object) -> object:
        tag, shape = self.members[value.__class__]
        return (tag, shape.lower(value))

    def _lift(self, raw: object) -> object:
        tag, body = of_class(raw, list)
        return self.shape_of_tag(of_class(tag, str)).lift(body)

    def shape_of_tag(self, tag: str) -> Shape:
        """Give the shape behind a tag; CodecError if there is none."""
        shape = self._by_tag.get(tag)
        if shape is None:
            raise CodecError(
                f"the bytes hold a {tag[:100]!r}, expected {self.name}: classes that were stored must stay"
            )
        return shape

    def describe(self, above: tuple[Shape, ...]) -> object:
        return {
            "tagged": {tag: shape.describe(above) for tag, shape in sorted(self._by_tag.items(), key=itemgetter(0))}
        }


class Record(Shape):
    """A dataclass, NamedTuple or Struct. Made first, completed after its fields: it may hold itself."""

    def __init__(self, annotation: Annotation, record: RecordClass, *, native: bool, positional: bool) -> None:
        """Take the class; its fields follow with `complete`."""
        self.annotation = annotation
        self.name = record.cls.__qualname__
        self.own_native = native
        self._record = record
        self._cls = record.cls
        self._parts = record.parts
        self._positional = positional
        self._fields: tuple[Shape, ...] = ()
        self._row = Row(())
        self._settled = self._row.settled

    def complete(self, fields: tuple[Shape, ...]) -> None:
        """Take the shapes of the fields, in order."""
        self._fields = fields
        self._row = Row(fields)
        self._settled = self._row.settled

    def children(self) -> Iterable[Shape]:
        return self._fields

    def fits(self, value: object) -> bool:
        if value.__class__ is not self._cls:
            return False
        try:
            parts = self._parts(value)
        except (AttributeError, CodecError):
            return False
        return tuple(map(type, parts)) in self._settled or self._row.fits(parts)

    def misfit(self, value: object, place: str) -> str:
        if value.__class__ is not self._cls:
            return super().misfit(value, place)
        try:
            parts = self._parts(value)
        except (AttributeError, CodecError) as error:
            return f"{place}: {error}"
        for name, shape, part in zip(self._record.names, self._fields, parts, strict=True):
            if _fails(shape, part):
                return shape.misfit(part, f"{place}.{name}")
        return super().misfit(value, place)

    def _lower(self, value: object) -> object:
        items = [shape.lower(part) for shape, part in zip(self._fields, self._parts(value), strict=True)]
        return items if self._positional else dict(zip(self._record.names, items, strict=True))

    def _lift(self, raw: Raw) -> object:
        if self._positional:
            items = of_class(raw, list)
            if len(items) > len(self._fields):
                raise CodecError(f"the bytes of a {self.name} have {len(items)} fields, expected {len(self._fields)}")
            raw = dict(zip(self._record.names, items, strict=False))
        else:
            raw = of_class(raw, dict)
        fields = zip(self._record.names, self._fields, strict=True)
        return self._record.build({name: shape.lift(raw[name]) for name, shape in fields if name in raw})

    def describe(self, above: tuple[Shape, ...]) -> object:
        if self in above:
            return {"again": self.name}
        return {
            "record": self.name,
            "by": "position" if self._positional else "name",
            "fields": [
                [name, shape.describe((*above, self)), name in self._record.required]
                for name, shape in zip(self._record.names, self._fields, strict=True)
            ],
        }


class NamedDict(Shape):
    """A TypedDict."""

    def __init__(self, cls: type, required: frozenset[str]) -> None:
        """Take the class; its fields follow with `complete`."""
        self.annotation = cls
        self.name = cls.__qualname__
        self._required = required
        self._fields: dict[str, Shape] = {}

    def complete(self, fields: dict[str, Shape]) -> None:
        """Take the shape of each key."""
        self._fields = fields

    def children(self) -> Iterable[Shape]:
        return self._fields.values()

    def fits(self, value: object) -> bool:
        if not isinstance(value, dict) or type(value) is not dict or not self._required <= value.keys():
            return False
        fields = self._fields
        return all(key in fields and fields[key].fits(item) for key, item in value.items())

    def misfit(self, value: object, place: str) -> str:
        if not isinstance(value, dict) or type(value) is not dict:
            return super().misfit(value, place)
        if missing := sorted(self._required - value.keys()):
            return f"{place} has no {missing[0]!r}, expected {self.name}"
        for key, item in value.items():
            if key not in self._fields:
                return f"{place} has {key!r:.50}, which {self.name} has not"
            if _fails(self._fields[key], item):
                return self._fields[key].misfit(item, f"{place}[{key!r:.50}]")
        return super().misfit(value, place)

    def _lower(self, value: Raw) -> object:
        return {key: self._fields[key].lower(item) for key, item in value.items()}

    def _lift(self, raw: Raw) -> object:
        raw = of_class(raw, dict)
        if missing := sorted(self._required - raw.keys()):
            raise CodecError(
                f"the bytes of a {self.name} have no {missing[0]!r}: make keys that were added NotRequired"
            )
        return {key: shape.lift(raw[key]) for key, shape in self._fields.items() if key in raw}

    def describe(self, above: tuple[Shape, ...]) -> object:
        if self in above:
            return {"again": self.name}
        return {
            "record": self.name,
            "by": "name",
            "fields": [
                [key, shape.describe((*above, self)), key in self._required] for key, shape in self._fields.items()
            ],
            TYPED_DICT: True,
        }
