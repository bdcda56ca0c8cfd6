"""The drill: feed, kill under load, start again, wait until everything that went in has come out.

One loop, a hundred turns a second: append what is due, listen to the child, look at
the store, kill if it is time. A kill counts if records were behind in the instant
after it: in the input, and their output not committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from os.path import join
from random import Random
from typing import TYPE_CHECKING, Final

import anyio

from actorstream.cli.demo.child import Child
from actorstream.cli.demo.load import Feeder, card_of
from actorstream.cli.demo.outside import Checkpoints, Output
from actorstream.eventlog.log import EventLog
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable

_TURN_SECONDS: Final = 0.01
_LOOK_SECONDS: Final = 0.1
_STALL_SECONDS: Final = 20.0
_INPUT_PARTITIONS: Final = 2


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for."""

    folder: str
    rate: int
    seconds: float
    kills: int
    seed: int


@dataclass(slots=True)
class Kill:
    """One SIGKILL: when, how many payments had no committed output yet, and how long until the next child took up."""

    at_seconds: float
    behind: int
    recovery_seconds: float | None = None


class Drill:
    """One run. Its attributes tell how far it is.

    Attributes:
        elapsed: Seconds since the first payment.
        fed_seconds: When the last payment was in; None before that.
        committed: How many payments have their output in the totals log.
        kills: What was done to the child.
        stalled: Whether it was given up, because no output came any more.
    """

    def __init__(self, order: Order) -> None:
        """Plan it: moments for the kills, spread over the load, with a little chance."""
        self.order = order
        self.feeder = Feeder(
            EventLog(str, join(order.folder, "payments"), partitions=_INPUT_PARTITIONS, key=card_of),
            seed=order.seed,
            rate=order.rate,
            seconds=order.seconds,
        )
        self.checkpoints = Checkpoints(join(order.folder, "store", "cards"))
        self.elapsed = 0.0
        self.fed_seconds: float | None = None
        self.committed = 0
        self.kills: list[Kill] = []
        self.stalled = False
        chance, apart = Random(order.seed), order.seconds / (order.kills + 1)
        self._moments = [apart * (number - 0.2 + 0.4 * chance.random()) for number in range(1, order.kills + 1)]
        self._totals = Output(order.folder, "totals")
        self._world = current_world()
        self._next_look = 0.0
        self._moved_at = 0.0

    @property
    def lag(self) -> int:
        """How many payments are in, and their output is not committed."""
        return self.feeder.appended - self.committed

    async def run(self, show: Callable[[Drill], None]) -> None:
        """Run it; `show` is called ten times a second.

        Raises:
            JobFailed: The child ended by itself, or did not stop.
        """
        offload, clock = self._world.offload, self._world.clock
        child = await offload.run(Child, self.order.folder)
        began = clock.monotonic()
        try:
            while not (self.feeder.done and self.lag <= 0) and not self.stalled:
                self.elapsed = clock.monotonic() - began
                await self.feeder.feed(self.elapsed)
                if self.feeder.done and self.fed_seconds is None:
                    self.fed_seconds = clock.monotonic() - began
                child.listen()
                if self._is_due(child):
                    child = await self._kill(child)
                await self._look(show)
                await anyio.sleep(max(0, began + self.elapsed + _TURN_SECONDS - clock.monotonic()))
            await offload.run(child.stop)
            await offload.run(self.checkpoints.look)
            show(self)
        finally:
            await offload.run(child.kill)
            await self._totals.aclose()

    def _is_due(self, child: Child) -> bool:
        """Tell whether to kill now: the moment has come, and this child has taken up its work."""
        if child.first_record_at is None:
            return False
        if self.kills and self.kills[-1].recovery_seconds is None:
            self.kills[-1].recovery_seconds = child.recovery_seconds
        done = len(self.kills)
        return done < len(self._moments) and self.elapsed >= self._moments[done]

    async def _kill(self, child: Child) -> Child:
        """Kill the child if it is behind, and start the next one."""
        self.committed = await self._totals.committed()
        if self.lag <= 0:
            return child
        offload = self._world.offload
        await offload.run(child.kill)
        self.committed = await self._totals.committed()
        if self.lag > 0:
            self.kills.append(Kill(self.elapsed, self.lag))
        self._moved_at = self.elapsed
        return await offload.run(Child, self.order.folder)

    async def _look(self, show: Callable[[Drill], None]) -> None:
        if self.elapsed < self._next_look:
            return
        self._next_look = self.elapsed + _LOOK_SECONDS
        committed, self.committed = self.committed, await self._totals.committed()
        if self.committed != committed:
            self._moved_at = self.elapsed
        self.stalled = self.elapsed - self._moved_at > _STALL_SECONDS
        await self._world.offload.run(self.checkpoints.look)
        show(self)
