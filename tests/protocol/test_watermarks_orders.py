"""What must hold of combined watermarks in any order of events, against a model that takes no shortcut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.protocol.watermarks import Advance, BecameActive, BecameIdle, Effect, WatermarkCombiner

if TYPE_CHECKING:
    from collections.abc import Sequence

Event: TypeAlias = tuple[str, int, int]
"""Kind, input, watermark or 0."""

KINDS = ["watermark"] * 6 + ["idle"] * 3 + ["active"] * 3 + ["end"]


def events(inputs: int, kinds: Sequence[str] = KINDS) -> st.SearchStrategy[list[Event]]:
    """Anything that may happen to these inputs: nothing follows the end of one."""
    anything = st.tuples(st.sampled_from(kinds), st.integers(0, inputs - 1), st.integers(-5, 12))
    return st.lists(anything, max_size=40).map(possible)


def possible(events: Sequence[Event]) -> list[Event]:
    """Leave out what would follow the end of an input."""
    ended: set[int] = set()
    kept: list[Event] = []
    for event in events:
        if event[1] not in ended:
            kept.append(event)
        if event[0] == "end":
            ended.add(event[1])
    return kept


def behind(inputs: int) -> list[Event]:
    """Leave input 0 active and behind the output, where chance alone seldom brings one."""
    others: list[Event] = [("watermark", number, 4) for number in range(1, inputs)]
    return [*others, ("idle", 0, 0), ("active", 0, 0)]


def feed(combiner: WatermarkCombiner, event: Event) -> Sequence[Effect]:
    kind, number, watermark = event
    match kind:
        case "watermark":
            return combiner.on_watermark(number, watermark)
        case "idle":
            return combiner.on_idle(number)
        case "active":
            return combiner.on_active(number)
        case _:
            return combiner.on_end(number)


@dataclass
class Facts:
    """One input as the naive model knows it; `aligned` is remembered, as Flink does."""

    watermark: int = TIME_MIN
    idle: bool = False
    ended: bool = False
    aligned: bool = True


class Naive:
    """The rules, written down once more: everything is looked at again after each event."""

    def __init__(self, inputs: int) -> None:
        self.inputs = [Facts() for _ in range(inputs)]
        self.output = TIME_MIN
        self.idle = False

    def play(self, event: Event) -> list[Effect]:
        kind, number, watermark = event
        it = self.inputs[number]
        match kind:
            case "watermark":
                if not it.idle:
                    it.watermark = max(it.watermark, watermark)
            case "idle":
                it.idle, it.aligned = True, False
            case "active":
                it.idle = False
            case _:
                it.ended = True
        for each in self.inputs:
            each.aligned = not each.idle and (each.aligned or each.watermark >= self.output)
        return self._told()

    def _told(self) -> list[Effect]:
        running = [each for each in self.inputs if not each.ended]
        if not running:
            return self._up(TIME_MAX)
        active = [each for each in running if not each.idle]
        if not active:
            told = self._up(max(each.watermark for each in self.inputs)) if not self.idle else []
            return told + self._turn(idle=True)
        aligned = [each.watermark for each in active if each.aligned]
        return self._turn(idle=False) + (self._up(min(aligned)) if aligned else [])

    def _up(self, watermark: int) -> list[Effect]:
        if watermark <= self.output:
            return []
        self.output = watermark
        return [Advance(watermark)]

    def _turn(self, *, idle: bool) -> list[Effect]:
        if idle == self.idle:
            return []
        self.idle = idle
        return [BecameIdle() if idle else BecameActive()]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), inputs=st.integers(1, 5))
def test_each_event_has_the_effects_of_a_model_that_looks_at_everything_again(data: st.DataObject, inputs: int) -> None:
    """The tree and the missing mark of alignment are shortcuts; the model takes none. And the output never falls."""
    combiner, model = WatermarkCombiner(inputs), Naive(inputs)
    first = behind(inputs) if data.draw(st.booleans()) else []
    for event in [*first, *data.draw(events(inputs))]:
        before = combiner.output

        effects = feed(combiner, event)

        assert list(effects) == model.play(event)
        assert combiner.output == model.output >= before
        assert combiner.idle == (model.idle and model.output != TIME_MAX)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), inputs=st.integers(1, 20), watermarks=st.lists(st.integers(-5, 30), max_size=12))
def test_cap_gives_the_output_at_each_record_without_feeding_it_t136(
    data: st.DataObject, inputs: int, watermarks: list[int]
) -> None:
    """T136: the record loop computes with `cap` what one watermark a record would give, also for an idle input."""
    combiner, past = WatermarkCombiner(inputs), data.draw(events(inputs))
    for event in [*behind(inputs), *past]:
        feed(combiner, event)
    ended = {number for kind, number, _ in past if kind == "end"}
    number = data.draw(st.integers(0, inputs - 1).filter(lambda each: each not in ended or len(ended) == inputs))
    cap, output, stand = combiner.cap(number), combiner.output, TIME_MIN

    for watermark in [] if number in ended else watermarks:
        stand = max(stand, watermark)
        combiner.on_watermark(number, watermark)
        assert combiner.output == max(output, min(stand, cap))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), inputs=st.integers(1, 5))
def test_all_idle_stands_at_the_highest_of_all_in_any_order_t40(data: st.DataObject, inputs: int) -> None:
    """T40, FLINK-38454: after any past, whoever is behind, and where some end instead, but not all."""
    past = data.draw(events(inputs, ["watermark", "watermark", "idle", "active"]))
    leaving: list[Event] = [("idle", 0, 0)]
    leaving += [(data.draw(st.sampled_from(["idle", "end"])), number, 0) for number in range(1, inputs)]

    first, second = WatermarkCombiner(inputs), WatermarkCombiner(inputs)
    for combiner, order in ((first, leaving), (second, data.draw(st.permutations(leaving)))):
        for event in [*past, *order]:
            feed(combiner, event)

    assert first.snapshot() == second.snapshot()
    assert first.idle
    assert second.idle
    assert first.output == max(watermark for watermark, _, _ in first.snapshot()[1])


@settings(max_examples=150, deadline=None)
@given(data=st.data(), inputs=st.integers(1, 5))
def test_order_of_going_idle_makes_no_difference_where_nobody_is_behind_t40(data: st.DataObject, inputs: int) -> None:
    """T40: also where some stay active, who then are all there is to wait for."""
    past = data.draw(events(inputs, ["watermark"]))
    leaving: list[Event] = [("idle", number, 0) for number in data.draw(st.sets(st.integers(0, inputs - 1)))]

    first, second = WatermarkCombiner(inputs), WatermarkCombiner(inputs)
    for combiner, order in ((first, leaving), (second, data.draw(st.permutations(leaving)))):
        for event in [*past, *order]:
            feed(combiner, event)

    assert first.snapshot() == second.snapshot()


@settings(max_examples=100, deadline=None)
@given(data=st.data(), added=st.lists(st.booleans(), min_size=1, max_size=10))
def test_added_inputs_behave_as_if_they_had_been_there(data: st.DataObject, added: list[bool]) -> None:
    """The tree grows by doubling; each size must find its leaves again."""
    grown, whole = WatermarkCombiner(0), WatermarkCombiner(len(added))
    for number, idle in enumerate(added):
        assert grown.add_input(idle=idle) == number
    for number, idle in enumerate(added):
        if idle:
            whole.on_idle(number)

    for event in data.draw(events(len(added))):
        assert feed(grown, event) == feed(whole, event)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), inputs=st.integers(1, 6))
def test_restored_combiner_goes_on_as_if_nothing_had_happened_t47(data: st.DataObject, inputs: int) -> None:
    """T47: output, idleness and who is behind come back, through the bytes of a checkpoint."""
    combiner, restored = WatermarkCombiner(inputs), WatermarkCombiner(1)
    history = data.draw(events(inputs))
    crash = data.draw(st.integers(0, len(history)))
    for event in history[:crash]:
        feed(combiner, event)
    snapshot = combiner.snapshot()
    assert SELF_DESCRIBING.decode(SELF_DESCRIBING.encode(snapshot)) == snapshot

    restored.restore(snapshot)

    assert (restored.output, restored.idle) == (combiner.output, combiner.idle)
    for event in history[crash:]:
        assert feed(restored, event) == feed(combiner, event)
    assert restored.snapshot() == combiner.snapshot()
