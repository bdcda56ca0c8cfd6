"""Types of `domain` as a later program declares them, and the schema of what an earlier one wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass
from datetime import datetime  # noqa: TC003  (a field's type)
from enum import Enum
from typing import Any, NamedTuple, NotRequired, TypedDict

from actorstream.codec.evolution import KnownSchema
from actorstream.codec.schema import schema_of
from tests.codec.domain import Order, Point, Refund  # noqa: TC001  (fields' types)


def record(name: str, fields: list[Any]) -> Any:
    """Make a dataclass whose class name does not matter."""
    return make_dataclass(name, fields)


def stored(annotation: object, version: int = 1) -> KnownSchema:
    """Give the schema of an annotation as it comes out of a manifest, which is JSON."""
    schema = schema_of(annotation)
    return KnownSchema(0, version, schema.fingerprint, json.loads(json.dumps(schema.shape)))


class V1(NamedTuple):
    a: int
    b: str


class V2(NamedTuple):
    a: int
    b: str
    c: float = 0.0


class Swapped(NamedTuple):
    b: str
    a: int


class Between(NamedTuple):
    a: int
    x: int = 0
    b: str = ""


class MoreColors(Enum):
    RED = "r"
    BLUE = "b"
    GREEN = "g"


class MoreShapes(Enum):
    LINE = (0, 1)
    POINT = (0, 0)
    CURVE = (1, 1)


class Loose(TypedDict, total=False):
    name: str
    size: int


class Aged(TypedDict):
    title: str
    age: NotRequired[int]


class Whole(TypedDict):
    name: str
    age: int


@dataclass
class OrderV2:
    """`Order` with a field added, one removed, the rest in another order."""

    amount: float
    id: str
    currency: str = "EUR"


@dataclass
class Priced:
    """`Order` with `amount` under another name."""

    id: str
    price: float
    count: int = 1


@dataclass
class Branch:
    """`Tree` with a wider value, a renamed field, and another name."""

    value: float
    below: list[Branch] = field(default_factory=list)
    note: Order | Refund | Point | None = None


@dataclass
class Branches:
    """`Tree` under another name, with nothing else changed."""

    value: int
    children: list[Branches] = field(default_factory=list)
    note: Order | Refund | None = None


@dataclass
class Refunded:
    """`Refund` under another name, with a field more."""

    id: str
    at: datetime
    reason: str | None = None
    by: str = "nobody"
