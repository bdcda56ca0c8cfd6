"""Values with an expiry in layers: the layout, both clocks, and a time-to-live that comes and goes over a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.codec.values import SELF_DESCRIBING, codec_for
from actorstream.errors import CodecError
from actorstream.model.ids import StateNumber
from actorstream.state.entries import EXPIRING_TAG, expired
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.ttl import NEVER, ExpiringCodec, stamp_of
from tests.state.rig import Shelf, read, restored, state_over
from tests.state.test_compaction import merged_layer, replace_picked, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.state.ttl import Domain

LONG = "k" * 300
DOMAINS: Sequence[Domain] = ("processing", "event")


def columns(*domains: Domain | None) -> list[StateColumn]:
    """Give a row of two values and a map: of the first value and the map the expiry is in `domains[0]` and so on."""
    row, pages = (SELF_DESCRIBING if each is None else ExpiringCodec(SELF_DESCRIBING, each) for each in domains)
    return [
        StateColumn(StateNumber(1), "seen", "value", row),
        StateColumn(StateNumber(2), "total", "value", SELF_DESCRIBING),
        StateColumn(StateNumber(3), "pages", "map", pages),
    ]


def merge(shelf: Shelf, state: OperatorState, stamp: int) -> None:
    """Tell a merge the same time for all states that have a time-to-live."""
    picks = whole(state)
    clocks = {column.number: stamp for column in state.columns if isinstance(column.codec, ExpiringCodec)}
    replace_picked(picks, merged_layer(shelf, picks, clocks))


def filled(shelf: Shelf, domain: Domain, at: int = 100) -> OperatorState:
    state = state_over(columns=columns(domain, domain))
    for key in ("a", LONG):
        state.rows.live[key] = (("yes", at), 7)
        state.maps["pages"].set(key, 1, ("one", at))
        state.maps["pages"].set(key, LONG, ("long", at))
    shelf.checkpoint(state)
    return state


def test_layout_of_an_expiring_value() -> None:
    """Golden: a change orphans every store, or lets a merge drop what is alive."""
    codec = codec_for(int)
    coded = codec.encode(7)
    assert ExpiringCodec(codec, "processing").encode((7, 5)) == b"\x00" * 7 + b"\x05" + coded
    assert ExpiringCodec(codec, "processing").encode((7, -1)) == b"\xff" * 8 + coded
    assert ExpiringCodec(codec, "event").encode((7, 5)) == b"\x40" + b"\x00" * 6 + b"\x05" + coded
    assert ExpiringCodec(codec, "event").encode((7, -1)) == b"\x3f" + b"\xff" * 7 + coded
    assert stamp_of(NEVER, "processing") == 1 << 60
    assert stamp_of(NEVER, "event") == (1 << 62) + (1 << 60)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("at", [-(10**17), -1, 0, 10**15, 3 * 10**17])
def test_expiry_comes_back_to_the_microsecond(domain: Domain, at: int) -> None:
    codec = ExpiringCodec(codec_for(str), domain)
    assert codec.decode(codec.encode(("v", at))) == ("v", at)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("at", [NEVER, NEVER + 5, (1 << 63) - 1])
def test_expiry_beyond_all_times_is_never(domain: Domain, at: int) -> None:
    """T129: expiry is time plus duration, which at the end of time is more than 64 bits."""
    codec = ExpiringCodec(codec_for(str), domain)
    assert codec.decode(codec.encode(("v", at))) == ("v", NEVER)


def test_schema_is_that_of_the_values() -> None:
    """Else the restart that adds or removes a time-to-live would be refused."""
    codec = codec_for(int)
    assert ExpiringCodec(codec, "event").schema == codec.schema
    with pytest.raises(CodecError):
        ExpiringCodec(codec, "event").encode(("x", 5))


@pytest.mark.parametrize("domain", DOMAINS)
def test_expired_entries_are_in_a_snapshot_with_their_expiry_t129(shelf: Shelf, domain: Domain) -> None:
    """A restored state tells who looks when each value expires, however it is read; long keys too (T130)."""
    again = restored(filled(shelf, domain), columns(domain, domain))
    for key in ("a", LONG):
        assert read(again, key) == (("yes", 100), 7)
        pages = again.maps["pages"]
        assert list(pages.items(key)) == [(1, ("one", 100)), (LONG, ("long", 100))]
        assert pages.get(key, LONG) == ("long", 100)
        assert again.rows.peek(key) == (("yes", 100), 7)


def test_row_that_is_one_expiring_value_is_a_pair(shelf: Shelf) -> None:
    """Read one by one, as a query, and in one go by a cold read."""
    expiring = [StateColumn(StateNumber(1), "seen", "value", ExpiringCodec(SELF_DESCRIBING, "event"))]
    state = state_over(columns=expiring)
    for key in range(50):
        state.rows.live[key] = ([key], key)
    shelf.checkpoint(state)
    again = restored(state, expiring)
    cold = again.missing(list(range(50)))
    assert cold is not None
    cold.read()
    cold.settle()
    assert again.rows.loads == 0
    assert [read(again, key) for key in range(50)] == [([key], key) for key in range(50)]


def test_mutable_value_beside_its_expiry_is_not_shared_with_a_frozen_one_t135(shelf: Shelf) -> None:
    expiring = columns("event", "event")
    state = state_over(columns=expiring)
    state.rows.live["a"] = (([1], 100), MISSING)
    state.maps["pages"].set("a", 1, ([1], 100))
    generation = state.freeze()
    row, entry = read(state, "a"), state.maps["pages"].get("a", 1)
    row[0][0].append(2)  # type: ignore[index]
    entry[0].append(2)  # type: ignore[index]
    shelf.finish(state, generation)
    again = restored(state, expiring)
    assert read(again, "a") == (([1], 100), MISSING)
    assert again.maps["pages"].get("a", 1) == ([1], 100)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("merged", [False, True])
def test_time_to_live_taken_away_leaves_the_values_t129(shelf: Shelf, domain: Domain, merged: bool) -> None:
    again = restored(filled(shelf, domain), columns(None, None))
    if merged:
        merge(shelf, again, stamp_of(10**17, domain))
        again = restored(again, columns(None, None))
    for key in ("a", LONG):
        assert read(again, key) == ("yes", 7)
        assert list(again.maps["pages"].items(key)) == [(1, "one"), (LONG, "long")]


@pytest.mark.parametrize("domain", DOMAINS)
def test_time_to_live_added_leaves_values_without_an_expiry_t129(shelf: Shelf, domain: Domain) -> None:
    """They live until they are written: counted from the restart, each restart would put it off."""
    state = state_over(columns=columns(None, None))
    for key in ("a", LONG):
        state.rows.live[key] = ("yes", 7)
        state.maps["pages"].set(key, LONG, "long")
    shelf.checkpoint(state)
    again = restored(state, columns(domain, domain))
    for key in ("a", LONG):
        row = read(again, key)
        assert row == (("yes", NEVER), 7)
        again.rows.live[key] = (("yes", NEVER), 8)
        assert list(again.maps["pages"].items(key)) == [(LONG, ("long", NEVER))]
    shelf.checkpoint(again)
    merge(shelf, again, 10**18)
    later = restored(again, columns(domain, domain))
    assert [read(later, key) for key in ("a", LONG)] == [(("yes", NEVER), 8)] * 2


@pytest.mark.parametrize(("old", "new"), [("processing", "event"), ("event", "processing")])
def test_expiry_of_another_clock_says_nothing_t129(shelf: Shelf, old: Domain, new: Domain) -> None:
    """An hour before noon by the wall clock may be years away in the records' time."""
    again = restored(filled(shelf, old), columns(new, new))
    assert read(again, "a") == (("yes", NEVER), 7)
    assert again.maps["pages"].get("a", 1) == ("one", NEVER)


