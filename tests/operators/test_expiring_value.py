"""Value and list states with a time-to-live, in a handler: what it sees, and what moves the expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from actorstream.errors import StateAccessError
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, StateRef, ValueState
from actorstream.operators.ttl import TTL
from actorstream.state.memtable import MISSING
from tests.operators.ttl_rig import Hands, Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.operators.contexts import Context
    from actorstream.operators.process_timers import Timer
    from tests.state.rig import Shelf


class Does(KeyedProcess[Any, Any, Any]):
    """Does what the record says."""

    def on_element(self, value: Callable[[Any], Any], ctx: Context[Any], /) -> Iterable[Any]:
        """Do it, and emit what that gave."""
        if value is clear:
            ctx.clear()
        return [value(self)]


class Seen(Does):
    """One value."""

    seen: ValueState[int] = ValueState(0, ttl=10e-6)


class Read(Does):
    """One value that lives while it is read."""

    seen: ValueState[int] = ValueState(0, ttl=TTL(10e-6, refresh="read"))


class ByEvents(Does):
    """One value, in event time."""

    seen: ValueState[int] = ValueState(0, ttl=TTL(10e-6, domain="event"))


class Many(Does):
    """Several of each kind, and some that stay."""

    total: ValueState[int] = ValueState(0)
    seen: ValueState[int] = ValueState(0, ttl=10e-6)
    words: ListState[int] = ListState(ttl=10e-6)
    cart: ValueState[dict[str, int]] = ValueState(factory=dict, ttl=TTL(10e-6, domain="event"))
    kept: ListState[int] = ListState()


class Stays(Does):
    """As `Seen`, without a time-to-live."""

    seen: ValueState[int] = ValueState(0)


class Longer(Does):
    """As `Seen`, with a longer one."""

    seen: ValueState[int] = ValueState(0, ttl=1_000e-6)


def look(op: Any) -> Any:
    return op.seen


def nothing(_: Any) -> None:
    pass


def clear(_: Any) -> None:
    pass


def put(value: int) -> Callable[[Any], None]:
    def act(op: Any) -> None:
        op.seen = value

    return act


def forget(op: Any) -> int:
    op.seen = 5
    del op.seen
    return look(op)  # type: ignore[no-any-return]


def at(keeper: Keeper, now: int, *actions: Callable[[Any], Any]) -> list[Any]:
    """Do things for one key at a time by the clock."""
    keeper.clock.now = now
    return keeper.feed(*(("a", action) for action in actions))


@pytest.mark.parametrize(("now", "there"), [(109, 1), (110, 0), (111, 0), (10**15, 0)])
def test_value_reads_as_its_default_from_its_expiry_on(shelf: Shelf, now: int, there: int) -> None:
    keeper = Keeper(Seen, shelf, Hands())
    at(keeper, 100, put(1))
    assert at(keeper, now, look) == [there]


def test_write_of_the_same_object_moves_the_expiry(shelf: Shelf) -> None:
    """`self.seen = True` once more: told by identity, nothing would have changed."""
    keeper = Keeper(Seen, shelf, Hands())
    for now in (100, 106, 112):
        at(keeper, now, put(1))
    assert at(keeper, 121, look) == [1]
    assert at(keeper, 122, look) == [0]


def test_reading_moves_it_only_where_that_was_said(shelf: Shelf) -> None:
    for owner, seen in ((Seen, 0), (Read, 1)):
        keeper = Keeper(owner, shelf, Hands())
        at(keeper, 100, put(1))
        at(keeper, 106, look)
        assert at(keeper, 112, look) == [seen]


def test_handler_that_does_not_use_a_state_neither_reads_nor_writes_it(shelf: Shelf) -> None:
    for owner in (Seen, Read):
        keeper = Keeper(owner, shelf, Hands())
        at(keeper, 100, put(1))
        keeper.checkpoint()
        assert at(keeper, 106, nothing, nothing) == [None, None]
        assert keeper.state.freeze() is None
        assert at(keeper, 112, look) == [0]


def test_clock_that_goes_back_shows_nothing_that_has_expired_t129(shelf: Shelf) -> None:
    """Neither what was looked at while it had expired, nor what was not."""
    keeper = Keeper(Seen, shelf, Hands(100))
    keeper.feed(("a", put(1)), ("b", put(2)))
    assert at(keeper, 110, look) == [0]
    keeper.clock.now = 50
    assert keeper.feed(("a", look), ("b", look)) == [0, 0]


def test_clock_that_goes_back_makes_no_new_value_live_longer_than_said_by_the_latest_time_t129(shelf: Shelf) -> None:
    """Time stands still until the clock has caught up."""
    keeper = Keeper(Seen, shelf, Hands())
    at(keeper, 100, nothing)
    at(keeper, 50, put(1))
    assert at(keeper, 109, look) == [1]
    assert at(keeper, 110, look) == [0]


def test_what_was_seen_to_have_expired_is_gone_for_good_t129(shelf: Shelf) -> None:
    """Also after a restart with a clock that was set back: the handler has acted on it."""
    keeper = Keeper(Seen, shelf, Hands())
    at(keeper, 100, put(1))
    keeper.checkpoint()
    assert at(keeper, 110, look) == [0]
    assert keeper.state.rows.live == {"a": MISSING}
    keeper.checkpoint()
    assert at(keeper.restarted(Seen), 50, look) == [0]


@pytest.mark.parametrize(("now", "there"), [(109, 1), (110, 0)])
@pytest.mark.parametrize("merged", [False, True])
def test_expired_value_in_a_restored_layer_is_not_shown_t129(shelf: Shelf, now: int, there: int, merged: bool) -> None:
    keeper = Keeper(Seen, shelf, Hands())
    at(keeper, 90, put(5))
    keeper.checkpoint()
    at(keeper, 100, put(1))
    keeper.checkpoint()
    keeper.clock.now = now
    if merged:
        keeper.merge()
    assert at(keeper.restarted(Seen), now, look) == [there]


def test_time_to_live_is_added_taken_away_and_changed_over_a_restart_t129(shelf: Shelf) -> None:
    keeper = Keeper(Stays, shelf, Hands())
    at(keeper, 100, put(1))
    keeper.checkpoint()
    keeper = keeper.restarted(Seen)
    assert at(keeper, 10**15, look) == [1], "added: what was there stays until it is written"
    at(keeper, 10**15, put(2))
    keeper.checkpoint()
    keeper = keeper.restarted(Longer)
    assert at(keeper, 10**15 + 9, look) == [2]
    assert at(keeper, 10**15 + 10, look) == [0], "changed: what was there keeps its expiry"
    at(keeper, 10**15 + 10, put(3))
    assert at(keeper, 10**15 + 1_009, look) == [3]
    keeper.checkpoint()
    keeper = keeper.restarted(Stays)
    assert at(keeper, 10**16, look) == [3], "taken away: what is there stays"


def test_event_time_expires_by_the_watermark_before_the_record(shelf: Shelf) -> None:
    """Not by the record's own time, nor by the clock: others that are as old may still come."""
    keeper = Keeper(ByEvents, shelf, Hands(10**15))
    records = [("a", put(1)), *[("a", look)] * 3]
    assert keeper.feed(*records, times=[100, 500, 500, 500], marks=[0, 100, 109, 110])[1:] == [1, 1, 0]


