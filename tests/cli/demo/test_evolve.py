"""`actorstream demo evolve`: the story with few bookings, and a verdict that can be bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.cli.demo.evolve.bookings import Booking, Statement, bookings, statements_of
from actorstream.cli.demo.evolve.story import Story
from actorstream.cli.demo.evolve.versions import statements_log

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shell


def test_refunds_are_told_as_refunds_and_balances_add_up() -> None:
    """What the demo is judged by, by hand."""
    told = statements_of([Booking(0, "a", 500), Booking(1, "b", 70), Booking(2, "a", -200)])

    assert told == [
        Statement(0, "a", "payment", 500, 500),
        Statement(1, "b", "payment", 70, 70),
        Statement(2, "a", "refund", 200, 300),
    ]


def test_bookings_are_the_same_for_the_same_seed() -> None:
    """And of the wanted kind."""
    assert bookings(10, 50, refunds=0.5, seed=3) == bookings(10, 50, refunds=0.5, seed=3)
    assert bookings(10, 50, refunds=0.5, seed=3) != bookings(10, 50, refunds=0.5, seed=4)
    assert all(booking.cents > 0 for booking in bookings(0, 500, refunds=0.0, seed=1))
    assert [booking.number for booking in bookings(10, 3, refunds=0.0, seed=1)] == [10, 11, 12]


def test_where_refunds_are_wanted_there_is_one_however_short_the_day() -> None:
    """Without one there is nothing to repair, and the verdict must be that something is wrong."""
    for seed in range(20):
        assert any(booking.cents < 0 for booking in bookings(1, 1, refunds=0.03, seed=seed))
    assert bookings(1, 0, refunds=0.03, seed=1) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, 3])
def test_the_story_of_one_booking_a_day_ends_well(seed: int, shell: Shell) -> None:
    """It said that nothing was wrong, and left with 1."""
    outcome = shell("demo", "evolve", "--day", "1", "--seed", str(seed))
    assert outcome.status == 0, outcome.out + outcome.err


@pytest.mark.timeout(120)
def test_the_command_tells_each_act_and_finds_all_right(shell: Shell) -> None:
    """Nothing is kept."""
    outcome = shell("demo", "evolve", "--day", "600")

    assert outcome.status == 0, outcome.out + outcome.err
    acts = [line.split()[0] for line in outcome.out.splitlines() if not line.startswith(" ")]
    assert acts == ["monday", "tuesday", "wednesday", "repair", "compare", "promote", "thursday", "verdict"]
    assert "lost 0, doubled 0, wrong 0" in outcome.out


@pytest.mark.timeout(120)
async def test_a_statement_too_many_is_found(tmp_path: Path) -> None:
    """The verdict is no constant."""
    story = Story(str(tmp_path), 300, 1, lambda act, what: None)
    verdict = await story.tell()
    assert verdict.right
    async with statements_log(str(tmp_path)) as log:
        await log.append(statements_of(story.booked)[5])
        await log.append(Statement(7, "account-000", "payment", 1, 1))

    judged = await story._judge(verdict)
    assert (judged.lost, judged.doubled, judged.right) == (0, 2, False)
    assert judged.wrong == 1
