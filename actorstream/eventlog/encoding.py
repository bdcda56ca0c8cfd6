"""Values as the bodies of records, sorted by the partition they go to.

Runs on the event loop, because `key` and `timestamp` are the user's functions; a call
takes a slice of at most a few hundred values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from actorstream.codec.contract import RECORD_BYTES_MAX, check_size
from actorstream.codec.evolution import header_of
from actorstream.codec.ordered_keys import encode_key
from actorstream.eventlog.instants import instant_us
from actorstream.eventlog.positions import dealt_partitions, in_array, same_partition
from actorstream.eventlog.records import encode_time
from actorstream.model.key_groups import key_group_of

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Hashable, Sequence

    from actorstream.codec.contract import Codec
    from actorstream.eventlog.instants import Time
    from actorstream.eventlog.ledger import DeclaredType

T = TypeVar("T")

_ROW_BYTES = 44
"""What LMDB and the envelope add to a record."""

_REMEMBERED = frozenset((str, int, bytes))
KNOWN_KEYS_MAX = 65_536


class Encoded(NamedTuple):
    """Records ready to be placed: the partition of each, the bodies by partition, and their size."""

    partitions: array[int]
    bodies: dict[int, list[bytes]]
    size: int


class RecordEncoder(Generic[T]):
    """Encodes values for one log.

    Args:
        codec: For the payload.
        partitions: How many the log has.
        key: Records of equal key go to one partition, by the stable hash of the encoded key; None: in turn.
        timestamp: Gives a record's time; None: the clock's at the call.
        what: Names the log in errors.
        declared: What the log's ledger calls the type: its number stands before each payload (codec/evolution.py).
            None: nothing was declared, and nothing stands there.
    """

    def __init__(
        self,
        codec: Codec[T],
        partitions: int,
        *,
        key: Callable[[T], Hashable] | None,
        timestamp: Callable[[T], Time] | None,
        what: str,
        declared: DeclaredType | None = None,
    ) -> None:
        """Begin the round of partitions at 0."""
        self.declared = declared
        self.header = b"" if declared is None else header_of(declared.number)
        self._encode = codec.encode
        self._partitions = partitions
        self._key = key
        self._timestamp = timestamp
        self._what = what
        self._turn = 0
        self._last_count, self._last_mean = 0, 1
        self._known = _KnownPartitions(partitions)

    def slice_for(self, values_max: int, bytes_max: int) -> int:
        """Give how many values to encode next so that they are about `bytes_max` in memory, if they are like the last.

        The first time it is one. It grows fourfold at most, since large values may follow any number of small ones.
        """
        return max(1, min(values_max, 4 * self._last_count, bytes_max // self._last_mean))

    def encode(self, values: Sequence[T], now_us: int) -> Encoded:
        """Encode a slice.

        Raises:
            CodecError: A value or its key cannot be encoded; a RecordTooLargeError if it is over 16 MiB.
            PlanError: `timestamp` gave no time.
        """
        payloads = list(map(self._encode, values))
        longest = max(payloads, key=len, default=b"")
        check_size(longest, RECORD_BYTES_MAX, f"a record for {self._what}")
        header = self.header
        if self._timestamp is None:
            now = encode_time(now_us) + header
            bodies = [now + payload for payload in payloads]
        else:
            stamp = self._timestamp
            bodies = [
                encode_time(instant_us(stamp(value))) + header + payload
                for value, payload in zip(values, payloads, strict=True)
            ]
        size = sum(map(len, bodies)) + _ROW_BYTES * len(bodies)
        if bodies:
            self._last_count, self._last_mean = len(bodies), size // len(bodies)
        return Encoded(*self._place(values, bodies), size)

    def _place(self, values: Sequence[T], bodies: list[bytes]) -> tuple[array[int], dict[int, list[bytes]]]:
        count = self._partitions
        if count == 1:
            return same_partition(0, len(bodies)), {0: bodies}
        if self._key is None:
            start, self._turn = self._turn, (self._turn + len(bodies)) % count
            dealt = {(start + i) % count: bodies[i::count] for i in range(min(count, len(bodies)))}
            return dealt_partitions(start, len(bodies), count), dealt
        partitions = self._partitions_of(list(map(self._key, values)))
        sorted_out: list[list[bytes]] = [[] for _ in range(count)]
        put = [part.append for part in sorted_out]
        for partition, body in zip(partitions, bodies, strict=True):
            put[partition](body)
        return in_array(partitions), {number: part for number, part in enumerate(sorted_out) if part}

    def _partitions_of(self, keys: list[Hashable]) -> list[int]:
        """Give the partition of each key.

        Those of keys seen lately are remembered: 0.05 µs instead of 0.4. Only of types whose equal keys have equal
        bytes, also beside each other: 1, 1.0 and True are one key to a dict, and three here.
        """
        if not _REMEMBERED.issuperset(map(type, keys)):
            return [key_group_of(encode_key(key), self._partitions) for key in keys]
        if len(self._known) > KNOWN_KEYS_MAX:
            self._known.clear()
        return list(map(self._known.__getitem__, keys))


class _KnownPartitions(dict["Hashable", int]):
    """The partition of each key seen lately; another key's is worked out when it is asked for."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._partitions = partitions

    def __missing__(self, key: Hashable) -> int:
        partition = self[key] = key_group_of(encode_key(key), self._partitions)
        return partition
