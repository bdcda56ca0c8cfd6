# ruff: noqa: D105, D106, TC003  (plain examples, whose annotations are resolved at run time)
"""Classes that the codec tests keep: at module level, as users are told to define theirs."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from functools import cached_property
from typing import ClassVar, Generic, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec

T = TypeVar("T")


class Color(Enum):
    RED = "r"
    BLUE = "b"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Page(StrEnum):
    HOME = "/"
    SHOP = "/shop"


class Shape(Enum):
    POINT = (0, 0)
    LINE = (0, 1)


class Right(Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Order:
    id: str
    amount: float
    count: int = 1


@dataclass(frozen=True, slots=True)
class Refund:
    id: str
    at: datetime
    reason: str | None = None


@dataclass
class Cart:
    items: list[Order] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)
    note: Order | Refund | None = None


@dataclass
class Everything:
    n: int
    x: float
    s: str
    b: bytes
    ok: bool
    at: datetime
    after: timedelta
    price: Decimal
    id: UUID
    color: Color
    level: Level
    shape: Shape
    pair: tuple[int, str]
    many: tuple[int, ...]
    by_name: dict[str, Order]
    by_pair: dict[tuple[int, int], str]
    seen: frozenset[tuple[int, str]]
    either: int | str | None
    event: Order | Refund
    rest: object


@dataclass
class Numbered:
    """Its `__post_init__` must not run again when an instance is read back."""

    name: str
    made: int = field(init=False)
    seed: InitVar[int] = 0

    def __post_init__(self, seed: int) -> None:
        self.made = seed


@dataclass
class Lazy:
    n: int

    @cached_property
    def doubled(self) -> int:
        return self.n * 2


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Crate(Generic[T]):
    box: Box[T]
    limit: ClassVar[int] = 3


@dataclass
class Crates:
    dates: Crate[date]
    lists: Crate[list[tuple[int, str]]]
    sets: Crate[set[int]]


class Point(NamedTuple):
    x: int
    y: int = 0


class Spot(NamedTuple):
    name: str
    when: datetime


class Profile(TypedDict):
    name: str
    age: NotRequired[int]


class Reading(msgspec.Struct, frozen=True):
    sensor: str
    value: float = 0.0


class Packed(msgspec.Struct, array_like=True, tag=True):
    a: int
    b: list[int] = []


class OtherOrder:
    """Holds a class of the same name as another."""

    @dataclass(frozen=True)
    class Order:
        n: int
