"""The new entries of one operator in a savepoint that is being written: gathered in any order, then one layer.

    put          what the user gives       ┐ each key once
    transform    what the user's fn gives  ┘ each key once        ──sort──>  of each key the first of these  ──> layer
    kept         what the base holds

What is put or transformed gets the header of its schema's number last (codec/evolution.py): which number that is
depends on what is left of the base. What is kept has its own.

Timers lie in two entries each (state/timer_entries.py). Those by name are gathered and sorted by themselves first; what
is left of them gives those by time.

Keys of one operator are of one type, as under one key_by (T137): the first decides.
"""

from __future__ import annotations

from os.path import join
from typing import TYPE_CHECKING, Final

from actorstream.codec.ordered_keys import decode_key_at
from actorstream.errors import CodecError, InvariantError
from actorstream.evolve.sorting import EntrySorter
from actorstream.model.key_groups import key_group_of
from actorstream.operators.key_check import KeyCheck
from actorstream.state.compaction import NewSlots
from actorstream.state.entries import (
    EXPIRING,
    EXPIRY_END,
    HEAD_BYTES,
    KIND,
    VALUE_TAG,
    head_of,
    take_apart,
    whole_parts,
)
from actorstream.state.layer_builder import write_in_order
from actorstream.state.live_rows import canonical_entry, first_slotted
from actorstream.state.timer_entries import BY_TIME, time_bytes, time_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorstream.evolve.stored_items import Items, Place
    from actorstream.model.ids import OperatorNumber
    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.layer import LayerFile

PUT: Final = b"\x00"
TRANSFORMED: Final = b"\x01"
KEPT: Final = b"\x02"

_STATE_AT: Final = HEAD_BYTES - 2


class Rewritten:
    """The entries of one operator, whose layer is written anew.

    Attributes:
        name: The operator's, as it is now.
    """

    def __init__(
        self, files: FileSystem, folder: str, number: OperatorNumber, max_parallelism: int, sorted_at_once: int
    ) -> None:
        """Gather entries of operator `number`; what does not fit `sorted_at_once` bytes goes into `folder`."""
        self.name = ""
        self._files = files
        self._number = number
        self._max_parallelism = max_parallelism
        self._sorter = EntrySorter(files, join(folder, str(number)), sorted_at_once)
        self._timers = EntrySorter(files, join(folder, f"{number}-timers"), sorted_at_once)
        self._heads: dict[tuple[int, int], bytes] = {}
        self._keys = KeyCheck("")
        self._key_type: type | None = None

    def check_key(self, key: object, where: str) -> None:
        """Refuse a key of another type than those before.

        Raises:
            CodecError: It is; names the state.
        """
        if key.__class__ is self._key_type:
            return
        try:
            self._key_type = self._keys.one(key)
        except CodecError as error:
            found = str(error).removeprefix(": key_by gave ").partition(";")[0]
            raise CodecError(
                f"state {where}: its keys are of several types: {found}. All states and timers of operator "
                f"{self.name!r} are kept under keys of one type: transform each of them, or drop what is not needed"
            ) from error

    def add(self, state: int, place: Place, tagged: bytes, age: bytes, *, timers: bool) -> None:
        """Take an item's entry."""
        group = key_group_of(place.key, self._max_parallelism)
        key, value = canonical_entry(self._head(group, state), place.first, place.beside, tagged)
        (self._timers if timers else self._sorter).add((key + age, value))

    def keep(self, state: int, part: bytes, order: bytes, value: bytes, *, timers: bool) -> None:
        """Take an entry of the base over; `part` is its encoded key."""
        head = self._head(key_group_of(part, self._max_parallelism), state)
        (self._timers if timers else self._sorter).add((head + order + KEPT, value))

    def write(self, path: str, items: Mapping[int, Items], headers: Mapping[int, bytes]) -> LayerFile | None:
        """Write the layer `path`; None if there is nothing to write.

        Args:
            path: Where to.
            items: What reads each state's items, by its number: for messages.
            headers: What stands before the codec bytes of new values, by the state's number.

        Raises:
            CodecError: A key was given twice.
            StoreError: The disk is full or fails.
        """
        for key, value in self._resolved(self._timers, items, {}):
            self._sorter.add((key + KEPT, value))
            self._sorter.add(_by_time(key, value))
        slots = NewSlots()
        entries = (
            entry if entry[1][0] <= KIND else (slots.renumbered(first_slotted(*entry), entry[1]), entry[1])
            for entry in self._resolved(self._sorter, items, headers)
        )
        return write_in_order(self._files, path, entries)

    def close(self) -> None:
        """Remove what was put into files."""
        self._sorter.close()
        self._timers.close()

    def _head(self, group: int, state: int) -> bytes:
        head = self._heads.get((group, state))
        if head is None:
            head = self._heads[group, state] = head_of(self._number, group, state)
        return head

    def _resolved(
        self, sorter: EntrySorter, items: Mapping[int, Items], headers: Mapping[int, bytes]
    ) -> Iterator[Entry]:
        """Give of each key the entry that counts."""
        last, last_age = b"", 0
        for aged, value in sorter.entries():
            key = aged[:-1]
            if key != last:
                last, last_age = key, aged[-1]
                header = headers.get(int.from_bytes(key[_STATE_AT:HEAD_BYTES])) if headers else None
                yield key, _headed(value, header) if header and aged[-1:] != KEPT else value
            elif aged[-1] == last_age:
                of = items.get(int.from_bytes(key[_STATE_AT:HEAD_BYTES]))
                if of is None:
                    raise InvariantError(f"an entry of {self.name!r} came twice, of a state that nobody wrote")
                raise CodecError(
                    f"state {of.name}: {of.item_of(_parts(key, value))!r:.100} was given twice: give each key once"
                )


def _parts(key: bytes, value: bytes) -> bytes:
    """Give the whole parts of a canonical entry."""
    return key[HEAD_BYTES:] if value[0] <= KIND else whole_parts(first_slotted(key, value), value)


def _headed(value: bytes, header: bytes) -> bytes:
    """Put a header before the codec bytes of an entry's value."""
    tagged = take_apart(value).tagged
    at = len(value) - len(tagged) + (EXPIRY_END if tagged[0] == EXPIRING else len(VALUE_TAG))
    return value[:at] + header + value[at:]


def _by_time(key: bytes, value: bytes) -> Entry:
    """Make a timer's entry by time from that by name."""
    parts = _parts(key, value)
    _, end = decode_key_at(parts, 1)
    time = time_in(take_apart(value).tagged, 1)
    part, domain, name = parts[1:end], parts[end : end + 1], parts[end + 1 :]
    first = BY_TIME + domain + time_bytes(time) + part
    entry, tagged = canonical_entry(key[:HEAD_BYTES], first, name, VALUE_TAG + len(part).to_bytes(4))
    return entry + KEPT, tagged
