from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.eventlog.ledger import Consumer, Sealed
from actorstream.eventlog.retention import removable


def segment(number: int, ends: list[int], sealed_us: int, starts: list[int] | None = None) -> Sealed:
    return Sealed(number, 1, "", starts or [end - 10 for end in ends], ends, [0] * len(ends), sealed_us)


ROW = [segment(1, [10], 100), segment(2, [20], 200), segment(3, [30], 300)]


def numbers(gone: list[Sealed]) -> list[int]:
    return [entry.segment for entry in gone]


def test_old_segments_go_oldest_first() -> None:
    assert numbers(removable(ROW, [], sealed_before_us=201)) == [1, 2]


def test_a_consumer_keeps_what_it_has_not_read() -> None:
    """Position 9 is the last record of segment 1: it may go. Position 18 still needs offset 19."""
    assert numbers(removable(ROW, [Consumer("a", "", [9], 0)], sealed_before_us=999)) == [1]
    assert numbers(removable(ROW, [Consumer("a", "", [18], 0)], sealed_before_us=999)) == [1]
    assert numbers(removable(ROW, [Consumer("a", "", [19], 0)], sealed_before_us=999)) == [1, 2]


def test_a_consumer_that_has_read_nothing_keeps_everything() -> None:
    assert removable(ROW, [Consumer("a", "", [29], 0), Consumer("b", "", [-1], 0)], sealed_before_us=999) == []


def test_an_empty_partition_holds_nothing_back() -> None:
    row = [segment(1, [10, 0], 100, starts=[0, 0])]
    assert numbers(removable(row, [Consumer("a", "", [9, -1], 0)], sealed_before_us=999)) == [1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=6),
    st.lists(st.tuples(st.integers(-1, 15), st.integers(-1, 15)), max_size=3),
    st.integers(0, 7),
)
def test_what_goes_is_an_old_prefix_that_nobody_needs(
    growth: list[tuple[int, int]], positions: list[tuple[int, int]], before: int
) -> None:
    starts, row = [0, 0], []
    for i, grown in enumerate(growth):
        ends = [starts[0] + grown[0], starts[1] + grown[1]]
        row.append(segment(i + 1, ends, i, starts=starts))
        starts = ends
    consumers = [Consumer(str(i), "", list(p), 0) for i, p in enumerate(positions)]
    gone = removable(row, consumers, sealed_before_us=before)
    assert gone == row[: len(gone)]
    assert all(entry.sealed_us < before for entry in gone)
    for consumer in consumers:
        for partition in (0, 1):
            removed_to = gone[-1].ends[partition] if gone else 0
            assert consumer.positions[partition] + 1 >= min(removed_to, starts[partition])