@pytest.mark.parametrize(("time", "mark", "expiry"), [(100, 50, 110), (50, 100, 110), (100, 100, 110)])
def test_event_time_counts_from_the_record_or_from_a_later_watermark(
    shelf: Shelf, time: int, mark: int, expiry: int
) -> None:
    """A late record would else write what has expired already."""
    keeper = Keeper(ByEvents, shelf, Hands())
    keeper.feed(("a", put(1)), times=[time], marks=[mark])
    assert keeper.feed(("a", look), times=[0], marks=[expiry - 1]) == [1]
    assert keeper.feed(("a", look), times=[0], marks=[expiry]) == [0]


def test_event_time_without_timestamps_goes_by_the_watermark(shelf: Shelf) -> None:
    keeper = Keeper(ByEvents, shelf, Hands())
    keeper.advance(100)
    keeper.feed(("a", put(1)))
    keeper.advance(109)
    assert keeper.feed(("a", look)) == [1]
    keeper.advance(110)
    assert keeper.feed(("a", look)) == [0]


class Timed(ByEvents):
    """Writes when a timer fires."""

    def on_timer(self, timer: Timer, ctx: Context[Any], /) -> Iterable[Any]:
        """Show what there is, and write."""
        before, self.seen = self.seen, 9
        return [(timer.name, before, self.seen)]


