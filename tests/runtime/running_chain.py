"""One chain in a runner, on a clock that the test moves, with lanes that nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.model.batch import Batch
from actorstream.runtime.chain_runner import ChainRunner
from actorstream.runtime.mailbox import Mailbox
from actorstream.runtime.outputs import ExchangeOutput
from actorstream.runtime.pace import Pace
from actorstream.runtime.statistics import SubtaskStatistics
from actorstream.system.offload import ThreadOffload
from tests.operators.rig import Rig
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from actorstream.api.stream import Stream


class SteppingClock:
    """Time passes only where the test's functions say so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now_us(self) -> int:
        """Read the wall clock."""
        return int(self.seconds * 1e6)

    def monotonic(self) -> float:
        """Read the other one."""
        return self.seconds


class Running:
    """One chain, bound to a clock of its own and to lanes that nobody reads."""

    def __init__(self, build: Callable[[Stream[Any]], object], head: str = "in", *, parallelism: int = 1) -> None:
        pipeline = Pipeline("t")
        build(pipeline.source([0], name="in"))
        self.rig = Rig(pipeline, head, parallelism=parallelism)
        self.clock = SteppingClock()
        self.statistics = SubtaskStatistics()
        self.runner = ChainRunner(self.rig.chain, 0, Pace(self.clock, ThreadOffload()), self.statistics)
        self.lanes = [Mailbox[Any, Any](1, 1_000_000).lanes[0] for _ in range(parallelism)]
        self.runner.outputs = {exchange: ExchangeOutput(exchange, self.lanes) for exchange in self.rig.chain.outputs}
        self.runner.bind(self.rig.bindings)

    async def work(self, values: Sequence[Any], keys: Sequence[Any] | None = None) -> None:
        """Run one batch."""
        times: Any = None
        await self.runner.work(Batch(list(values), times, None if keys is None else list(keys), ("s", 41)))

    async def blamed(self, values: Sequence[Any], keys: Sequence[Any] | None = None) -> Exception:
        """Run a batch that fails; give what the actor would report."""
        with pytest.raises(Exception) as failure:  # noqa: PT011
            await self.work(values, keys)
        return self.runner.blame(failure.value)

    def in_two(self, folder: Path, rows: Mapping[Any, Any] | None = None) -> Running:
        """Have the next piece done in two parts, as after a restore: `rows` are in a layer and not in memory."""
        state = self.rig.state
        assert state is not None
        # A state without any would not look ahead: this key is of no record.
        state.rows.live.update(rows or {10**9: 1})
        Shelf(folder).checkpoint(state)
        state.rows.clean.clear()
        assert state.looks_ahead
        return self

    def sent(self) -> list[list[Any]]:
        """Give the batches that were sent, lane after lane."""
        return [item.values for lane in self.lanes for item in lane.items]


def fail(value: int) -> int:
    """Fail with the third."""
    if value == 3:
        raise ValueError("three")
    return value
