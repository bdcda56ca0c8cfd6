"""The combined watermark of several inputs: how far event time has come where streams meet.

One implementation for the channels of a subtask, the inputs of an operator and the
splits of a source. The output is the least watermark of those inputs that count, and
never goes back:

    input 0   active   12      counts
    input 1   active   30      counts                             output 12
    input 2   active    7      behind the output: "unaligned"
    input 3   idle     50
    input 4   ended    90

An input is ignored while it is idle (T41). One that comes back behind the output, or is
added there, holds nothing back until it has caught up (T38); if only such are active,
the output stays (T39). When the last active one goes idle, nothing is left to wait for:
the output rises to the highest watermark of all, in whatever order they went, and then
the output is idle, too (T40). An ended input holds nothing back (T43); when all have
ended, the output is TIME_MAX, which says that no record follows.

Without inputs the output is idle and its watermark TIME_MIN, never TIME_MAX (T42): a
split may still come. A source whose splits may all end before the last one is known
keeps one idle input for those to come, and ends it when no more will.

Which inputs count needs no mark of its own: an active one is aligned if and only if its
watermark is not below the output. The least of them is the root of a tournament tree,
which also knows the least of all but one: `cap`.

            12              root, MAX where none counts
         12     30
       12  30  30  MAX      leaves: the watermark of an input that counts, else MAX

Pure: no clock, no I/O, no asyncio. The caller feeds one event at a time and carries out
the returned effects in order.

Sources: Akidau et al. 2015, "The Dataflow Model" (watermarks); Flink's StatusWatermarkValve
(idle and unaligned inputs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from actorstream.errors import InvariantError
from actorstream.model.times import TIME_MAX, TIME_MIN


@dataclass(frozen=True, slots=True)
class Advance:
    """The combined watermark has risen: no more records with a timestamp <= `watermark` are expected."""

    watermark: int


@dataclass(frozen=True, slots=True)
class BecameIdle:
    """No input is active: those after this one shall not wait for it."""


@dataclass(frozen=True, slots=True)
class BecameActive:
    """An input is active again."""


Effect: TypeAlias = Advance | BecameIdle | BecameActive
Effects: TypeAlias = tuple[Effect, ...]

InputSnapshot: TypeAlias = tuple[int, bool, bool]
"""Watermark, idle, ended."""
CombinerSnapshot: TypeAlias = tuple[int, tuple[InputSnapshot, ...]]
"""The output, and each input."""

NOTHING: Final[Effects] = ()


class WatermarkCombiner:
    """The watermarks of inputs 0..n-1, and what they say together.

    Each event costs O(log n), and most cost less; only the last input to go idle costs O(n).

    Attributes:
        output: The combined watermark, as last told by `Advance`; TIME_MIN at first.

    Invariants:
        - The output never goes back, and is never above the highest watermark of all inputs until all have ended.
        - A leaf of the tree is the input's watermark if the input is active and not below the output, else TIME_MAX.
    """

    __slots__ = ("_active", "_ended", "_idle", "_least", "_open", "_watermarks", "_width", "output")

    def __init__(self, inputs: int) -> None:
        """Start with inputs 0..inputs-1 active and without a watermark.

        Raises:
            InvariantError: `inputs` is negative.
        """
        if inputs < 0:
            raise InvariantError(f"watermarks are combined of 0 or more inputs, got {inputs}")
        self._take(TIME_MIN, [TIME_MIN] * inputs, [False] * inputs, [False] * inputs)

    def _take(self, output: int, watermarks: list[int], idle: list[bool], ended: list[bool]) -> None:
        self.output = output
        self._watermarks, self._idle, self._ended = watermarks, idle, ended
        self._open = ended.count(False)
        self._active = sum(not (quiet or done) for quiet, done in zip(idle, ended, strict=True))
        self._plant()

    @property
    def idle(self) -> bool:
        """Whether no input is active. An ended output is not idle: TIME_MAX says more."""
        return not self._active and self.output != TIME_MAX

    def add_input(self, *, idle: bool = False) -> int:
        """Add an input without a watermark, and give its number.

        There are no effects: an output that was idle is no longer if this input is active, see `idle`.

        Raises:
            InvariantError: All inputs have ended, and the output with them.
        """
        if self.output == TIME_MAX:
            raise InvariantError(
                f"an input was added after all {len(self._ended)} had ended: TIME_MAX was told; keep an idle input "
                "for those that are still to come"
            )
        number = len(self._watermarks)
        self._watermarks.append(TIME_MIN)
        self._idle.append(idle)
        self._ended.append(False)
        self._open += 1
        self._active += not idle
        if number == self._width:
            self._plant()
        elif not idle and self.output == TIME_MIN:
            self._hold(number, TIME_MIN)
        return number

    def on_watermark(self, number: int, watermark: int) -> Effects:
        """Take in the watermark of an input.

        One that is not above the input's last is ignored, and so is that of an idle input (T41). TIME_MAX is the
        end of the input, idle or not.

        Raises:
            InvariantError: The input has ended.
        """
        if watermark >= TIME_MAX:
            return self.on_end(number)
        if self._idle[number] or self._ended[number]:
            self._require_open(number, f"watermark {watermark}")
            return NOTHING
        if watermark <= self._watermarks[number]:
            return NOTHING
        self._watermarks[number] = watermark
        if watermark < self.output:
            return NOTHING
        self._hold(number, watermark)
        return self._risen()

    def on_idle(self, number: int) -> Effects:
        """Do not wait for an input until it is active again. Idle already, or ended: nothing happens."""
        if self._idle[number] or self._ended[number]:
            return NOTHING
        self._idle[number] = True
        return self._left(number)

    def on_active(self, number: int) -> Effects:
        """Wait for an input again, if it is not behind. Active already: nothing happens.

        Raises:
            InvariantError: The input has ended.
        """
        self._require_open(number, "a sign of life")
        if not self._idle[number]:
            return NOTHING
        self._idle[number] = False
        self._active += 1
        if self._watermarks[number] >= self.output:
            self._hold(number, self._watermarks[number])
        risen = self._risen()
        return (BecameActive(), *risen) if self._active == 1 else risen

    def on_end(self, number: int) -> Effects:
        """Never wait for an input again. Ended already: nothing happens."""
        if self._ended[number]:
            return NOTHING
        self._ended[number] = True
        self._open -= 1
        was_active = not self._idle[number]
        if not self._open:
            self.output = TIME_MAX
            return (Advance(TIME_MAX),)
        return self._left(number) if was_active else NOTHING

    def cap(self, number: int) -> int:
        """Give the least watermark of the others that count; TIME_MAX if none does.

        For the record loop: while records of this input are taken in and nothing else happens, the output where
        this input stands at `w` (below TIME_MAX) is `max(output, min(w, cap))`: the same as if each watermark had
        been fed. The cap of an idle or ended input is TIME_MIN, as its watermarks are ignored.
        """
        if self._idle[number] or self._ended[number]:
            return TIME_MIN
        least, cap, place = self._least, TIME_MAX, self._width + number
        while place > 1:
            other = least[place ^ 1]
            cap = cap if cap < other else other
            place >>= 1
        return cap

    def snapshot(self) -> CombinerSnapshot:
        """Give what `restore` needs: ints and bools in tuples, which nothing changes any more."""
        return self.output, tuple(zip(self._watermarks, self._idle, self._ended, strict=True))

    def restore(self, snapshot: CombinerSnapshot) -> None:
        """Go on where a snapshot was taken, with its inputs in place of those there are."""
        output, inputs = snapshot
        self._take(
            output,
            [watermark for watermark, _, _ in inputs],
            [idle for _, idle, _ in inputs],
            [ended for _, _, ended in inputs],
        )

    def _left(self, number: int) -> Effects:
        """Do without an input that was active, where not all have ended."""
        self._active -= 1
        self._hold(number, TIME_MAX)
        if self._active:
            return self._risen()
        highest = max(self._watermarks)
        if highest <= self.output:
            return (BecameIdle(),)
        self.output = highest
        return (Advance(highest), BecameIdle())

    def _risen(self) -> Effects:
        least = self._least[1]
        if self.output < least < TIME_MAX:
            self.output = least
            return (Advance(least),)
        return NOTHING

    def _hold(self, number: int, watermark: int) -> None:
        """Set a leaf, and whatever above it changes with it."""
        least, place = self._least, self._width + number
        least[place] = watermark
        while place > 1:
            other = least[place ^ 1]
            place >>= 1
            watermark = watermark if watermark < other else other  # min() doubles the cost of a step
            if least[place] == watermark:
                return
            least[place] = watermark

    def _plant(self) -> None:
        """Make the tree anew, as wide as the inputs need."""
        self._width = width = 1 << max(0, len(self._watermarks) - 1).bit_length()
        counting = zip(self._watermarks, self._idle, self._ended, strict=True)
        leaves = [
            watermark if not idle and not ended and watermark >= self.output else TIME_MAX
            for watermark, idle, ended in counting
        ]
        self._least = [TIME_MAX] * width + leaves + [TIME_MAX] * (width - len(leaves))
        for place in range(width - 1, 0, -1):
            self._least[place] = min(self._least[2 * place], self._least[2 * place + 1])

    def _require_open(self, number: int, what: str) -> None:
        if self._ended[number]:
            raise InvariantError(f"{what} came on input {number}, which has ended: nothing may follow its end")