def test_timer_of_event_time_reads_and_writes_at_its_own_time(shelf: Shelf) -> None:
    """However far the watermark has gone on: as if time had passed from timer to timer."""
    keeper = Keeper(Timed, shelf, Hands())

    def set_timers(op: Any, ctx: Any) -> None:
        op.seen = 1
        for at_us in (105, 112, 125):
            ctx.set_timer(at_us / 1e6, str(at_us))

    keeper.feed(("a", lambda op: set_timers(op, keeper.binding.context)), times=[100], marks=[0])
    keeper.advance(1_000)
    assert keeper.fire() == [("105", 1, 9), ("112", 9, 9), ("125", 0, 9)]


def test_timer_of_the_clock_writes_at_the_watermark(shelf: Shelf) -> None:
    """Its own time is not of the records' clock: it would keep alive for years what it writes."""
    keeper = Keeper(Timed, shelf, Hands(10**15))
    ctx: Any = keeper.binding.context
    set_timer: Any = lambda _: ctx.set_timer(0.0, "t", domain="processing")  # noqa: E731
    keeper.feed(("a", set_timer), times=[100], marks=[95])
    assert keeper.fire(10**15) == [("t", 0, 9)]
    assert keeper.feed(("a", look), times=[100], marks=[104]) == [9]
    assert keeper.feed(("a", look), times=[100], marks=[105]) == [0]


def test_value_written_at_the_end_of_time_is_there(shelf: Shelf) -> None:
    """T129: its expiry is beyond what a clock can show."""
    end = (1 << 63) - 1
    keeper = Keeper(ByEvents, shelf, Hands())
    assert keeper.feed(("a", put(1)), ("a", look), times=[5, 5], marks=[end, end])[1:] == [1]
    keeper.checkpoint()
    assert keeper.restarted(ByEvents).feed(("a", look), times=[5], marks=[end]) == [1]


def test_many_states_expire_each_by_itself(shelf: Shelf) -> None:
    keeper = Keeper(Many, shelf, Hands())

    def fill(op: Any) -> None:
        op.total += 1
        op.seen, op.cart = 1, {"x": 1}
        op.words.append(1)
        op.kept.append(1)

    def show(op: Any) -> Any:
        return op.total, op.seen, list(op.kept)

    def show_all(op: Any) -> Any:
        return *show(op), list(op.words), dict(op.cart)

    def feed(now: int, mark: int, *actions: Callable[[Any], Any]) -> list[Any]:
        keeper.clock.now = now
        times = [mark] * len(actions)
        return keeper.feed(*[("a", action) for action in actions], times=times, marks=times)

    feed(100, 0, fill)
    assert feed(105, 5, show_all) == [(1, 1, [1], [1], {"x": 1})]
    assert feed(109, 9, show) == [(1, 1, [1])]
    assert feed(112, 12, show_all) == [(1, 0, [1], [1], {"x": 1})], "reading them at 105 has kept list and cart"
    keeper.checkpoint()
    assert feed(130, 15, show_all) == [(1, 0, [1], [], {"x": 1})]
    assert feed(131, 40, show_all) == [(1, 0, [1], [], {})]
    assert keeper.state.rows.live["a"] == (1, MISSING, ([], 141), ({}, 50), [1])


def test_default_that_is_changed_in_place_is_stored(shelf: Shelf) -> None:
    keeper = Keeper(Many, shelf, Hands())

    def add(op: Any) -> Any:
        del op.words
        op.words.append(7)
        return list(op.words)

    assert at(keeper, 0, add) == [[7]]
    assert at(keeper, 9, lambda op: list(op.words)) == [[7]]


def test_list_changed_in_place_is_not_shared_with_a_frozen_one_t135(shelf: Shelf) -> None:
    keeper = Keeper(Many, shelf, Hands())
    at(keeper, 0, lambda op: op.words.append(1))
    generation = keeper.state.freeze()
    at(keeper, 1, lambda op: op.words.append(2))
    shelf.finish(keeper.state, generation)
    assert at(keeper.restarted(Many), 2, lambda op: list(op.words)) == [[1]]


