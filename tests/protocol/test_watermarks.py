"""What must hold of combined watermarks: examples, each with its trap. Properties: test_watermarks_orders.py."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.protocol.watermarks import NOTHING, Advance, BecameActive, BecameIdle, Effect, WatermarkCombiner

if TYPE_CHECKING:
    from collections.abc import Sequence


def combined(*watermarks: int) -> WatermarkCombiner:
    """Inputs that stand at these watermarks, all active."""
    combiner = WatermarkCombiner(len(watermarks))
    for number, watermark in enumerate(watermarks):
        combiner.on_watermark(number, watermark)
    return combiner


@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5, 8, 9])
def test_cap_is_the_least_of_the_others(inputs: int) -> None:
    """Each place in the tree has its own way to the root."""
    combiner = combined(*(10 * (number + 1) for number in range(inputs)))

    others = [min((10 * (other + 1) for other in range(inputs) if other != number), default=TIME_MAX)
              for number in range(inputs)]  # fmt: skip
    assert [combiner.cap(number) for number in range(inputs)] == others


def test_cap_of_an_input_whose_watermarks_are_ignored_lets_nothing_through() -> None:
    """Else a batch that crosses the change to idle would advance the output (T41)."""
    combiner = combined(10, 20, 30)
    combiner.on_idle(0)
    combiner.on_end(1)

    assert combiner.cap(0) == combiner.cap(1) == TIME_MIN
    assert combiner.cap(2) == TIME_MAX


def test_output_is_the_least_watermark() -> None:
    """And it rises only when the last one behind has moved."""
    combiner = WatermarkCombiner(2)

    assert combiner.on_watermark(0, 10) == NOTHING
    assert combiner.output == TIME_MIN
    assert combiner.on_watermark(1, 7) == (Advance(7),)
    assert combiner.on_watermark(1, 30) == (Advance(10),)
    assert combiner.on_watermark(0, 10) == NOTHING


def test_one_input_is_passed_through() -> None:
    """The common case."""
    combiner = WatermarkCombiner(1)

    assert combiner.on_watermark(0, 5) == (Advance(5),)
    assert combiner.on_idle(0) == (BecameIdle(),)
    assert combiner.on_active(0) == (BecameActive(),)
    assert combiner.on_watermark(0, 6) == (Advance(6),)
    assert combiner.on_end(0) == (Advance(TIME_MAX),)


def test_idle_input_is_not_waited_for_t37() -> None:
    """T37: the least of the active ones counts."""
    combiner = combined(10, 3, 20)

    assert combiner.output == 3
    assert combiner.on_idle(1) == (Advance(10),)
    assert combiner.on_watermark(0, 15) == (Advance(15),)
    assert not combiner.idle


def test_input_that_comes_back_behind_holds_nothing_back_until_it_caught_up_t38() -> None:
    """T38: 1 went idle at 3, the other went on; it counts again from 26 on.

    0   20 ─────────────────── 22 ────── 25 ────── 30
    1   3 ── idle ── active ────── 19 ────── 26
    """
    combiner = combined(20, 3)
    combiner.on_idle(1)
    assert combiner.output == 20

    assert combiner.on_active(1) == NOTHING
    assert combiner.on_watermark(0, 22) == (Advance(22),)
    assert combiner.on_watermark(1, 19) == NOTHING
    assert combiner.on_watermark(0, 25) == (Advance(25),)
    assert combiner.on_watermark(1, 26) == NOTHING
    assert combiner.on_watermark(0, 30) == (Advance(26),)


def test_input_that_caught_up_exactly_counts_t38() -> None:
    """T38: at the output itself there is nothing behind any more."""
    combiner = combined(20, 3)
    combiner.on_idle(1)
    combiner.on_active(1)

    combiner.on_watermark(1, 20)

    assert combiner.on_watermark(0, 30) == NOTHING
    assert combiner.output == 20


def test_nothing_is_told_while_all_active_inputs_are_behind_t39() -> None:
    """T39: what those that are behind say lies before the output already."""
    combiner = combined(10, 7, 5)
    combiner.on_idle(2)
    combiner.on_idle(1)
    assert combiner.output == 10
    combiner.on_active(2)

    assert combiner.on_idle(0) == NOTHING
    assert combiner.on_watermark(2, 9) == NOTHING
    assert not combiner.idle
    assert combiner.on_watermark(2, 11) == (Advance(11),)


def test_input_that_waited_above_the_output_counts_at_once_when_it_comes_back() -> None:
    """The output stood at 150 with only an input behind it: the one at 200 is all there is to wait for."""
    combiner = combined(200, 150, 50)
    combiner.on_idle(2)
    combiner.on_active(2)
    combiner.on_idle(0)
    assert combiner.on_idle(1) == NOTHING

    assert combiner.on_active(0) == (Advance(200),)


def test_last_one_to_go_idle_flushes_the_highest_once_t40() -> None:
    """T40: the watermark comes before the idleness, which would make it ignored downstream."""
    combiner = combined(10, 30)
    combiner.on_idle(1)

    assert combiner.on_idle(0) == (Advance(30), BecameIdle())
    assert combiner.on_idle(0) == combiner.on_idle(1) == NOTHING
    assert combiner.idle


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_order_of_going_idle_makes_no_difference_t40(order: tuple[int, ...]) -> None:
    """T40, FLINK-38454: it is not the last one's watermark that counts, nor whether that was the least."""
    combiner = combined(10, 40, 20, 30)

    effects = [effect for number in order for effect in combiner.on_idle(number)]

    assert effects[-1] == BecameIdle()
    assert effects.count(BecameIdle()) == effects.count(Advance(40)) == 1
    assert combiner.output == 40


