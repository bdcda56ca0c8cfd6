"""The payments, and the rate at which they come."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from actorstream.cli.demo.load import Feeder, card_of, payment_lines
from actorstream.eventlog.log import EventLog

if TYPE_CHECKING:
    from pathlib import Path


def test_a_seed_decides_every_payment() -> None:
    """The reference makes them anew instead of trusting what it finds in the log."""
    assert list(islice(payment_lines(1), 3_000)) == list(islice(payment_lines(1), 3_000))
    assert list(islice(payment_lines(1), 10)) != list(islice(payment_lines(2), 10))


def test_cards_are_skewed() -> None:
    """A few hot keys and many cold ones, as in life."""
    counts = Counter(map(card_of, islice(payment_lines(1), 40_000)))
    assert len(counts) > 1_500
    assert counts.most_common(1)[0][1] > 20 * 40_000 / 2_000


async def test_what_is_due_is_appended_and_no_more(tmp_path: Path) -> None:
    """Payments come at an even rate, whatever the turns of the loop, and end on the last one."""
    async with EventLog(str, tmp_path / "payments") as log:
        feeder = Feeder(log, seed=1, rate=1_000, seconds=1)
        await feeder.feed(0.25)
        assert (feeder.appended, feeder.done) == (250, False)
        await feeder.feed(0.25)
        assert feeder.appended == 250
        await feeder.feed(3)
        assert (feeder.appended, feeder.done) == (1_000, True)
        assert [record.value async for record in log.records(stop="now")] == list(islice(payment_lines(1), 1_000))
