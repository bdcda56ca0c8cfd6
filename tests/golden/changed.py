# ruff: noqa: TC003  (annotations that are resolved at run time)
"""The same program after two changes of its classes: what is read as it is, and what goes through functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

from actorstream.operators.state_declarations import ListState, MapState, ValueState
from tests.golden.first import FAR, NOON, Ledger


class WiderKind(Enum):
    """A member more."""

    PRIVATE = "p"
    TRADE = "t"
    STATE = "s"


class Place(NamedTuple):
    """`Point` with a field more."""

    x: int
    y: int
    name: str = "?"


@dataclass(frozen=True)
class Order:
    """A field more, one less, in another order."""

    at: datetime
    id: str
    currency: str = "EUR"


@dataclass(frozen=True)
class Refunded:
    """`Refund` under another name."""

    id: str
    reason: str | None = None


@dataclass(frozen=True)
class Gift:
    """New in the union."""

    id: str


@dataclass
class Line:
    """A field renamed."""

    title: str
    count: int


@dataclass
class Total:
    """A field renamed and widened, one added."""

    amount: float
    lines: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NamedClick:
    """`Click` with a field renamed."""

    page: int
    name: str


EUROS: dict[str, Any] = {"rename": {"euros": "amount"}}


class Second(Ledger):
    """Everything is read as it is, or renamed."""

    total: ValueState[Total] = ValueState(factory=lambda: Total(0, 0), **EUROS)  # type: ignore[assignment]
    aging: ValueState[Total | None] = ValueState(None, **EUROS)  # type: ignore[assignment]
    kind: ValueState[WiderKind | None] = ValueState(None)  # type: ignore[assignment]
    place: ValueState[Place] = ValueState(Place(0, 0))  # type: ignore[assignment]
    number: ValueState[float] = ValueState(0.0)  # type: ignore[assignment]
    parts: MapState[str, Order | Refunded | Gift] = MapState(rename={"Refund": "Refunded"})  # type: ignore[assignment]
    lines: ListState[Line] = ListState(rename={"item": "title"})  # type: ignore[assignment]

    def add(self, number: int) -> None:
        """Change every state."""
        self.total = Total(number, 1, ["second"])
        self.aging = Total(number, 2, ["second"])
        self.kind = WiderKind.STATE
        self.place = Place(number, -number, "second")
        self.number = number + 0.5
        self.anything = "second"
        self.parts[f"gift {number}"] = Gift(f"g{number}")
        self.lines.append(Line(f"title {number}", number))


@dataclass
class Cents:
    """Another unit."""

    cents: int
    notes: tuple[str, ...] = ()


def to_cents(old: dict[str, Any] | None) -> dict[str, Any] | None:
    """Take a plain value of either version 1."""
    if old is None:
        return None
    euros = old["amount"] if "amount" in old else old["euros"]
    return {"cents": round(euros * 100), "notes": tuple(old.get("notes", ()))}


def to_text(part: dict[str, Any]) -> str:
    """Take a member of either union: {"Order": {...}}."""
    ((kind, value),) = part.items()
    return f"{kind} {value['id']}"


class Third(Ledger):
    """Everything goes through a function."""

    total: ValueState[Cents] = ValueState(  # type: ignore[assignment]
        factory=lambda: Cents(0), version=2, migrate={1: to_cents}
    )
    aging: ValueState[Cents | None] = ValueState(  # type: ignore[assignment]
        None, ttl=FAR, version=2, migrate={1: to_cents}
    )
    kind: ValueState[str] = ValueState("", version=2, migrate={1: lambda old: f"kind {old}"})  # type: ignore[assignment]
    place: ValueState[int] = ValueState(  # type: ignore[assignment]
        0, version=3, migrate={1: lambda old: {**old, "name": old.get("name", "none")}, 2: lambda old: old["x"]}
    )
    number: ValueState[Decimal] = ValueState(  # type: ignore[assignment]
        Decimal(0), version=2, migrate={1: Decimal}
    )
    anything: ValueState[str] = ValueState("", version=2, migrate={1: lambda old: type(old).__name__})
    parts: MapState[str, str] = MapState(version=2, migrate={1: to_text})  # type: ignore[assignment]
    lines: ListState[str] = ListState(  # type: ignore[assignment]
        version=2, migrate={1: lambda old: old["title"] if "title" in old else old["item"]}
    )


def shown_by_second(key: str, number: int) -> dict[str, Any]:
    """Give what `Second` shows of a key to which `Ledger` has added `number` alone."""
    return {
        "key": key, "total": Total(number, 1), "aging": Total(number, 2), "kind": WiderKind.TRADE,
        "place": Place(number, -number), "number": float(number),
        "parts": {f"order {number}": Order(NOON, f"o{number}"), f"refund {number}": Refunded(f"r{number}", "late")},
        "lines": [Line(f"item {number}", number)],
    }  # fmt: skip


def shown_by_third(key: str, number: int) -> dict[str, Any]:
    """Give what `Third` shows of a key to which `Ledger` has added `number` alone."""
    return {
        "key": key, "total": Cents(number * 100), "aging": Cents(number * 100), "kind": "kind t", "place": number,
        "number": Decimal(number), "anything": "tuple",
        "parts": {f"order {number}": f"Order o{number}", f"refund {number}": f"Refund r{number}"},
        "lines": [f"item {number}"],
    }  # fmt: skip
