"""What every stream of a harness gave, once: across a crash, as a reader of the output would have it.

    before the crash     a b | c d e        | the checkpoint; the test has taken a b c
    after it             a b | c d e f      c is compared, d e f are still to be given

Each subtask's output of an operator is a tape. A crash cuts the tapes back to where they were at the checkpoint; what
the replay gives then must be what the test has seen.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import ActorstreamError, CodecError, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actorstream.graph.nodes import NodeId
    from actorstream.runtime.built import Built

Place: TypeAlias = "tuple[NodeId, str]"
"""An operator and which of its outputs, "" being the main one."""


class TapeKey(NamedTuple):
    """One subtask's output."""

    place: Place
    subtask: int


class ReplayDiffersError(ActorstreamError, AssertionError):
    """After a crash an operator gave something else than before, and the test has seen what it gave before."""


class _Tape:
    """What one subtask gave in order, each with its number among all outputs."""

    def __init__(self, numbers: count[int]) -> None:
        self.values: list[object] = []
        self.numbers: list[int] = []
        self.shown = 0
        self.seen: list[object] = []
        self._numbers = numbers

    async def push(self, values: Sequence[object]) -> None:
        self.values.extend(values)
        self.numbers.extend(next(self._numbers) for _ in values)

    def cut(self, length: int) -> None:
        """Go back to what it was; what was shown beyond has to come again."""
        self.seen = self.values[: self.shown]
        del self.values[length:], self.numbers[length:]


class RecordedOutputs:
    """The tapes of a pipeline, and how far the test has taken each stream."""

    def __init__(self, names: Mapping[Place, str]) -> None:
        """Record these outputs; `names` is for messages."""
        self._names = names
        self._tapes: dict[TapeKey, _Tape] = {}
        self._taken: dict[tuple[Place, ...], dict[TapeKey, int]] = {}
        self._numbers = count()

    def attach(self, built: Built) -> None:
        """Record what an attempt's actors give; before they run."""
        for identity, subtask in built.subtasks.items():
            members = {node.id for node in subtask.chain.nodes}
            for place in self._names:
                if place[0] in members:
                    tape = self._tapes.setdefault(TapeKey(place, identity.subtask), _Tape(self._numbers))
                    subtask.runner.taps.setdefault(place, []).append(tape.push)
            subtask.runner.compile()

    def take(self, places: tuple[Place, ...]) -> list[object]:
        """Give what these outputs gave together since the last call with the same ones.

        Raises:
            PlanError: One of them is not recorded: it is of another pipeline, or younger than the harness.
        """
        unknown = [place for place in places if place not in self._names]
        if unknown:
            raise PlanError(
                "outputs: the stream is not of this harness: it is another pipeline's, or was made after "
                "harness(...) was entered; make every stream and side output before"
            )
        taken = self._taken.setdefault(places, {})
        found: list[tuple[int, object]] = []
        lengths: dict[TapeKey, int] = {}
        for place in places:
            for key, tape in self._tapes.items():
                if key.place == place:
                    start = taken.get(key, 0)
                    found += zip(tape.numbers[start:], tape.values[start:], strict=True)
                    lengths[key] = max(start, len(tape.values))
                    tape.shown = max(tape.shown, lengths[key])
        taken.update(lengths)
        found.sort(key=lambda pair: pair[0])
        return [value for _, value in found]

    def lengths(self) -> dict[TapeKey, int]:
        """Tell how much every subtask has given."""
        return {key: len(tape.values) for key, tape in self._tapes.items()}

    def rewind(self, lengths: Mapping[TapeKey, int]) -> None:
        """Go back to an earlier `lengths`: a new attempt begins."""
        for key, tape in self._tapes.items():
            tape.cut(lengths.get(key, 0))

    def check_replay(self) -> None:
        """Compare what came again with what the test has seen.

        Raises:
            ReplayDiffersError: It differs, or some of it did not come.
        """
        for key, tape in self._tapes.items():
            again = tape.values[: tape.shown]
            for number, (seen, new) in enumerate(zip(tape.seen, again, strict=False)):
                if not is_same(seen, new):
                    raise self._differs(key, number, tape, f"{new!r}", f"{seen!r}")
            if len(again) < len(tape.seen):
                number = len(again)
                raise self._differs(key, number, tape, "nothing more", f"{tape.seen[number]!r}")

    def _differs(self, key: TapeKey, number: int, tape: _Tape, now: str, before: str) -> ReplayDiffersError:
        tape.shown, tape.seen = len(tape.values), []
        return ReplayDiffersError(
            f"{self._names[key.place]} (subtask {key.subtask}): after the crash the replay gave {now} as its output "
            f"number {number + 1}, before the crash it was {before}: something depends on more than records, state and "
            "event time, such as the clock, randomness, or what an object remembers outside its declared state"
        )


def is_same(one: object, other: object) -> bool:
    """Tell whether two values are the same to a reader: equal, or of equal bytes (NaN, a class without `==`)."""
    try:
        if one == other:
            return True
    except (ValueError, TypeError):  # an array does not say whether it is equal
        pass
    try:
        return SELF_DESCRIBING.encode(one) == SELF_DESCRIBING.encode(other)
    except CodecError:
        return repr(one) == repr(other)
