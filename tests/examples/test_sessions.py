"""Visits of examples/sessions are those of a plain loop over the clicks as they arrive, whatever breaks down."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from actorstream import Pipeline, Stream
from actorstream.testing import harness, simulate
from tests.examples.loading import EXAMPLES, load, run_page

EXAMPLE = load("sessions", "sessions")
DISORDER, GAP, LATENESS = (int(span.total_seconds()) for span in (EXAMPLE.DISORDER, EXAMPLE.GAP, EXAMPLE.LATENESS))

Visits = list[tuple[str, int, int, list[str]]]
"""User, first click, last click, pages."""


def by_a_loop(clicks: list[Any]) -> tuple[Visits, list[Any]]:
    """Give all visits, and the clicks that were too late for any."""
    latest = -math.inf
    visits: list[tuple[str, list[Any]]] = []
    over: Visits = []
    late: list[Any] = []
    for click in clicks:
        for visit in [v for v in visits if v[1][-1].at + GAP + LATENESS <= latest - DISORDER]:
            visits.remove(visit)
            over.append(told(*visit))
        near = [v for v in visits if v[0] == click.user and v[1][0].at - GAP <= click.at <= v[1][-1].at + GAP]
        if not near and click.at + GAP + LATENESS <= latest - DISORDER:
            late.append(click)
            continue
        joined = sorted([click, *(each for _, clicks in near for each in clicks)], key=lambda each: each.at)
        visits = [*(visit for visit in visits if visit not in near), (click.user, joined)]
        latest = max(latest, click.at)
    return sorted([*over, *(told(*visit) for visit in visits)]), late


def told(user: str, clicks: list[Any]) -> tuple[str, int, int, list[str]]:
    return user, int(clicks[0].at), int(clicks[-1].at), [click.page for click in clicks]


def table(visits: list[Any]) -> Visits:
    rows = EXAMPLE.table_of(visits).values()
    return sorted((v.user, int(v.start.timestamp()), int(v.end.timestamp()), list(v.pages)) for v in rows)


def clicks_of(seed: int, length: int) -> list[Any]:
    """Clicks of two users, whose times are all different; every sixth comes up to three hours late."""
    rng = random.Random(seed)
    times = rng.sample(range(length * 500), length)
    clicks = [EXAMPLE.Click(rng.choice("ab"), float(at), f"p{at}") for at in times]
    return sorted(clicks, key=lambda click: click.at + (rng.uniform(0, 10_800) if rng.random() < 1 / 6 else 0))


def visits_of(site: Pipeline, clicks: list[Any]) -> tuple[Stream[Any], Stream[Any]]:
    both: tuple[Stream[Any], Stream[Any]] = EXAMPLE.visits(site.source(clicks))
    return both


Row = tuple[str, str, tuple[str, ...], tuple[float, ...]]


def visit_row(visit: Any) -> Row:
    replaces = sorted(start.timestamp() for start in visit.replaces)
    return "visit", visit.user, tuple(visit.pages), (visit.start.timestamp(), *replaces)


def late_row(click: Any) -> Row:
    return "late", click.user, (click.page,), ()


def lane_of(row: Row) -> tuple[str, str]:
    return row[:2]


async def run(clicks: list[Any]) -> tuple[list[Any], list[Any]]:
    visits: list[Any] = []
    late: list[Any] = []
    site = Pipeline("site")
    both = visits_of(site, clicks)
    both[0].sink(visits.append)
    both[1].sink(late.append)
    await site.run()
    return visits, late


@pytest.mark.parametrize("seed", range(6))
async def test_who_follows_the_corrections_has_the_visits_that_there_were(seed: int) -> None:
    clicks = clicks_of(seed, 200)
    expected, too_late = by_a_loop(clicks)
    visits, late = await run(clicks)
    assert too_late
    assert [start for visit in visits for start in visit.replaces if start != visit.start]  # some were joined
    assert (table(visits), late) == (expected, too_late)


def test_visits_are_the_same_whatever_breaks_down() -> None:
    clicks = clicks_of(1, 40)

    def pipeline() -> Pipeline:
        p = Pipeline("site")
        visits, late = visits_of(p, clicks)
        visits.map(visit_row, name="rows")
        late.map(late_row, name="late-rows")
        return p

    report = simulate(pipeline, seeds=8, in_order_by=lane_of)
    report.check()
    assert report.recoveries > 0


async def test_a_click_after_a_crash_corrects_what_was_told_before_it() -> None:
    p = Pipeline("site")
    clicks: list[Any] = []
    told, late = visits_of(p, clicks)
    async with harness(p) as h:
        first, second = EXAMPLE.Click("ann", 0.0, "home"), EXAMPLE.Click("ann", GAP + 60.0, "hats")
        await h.send(clicks, first, second, EXAMPLE.Click("bob", 2.0 * GAP + 120, "home"))
        before = h.outputs(told)
        assert [list(visit.pages) for visit in before] == [["home"], ["hats"]]
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(clicks, EXAMPLE.Click("ann", 900.0, "socks"))
        (joined,) = h.outputs(told)
        assert list(joined.pages) == ["home", "socks", "hats"]
        assert list(joined.replaces) == [visit.start for visit in before]
        assert h.outputs(late) == []


def test_the_page_shows_what_the_example_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES / "sessions")
    run_page("sessions")
