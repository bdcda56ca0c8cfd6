"""Watermark generators: what the records of one split say about how far its time has come.

Each split has a generator of its own, so reading one split ahead makes no record of another late. The watermarks
of the splits are combined in protocol/watermarks.py.

    bounded, delay 5 s    records  10   12   11   20            highest  10  12  12  20
                                                                watermark just below 5   7   7  15
    custom                user's on_element(value, timestamp) and on_period(), each a time or None

Watermark t says that no record at or before t is expected. So a record that comes exactly `delay` behind the highest
one is still in time: the watermark stays one microsecond below it.

A generator never goes back, also when a restart has given it another delay or taken another one in its place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, TypeVar, runtime_checkable

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError, PlanError, RestoreError
from actorstream.model.times import TIME_MIN
from actorstream.operators.user_time import datetime_of, time_us

T_contra = TypeVar("T_contra", contravariant=True)
Time: TypeAlias = datetime | float
"""An instant as users write it: an aware datetime, or Unix seconds."""

_METHODS: Final = ("on_element", "on_period", "snapshot", "restore")


@runtime_checkable
class WatermarkGenerator(Protocol[T_contra]):
    """Says how far time has come in one split. Its snapshot is part of every checkpoint.

    A watermark t promises that no record at or before t is still to come; those that come all the same are late. One
    that lies before an earlier one is ignored.
    """

    def on_element(self, value: T_contra, timestamp: datetime, /) -> Time | None:
        """Take note of a record; give a watermark that holds behind it, or None for no news."""
        ...

    def on_period(self) -> Time | None:
        """Give a watermark, or None for no news. Called now and then, also where no records come."""
        ...

    def snapshot(self) -> object:
        """Give what `restore` needs, of values that can be stored."""
        ...

    def restore(self, state: Any, /) -> None:  # noqa: ANN401  (the user's own type)
        """Go on where `snapshot` was taken. Called before the first record, on a new generator."""
        ...


class BoundedOutOfOrderness:
    """Records come at most `delay` after one with a later time.

    The generated loop reads and moves `highest` itself: a call per record would cost more than all else here.

    Attributes:
        highest: The latest time of a record so far, in microseconds; before the first, what makes the watermark
            TIME_MIN.
        delay: How far behind it a record may come, in microseconds.
    """

    __slots__ = ("delay", "highest")

    def __init__(self, delay_us: int) -> None:
        """Start before all records."""
        self.delay = delay_us
        self.highest = TIME_MIN + delay_us + 1

    def saw(self, highest: float) -> int:
        """Take in the highest of some times, in microseconds, which may be fractions; give the watermark behind them.

        Minus infinity stands for no time.
        """
        if highest > TIME_MIN:
            self.highest = max(self.highest, round(highest))
        return self.watermark()

    def watermark(self) -> int:
        """Give the time up to which no record is expected any more."""
        return self.highest - self.delay - 1

    def raise_to(self, watermark: int) -> None:
        """Do not stay below a watermark that came from elsewhere."""
        self.highest = max(self.highest, watermark + self.delay + 1)

    def snapshot(self) -> int:
        """Give the watermark: it is what was promised, and stays so where the delay is another one afterwards."""
        return self.watermark()

    def restore(self, state: object) -> None:
        """Go on at the watermark of a snapshot, of whichever kind of generator.

        Raises:
            RestoreError: It is no such snapshot.
        """
        self.highest = _parts(state, "a watermark generator")[0] + self.delay + 1


class Custom:
    """A generator of the user's, in microseconds, and kept from going back.

    Attributes:
        ignored: How many of its watermarks lay before the one in force.
    """

    __slots__ = ("_generator", "_name", "_watermark", "ignored")

    def __init__(self, generator: object, operator: str) -> None:
        """Take over a new generator for one split; `operator` is for error messages.

        Raises:
            PlanError: It is no `WatermarkGenerator`.
        """
        self._name = f"watermark generator {type(generator).__qualname__} of operator {operator!r}"
        if not isinstance(generator, WatermarkGenerator) or isinstance(generator, type):
            raise PlanError(
                f"operator {operator!r}: `watermarks` gave {generator!r}, expected an object with the methods "
                f"{', '.join(_METHODS)}; give a function, such as a class, that makes one for each split"
            )
        self._generator: WatermarkGenerator[Any] = generator
        self._watermark = TIME_MIN
        self.ignored = 0

    def on_element(self, value: object, timestamp_us: int) -> int:
        """Show the generator a record, and give the watermark that holds behind it.

        Raises:
            TimestampError: What it gave is no time.
        """
        given = self._generator.on_element(value, datetime_of(timestamp_us))
        return self._watermark if given is None else self._take(given)

    def on_period(self) -> int:
        """Ask the generator without a record, and give the watermark that holds now.

        Raises:
            TimestampError: What it gave is no time.
        """
        given = self._generator.on_period()
        return self._watermark if given is None else self._take(given)

    def watermark(self) -> int:
        """Give the time up to which no record is expected any more."""
        return self._watermark

    def raise_to(self, watermark: int) -> None:
        """Do not stay below a watermark that came from elsewhere."""
        self._watermark = max(self._watermark, watermark)

    def snapshot(self) -> tuple[int, bytes]:
        """Give the watermark, and what the generator wants to keep: encoded at once, as it may go on changing it.

        Raises:
            CodecError: It cannot be encoded.
        """
        kept = self._generator.snapshot()
        try:
            return self._watermark, SELF_DESCRIBING.encode(kept)
        except CodecError as error:
            raise CodecError(f"the snapshot of {self._name} cannot be stored: {error}") from error

    def restore(self, state: object) -> None:
        """Go on where a snapshot was taken; from that of a bounded generator, which kept nothing, at its watermark.

        Raises:
            RestoreError: It is no such snapshot.
        """
        self._watermark, kept = _parts(state, self._name)
        if kept is not None:
            self._generator.restore(SELF_DESCRIBING.decode(kept))

    def _take(self, given: Time) -> int:
        watermark = time_us(given, f"the watermark that {self._name} gave")
        if watermark > self._watermark:
            self._watermark = watermark
        elif watermark < self._watermark:
            self.ignored += 1
        return self._watermark


def _parts(state: object, name: str) -> tuple[int, bytes | None]:
    """Give the watermark in a snapshot, and what a user's generator kept."""
    match state:
        case int() if not isinstance(state, bool):
            return state, None
        case (int(watermark), bytes(kept)):
            return watermark, kept
        case _:
            raise RestoreError(
                f"the checkpoint holds a value of type {type(state).__qualname__} for {name}, expected a watermark, "
                "alone or with the generator's own state; restore another checkpoint"
            )
