"""Offline state against dicts: written over several layers, read, and gathered anew for other key groups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.evolve.offline_state import OfflineState
from actorstream.evolve.rewritten import Rewritten
from actorstream.evolve.stored_items import items_of
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state import entries
from actorstream.state.layer import open_checked
from actorstream.state.missing import MISSING
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from tests.state.rig import MAP, ROW, Shelf, state_over

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLICES = StateColumn(StateNumber(9), "panes", "slices", SELF_DESCRIBING)
TIMERS = StateColumn(StateNumber(10), "(timers)", "timers", SELF_DESCRIBING)
COLUMNS = (ROW, MAP, SLICES, TIMERS)
LONG = "k" * 250
KEYS = ["a", "b", "", "a\0", LONG, LONG + "1", LONG + "2", "k" * 195, "z" * 201]
WIDER = KeyGroupRange(0, 13)
SORTED_AT_ONCE = 2_000


@pytest.fixture(params=["true hash", "every digest the same"])
def hashing(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "true hash":
            patch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
        yield


def time(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


class Model:
    """What the four states must hold, by item."""

    def __init__(self) -> None:
        self.held: dict[str, dict[Any, Any]] = {column.name: {} for column in COLUMNS}
        self.floor = -100

    def change(self, state: OperatorState, random: Random) -> None:
        """Do something to one key, in the state and here."""
        key, other, number = random.choice(KEYS), random.choice(KEYS), random.randint(0, 99)
        rows, panes = self.held["value"], self.held["panes"]
        action = random.random()
        if action < 0.25:
            gone = random.random() < 0.3
            state.rows.live[key] = MISSING if gone else number
            rows.pop(key, None)
            if not gone:
                rows[key] = number
        elif action < 0.6:
            self._change_map(state, random, key, other, number)
        elif action < 0.8:
            self._change_timers(state, random, key, number)
        elif action < 0.97:
            assert state.slices is not None
            start = max(self.floor, random.randint(-20, 20))
            state.slices.enter(start)[key] = number
            panes[time(start), key] = number
        else:
            assert state.slices is not None
            self.floor = max(self.floor, random.randint(-20, 10))
            state.slices.drop_before(self.floor)
            for item in [item for item in panes if item[0] < time(self.floor)]:
                del panes[item]

    def _change_map(self, state: OperatorState, random: Random, key: str, other: str, number: int) -> None:
        pages = self.held["pages"]
        action = random.random()
        if action < 0.7:
            state.maps["pages"].set(key, other, number)
            pages[key, other] = number
        elif action < 0.9:
            state.maps["pages"].delete(key, other)
            pages.pop((key, other), None)
        else:
            state.maps["pages"].clear(key)
            for item in [item for item in pages if item[0] == key]:
                del pages[item]

    def _change_timers(self, state: OperatorState, random: Random, key: str, number: int) -> None:
        assert state.timers is not None
        timers, domain, name = self.held["(timers)"], random.choice(["event", "processing"]), random.choice(["", LONG])
        action = random.random()
        if action < 0.7:
            state.timers.set(key, name, domain, number)  # type: ignore[arg-type]
            timers[key, domain, name] = time(number)
        elif action < 0.85:
            state.timers.cancel(key, name, domain)  # type: ignore[arg-type]
            timers.pop((key, domain, name), None)
        else:
            for fired in state.timers.due("event", number):
                if fired is not None:
                    del timers[fired.key, fired.domain, fired.name]


def check(stack: LayerStack, model: Model) -> None:
    for column in COLUMNS:
        items = items_of(column.kind, f"views.{column.name}", column.codec)
        state = OfflineState(items, column.kind, (OperatorNumber(5), column.number), stack, None)
        held = model.held[column.name]
        found = list(state.items())
        assert dict(found) == held
        assert len(found) == len(held), "an item came twice"
        check_order(found, column.kind)
        for key in KEYS:
            assert state.get(key, None) == expected_of(held, key, column.kind)
        bounds = [time(-3), time(4)] if column.kind == "slices" else ["a\0", LONG + "1"]
        for start, stop in [bounds, [bounds[0], None], [None, bounds[1]]]:
            assert dict(state.items(start=start, stop=stop)) == within(held, start, stop)


def check_order(found: list[tuple[Any, Any]], kind: str) -> None:
    firsts = [item if kind == "value" else item[0] for item, _ in found]
    orders = [first if kind == "slices" else encode_key(first)[:200] for first in firsts]
    assert orders == sorted(orders)


def expected_of(held: dict[Any, Any], key: object, kind: str) -> object:
    match kind:
        case "value":
            return held.get(key)
        case "map":
            return {item[1]: value for item, value in held.items() if item[0] == key}
        case "slices":
            return {item[0]: value for item, value in held.items() if item[1] == key}
        case _:
            return {item[1:]: value for item, value in held.items() if item[0] == key}


def within(held: dict[Any, Any], start: Any, stop: Any) -> dict[Any, Any]:
    firsts = {item: item[0] if isinstance(item, tuple) else item for item in held}
    return {
        item: value
        for item, value in held.items()
        if (start is None or firsts[item] >= start) and (stop is None or firsts[item] < stop)
    }


def gathered_anew(shelf: Shelf, stack: LayerStack) -> LayerStack:
    """Take every entry over into a layer of its own, for another number of key groups, sorting in files."""
    entries = Rewritten(shelf.files, str(shelf.folder), OperatorNumber(5), WIDER.end, SORTED_AT_ONCE)
    for column in COLUMNS:
        items = items_of(column.kind, column.name, column.codec)
        state = OfflineState(items, column.kind, (OperatorNumber(5), column.number), stack, None)
        for order, parts, value in state.rows():
            entries.keep(column.number, items.part_of(parts), order, value, timers=column.kind == "timers")
    path = f"{shelf.folder}/{shelf.name()}"
    file = entries.write(path, {}, {})
    entries.close()
    assert not list(shelf.folder.glob("*.run"))
    return LayerStack([(WIDER, [] if file is None else [open_checked(shelf.files, path, file)])])


@pytest.mark.usefixtures("hashing")
@pytest.mark.parametrize("seed", range(20))
def test_offline_state_holds_what_the_layers_hold_and_again_after_it_was_gathered_anew(
    seed: int, tmp_path: Path
) -> None:
    """Deletions, cleared maps, dropped slices and fired timers in newer layers hide what older ones hold (T130)."""
    random, shelf, model = Random(seed), Shelf(tmp_path), Model()
    state = state_over(columns=COLUMNS)
    for _ in range(random.randint(1, 5)):
        for _ in range(random.randint(1, 60)):
            model.change(state, random)
        shelf.checkpoint(state)
    check(state.stack, model)

    wider = gathered_anew(shelf, state.stack)

    check(wider, model)


def test_a_timer_taken_over_fires_at_its_time_in_its_new_key_group(shelf_in: Shelf) -> None:
    """Timers lie by name and by time: both must have moved."""
    state = state_over(columns=COLUMNS)
    assert state.timers is not None
    for number, key in enumerate(KEYS):
        state.timers.set(key, "n", "event", number)
    shelf_in.checkpoint(state)

    stack = gathered_anew(shelf_in, state.stack)

    moved = OperatorState(
        operator=OperatorNumber(5), columns=COLUMNS, key_groups=WIDER, max_parallelism=WIDER.end, stack=stack
    )
    assert moved.timers is not None
    fired = [timer for timer in moved.timers.due("event", 100) if timer is not None]
    assert [(timer.at, timer.key) for timer in fired] == list(enumerate(KEYS))


@pytest.fixture
def shelf_in(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)