def test_idle_again_flushes_only_what_is_new_t40() -> None:
    """T40: nothing came while it was active, so nothing but the idleness is told."""
    combiner = combined(10)
    combiner.on_idle(0)

    assert combiner.on_active(0) == (BecameActive(),)
    assert combiner.on_idle(0) == (BecameIdle(),)


def test_watermark_of_an_idle_input_is_ignored_t41() -> None:
    """T41: it neither advances the output nor counts when the input comes back."""
    combiner = combined(10)
    combiner.on_idle(0)

    assert combiner.on_watermark(0, 50) == NOTHING
    assert combiner.on_active(0) == (BecameActive(),)
    assert combiner.on_watermark(0, 20) == (Advance(20),)


def test_watermark_that_goes_back_is_ignored_t41() -> None:
    """T41: what was promised stays promised."""
    combiner = combined(10, 20)

    assert combiner.on_watermark(0, 4) == NOTHING
    assert combiner.on_watermark(1, 15) == NOTHING
    assert combiner.on_watermark(0, 18) == (Advance(18),)


def test_without_inputs_it_is_idle_and_has_promised_nothing_t42() -> None:
    """T42: TIME_MAX would make all records of a split late that comes later."""
    combiner = WatermarkCombiner(0)

    assert combiner.idle
    assert combiner.output == TIME_MIN
    assert combiner.snapshot() == (TIME_MIN, ())


def test_source_whose_known_splits_ended_is_idle_while_one_may_come_t42() -> None:
    """T42: the idle input that stands for splits to come keeps TIME_MAX away."""
    combiner = WatermarkCombiner(0)
    to_come = combiner.add_input(idle=True)
    split = combiner.add_input()
    combiner.on_watermark(split, 10)

    assert combiner.on_end(split) == (BecameIdle(),)
    assert combiner.on_end(to_come) == (Advance(TIME_MAX),)


def test_ended_input_holds_nothing_back_t43() -> None:
    """T43: a finished split was the slowest."""
    combiner = combined(10, 3)

    assert combiner.on_end(1) == (Advance(10),)
    assert combiner.on_end(1) == NOTHING


def test_end_of_the_highest_retracts_nothing_t43() -> None:
    """T43: and the others go on from where they are."""
    combiner = combined(10, 30)

    assert combiner.on_end(1) == NOTHING
    assert combiner.output == 10
    assert combiner.on_watermark(0, 12) == (Advance(12),)


def test_end_of_the_last_active_one_flushes_and_leaves_it_idle_t43() -> None:
    """T43: the others are idle, so nobody is left to wait for, and TIME_MAX would shut them out."""
    combiner = combined(10, 30)
    combiner.on_idle(1)

    assert combiner.on_end(0) == (Advance(30), BecameIdle())


def test_watermark_time_max_is_the_end_of_an_input_even_an_idle_one() -> None:
    """An input that drains beside idle ones must not carry the output to TIME_MAX, which makes their records late."""
    combiner = combined(10, 20)
    combiner.on_idle(1)

    assert combiner.on_watermark(0, TIME_MAX) == (Advance(20), BecameIdle())
    assert combiner.on_end(0) == NOTHING
    assert combiner.on_watermark(1, TIME_MAX) == (Advance(TIME_MAX),)
    assert not combiner.idle


