"""Key groups: the unit in which keyed state is stored and moved.

    key --encode--> bytes --xxh32--> hash  mod max_parallelism = key group
    subtask i of p owns key groups [ceil(i*M/p), ceil((i+1)*M/p))

The hash is of the encoded key, never Python's `hash()`, which differs from
process to process. Golden values are in tests/model/test_key_groups.py: a change
here orphans every store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh32_intdigest

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PARALLELISM_DEFAULT = 128
MAX_PARALLELISM_LIMIT = 32_768

key_hash: Final[Callable[[bytes], int]] = xxh32_intdigest
"""The hash in `key_group_of`, for loops over thousands of keys, where the call around it costs as much again."""


class KeyGroupRange(NamedTuple):
    """Half-open range of key groups."""

    start: int
    end: int


def key_group_of(encoded_key: bytes, max_parallelism: int) -> int:
    """Give the key group of a key from its order-preserving encoding."""
    return xxh32_intdigest(encoded_key) % max_parallelism


def owner_of(key_group: int, parallelism: int, max_parallelism: int) -> int:
    """Give the subtask index that owns `key_group`."""
    return key_group * parallelism // max_parallelism


def range_of(subtask: int, parallelism: int, max_parallelism: int) -> KeyGroupRange:
    """Give the key groups that `subtask` of `parallelism` owns."""
    start = -(-subtask * max_parallelism // parallelism)
    end = -(-(subtask + 1) * max_parallelism // parallelism)
    return KeyGroupRange(start, end)
