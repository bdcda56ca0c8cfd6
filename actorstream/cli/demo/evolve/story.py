"""What happens, act by act: each says what it did, in a line.

monday     version 1, and a savepoint
tuesday    version 1: refunds come, and are told as payments
wednesday  version 2 goes on from a savepoint: operator renamed, a field more, 1 -> 3 subtasks
repair     version 2 over all of the input, into a log beside; compared; put in the place of the wrong one
thursday   version 2 goes on behind the repaired records
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from os.path import join
from typing import TYPE_CHECKING

import anyio

from actorstream.api.settings import Settings
from actorstream.cli.demo.evolve.bookings import Booking, Statement, bookings, statements_of
from actorstream.cli.demo.evolve.versions import PARALLELISM, bookings_log, statements_log, version_1, version_2
from actorstream.evolve.comparison import compare
from actorstream.evolve.promotion import promote
from actorstream.evolve.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.api.pipeline import Pipeline
    from actorstream.api.savepoint import Savepoint
    from actorstream.evolve.comparison import Comparison

REFUNDS = 0.03
_STORE = "store"
_POLL_SECONDS = 0.02
_RENAMED = Settings(restore_as={"accounts": "ledger"})


@dataclass
class Verdict:
    """What was found at the end. `comparison` is that of the wrong log with the repaired one."""

    wrong_before: int
    comparison: Comparison
    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    @property
    def right(self) -> bool:
        """Tell whether all is as it must be."""
        return not (self.lost or self.doubled or self.wrong) and self.comparison.different == self.wrong_before > 0


@dataclass
class Story:
    """A folder with logs and a store, and what was booked so far. `say` is told of each act: its name, what it did."""

    folder: str
    day: int
    seed: int
    say: Callable[[str, str], None]
    booked: list[Booking] = field(default_factory=list)

    async def tell(self) -> Verdict:
        """Play all of it.

        Raises:
            ActorstreamError: Something failed that must not.
        """
        monday = await self._run(version_1(self.folder), 1, "monday", refunds=0.0)
        self.say("monday", f"version 1 told of {self.day:,} bookings; savepoint {monday.name!r}")
        await self._run(version_1(self.folder), 1, "tuesday", refunds=REFUNDS)
        self.say("tuesday", f"{self.day:,} more, now with refunds: version 1 tells them as payments")
        started = time.perf_counter()
        await self._run(version_2(self.folder), 2, "wednesday", refunds=REFUNDS, restore="tuesday")
        seconds = time.perf_counter() - started
        self.say(
            "wednesday",
            f"version 2 went on from savepoint 'tuesday': operator renamed, a field added to its state, "
            f"{PARALLELISM[1]} -> {PARALLELISM[2]} subtasks; {self.day:,} more in {seconds:.1f} s",
        )
        comparison = await self._repair()
        wrong = sum(booking.cents < 0 for booking in self.booked[: 2 * self.day])
        await self._run(version_2(self.folder), 2, "thursday", refunds=REFUNDS)
        self.say("thursday", f"version 2 went on behind the repaired records with {self.day:,} more")
        return await self._judge(Verdict(wrong, comparison))

    async def _run(
        self, pipeline: Pipeline, version: int, name: str, *, refunds: float, restore: str | None = None
    ) -> Savepoint:
        """Let a version run for a day's bookings, and stop it with a savepoint of that name."""
        today = bookings(len(self.booked), self.day, refunds=refunds, seed=self.seed)
        self.booked += today
        async with bookings_log(self.folder) as log:
            await log.extend(today)
        settings = _RENAMED if version == 2 else Settings()
        store, parallelism = join(self.folder, _STORE), PARALLELISM[version]
        if restore is None:
            run = pipeline.run(store=store, parallelism=parallelism, settings=settings, checkpoint_interval=0.2)
        else:
            run = pipeline.run(
                store=store, restore=restore, parallelism=parallelism, settings=settings, checkpoint_interval=0.2
            )
        async with run as job, statements_log(self.folder) as told:
            while (await told.summary()).records < len(self.booked):  # noqa: ASYNC110  (of files, as others see them)
                await anyio.sleep(_POLL_SECONDS)
            return await job.stop(savepoint=name)

    async def _repair(self) -> Comparison:
        """Do all again with version 2, look at the difference, and put it in place."""
        into = join(self.folder, "repaired")
        summary = await replay(version_2(self.folder), start="earliest", until="now", into=into)
        self.say(
            "repair", f"version 2 over all {summary.records_in:,} bookings in {summary.seconds:.1f} s, into repaired/"
        )
        async with statements_log(self.folder) as wrong, statements_log(into) as repaired:
            comparison = await compare(wrong, repaired, key=_number, samples=3)
        self.say("compare", str(comparison))
        await promote(statements_log(self.folder), join(into, "statements"))
        self.say("promote", "statements/ holds the repaired records now")
        return comparison

    async def _judge(self, verdict: Verdict) -> Verdict:
        """Hold every statement against a plain loop over the bookings."""
        expected = {statement.booking: statement for statement in statements_of(self.booked)}
        found: dict[int, Statement] = {}
        async with statements_log(self.folder) as log:
            async for record in log.records(stop="now"):
                verdict.doubled += record.value.booking in found
                found[record.value.booking] = record.value
        verdict.lost = len(expected.keys() - found.keys())
        verdict.wrong = sum(expected.get(number) != statement for number, statement in found.items())
        return verdict


def _number(statement: Statement) -> int:
    return statement.booking
