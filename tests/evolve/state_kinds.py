"""Processes whose states expire, are enums by key, or had another type before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from actorstream import TTL, Context, KeyedProcess, MapState, ValueState


class Color(Enum):
    RED = "r"
    BLUE = "b"


class Stateless(KeyedProcess[str, str, str]):
    """Nothing to remember."""

    def on_element(self, value: str, ctx: Context[str]) -> list[str]:
        del ctx
        return [value]


class Aging(KeyedProcess[str, str, "tuple[str, int]"]):
    """By the clock, and by event time; and one that stays."""

    by_clock: ValueState[int] = ValueState(0, ttl=timedelta(hours=1))
    by_event: MapState[str, int] = MapState(ttl=TTL(timedelta(hours=1), domain="event"))
    stays: ValueState[int] = ValueState(0)

    def on_element(self, value: str, ctx: Context[str]) -> list[tuple[str, int]]:
        del ctx
        self.by_clock += 1
        self.by_event[value] = self.by_event.get(value, 0) + 1
        self.stays += 1
        return [(value, self.by_clock)]


class Lasting(KeyedProcess[str, str, "tuple[str, int]"]):
    """The same, its times-to-live taken away."""

    by_clock: ValueState[int] = ValueState(0)
    by_event: MapState[str, int] = MapState()
    stays: ValueState[int] = ValueState(0)


class Colors(KeyedProcess[Color, Color, int]):
    count: ValueState[int] = ValueState(0)

    def on_element(self, value: Color, ctx: Context[Color]) -> list[int]:
        del value, ctx
        self.count += 1
        return [self.count]


@dataclass(frozen=True)
class OldProfile:
    name: str
    age: int


@dataclass(frozen=True)
class Profile:
    """What `OldProfile` has become: read as it is, with a default."""

    name: str
    age: int
    city: str = "?"


@dataclass(frozen=True)
class Person:
    """What nothing old can be read as."""

    full_name: str


class OldProfiles(KeyedProcess[str, str, str]):
    profile: ValueState[OldProfile | None] = ValueState(None)
    visits: ValueState[int] = ValueState(0)

    def on_element(self, value: str, ctx: Context[str]) -> list[str]:
        del ctx
        self.profile = OldProfile(value, 30)
        self.visits += 1
        return [value]


class OldAged(KeyedProcess[str, str, str]):
    profile: ValueState[OldProfile | None] = ValueState(None, ttl=timedelta(hours=1))
    visits: ValueState[int] = ValueState(0)

    def on_element(self, value: str, ctx: Context[str]) -> list[str]:
        del ctx
        self.profile = OldProfile(value, 30)
        self.visits += 1
        return [value]


class Aged(KeyedProcess[str, str, str]):
    profile: ValueState[Profile | None] = ValueState(None, ttl=timedelta(hours=1))
    visits: ValueState[int] = ValueState(0)


class Profiles(KeyedProcess[str, str, str]):
    profile: ValueState[Profile | None] = ValueState(None)
    visits: ValueState[int] = ValueState(0)


class People(KeyedProcess[str, str, str]):
    profile: ValueState[Person | None] = ValueState(None)
    visits: ValueState[int] = ValueState(0)