def test_two_stages_forward_watermark_and_idleness_t46() -> None:
    """T46: what one combiner tells is what the next one needs: channels into an operator input, inputs into one."""
    channels, inputs = WatermarkCombiner(2), WatermarkCombiner(2)
    inputs.on_watermark(1, 50)

    def forward(effects: Sequence[Effect]) -> list[Effect]:
        told: list[Effect] = []
        for effect in effects:
            match effect:
                case Advance(watermark):
                    told += inputs.on_watermark(0, watermark)
                case BecameIdle():
                    told += inputs.on_idle(0)
                case BecameActive():
                    told += inputs.on_active(0)
        return told

    channels.on_watermark(0, 10)
    assert forward(channels.on_watermark(1, 20)) == [Advance(10)]
    assert forward(channels.on_idle(0)) == [Advance(20)]
    assert forward(channels.on_idle(1)) == [Advance(50)]
    assert forward(channels.on_active(1)) == []
    assert inputs.on_idle(1) == NOTHING
    assert forward(channels.on_idle(1)) == [BecameIdle()]
    assert forward(channels.on_active(0)) == [BecameActive()]
    assert forward((*channels.on_end(0), *channels.on_end(1))) == [BecameIdle()]
    assert inputs.on_end(1) == (Advance(TIME_MAX),)


@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5])
def test_added_input_is_waited_for_from_the_beginning(inputs: int) -> None:
    """Nothing was promised yet, so its records need not be late; whether the tree has room for it or not."""
    combiner = WatermarkCombiner(inputs)
    added = combiner.add_input()

    assert [combiner.on_watermark(number, 10) for number in range(inputs)] == [NOTHING] * inputs
    assert combiner.on_watermark(added, 5) == (Advance(5),)


@pytest.mark.parametrize("inputs", [1, 2, 3, 4, 5])
def test_input_added_later_never_makes_the_output_go_back(inputs: int) -> None:
    """It starts behind, and holds nothing back until it has caught up."""
    combiner = combined(*[10] * inputs)
    added = combiner.add_input()

    assert combiner.output == 10
    assert [combiner.on_watermark(number, 20) for number in range(inputs)][-1] == (Advance(20),)
    assert combiner.on_watermark(added, 25) == NOTHING
    assert [combiner.on_watermark(number, 40) for number in range(inputs)][-1] == (Advance(25),)


def test_input_added_idle_is_waited_for_when_it_wakes() -> None:
    """A split that never had a record holds nothing up; with its first one it does."""
    combiner = WatermarkCombiner(0)
    first, second = combiner.add_input(idle=True), combiner.add_input(idle=True)
    assert combiner.idle

    assert combiner.on_active(first) == (BecameActive(),)
    assert combiner.on_active(second) == NOTHING
    assert combiner.on_watermark(first, 10) == NOTHING
    assert combiner.on_watermark(second, 4) == (Advance(4),)


def test_a_restored_combiner_knows_who_is_idle_and_who_has_ended_t47() -> None:
    """T47: so the last active input that falls silent makes the output idle, and one that comes back active."""
    combiner = WatermarkCombiner(3)
    combiner.on_idle(0)
    combiner.on_end(1)
    restored = WatermarkCombiner(0)
    restored.restore(combiner.snapshot())

    assert not restored.idle
    assert restored.on_idle(2) == (BecameIdle(),)
    assert restored.idle
    assert restored.on_active(0) == (BecameActive(),)


def test_one_that_is_put_behind_its_inputs_says_with_the_next_event_what_they_do_t47() -> None:
    """After a rescale the output is the least of several subtasks', and each input may be ahead of it."""
    combiner = WatermarkCombiner(0)
    combiner.restore((10, ((25, False, False), (40, False, False), (30, False, False), (50, False, False))))
    assert combiner.output == 10
    assert combiner.on_watermark(3, 60) == (Advance(25),)


def test_snapshot_is_not_changed_by_what_follows() -> None:
    """It is encoded later, between batches."""
    combiner = combined(10, 20)
    snapshot = combiner.snapshot()

    combiner.on_watermark(0, 15)
    combiner.on_idle(1)

    assert snapshot == (10, ((10, False, False), (20, False, False)))


def test_what_follows_the_end_of_an_input_is_refused() -> None:
    """Its records would be late for certain: somebody ended the wrong input."""
    combiner = combined(10, 20)
    combiner.on_end(0)

    with pytest.raises(InvariantError, match="watermark 30 came on input 0, which has ended"):
        combiner.on_watermark(0, 30)
    with pytest.raises(InvariantError, match="a sign of life came on input 0, which has ended"):
        combiner.on_active(0)
    assert combiner.on_idle(0) == NOTHING


def test_no_input_joins_after_all_have_ended_t42() -> None:
    """T42: TIME_MAX was told; whatever the new input brings would be late."""
    combiner = combined(10)
    combiner.on_end(0)

    with pytest.raises(InvariantError, match="an input was added after all 1 had ended"):
        combiner.add_input()


def test_negative_number_of_inputs_is_refused() -> None:
    with pytest.raises(InvariantError, match="got -1"):
        WatermarkCombiner(-1)