@pytest.mark.parametrize(("now", "there"), [(99, True), (100, False)])
def test_merge_by_the_wall_clock_drops_what_expires_by_it(shelf: Shelf, now: int, there: bool) -> None:
    state = filled(shelf, "processing")
    merge(shelf, state, now)
    again = restored(state, columns("processing", "processing"))
    assert read(again, "a") == (("yes", 100) if there else MISSING, 7)
    assert [item for item, _ in again.maps["pages"].items(LONG)] == ([1, LONG] if there else [])


def test_merge_by_the_wall_clock_drops_nothing_that_expires_in_event_time(shelf: Shelf) -> None:
    """Records of 1970 may be read today, and what they wrote is alive."""
    state = filled(shelf, "event")
    merge(shelf, state, 10**17)
    again = restored(state, columns("event", "event"))
    assert read(again, "a") == (("yes", 100), 7)
    assert [item for item, _ in again.maps["pages"].items(LONG)] == [1, LONG]


@pytest.mark.parametrize("domain", DOMAINS)
def test_merge_by_a_watermark_drops_what_it_has_reached_and_nothing_of_the_clock(shelf: Shelf, domain: Domain) -> None:
    state = filled(shelf, domain)
    merge(shelf, state, stamp_of(100, "event"))
    again = restored(state, columns(domain, domain))
    gone = domain == "event"
    assert read(again, "a") == (MISSING if gone else ("yes", 100), 7)
    merge(shelf, again, stamp_of(99, domain))
    assert read(restored(again, columns(domain, domain)), "a") == (MISSING if gone else ("yes", 100), 7)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("other", DOMAINS)
def test_expiry_is_compared_with_its_own_clock_only(domain: Domain, other: Domain) -> None:
    value = EXPIRING_TAG + ExpiringCodec(SELF_DESCRIBING, domain).encode(("v", 100))
    passed = [expired(value, stamp_of(now, other)) for now in (-(10**17), 99, 100, 10**17)]
    assert passed == ([False, False, True, True] if domain == other else [False] * 4)
