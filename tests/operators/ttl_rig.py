"""One process with state that expires, over layers on disk, at times that the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actorstream.api.pipeline import Pipeline
from actorstream.model.ids import StateNumber
from actorstream.model.times import TIME_MIN
from actorstream.operators.columns import columns_of
from actorstream.operators.generate import Step
from actorstream.operators.key_check import KeyCheck
from actorstream.operators.process_binding import ProcessBinding, make_process
from actorstream.operators.step_text import Bindings
from actorstream.state.operator_state import StateColumn
from actorstream.state.stack import LayerStack
from actorstream.state.ttl import ExpiringCodec
from tests.operators.rig import chain_from, planned
from tests.state.rig import ALL, Shelf, state_over
from tests.state.test_compaction import merged_layer, replace_picked, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.operators.keyed_process import KeyedProcess
    from actorstream.operators.step_text import Lists
    from actorstream.state.operator_state import OperatorState

SECOND = 1_000_000


class Hands:
    """A clock that shows what it is set to, also an earlier time."""

    def __init__(self, now_us: int = 0) -> None:
        self.now = now_us

    def now_us(self) -> int:
        return self.now

    def monotonic(self) -> float:
        return self.now / SECOND


class Keeper:
    """A process; `restarted` gives another one, of the same class or a new version of it, over the layers of this."""

    def __init__(
        self, owner: type[KeyedProcess[Any, Any, Any]], shelf: Shelf, clock: Hands, before: Keeper | None = None
    ) -> None:
        pipeline = Pipeline("t")
        pipeline.source([0]).key_by(lambda value: value).process(owner, name="head").rebalance().map(str)
        self.chain, self.part = chain_from(planned(pipeline), "head")
        node = self.chain.stateful
        assert node is not None
        process = make_process(owner, None)
        self.shelf, self.clock = shelf, clock
        columns = [
            StateColumn(StateNumber(number), column.name, column.kind, column.codec)
            for number, column in enumerate(columns_of(node, process), 1)
        ]
        runs = () if before is None else before.state.stack.runs()
        self.state: OperatorState = state_over(LayerStack.covering(ALL, runs), columns)
        if before is not None:
            before.state.stack.release()
        self.bindings = Bindings(state=self.state, key_check=KeyCheck("head"))
        self.binding = ProcessBinding("head", cast("Any", process), self.state, clock)
        self.bindings.process = self.binding
        self.watermark = TIME_MIN
        self._steps: dict[tuple[bool, bool], Step] = {}

    def restarted(self, owner: type[KeyedProcess[Any, Any, Any]]) -> Keeper:
        """Lose memory, and everything that is in no layer."""
        again = Keeper(owner, self.shelf, self.clock, self)
        again.advance(self.watermark)
        return again

    def advance(self, watermark: int) -> None:
        """Let event time come to `watermark`, without a record."""
        self.watermark = self.bindings.clock.now = max(watermark, self.watermark)

    def feed(
        self,
        *records: tuple[object, object],
        times: Sequence[int] | None = None,
        marks: Sequence[int] | None = None,
    ) -> list[Any]:
        """Run (key, value) pairs as one batch; marks are the watermarks before each record."""
        step = self._step(timed=times is not None, marked=marks is not None)
        values, keys = [value for _, value in records], [key for key, _ in records]
        results = step.run(values, keys, times and list(times), marks and list(marks), 0, len(values))
        if marks:
            self.advance(marks[-1])
        return list(cast("Lists", results[0]).values)

    def _step(self, *, timed: bool, marked: bool) -> Step:
        step = self._steps.get((timed, marked))
        if step is None:
            step = Step(self.chain, self.bindings, timed=timed, marked=marked, part=self.part)
            self._steps[timed, marked] = step
        return step

    @property
    def source(self) -> str:
        """The text of the loop over records with times and watermarks."""
        return self._step(timed=True, marked=True).source

    def fire(self, now_us: int | None = None) -> list[Any]:
        """Let the timers fire that are due by the watermark, or by the clock."""
        step = Step(self.chain, self.bindings, timed=True, part="fire" if now_us is None else "fire by clock")
        results = step.run(None, None, None, None, now_us or 0, 0)
        return list(cast("Lists", results[0]).values)

    def checkpoint(self) -> None:
        """Put what was written into a layer."""
        self.shelf.checkpoint(self.state)

    def merge(self, stamp: int | None = None) -> None:
        """Make one layer of all; every state that has a time-to-live is told this time, or the wall clock's."""
        picks = whole(self.state)
        if any(layers for *_, layers in picks):
            now = self.clock.now if stamp is None else stamp
            clocks = {column.number: now for column in self.state.columns if isinstance(column.codec, ExpiringCodec)}
            replace_picked(picks, merged_layer(self.shelf, picks, clocks))
