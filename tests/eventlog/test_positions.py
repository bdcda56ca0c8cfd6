from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.eventlog.positions import LogPosition, Positions, dealt_partitions, in_array, same_partition


def test_a_run_in_one_partition_counts_on() -> None:
    positions = Positions()
    positions.add(same_partition(3, 4), {3: 10})
    assert positions == [LogPosition(3, 10), LogPosition(3, 11), LogPosition(3, 12), LogPosition(3, 13)]
    assert positions[-1] == LogPosition(3, 13)
    assert positions[1:3] == [LogPosition(3, 11), LogPosition(3, 12)]


def test_dealing_goes_round_from_where_the_last_deal_ended() -> None:
    assert list(dealt_partitions(2, 5, 3)) == [2, 0, 1, 2, 0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=20), max_size=5))
def test_positions_are_what_counting_by_hand_gives(pieces: list[list[int]]) -> None:
    """However a batch is spread, each partition's offsets have no gap and no double."""
    following = dict.fromkeys(range(5), 0)
    expected = []
    positions = Positions()
    for piece in pieces:
        positions.add(in_array(piece), {p: following[p] for p in set(piece)})
        for partition in piece:
            expected.append(LogPosition(partition, following[partition]))
            following[partition] += 1
    assert positions == expected
    assert [positions[i] for i in range(len(positions))] == expected
