"""Visits to a site, as clicks tell them that may come late: each is told when it is over, and corrected afterwards.

    python sessions.py          the clicks of a morning, some of them from a phone that was offline

A visit is over when its user has not clicked for half an hour of event time. It is kept for an hour more: a click that
comes meanwhile makes it longer, or joins two visits to one. What comes even later is put aside.

A window's result takes the place of the one before with the same start. Where two visits have become one, there is a
third rule: it takes the place of both. So `Book` remembers which visits of a user can still change, and says of each
new version what it replaces. A reader who deletes that, and inserts the rest, has a table that is always right.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from actorstream import Context, KeyedProcess, MapState, Pipeline, Session, Stream, Timer, WindowResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DISORDER = timedelta(minutes=1)
GAP = timedelta(minutes=30)
LATENESS = timedelta(hours=1)


@dataclass(frozen=True)
class Click:
    user: str
    at: float  # Unix seconds
    page: str


@dataclass(frozen=True)
class Visit:
    user: str
    start: datetime
    end: datetime  # of the last click
    pages: tuple[str, ...]
    replaces: tuple[datetime, ...]
    """The starts of the user's visits that are no more, now that this one is known."""


Result = WindowResult[str, list[str]]


class Book(KeyedProcess[str, Result, Visit]):
    """The visits of one user that can still change."""

    ends: MapState[datetime, datetime] = MapState()

    def on_element(self, result: Result, ctx: Context[str], /) -> Iterator[Visit]:
        """Tell a visit, and what it takes the place of: all that lies in it."""
        replaced = [start for start, end in self.ends.items() if result.start <= start and end <= result.end]
        for start in replaced:
            del self.ends[start]
            ctx.cancel_timer(start.isoformat())
        self.ends[result.start] = result.end
        ctx.set_timer(ctx.timestamp + LATENESS, result.start.isoformat())
        yield Visit(ctx.key, result.start, result.end - GAP, tuple(result.value), tuple(replaced))

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> None:
        """Forget a visit when its window is forgotten: nothing can join it any more."""
        del self.ends[datetime.fromisoformat(timer.name)]


def visits(clicks: Stream[Click]) -> tuple[Stream[Visit], Stream[Click]]:
    """Give visits and their corrections, and the clicks that came too late for either."""
    by_user = clicks.assign_timestamps(lambda click: click.at, out_of_orderness=DISORDER).key_by(lambda c: c.user)
    windows = by_user.window(Session(GAP), allowed_lateness=LATENESS)
    pages = windows.apply(lambda clicks: [click.page for click in clicks], name="pages")
    return pages.key_by(lambda result: result.key).process(Book, name="book"), pages.late


def table_of(told: Iterable[Visit]) -> dict[tuple[str, datetime], Visit]:
    """Give what a reader knows after all that was told."""
    table: dict[tuple[str, datetime], Visit] = {}
    for visit in told:
        for start in visit.replaces:
            del table[visit.user, start]
        table[visit.user, visit.start] = visit
    return table


def morning() -> list[Click]:
    """The clicks in the order in which they arrive, each with its minute since nine o'clock."""
    arrivals = [
        *(("ann", 0, "home"), ("ann", 20, "shoes"), ("bob", 12, "home")),
        *(("ann", 65, "home"), ("ann", 70, "boots"), ("bob", 105, "home")),  # now it is known that ann was here twice,
        ("ann", 38, "socks"),  # and then that it was once
        *(("cyd", 160, "home"), ("bob", 13, "hats"), ("cyd", 161, "hats")),  # the hats are two hours late
    ]
    nine = datetime.fromisoformat("2026-03-02T09:00+00:00").timestamp()
    return [Click(user, nine + 60 * minute, page) for user, minute, page in arrivals]


def line_of(visit: Visit) -> str:
    line = f"{visit.user}  {visit.start:%H:%M}-{visit.end:%H:%M}  {' '.join(visit.pages)}"
    return line + "".join(f", not {start:%H:%M}" for start in visit.replaces)


async def main() -> None:
    site = Pipeline("site")
    told, too_late = visits(site.source(morning(), name="clicks"))
    told.sink(lambda visit: print(line_of(visit)), name="visits")
    too_late.sink(lambda click: print(f"{click.user}  too late: {click.page}"), name="too-late")
    await site.run()


if __name__ == "__main__":
    asyncio.run(main())
