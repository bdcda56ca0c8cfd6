"""From an annotation to its shape: the one place that knows Python's typing constructs.

Strings and postponed annotations are resolved in the module of the class that
holds them. What cannot be typed is refused with its place, as in
`Order.lines[item].price`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

import msgspec

from actorstream.codec.composite_shapes import Fixed, Many, Maybe, NamedDict, Pairs, Record, Tagged
from actorstream.codec.records import record_class
from actorstream.codec.shapes import Annotation, Exact, Instant, Member, OneOf, Opaque, Shape, TimeOfDay
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Bound: TypeAlias = dict[Any, Annotation]
"""What type variables stand for."""

_NONE = type(None)
_SCALARS: Final = {
    _NONE: "None", bool: "bool", int: "int", str: "str", bytes: "bytes",
    date: "date", timedelta: "timedelta", Decimal: "Decimal", UUID: "UUID",
}  # fmt: skip
_DISTINCT: Final = frozenset({bool, int, float, str})
_CONTAINERS: Final = frozenset({list, dict, tuple, set, frozenset})
_ABSTRACT: Final = frozenset({
    collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Mapping, collections.abc.MutableMapping,
    collections.abc.Set, collections.abc.MutableSet, collections.abc.Collection, collections.abc.Iterable,
    collections.abc.Hashable,
})  # fmt: skip
_WRAPPERS: Final = (typing.Annotated, typing.Final, typing.Required, typing.NotRequired)
_UNIONS: Final = (typing.Union, types.UnionType)


def shape_of(annotation: object) -> Shape:
    """Give the complete shape of an annotation; a tuple of annotations is a union.

    Raises:
        CodecError: values of it cannot be told how to be kept; says where and what to do.
    """
    try:
        root = _Builder().build(annotation, _title(annotation), {})
    except RecursionError:
        raise CodecError(f"the annotation {_title(annotation)} is nested too deeply") from None
    _settle(root)
    return root


def _settle(root: Shape) -> None:
    """Set `native` where nothing below a node needs our help; a record may hold itself."""
    below = {root: frozenset(root.children())}
    todo = list(below[root])
    while todo:
        node = todo.pop()
        if node not in below:
            below[node] = frozenset(node.children())
            todo.extend(below[node])
    helped = {node for node in below if not node.own_native}
    while grown := {node for node in below if node not in helped and below[node] & helped}:
        helped |= grown
    for node in below:
        node.native = node not in helped


def _title(annotation: object) -> str:
    return annotation.__qualname__ if type(annotation) is type else str(annotation)[:100]


class _Builder:
    def __init__(self) -> None:
        self._records: dict[object, Shape] = {}

    def build(self, annotation: Annotation, place: str, bound: Bound) -> Shape:
        """Give the shape of what stands at `place`; `bound` holds what type variables stand for."""
        if isinstance(annotation, tuple):
            return self._choice(annotation, place, bound)
        if isinstance(annotation, typing.TypeVar):
            return self.build(bound.get(annotation, annotation.__bound__ or object), place, bound)
        if isinstance(annotation, typing.NewType):
            return self.build(annotation.__supertype__, place, bound)
        origin = typing.get_origin(annotation)
        if origin is not None:
            return self._parametrised(annotation, origin, place, bound)
        return self._plain(_NONE if annotation is None else annotation, place)

    def _plain(self, annotation: Annotation, place: str) -> Shape:
        if not isinstance(annotation, collections.abc.Hashable):
            raise _refusal(place, annotation, "say a class")
        leaf = _LEAVES.get(annotation)
        if leaf is not None:
            return leaf()
        if annotation in _SCALARS:
            name = _SCALARS[annotation]
            return _scalar(annotation, name, {annotation}, name)
        if annotation in _CONTAINERS:
            return Opaque((annotation,), f"a {annotation.__name__}")
        if not isinstance(annotation, type):
            raise _refusal(place, annotation, "resolve it to a class, or say object")
        return _enum(annotation) if issubclass(annotation, Enum) else self._class(annotation, annotation, place, {})

    def _parametrised(self, annotation: Annotation, origin: Annotation, place: str, bound: Bound) -> Shape:
        args = typing.get_args(annotation)
        generic: Annotation = origin
        if origin in _WRAPPERS:
            shape = self.build(args[0], place, bound)
            if any(isinstance(arg, msgspec.Meta) for arg in args):
                shape.own_native = False
        elif origin in _UNIONS:
            shape = self._choice(args, place, bound)
        elif origin is typing.Literal:
            shape = OneOf(annotation, args)
        elif origin in _CONTAINERS:
            shape = self._container(origin, args, place, bound)
        elif origin in _ABSTRACT:
            shape = Opaque()
        elif isinstance(origin, type) and (variables := getattr(origin, "__parameters__", ())):
            stand_for = tuple([bound.get(arg, arg) for arg in args])
            shape = self._class(origin, generic[stand_for], place, dict(zip(variables, stand_for, strict=False)))
        else:
            raise _refusal(place, annotation, "say object")
        return shape

    def _container(self, origin: Annotation, args: tuple[Annotation, ...], place: str, bound: Bound) -> Shape:
        if origin is dict:
            return Pairs(self.build(args[0], f"{place}[key]", bound), self.build(args[1], f"{place}[value]", bound))
        if origin is not tuple or args[1:] == (Ellipsis,):
            return Many(origin, self.build(args[0], f"{place}[item]", bound))
        return Fixed(tuple([self.build(arg, f"{place}[{i}]", bound) for i, arg in enumerate(args)]))

    def _choice(self, args: tuple[Annotation, ...], place: str, bound: Bound) -> Shape:
        some = [arg for arg in args if arg is not None and arg is not _NONE]
        if not some:
            raise _refusal(place, args, "a union holds classes")
        if len(some) == 1:
            item = self.build(some[0], place, bound)
            return item if len(args) == 1 else Maybe(item)
        if _DISTINCT.issuperset(some):
            names = sorted(arg.__name__ for arg in some)
            either: Annotation = typing.Union[tuple(some)]  # noqa: UP007  (made at run time)
            return self._maybe(args, some, _scalar(either, " or ".join(names), some, {"one of": names}))
        members: dict[type, tuple[str, Shape]] = {}
        for arg in some:
            shape = self.build(arg, place, bound)
            cls = _class_behind(arg)
            if cls is None:
                raise _refusal(place, arg, "a union holds classes that can be told apart: say object")
            tag = cls.__name__
            if any(tag == other for other, _ in members.values()):
                raise CodecError(
                    f"{place} is a union with two classes named {tag!r}, and the name is the tag that tells them apart "
                    f"in the bytes: rename one"
                )
            members[cls] = (tag, shape)
        return self._maybe(args, some, Tagged(members))

    @staticmethod
    def _maybe(args: tuple[Annotation, ...], some: list[Annotation], shape: Shape) -> Shape:
        return shape if len(some) == len(args) else Maybe(shape)

    def _class(self, cls: type, annotation: Annotation, place: str, bound: Bound) -> Shape:
        try:
            return self._records[annotation]
        except KeyError:
            pass
        if typing.is_typeddict(cls):
            hints = _hints(cls, place)
            named = self._records[annotation] = NamedDict(cls, _required_keys(cls, hints))
            named.complete({key: self.build(hint, f"{place}[{key!r}]", bound) for key, hint in hints.items()})
            return named
        record = record_class(cls)
        if record is None:
            raise _refusal(
                place, annotation, "make it a dataclass, NamedTuple, TypedDict, Enum or Struct, or say object"
            )
        hints = _hints(cls, place)
        native = _packed_by_msgspec(cls, hints)
        shape = self._records[annotation] = Record(annotation, record, native=native, positional=issubclass(cls, tuple))
        shape.complete(tuple(self.build(hints.get(n, object), f"{place}.{n}", bound) for n in record.names))
        return shape


def _scalar(annotation: object, name: str, classes: Iterable[type], described: object) -> Shape:
    shape = Exact(annotation, name, classes, described)
    shape.scalar = True
    return shape


_LEAVES: Final[dict[Annotation, Callable[[], Shape]]] = {
    Any: Opaque,
    object: Opaque,
    **dict.fromkeys(_ABSTRACT, Opaque),
    float: lambda: _scalar(float, "float", {float, int}, "float"),
    datetime: Instant,
    time: TimeOfDay,
}


def _enum(cls: type[Enum]) -> Shape:
    values = [member.value for member in cls]
    kinds = set(map(type, values))
    if kinds in ({str}, {int}) and not issubclass(cls, Flag):
        return _scalar(cls, cls.__qualname__, {cls}, {"enum": cls.__qualname__, "values": sorted(values)})
    return Member(cls)


def _class_behind(annotation: Annotation) -> type | None:
    while isinstance(annotation, typing.NewType):
        annotation = annotation.__supertype__
    origin: Annotation = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _class_behind(typing.get_args(annotation)[0])
    cls = annotation if origin is None else origin
    if typing.is_typeddict(cls):
        return dict
    return cls if isinstance(cls, type) and cls is not object and cls not in _ABSTRACT else None


def _required_keys(cls: Annotation, hints: dict[str, Annotation]) -> frozenset[str]:
    """Give the keys of a TypedDict that must be there; `__required_keys__` does not see postponed annotations."""
    origins: dict[str, Annotation] = {key: typing.get_origin(hint) for key, hint in hints.items()}
    return frozenset(
        key
        for key, origin in origins.items()
        if origin is typing.Required or (origin is not typing.NotRequired and key in cls.__required_keys__)
    )


def _packed_by_msgspec(cls: type, hints: dict[str, Annotation]) -> bool:
    """Tell whether msgspec packs and restores instances of `cls` exactly as we want them."""
    if issubclass(cls, msgspec.Struct):
        config = cls.__struct_config__
        plain_names = cls.__struct_encode_fields__ == cls.__struct_fields__
        odd = config.array_like or config.forbid_unknown_fields or config.omit_defaults or config.tag is not None
        return plain_names and not odd
    if dataclasses.is_dataclass(cls):
        takes_more = any(isinstance(hint, dataclasses.InitVar) for hint in hints.values())
        return not takes_more and not hasattr(cls, "__post_init__")
    return True


def _hints(cls: type, place: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise CodecError(
            f"{place}: the annotations of {cls.__qualname__} cannot be resolved ({error}): "
            f"import the name in its module outside of `if TYPE_CHECKING`, and define both classes at module level"
        ) from error
    except (TypeError, AttributeError, SyntaxError) as error:
        raise CodecError(f"{place}: the annotations of {cls.__qualname__} cannot be resolved ({error})") from error


def _refusal(place: str, annotation: object, remedy: str) -> CodecError:
    return CodecError(f"{place}: values annotated {_title(annotation)} cannot be kept: {remedy}")