def test_deleted_and_cleared_states_are_their_defaults_at_once(shelf: Shelf) -> None:
    keeper = Keeper(Many, shelf, Hands())
    at(keeper, 0, put(1), lambda op: op.words.append(1))
    assert at(keeper, 0, forget) == [0]
    assert at(keeper, 0, look, lambda op: list(op.words)) == [0, [1]]
    at(keeper, 0, put(1), clear)
    assert at(keeper, 0, look, lambda op: list(op.words)) == [0, []]


def test_state_that_stays_can_be_deleted_beside_one_that_expires(shelf: Shelf) -> None:
    """The deletion of a list is noticed in another way than that of what expires."""
    keeper = Keeper(Many, shelf, Hands())

    def forget_kept(op: Any) -> None:
        del op.kept

    at(keeper, 0, put(1), lambda op: op.kept.append(1), forget_kept)
    assert keeper.state.rows.live == {"a": (MISSING, (1, 10), MISSING, MISSING, MISSING)}
    assert at(keeper, 9, look, lambda op: op.kept) == [1, []]


def test_cleared_key_leaves_a_tombstone_only(shelf: Shelf) -> None:
    keeper = Keeper(Seen, shelf, Hands())
    at(keeper, 0, put(1), clear)
    assert keeper.state.rows.live == {"a": MISSING}


def test_default_that_is_written_is_no_value(shelf: Shelf) -> None:
    """As without a time-to-live; it could not be told from one that has expired."""
    keeper = Keeper(Seen, shelf, Hands())
    at(keeper, 0, put(1), put(0))
    assert keeper.state.rows.live == {"a": MISSING}


def test_each_key_ages_by_itself(shelf: Shelf) -> None:
    keeper = Keeper(Seen, shelf, Hands())
    keeper.feed(("a", put(1)))
    keeper.clock.now = 5
    keeper.feed(("b", put(2)))
    keeper.clock.now = 12
    assert keeper.feed(("a", look), ("b", look)) == [0, 2]


def test_loop_without_a_time_to_live_knows_of_none(shelf: Shelf) -> None:
    assert "ttl" not in Keeper(Stays, shelf, Hands()).source
    assert "event_ttl" not in Keeper(Seen, shelf, Hands()).source


def test_loop_with_one_hands_the_column_over_and_takes_it_back(shelf: Shelf) -> None:
    lines = [line.strip() for line in Keeper(ByEvents, shelf, Hands()).source.splitlines()]
    start = lines.index("event_ttl.now = w")
    assert lines[start : start + 6] == [
        "event_ttl.now = w",
        "event_ttl.written = t if t > w else w",
        "v = get(k, M)",
        "if v is M: v = older(k)",
        "ttl_seen.pair = v",
        "r = handle(e, ctx)",
    ]
    start = lines.index("u0 = ttl_seen.pair")
    assert lines[start : start + 3] == ["u0 = ttl_seen.pair", "if u0 is not v:", "live[k] = u0"]


class Leaky(Does):
    """Lets its state be used outside."""

    made: ClassVar[list[Any]] = []
    seen: ValueState[int] = ValueState(0, ttl=10e-6)

    def __init__(self) -> None:
        """Remember this object."""
        self.made.append(self)


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_use_outside_a_handler_is_refused_t32(shelf: Shelf, when: str) -> None:
    keeper = Keeper(Leaky, shelf, Hands())
    op = Leaky.made[-1]
    if when != "before":
        keeper.feed(("a", put(1)))
    if when == "after":
        keeper.binding.retire()
    with pytest.raises(StateAccessError, match=r"Leaky\.seen was used where there is no key"):
        _ = op.seen
    with pytest.raises(StateAccessError, match=r"Leaky\.seen was used where there is no key"):
        op.seen = 1
    with pytest.raises(StateAccessError, match=r"Leaky\.seen was used where there is no key"):
        del op.seen


def test_on_the_class_it_is_its_address(shelf: Shelf) -> None:
    """Also on the class that the runtime makes, which a handler finds by type(self)."""
    keeper = Keeper(Seen, shelf, Hands())
    (found,) = at(keeper, 0, lambda op: type(op).seen)
    assert isinstance(found, StateRef)
    assert found.name == "seen"
    assert Seen.seen == StateRef(Seen, "seen")
