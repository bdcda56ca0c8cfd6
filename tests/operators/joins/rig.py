"""What the tests of joins share: one subtask's operator over real layers, driven as the generated loop drives it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from hypothesis import strategies as st

from actorstream.codec.values import copy_value
from actorstream.model.ids import StateNumber
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.operators.joins.sliced_cogroup import SlicedCoGroupOperator
from actorstream.operators.timed import LATE
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.system.current import current_world
from tests.state.rig import ALL, Shelf, restored, state_over

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from actorstream.operators.timed import Emitted, TimedDefinition
    from actorstream.state.stack import Run

KEYS: list[object] = ["b", "a", 7, ("a", 1)]
"""Of histories; examples have 'k' too."""


class Record(NamedTuple):
    """Something comes in. Side 0 is the left."""

    side: int
    key: object
    value: object
    timestamp: int


class Watermark(NamedTuple):
    """The watermark is here now; it never goes back."""

    at: int


class BatchEnd(NamedTuple):
    """What is due is done, though no record comes."""


class Checkpoint(NamedTuple):
    """State goes to a layer."""


class Crash(NamedTuple):
    """Everything in memory is lost; from the last checkpoint on all is done again."""


Event: TypeAlias = "Record | Watermark | BatchEnd | Checkpoint | Crash"


class Saved(NamedTuple):
    runs: Sequence[Run]
    at: int
    watermark: int
    outputs: list[Emitted]
    late: list[object]


class Driver:
    """Runs events through an operator.

    What comes out is copied and then spoiled, as a careless consumer would: state must not see it (T125).
    """

    def __init__(self, definition: TimedDefinition, shelf: Shelf, *, limit: int = 1_000, slow: bool = False) -> None:
        """Fire up to `limit` at a time; `slow`: a checkpoint comes between any two of these, if it may."""
        self.definition = definition
        self.shelf = shelf
        self.limit = limit
        self.slow = slow
        self.columns = [
            StateColumn(StateNumber(n), column.name, column.kind, column.codec)
            for n, column in enumerate(definition.columns("join"), 1)
        ]
        self.watermark = TIME_MIN
        self.outputs: list[Emitted] = []
        self.late: list[object] = []
        self._open(state_over(columns=self.columns))
        self.saved = Saved(self.state.stack.runs(), 0, TIME_MIN, [], [])

    def _open(self, state: OperatorState) -> None:
        self.state = state
        self.operator = self.definition.open("join", state, current_world().clock)

    def run(self, events: Sequence[Event], *, ends: bool = True) -> Driver:
        """Do events, then the end of input; give itself."""
        todo = [*events, Watermark(TIME_MAX), BatchEnd()] if ends else list(events)
        crashed: set[int] = set()
        at = 0
        while at < len(todo):
            match todo[at]:
                case Record(side, key, value, timestamp):
                    self._settle(at)
                    self._take_in(side, key, copy_value(value), timestamp)
                case Watermark(watermark):
                    # The loop looks at what is due before each record, and where a batch ends.
                    self.watermark = max(self.watermark, watermark)
                case BatchEnd():
                    self._settle(at)
                case Checkpoint():
                    self._settle(at)
                    self._checkpoint(at)
                case Crash():
                    if at not in crashed:
                        crashed.add(at)
                        at = self._recover()
                        continue
            at += 1
        return self

    def _take_in(self, side: int, key: object, value: object, timestamp: int) -> None:
        on = self.operator.on_other if side else self.operator.on_element
        given = on(key, value, timestamp, self.watermark)
        if given is LATE:
            self.late.append(value)
        elif given is not None:
            assert not isinstance(given, type(LATE))
            self._emit(given)

    def _settle(self, at: int) -> None:
        while self.watermark >= self.operator.due != TIME_MAX:
            self._emit(self.operator.fire(self.watermark, self.limit))
            if self.slow and not getattr(self.operator, "firing", False):
                self._checkpoint(at)

    def _emit(self, results: Sequence[Emitted]) -> None:
        for value, timestamp in results:
            self.outputs.append((copy_value(value), timestamp))
            spoil(value)

    def _checkpoint(self, at: int) -> None:
        self.shelf.checkpoint(self.state)
        self.saved = Saved(self.state.stack.runs(), at, self.watermark, self.outputs.copy(), self.late.copy())

    def _recover(self) -> int:
        saved = self.saved
        self.watermark, self.outputs, self.late = saved.watermark, saved.outputs.copy(), saved.late.copy()
        self._open(state_over(LayerStack.covering(ALL, saved.runs), self.columns))
        if isinstance(self.operator, SlicedCoGroupOperator):
            self.operator.on_restore(saved.watermark)
        return saved.at

    def entries(self) -> int:
        """Count what a state restored from a checkpoint made now would hold, timers aside."""
        self.shelf.checkpoint(self.state)
        state = restored(self.state, self.columns)
        keys = [*KEYS, "k"]
        slices = (
            0
            if state.slices is None
            else sum(len(piece) for at in state.slices.slices() for piece in state.slices.read(at))
        )
        maps = slices + sum(len(table.peek(key)) for table in state.maps.values() for key in keys)
        return maps + sum(state.rows.peek(key) is not MISSING for key in keys)


def spoil(value: object) -> None:
    """Change whatever can be changed in place."""
    match value:
        case dict():
            value.clear()
        case tuple() | list():
            for each in cast("Sequence[object]", value):
                spoil(each)
        case _:
            pass


@contextmanager
def a_shelf() -> Generator[Shelf]:
    folder = mkdtemp()
    try:
        yield Shelf(Path(folder))
    finally:
        rmtree(folder)


def in_dict(n: int) -> object:
    """Give a value that can be changed in place."""
    return {"n": n}


def plain(n: int) -> object:
    return n


@st.composite
def histories(draw: st.DrawFn, *, values: bool = True) -> list[Event]:
    """Give records of few keys and times, out of order, between watermarks, batch ends, checkpoints and crashes."""
    record = st.tuples(
        st.just("record"),
        st.integers(0, 1),
        st.sampled_from([*KEYS[:1] * 5, *KEYS]),
        st.one_of(st.integers(-3, 6), st.integers(-15, 20)),
    )
    others = st.one_of(
        st.tuples(st.just("watermark"), st.integers(0, 6)),
        st.sampled_from([("batch end",), ("checkpoint",), ("crash",)]),
    )
    # Long ones too, of which a list of any length would have few.
    length = draw(st.sampled_from([5, 20, 40]))
    moves = draw(st.lists(st.one_of(record, record, others), min_size=length // 2, max_size=length))
    make = draw(st.sampled_from([plain, in_dict])) if values else plain
    events: list[Event] = []
    watermark = -15
    for n, move in enumerate(moves):
        match move:
            case ("record", side, key, after):
                events.append(Record(side, key, make(n), watermark + after))
            case ("watermark", step):
                watermark += step
                events.append(Watermark(watermark))
            case ("batch end",):
                events.append(BatchEnd())
            case ("checkpoint",):
                events.append(Checkpoint())
            case _:
                events.append(Crash())
    return events
