"""Keys of a window come in the order of their encodings, in pieces."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from actorstream.codec.ordered_keys import encode_key
from actorstream.operators.windows.sliced_order import RUN, in_order

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: dict[str, Callable[[Random], Any]] = {
    "int": lambda random: random.randint(-(1 << 70), 1 << 70),
    "small int": lambda random: random.randint(-500, 500),
    "str": lambda random: "".join(random.choices("aé\0\1𝄞", k=random.randint(0, 8))),
    "bytes": lambda random: random.randbytes(random.randint(0, 3)),
    "float": lambda random: random.choice([random.uniform(-5, 5), float("inf"), -0.0, 1e300]),
    "tuple": lambda random: (random.randint(0, 50), None if random.random() < 0.5 else "x", random.random()),
    "UUID": lambda random: UUID(int=random.getrandbits(128)),
    "bool": lambda random: random.random() < 0.5,
    "several": lambda random: random.choice([1, 1.5, "1", b"1", True, ("1",)]),
}


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("count", [0, 1, 2, RUN, RUN + 1, 7 * RUN + 3])
def test_keys_come_in_the_order_of_their_encodings(kind: str, count: int) -> None:
    """Also those that Python cannot compare, or would compare otherwise; and each once."""
    random = Random(f"{kind} {count}")
    keys = list(dict.fromkeys(KINDS[kind](random) for _ in range(count)))
    found = [key for some in in_order(keys) for key in some]
    assert list(map(encode_key, found)) == sorted(map(encode_key, keys))


@pytest.mark.parametrize("shape", ["at random", "sorted", "backwards", "by turns"])
def test_no_piece_is_much_larger_than_a_run(shape: str) -> None:
    """To sort 30,000 keys at once would stall the loop; pauses come between the runs."""
    keys = list(range(30 * RUN))
    if shape == "at random":
        Random(1).shuffle(keys)
    elif shape == "backwards":
        keys.reverse()
    elif shape == "by turns":
        keys.sort(key=lambda key: key % 30)
    pieces = list(in_order(keys))
    assert max(map(len, pieces)) <= 3 * RUN
    assert sum(not piece for piece in pieces) >= 30
    assert [key for piece in pieces for key in piece] == list(range(30 * RUN))
