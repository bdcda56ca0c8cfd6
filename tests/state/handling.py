"""What handlers do with a state: rows and maps are read, written, changed in place and walked through."""

from __future__ import annotations

from copy import deepcopy
from itertools import zip_longest
from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Literal, TypeAlias

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from actorstream.codec.ordered_keys import encode_key
from actorstream.state.missing import MISSING
from tests.state.content import BOUNDS, MAP_KEYS, VALUES, between, change_in_place, coded, columns_of
from tests.state.machine import INDEX, SEED, Machine
from tests.state.rig import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.state.map_table import MapTable

AT = st.integers(0, 4)
EXTRA = st.none() | st.integers(0, 3)
VALUE = st.sampled_from(VALUES).map(deepcopy)
BOUND = st.sampled_from(BOUNDS)
Meanwhile: TypeAlias = Literal["nothing", "set", "get", "delete", "clear", "walk", "stop"]
MEANWHILE: list[Meanwhile] = ["nothing", "set", "set", "get", "get", "delete", "clear", "walk", "stop"]

rows_only = precondition(lambda self: self.width)
maps_only = precondition(lambda self: self.map_names)


class Handling(Machine):
    """The machine with its handlers. One runs at a time, so a rule may be a part of one."""

    def key(self, at: int) -> object:
        return self.keys[at % len(self.keys)]

    def map_key(self, at: int) -> object:
        return self.map_keys[at % len(self.map_keys)]

    def table(self, at: int, key: object) -> tuple[MapTable, dict[bytes, object]]:
        name, owner = self.map_names[at % len(self.map_names)], self.owner(key)
        return owner.state.maps[name], owner.model.map_of(name, key)

    @rule(seed=SEED)
    def write_much(self, seed: int) -> None:
        random = Random(seed)
        for at in range(len(self.keys)):
            if random.random() < 0.1:
                self.clear_key(at)
            if self.width and random.random() < 0.6:
                self.set_row(at, [deepcopy(random.choice([MISSING, *VALUES])) for _ in range(2)])
            for name in range(len(self.map_names)):
                if random.random() < 0.2:
                    self.clear_map(name, at)
                for map_at in range(len(self.map_keys)):
                    if random.random() < 0.5:
                        self.set_entry(name, at, map_at, deepcopy(random.choice(VALUES)))
                    elif random.random() < 0.3:
                        self.delete_entry(name, at, map_at)

    @rule(at=AT)
    def clear_key(self, at: int) -> None:
        key = self.key(at)
        self.owner(key).state.clear_key(key)
        self.owner(key).model.clear_key(key)

    @rule(index=INDEX, at=AT, extra=st.integers(0, 3))
    def change_what_was_handed_out(self, index: int, at: int, extra: int) -> None:
        """Whatever was evicted, settled, written or taken back since: until the freeze it is the value (T135)."""
        for pair in self.at(index).held[at : at + 1]:
            for value in pair:
                change_in_place(value, extra)

    @rule(at=AT)
    def look_and_spoil(self, at: int) -> None:
        """What a query is given is its own, and nothing counts as written."""
        key = self.key(at)
        state = self.owner(key).state
        dirty = [table.dirty for table in state._tables]
        if self.width:
            change_in_place(state.rows.peek(key), 3)
        for table in state.maps.values():
            for _, value in table.peek(key):
                change_in_place(value, 3)
        assert [table.dirty for table in state._tables] == dirty

    # ---- rows --------------------------------------------------------------------------------------------------------

    @rows_only
    @rule(at=AT, values=st.lists(VALUE | st.just(MISSING), min_size=2, max_size=2))
    def set_row(self, at: int, values: list[object]) -> None:
        key, columns = self.key(at), values[: self.width]
        owner = self.owner(key)
        gone = all(value is MISSING for value in columns)
        row = MISSING if gone else columns[0] if self.width == 1 else tuple(columns)
        owner.state.rows.live[key] = row
        owner.model.set_row(key, deepcopy(columns))
        owner.held.append((row, owner.model.row(key, self.width)))

    @rows_only
    @rule(at=AT, extra=EXTRA)
    def read_row(self, at: int, extra: int | None) -> None:
        key = self.key(at)
        owner = self.owner(key)
        row, expected = read(owner.state, key), owner.model.row(key, self.width)
        assert row == expected
        owner.held.append((row, expected))
        if extra is not None:
            change_in_place(row, extra)
            change_in_place(expected, extra)

    @rows_only
    @rule(index=INDEX)
    def read_all_rows(self, index: int) -> None:
        subtask = self.at(index)
        for key in self.keys:
            if self.owner(key) is subtask:
                row, expected = read(subtask.state, key), subtask.model.row(key, self.width)
                assert columns_of(row, self.width) == columns_of(expected, self.width)

    @rows_only
    @rule(index=INDEX, at_once=st.booleans())
    def begin_cold_read(self, index: int, at_once: bool) -> None:
        """Its thread is over at once, or begins only when it is waited for."""
        subtask = self.at(index)
        subtask.state._cold_reads._looking = True
        begun = subtask.state.missing([key for key in self.keys if self.owner(key) is subtask])
        if begun is not None:
            thread = Thread(target=begun.read)
            subtask.reads.append((begun, thread))
            if at_once:
                thread.start()
                thread.join()

    @rows_only
    @rule(index=INDEX, at=INDEX, drop=st.booleans())
    def end_cold_read(self, index: int, at: int, drop: bool) -> None:
        subtask = self.at(index)
        if at < len(subtask.reads):
            subtask.end_read(at, drop=drop)

    # ---- maps --------------------------------------------------------------------------------------------------------

    @maps_only
    @rule(name=INDEX, at=AT, map_at=AT, value=VALUE)
    def set_entry(self, name: int, at: int, map_at: int, value: object) -> None:
        self.set_one(name, self.key(at), self.map_key(map_at), value)

    def set_one(self, name: int, key: object, map_key: object, value: object) -> None:
        table, model = self.table(name, key)
        table.set(key, map_key, value)
        expected = model[encode_key(map_key)] = deepcopy(value)
        self.owner(key).held.append((value, expected))

    @maps_only
    @rule(name=INDEX, at=AT, map_at=AT)
    def delete_entry(self, name: int, at: int, map_at: int) -> None:
        key, map_key = self.key(at), self.map_key(map_at)
        table, model = self.table(name, key)
        table.delete(key, map_key)
        model.pop(encode_key(map_key), None)

    @maps_only
    @rule(name=INDEX, at=AT)
    def clear_map(self, name: int, at: int) -> None:
        table, model = self.table(name, self.key(at))
        table.clear(self.key(at))
        model.clear()

    @maps_only
    @rule(name=INDEX, at=AT, map_at=AT, extra=EXTRA)
    def read_entry(self, name: int, at: int, map_at: int, extra: int | None) -> None:
        self.read_one(name, self.key(at), self.map_key(map_at), extra)

    def read_one(self, name: int, key: object, map_key: object, extra: int | None) -> None:
        table, model = self.table(name, key)
        expected = model.get(encode_key(map_key), MISSING)
        value = table.get(key, map_key)
        assert value == expected
        self.owner(key).held.append((value, expected))
        if extra is not None:
            change_in_place(value, extra)
            change_in_place(expected, extra)

    @maps_only
    @rule(name=INDEX, at=AT)
    def ask_for_all_entries(self, name: int, at: int) -> None:
        """One by one, which is not as scans do."""
        table, model = self.table(name, self.key(at))
        for map_key in MAP_KEYS:
            assert table.contains(self.key(at), map_key) == (encode_key(map_key) in model)

    @maps_only
    @rule(name=INDEX, at=AT, start=BOUND, stop=BOUND, reverse=st.booleans())
    def scan(self, name: int, at: int, start: object, stop: object, reverse: bool) -> None:
        table, model = self.table(name, self.key(at))
        expected = [(each, model[each]) for each in between(model, start, stop, reverse=reverse)]
        assert coded(list(table.items(self.key(at), start, stop, reverse=reverse))) == expected

    @maps_only
    @rule(
        name=INDEX,
        at=AT,
        start=st.none() | BOUND,
        reverse=st.booleans(),
        extra=EXTRA,
        plan=st.lists(st.tuples(st.sampled_from(MEANWHILE), AT, VALUE), max_size=4),
    )
    def walk_and_change(  # noqa: PLR0913  (a rule's arguments)
        self,
        name: int,
        at: int,
        start: object,
        reverse: bool,
        extra: int | None,
        plan: list[tuple[Meanwhile, int, object]],
    ) -> None:
        """Values that are set or changed meanwhile are seen; another size is an error at the next step."""
        key = self.key(at)
        table, model = self.table(name, key)
        walk = table.items(key, start, None, reverse=reverse)
        steps = list(between(model, start, None, reverse=reverse))
        for expected, doing in zip_longest(steps, plan[: len(steps)]):
            map_key, value = next(walk)
            assert (encode_key(map_key), value) == (expected, model[expected])
            self.owner(key).held.append((value, model[expected]))
            if extra is not None:
                change_in_place(value, extra)
                change_in_place(model[expected], extra)
            if doing is not None and not self.go_on(walk, name, key, doing):
                return
        assert next(walk, None) is None

    def go_on(
        self, walk: Iterator[object], name: int, key: object, doing: tuple[Meanwhile, int, object]
    ) -> bool:
        """Do something in the middle of a walk; tell whether it goes on."""
        what, map_at, value = doing
        map_key = self.map_key(map_at)
        table, model = self.table(name, key)
        size = len(model)
        match what:
            case "nothing":
                return True
            case "get":
                self.read_one(name, key, map_key, extra=map_at)
                return True
            case "walk":
                assert coded(list(table.items(key))) == [(each, model[each]) for each in sorted(model)]
                return True
            case "stop":
                walk.close()  # type: ignore[attr-defined]  # a generator
                return False
            case "set":
                self.set_one(name, key, map_key, value)
                if len(model) == size:
                    return True
            case "delete":
                table.delete(key, map_key)
                model.pop(encode_key(map_key), None)
            case "clear":
                table.clear(key)
                model.clear()
        with pytest.raises(RuntimeError, match="changed size"):
            next(walk)
        return False
