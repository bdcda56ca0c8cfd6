"""How instances of dataclasses, NamedTuples and Structs are taken apart and put together.

Putting together restores the fields as they were: a dataclass is made without
`__init__` and `__post_init__`, which have already done their work on these
values (a Struct's `__post_init__` does run, msgspec leaves no way around it).
Taking apart refuses an instance that carries more than its fields, because the
rest would be lost.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

import msgspec

from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


class RecordClass(ABC):
    """One such class: its fields in order, and the two ways.

    Attributes:
        cls: The class.
        names: Its fields.
        required: Those without a default.
        frozen: Whether fields cannot be set anew.
        parts: Gives the field values of an instance in order; AttributeError where one is not set,
            CodecError where there is more than the fields.
    """

    def __init__(self, cls: type, names: tuple[str, ...], required: frozenset[str], *, frozen: bool) -> None:
        """Note what is known of the class."""
        self.cls = cls
        self.names = names
        self.required = required
        self.frozen = frozen
        self.parts: Callable[[object], tuple[object, ...]] = _getter(names)

    def build(self, fields: Mapping[str, object]) -> object:
        """Make an instance; unknown names are left out, missing ones get their default.

        Raises:
            CodecError: a field without a default is missing.
        """
        if fields.keys() != self._all_names:
            missing = sorted(self.required - fields.keys())
            if missing:
                raise CodecError(
                    f"the bytes of a {self.cls.__qualname__} have no {missing[0]!r}: "
                    f"give fields that were added a default"
                )
            fields = {name: value for name, value in fields.items() if name in self._all_names}
        return self._make(fields)

    @cached_property
    def _all_names(self) -> frozenset[str]:
        return frozenset(self.names)

    @abstractmethod
    def _make(self, fields: Mapping[str, object]) -> object:
        """Make an instance of known fields."""


class _DataclassRecord(RecordClass):
    def __init__(self, cls: type) -> None:
        fields = dataclasses.fields(cls)
        self._defaults: dict[str, object] = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
        self._factories: dict[str, Callable[[], object]] = {
            f.name: f.default_factory for f in fields if f.default_factory is not dataclasses.MISSING
        }
        names = tuple(f.name for f in fields)
        own = cls.__dict__.get("__dataclass_params__")
        super().__init__(
            cls,
            names,
            frozenset(names) - self._defaults.keys() - self._factories.keys(),
            frozen=own is not None and own.frozen,
        )
        try:
            object.__new__(cls)
        except TypeError as error:
            raise CodecError(f"{cls.__qualname__} is a dataclass that is also something else: {error}") from error
        if cls.__dictoffset__ and not (self.frozen and not hasattr(cls, "__post_init__")):
            self.parts = self._checked(self.parts)

    def _checked(self, parts: Callable[[object], tuple[object, ...]]) -> Callable[[object], tuple[object, ...]]:
        count = len(self.names)

        def checked_parts(value: object) -> tuple[object, ...]:
            if len(value.__dict__) != count:
                self._refuse_more(value)
            return parts(value)

        return checked_parts

    def _refuse_more(self, value: object) -> None:
        extra = [n for n in value.__dict__ if n not in self._all_names and not self._may_be_lost(n)]
        if extra:
            raise CodecError(
                f"a {self.cls.__qualname__} carries {extra[0]!r}, which is no field and would be lost: declare it"
            )

    def _may_be_lost(self, name: str) -> bool:
        return name.startswith("__") or isinstance(getattr(self.cls, name, None), cached_property)

    def _make(self, fields: Mapping[str, object]) -> object:
        made: object = object.__new__(self.cls)
        for name in self.names:
            if name in fields:
                value = fields[name]
            else:
                value = self._factories[name]() if name in self._factories else self._defaults[name]
            object.__setattr__(made, name, value)
        return made


class _NamedTupleRecord(RecordClass):
    def __init__(self, cls: type) -> None:
        names: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
        self._defaults: dict[str, object] = cls._field_defaults  # type: ignore[attr-defined]
        super().__init__(cls, names, frozenset(names) - self._defaults.keys(), frozen=True)
        self.parts = _items

    def _make(self, fields: Mapping[str, object]) -> object:
        return tuple.__new__(self.cls, [fields[n] if n in fields else self._defaults[n] for n in self.names])


class _StructRecord(RecordClass):
    def __init__(self, cls: type[msgspec.Struct]) -> None:
        names = cls.__struct_fields__
        defaults = cls.__struct_defaults__
        with_default = [d is not msgspec.NODEFAULT for d in defaults]
        without = len(names) - len(defaults)
        required = frozenset(names[:without]) | {n for n, d in zip(names[without:], with_default, strict=True) if not d}
        super().__init__(cls, names, required, frozen=cls.__struct_config__.frozen)

    def _make(self, fields: Mapping[str, object]) -> object:
        made: object = self.cls(**fields)
        return made


def _items(value: object) -> tuple[object, ...]:
    return tuple(value)  # type: ignore[arg-type]


def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    match names:
        case ():
            return lambda _: ()
        case (name,):
            one = attrgetter(name)
            return lambda value: (one(value),)
        case _:
            return attrgetter(*names)


_known: dict[type, RecordClass | None] = {}


def record_class(cls: type) -> RecordClass | None:
    """Give what is known of a dataclass, NamedTuple or Struct; None for any other class.

    Raises:
        CodecError: a dataclass that also derives from a class with contents of its own.
    """
    try:
        return _known[cls]
    except KeyError:
        pass
    found: RecordClass | None = None
    if dataclasses.is_dataclass(cls):
        found = _DataclassRecord(cls)
    elif issubclass(cls, msgspec.Struct):
        found = _StructRecord(cls)
    elif issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults"):
        found = _NamedTupleRecord(cls)
    _known[cls] = found
    return found
