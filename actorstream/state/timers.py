"""Timers of an operator: each fires once, in the order of time, key and name, and moves with its key group.

    set 09:05 ─> live epoch ── freeze ─> written, two entries ─> layers
                    │                                              │
                    └── its heap ──┐              TimerIndex ──────┘  the nearest of each key group
                                   └─ the least ─┘
                                          │
                                 due(domain, up_to)

A timer is (key, domain, name). Setting it again moves it; for one at each instant give
the instant as name. Event and processing time do not know of each other (T30).

What is written is what became of each timer in the epoch: the new time, and tombstones
for the times at which older epochs and layers have it (`stale`). A timer that was set and
has fired within one epoch leaves no trace.

Invariants:
- A timer counts where the newest epoch knows it, and in the layers where none does. So
  what heaps and index give is asked for in newer epochs before it fires.
- A written epoch is settled slice by slice: its timers leave its dict and are, in the
  same step, in the index as far as that reaches. None is ever in neither.
- `due` takes a timer out before it gives it. Between two of them everything is as if
  there were no others: timers may be set and cancelled, a freeze may come, and the rest
  may be left for later (T24, T26).
- Memory holds what is in no layer yet, and at most `timer_index.MOST` timers a key group.
- No timer is before the floor of its domain; that at a freeze is what marks are made of.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from actorstream.codec.ordered_keys import decode_key, encode_key
from actorstream.errors import CodecError
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state.epochs import Epochs
from actorstream.state.timer_entries import DOMAINS, TimerEntries, TimerWriting
from actorstream.state.timer_epoch import KEY_BYTES, TIMER_BYTES, TimerEpoch
from actorstream.state.timer_index import TimerIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.ids import StateNumber
    from actorstream.state.entries import Entry, Slots
    from actorstream.state.epochs import Part
    from actorstream.state.key_space import KeySpace
    from actorstream.state.timer_epoch import Change, Changes, Place
    from actorstream.state.timer_index import At, Position

Domain: TypeAlias = Literal["event", "processing"]

_NUMBERS: Final[dict[Domain, int]] = {"event": 0, "processing": 1}
_REMEMBERED = 16_384
_ROWS = 1_000
"""How many rows of layers are read before the caller may look at the clock: about 2 ms."""
_PLACES = 1_000
"""How many places of timers that have moved or gone are passed before that, be it on the way to several: 1 to 2 ms."""


class Timer(NamedTuple):
    """A timer that has fired, or will."""

    at: int
    key: object
    name: object
    domain: Domain


class TimerTable(Epochs[TimerEpoch]):
    """The timers of one operator, for the key groups of one subtask. Times are int microseconds.

    Attributes:
        soonest: For each domain a time before which no timer is due: as of the last `take_due`, and `set` since.
    """

    def __init__(self, number: StateNumber, space: KeySpace) -> None:
        """Keep them under `number`; go on with what the stack of `space` holds."""
        super().__init__()
        self._name = space.name
        self._layout = TimerEntries(number, space)
        marks = [self._layout.marks(domain) for domain in range(len(DOMAINS))]
        self._floors = [min(each.values()) for each in marks]
        self._highest = [max(each.values()) for each in marks]
        self.soonest = [TIME_MIN, TIME_MIN]
        self._layered = space.stack.layers > 0
        # Where all key groups are of this subtask, so is every key: half of what encoding it costs.
        self._encoded = encode_key if len(self._layout.heads) == space.max_parallelism else self._layout.encoded
        self._steps = _PLACES
        self._parts: dict[object, bytes] = {}
        self._suffixes: tuple[dict[object, bytes], ...] = ({}, {})
        self._indexes = [
            TimerIndex(domain, self._layout.heads, space.stack, each)
            for domain, each in zip(DOMAINS, marks, strict=True)
        ]

    def set(self, key: object, name: object, domain: Domain, at: int) -> None:
        """Let the timer (key, domain, name) fire at `at`, and at no other time. It may be in the past.

        Raises:
            CodecError: Key or name cannot be encoded, or the time is not of 64 bits.
            InvariantError: The key belongs to another subtask.
        """
        if not TIME_MIN <= at <= TIME_MAX:
            raise CodecError(f"{self._name}: a timer at {at} was set, 64 bits of microseconds are possible")
        number = _NUMBERS[domain]
        # Encoding an int takes no longer than remembering it.
        part = self._encoded(key) if key.__class__ is int else self._parts.get(key) or self._part_of(key)
        suffix = self._suffixes[number].get(name) or self._suffix_of(number, name)
        live = self.live
        alone = not (self._layered or self.unsettled)
        if alone and part not in live:  # what most are; a call more is 0.1 of it
            live[part] = at, (), at, suffix
            live.entries += 1
            heappush(live.heaps[number], (at, part, suffix, key, name))
        else:
            change = live.change_of(part, suffix)
            stale: tuple[int, ...] = ()
            if change is not None:
                before, stale, _, _ = change
            else:
                before = None if alone else self._before(part, suffix)
                if before is not None:
                    stale = (before,)
            if at == before:
                return
            live.put(part, suffix, at, stale, key, name)
        if at < self.soonest[number]:  # noqa: PLR1730  (min() would be a call more a timer)
            self.soonest[number] = at
        if at < self._floors[number]:  # noqa: PLR1730
            self._floors[number] = at

    def cancel(self, key: object, name: object, domain: Domain) -> bool:
        """Let a timer not fire; tell whether there was one."""
        return self._take_out(self._layout.encoded(key), DOMAINS[_NUMBERS[domain]] + encode_key(name))

    def clear(self, key: object) -> None:
        """Cancel every timer of a key, in both domains."""
        part = self._layout.encoded(key)
        for suffix in self._suffixes_of(part):
            self._take_out(part, suffix)

    def at(self, key: object, name: object, domain: Domain) -> int | None:
        """Give when a timer fires; None if there is none."""
        return self._time_of(self._layout.encoded(key), DOMAINS[_NUMBERS[domain]] + encode_key(name))

    def _time_of(self, part: bytes, suffix: bytes) -> int | None:
        return self._before(part, suffix) if (change := self.live.change_of(part, suffix)) is None else change[0]

    def first_of(self, key: object) -> int:
        """Give the first event time at which a timer of a key fires; TIME_MAX: it has none."""
        part = self._layout.encoded(key)
        times = [self._time_of(part, suffix) for suffix in self._suffixes_of(part) if suffix[:1] == DOMAINS[0]]
        return min((time for time in times if time is not None), default=TIME_MAX)

    def _suffixes_of(self, part: bytes) -> frozenset[bytes]:
        epochs = [each.suffixes_of(part) for each in (self.live, *self.unsettled)]
        return frozenset(self._layout.suffixes_of(part)).union(*epochs)

    def due(self, domain: Domain, up_to: int) -> Iterator[Timer | None]:
        """Take out the timers of a domain up to and including a time, one by one, in order.

        Whatever is set or cancelled meanwhile counts from the next one on. The iterator may be left at
        any time. None stands for no timer: it comes where finding the next one takes long, so that the
        caller can look at the clock.
        """
        number = _NUMBERS[domain]
        while True:
            found, sure = self._first(number)
            if found is None or found[0] > up_to:
                self._floors[number] = max(self._floors[number], min(up_to, TIME_MAX - 1) + 1)
                return
            if not sure:
                yield None
                continue
            time, part, suffix = found
            self._floors[number] = time
            self._take_out(part, suffix, at=time)
            self._indexes[number].drop(found)
            yield Timer(time, decode_key(part), decode_key(suffix[1:]), domain)

    def take_due(self, number: int, up_to: int) -> Place | None:
        """Take out the first timer of a domain, 0 or 1, up to and including a time.

        None: there is none, or finding it takes long. `soonest` tells afterwards before which time none is due. The
        same as `due`, for a caller to whom an iterator costs more than a call.
        """
        if self._layered or self.unsettled:
            return self._take_among_layers(number, up_to)
        live, floors = self.live, self._floors
        heap = live.heaps[number]
        while heap and heap[0][0] <= up_to:
            found = heap[0]
            time, part, suffix, _, _ = found
            change = live.change_of(part, suffix)
            if change is not None and change[0] == time == change[2]:
                heappop(heap)
                if change[1]:
                    live.store(part, (None, change[1], None, suffix))
                else:
                    live.forget(part, suffix)
                floors[number] = time
                self.soonest[number] = heap[0][0] if heap else TIME_MAX
                return found
            _, self._steps = live.first(number, self._steps)
            if self._steps < 0:
                self._steps = _PLACES
                self.soonest[number] = heap[0][0]
                return None
        floors[number] = max(floors[number], min(up_to, TIME_MAX - 1) + 1)
        self.soonest[number] = heap[0][0] if heap else TIME_MAX
        return None

    def _take_among_layers(self, number: int, up_to: int) -> Place | None:
        found, sure = self._first(number)
        self.soonest[number] = TIME_MAX if found is None else found[0]
        if found is None or found[0] > up_to:
            self._floors[number] = max(self._floors[number], min(up_to, TIME_MAX - 1) + 1)
            return None
        if not sure:
            return None
        time, part, suffix = found
        self._floors[number] = time
        self._take_out(part, suffix, at=time)
        self._indexes[number].drop(found)
        return time, part, suffix, decode_key(part), decode_key(suffix[1:])

    def next_time(self, domain: Domain) -> int | None:
        """Give when the next timer of a domain fires; None if there is none.

        It may be too early a time where finding out takes long, never too late a one: ask again then.
        """
        return None if (found := self._first(_NUMBERS[domain])[0]) is None else found[0]

    def stored_behind(self, group: int, position: Position, up_to: int) -> tuple[list[At], Position | None]:
        """Give some event timers that layers hold of a key group, in order, and from where there may be more."""
        return self._indexes[0].behind(group, position, up_to)

    # ---- epochs ------------------------------------------------------------------------------------------------------

    def freeze(self) -> Part[TimerEpoch] | None:
        """Begin a new epoch; give what goes out with the old one, None if there is nothing."""
        if not self.live.entries and not self._returned:
            if self.live:  # places of timers that have fired within this epoch
                self._waste.append(self.live)
                self.live = self._new_dict()
            return None
        self.live.floors = tuple(self._floors)
        return super().freeze()

    def on_written(self, part: Part[TimerEpoch]) -> None:
        """The oldest frozen part is in a layer on the stack."""
        self._layered = True
        super().on_written(part)

    def encode(self, part: Part[TimerEpoch], slots: Slots, limit: int, *, bottom: bool) -> list[Entry]:
        """Give the next entries of a part: its frozen epoch, what is still valid of failed ones, marks."""
        if part.cursor is None:
            part.cursor = self._walk(part, slots, bottom=bottom)
        looked_at: list[Entry | None] = list(islice(part.cursor, limit))
        if len(looked_at) < limit:
            part.drained = True
            self._stack_up()
        return [entry for entry in looked_at if entry is not None]

    def _walk(self, part: Part[TimerEpoch], slots: Slots, *, bottom: bool) -> Iterator[Entry | None]:
        """Give all entries of a part, one by one; None where nothing is written."""
        newest, writing = part.newest, TimerWriting(self._layout, slots, bottom=bottom)
        for key, (at, stale, _, suffix) in newest.changes():
            yield from writing.change(key, suffix, at, stale)
        while part.returned:
            while taken := part.returned[0].take(1):
                ((key, (failed_at, failed_stale, _, suffix)),) = taken
                newer = newest.change_of(key, suffix)
                if newer is None:
                    newest.put(key, suffix, failed_at, failed_stale)
                    yield from writing.change(key, suffix, failed_at, failed_stale)
                else:
                    at, stale, listed, _ = newer
                    more = [time for time in failed_stale if time not in stale]
                    newest.store(key, (at, (*stale, *more), listed, suffix))
                    yield from writing.gone(key, suffix, at, more)
            self._waste.append(part.returned.pop(0))
        yield from writing.marks(newest.floors, self._highest)

    def _new_dict(self) -> TimerEpoch:
        return TimerEpoch()

    def _entries_in(self, epoch: TimerEpoch) -> int:
        return epoch.entries

    def _bytes_of(self, epoch: TimerEpoch, entry: float) -> float:
        del entry
        return epoch.bytes

    def _measure(self, key: object, value: Change | Changes) -> float:
        del key
        return TIMER_BYTES + (KEY_BYTES / len(value) if isinstance(value, dict) else KEY_BYTES)

    def _settle_from(self, oldest: TimerEpoch, limit: int, *, keep: bool) -> int:
        """Move written timers into the indexes, as far as these reach: `clean` holds nothing here."""
        del keep
        moved = 0
        while moved < limit and (taken := oldest.take(limit - moved)):
            group = self._layout.group_of(taken[0][0])
            for key, (at, stale, _, suffix) in taken:
                index = self._indexes[suffix[0]]
                for time in stale:
                    if time != at:
                        index.remove(group, (time, key, suffix))
                if at is not None:
                    index.insert(group, (at, key, suffix))
            moved += len(taken)
        return moved + oldest.empty(limit - moved)

    def _drop_from(self, oldest: TimerEpoch, limit: int) -> int:
        return oldest.empty(limit)

    def _empty(self, unseen: dict[Any, Any], limit: int) -> int:
        return unseen.empty(limit) if isinstance(unseen, TimerEpoch) else super()._empty(unseen, limit)

    # ---- which one is next -------------------------------------------------------------------------------------------

    def _first(self, number: int) -> tuple[At | None, bool]:
        """Give the first timer; with False beside it a place that none lies before."""
        found, sure = self._first_in_layers(number) if self._layered else (None, True)
        newer: list[TimerEpoch] = []
        steps = self._steps
        for epoch in filter(len, (self.live, *self.unsettled)):
            while True:
                place, steps = epoch.first(number, steps, TIME_MAX if found is None else found[0])
                if place is None or (found is not None and place[:3] > found):
                    break
                if steps <= 0 or not any(each.change_of(place[1], place[2]) for each in newer):
                    found, sure = place[:3], steps > 0
                    break
                epoch.drop_first(number)
                steps -= 1
            newer.append(epoch)
            steps = max(steps, 0)
        self._steps = steps if sure else _PLACES
        return found, sure

    def _first_in_layers(self, number: int) -> tuple[At | None, bool]:
        index = self._indexes[number]
        while True:
            at, sure = index.look(_ROWS)
            if at is None or not sure or self._known(at[1], at[2]) is None:
                return at, sure
            index.drop(at)  # an epoch in memory has it, or knows better

    def _known(self, part: bytes, suffix: bytes) -> Change | None:
        for epoch in (self.live, *self.unsettled):
            change = epoch.change_of(part, suffix)
            if change is not None:
                return change
        return None

    def _take_out(self, part: bytes, suffix: bytes, at: int | None = None) -> bool:
        """Let a timer not be, of which the caller may know the time."""
        change = self.live.change_of(part, suffix)
        if change is None:
            before = self._before(part, suffix) if at is None else at
            if before is None:
                return False
            self.live.put(part, suffix, None, (before,))
        elif change[0] is None:
            return False
        elif change[1]:
            self.live.put(part, suffix, None, change[1])
        else:
            self.live.forget(part, suffix)
        return True

    def _before(self, part: bytes, suffix: bytes) -> int | None:
        """Give when a timer fires that this epoch says nothing of."""
        for epoch in self.unsettled:
            change = epoch.change_of(part, suffix)
            if change is not None:
                return change[0]
        return self._layout.time_of(part, suffix) if self._layered else None

    # ---- encoded keys and names, of which the latest are remembered: it halves the cost of a timer

    def _part_of(self, key: object) -> bytes:
        part = self._encoded(key)
        if len(self._parts) >= _REMEMBERED:
            self._parts.clear()
        self._parts[key] = part
        return part

    def _suffix_of(self, number: int, name: object) -> bytes:
        suffix, suffixes = DOMAINS[number] + encode_key(name), self._suffixes[number]
        if len(suffixes) >= _REMEMBERED:
            suffixes.clear()
        if type(name) is str:
            suffixes[name] = suffix
        return suffix
