"""What handlers do with a state: rows and maps are read, written, changed in place and walked through."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.codec.ordered_keys import encode_key
from actorstream.state.missing import MISSING
from tests.state.content import VALUES, between, change_in_place, coded
from tests.state.machine import Machine
from tests.state.rig import read
from tests.state.steps import step
from tests.state.subtasks import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.state.map_table import MapTable
    from tests.state.subtasks import Subtask

MEANWHILE = ["nothing", "nothing", "set", "set", *["set next"] * 4, "get", "get", "walk", "delete", "clear", "stop"]


class Handling(Machine):
    """The machine with its handlers. One runs at a time, so a step may be a part of one."""

    def key(self, at: int) -> object:
        return self.keys[at % len(self.keys)]

    def owner(self, key: object) -> Subtask:
        (owner,) = [subtask for subtask in self.subtasks if subtask.owns(key)]
        return owner

    def map_key(self, at: int) -> object:
        return self.map_keys[at % len(self.map_keys)]

    def table(self, name: int, key: object) -> tuple[MapTable, dict[bytes, object]]:
        column, owner = self.map_names[name % len(self.map_names)], self.owner(key)
        return owner.state.maps[column], owner.model.map_of(column, key)

    @step(3)
    def write_much(self, seed: int) -> None:
        """Write, delete and clear half of all that there is."""
        random = Random(seed)
        for at in range(len(self.keys)):
            if random.random() < 0.1:
                self.clear_key(at)
            if self.width and random.random() < 0.6:
                self.set_row(at, *random.choices([*VALUES, MISSING], k=2))
            for name in range(len(self.map_names)):
                if random.random() < 0.2:
                    self.clear_map(name, at)
                for map_at in range(len(self.map_keys)):
                    if random.random() < 0.4:
                        self.set_entry(name, at, map_at, random.choice(VALUES))
                    elif random.random() < 0.3:
                        self.delete_entry(name, at, map_at)

    @step(2)
    def clear_key(self, at: int) -> None:
        owner = self.owner(self.key(at))
        owner.state.clear_key(self.key(at))
        owner.model.clear_key(self.key(at))

    @step(4)
    def change_what_was_handed_out(self, index: int | None, at: int, extra: int | None) -> None:
        """Whatever was evicted, settled, written or taken back since: until the freeze it is the value (T135)."""
        for subtask in self.some(index):
            for pair in subtask.held[-1 - at :][:1]:
                self.change(pair, extra or 0)

    @step(1)
    def look_and_spoil(self, at: int) -> None:
        """What a query is given is its own, and nothing counts as written."""
        state = self.owner(self.key(at)).state
        dirty = [table.dirty for table in state._tables]
        if self.width:
            change_in_place(state.rows.peek(self.key(at)), 3)
        for table in state.maps.values():
            for _, value in table.peek(self.key(at)):
                change_in_place(value, 3)
        assert [table.dirty for table in state._tables] == dirty

    def hand_out(self, key: object, value: object, expected: object, extra: int | None) -> None:
        """Compare, remember, and perhaps change in place what a handler has in hand."""
        assert value == expected
        self.owner(key).held.append((value, expected))
        if extra is not None:
            self.change((value, expected), extra)

    @staticmethod
    def change(pair: tuple[object, object], extra: int) -> None:
        for value in pair:
            change_in_place(value, extra)

    # ---- rows --------------------------------------------------------------------------------------------------------

    @step(6, needs="width")
    def set_row(self, at: int, value: object, other: object) -> None:
        """Set a row, or delete it: that is to set it to MISSING."""
        owner = self.owner(self.key(at))
        columns = tuple(deepcopy(each) for each in (value, other)[: self.width])  # no object in two places
        gone = all(each is MISSING for each in columns)
        row = MISSING if gone else columns[0] if self.width == 1 else columns
        owner.state.rows.live[self.key(at)] = row
        owner.model.set_row(self.key(at), deepcopy(columns))
        self.hand_out(self.key(at), row, owner.model.row(self.key(at), self.width), None)

    @step(9, needs="width")
    def read_row(self, at: int, extra: int | None) -> None:
        owner = self.owner(self.key(at))
        expected = owner.model.row(self.key(at), self.width)
        self.hand_out(self.key(at), read(owner.state, self.key(at)), expected, extra)

    @step(6, needs="width")
    def read_all_rows(self) -> None:
        for at in range(len(self.keys)):
            self.read_row(at, None)

    @step(6, needs="width")
    def begin_cold_read(self, index: int | None, at_once: bool) -> None:
        """Its thread is over at once, or begins only when it is waited for."""
        for subtask in self.some(index):
            subtask.state._cold_reads._looking = True
            keys = [key for key in self.keys if subtask.owns(key)]
            begun = subtask.state.missing(keys) if len(subtask.reads) < 2 else None
            if begun is not None:
                subtask.reads.append(Reading(begun))
                if at_once:
                    subtask.reads[-1].wait()

    @step(5, needs="width")
    def fetch(self, index: int | None) -> None:
        """What an actor does before a batch."""
        self.begin_cold_read(index, at_once=True)
        self.end_cold_read(index, drop=False)

    @step(8, needs="width")
    def end_cold_read(self, index: int | None, drop: bool) -> None:
        for subtask in self.some(index):
            if subtask.reads:
                subtask.end_read(drop=drop)

    # ---- maps --------------------------------------------------------------------------------------------------------

    @step(9, needs="map_names")
    def set_entry(self, name: int, at: int, map_at: int, value: object) -> None:
        table, model = self.table(name, self.key(at))
        given = None if value is MISSING else deepcopy(value)
        table.set(self.key(at), self.map_key(map_at), given)
        expected = model[encode_key(self.map_key(map_at))] = deepcopy(given)
        self.hand_out(self.key(at), given, expected, None)

    @step(6, needs="map_names")
    def delete_entry(self, name: int, at: int, map_at: int) -> None:
        table, model = self.table(name, self.key(at))
        table.delete(self.key(at), self.map_key(map_at))
        model.pop(encode_key(self.map_key(map_at)), None)

    @step(3, needs="map_names")
    def clear_map(self, name: int, at: int) -> None:
        table, model = self.table(name, self.key(at))
        table.clear(self.key(at))
        model.clear()

    @step(9, needs="map_names")
    def read_entry(self, name: int, at: int, map_at: int, extra: int | None) -> None:
        table, model = self.table(name, self.key(at))
        expected = model.get(encode_key(self.map_key(map_at)), MISSING)
        self.hand_out(self.key(at), table.get(self.key(at), self.map_key(map_at)), expected, extra)

    @step(4, needs="map_names")
    def ask_for_all_entries(self) -> None:
        """One by one, which is not as scans do."""
        for name, key in product(range(len(self.map_names)), self.keys):
            table, model = self.table(name, key)
            for map_key in self.map_keys:
                assert table.contains(key, map_key) == (encode_key(map_key) in model)

    @step(5, needs="map_names")
    def scan(self, start: object, stop: object) -> None:
        for name, key, reverse in product(range(len(self.map_names)), self.keys, (False, True)):
            table, model = self.table(name, key)
            expected = [(each, model[each]) for each in between(model, start, stop, reverse=reverse)]
            assert coded(list(table.items(key, start, stop, reverse=reverse))) == expected

    @step(4, needs="map_names")
    def walk(self, name: int, at: int, start: object, reverse: bool, extra: int | None, seed: int) -> None:
        """Values that are set or changed meanwhile are seen; another size is an error at the next step."""
        table, model = self.table(name, self.key(at))
        random = Random(seed)
        walk = table.items(self.key(at), start, reverse=reverse)
        ahead = list(between(model, start, None, reverse=reverse))
        while ahead:
            expected = ahead.pop(0)
            map_key, value = next(walk, (None, MISSING))
            assert value is not MISSING
            assert encode_key(map_key) == expected
            self.hand_out(self.key(at), value, model[expected], extra)
            if not self.goes_on(walk, name, at, ahead, random):
                return
        assert next(walk, None) is None

    def goes_on(self, walk: Iterator[Any], name: int, at: int, ahead: Sequence[bytes], random: Random) -> bool:
        """Do something in the middle of a walk, `ahead` of which these keys lie; tell whether it goes on."""
        what, map_at = random.choice(MEANWHILE), random.randrange(len(self.map_keys))
        table, model = self.table(name, self.key(at))
        before = list(model)
        match what:
            case "set":
                self.set_entry(name, at, map_at, random.choice(VALUES))
            case "set next":
                for found in ahead[:1]:
                    which = next(place for place, each in enumerate(self.map_keys) if encode_key(each) == found)
                    self.set_entry(name, at, which, random.choice(VALUES))
            case "get":
                self.read_entry(name, at, map_at, extra=1)
            case "walk":
                assert coded(list(table.items(self.key(at)))) == [(each, model[each]) for each in sorted(model)]
            case "delete":
                self.delete_entry(name, at, map_at)
            case "clear":
                self.clear_map(name, at)
            case "stop":
                walk.close()  # type: ignore[attr-defined]  # it is a generator
                return False
            case _:
                pass
        if what not in {"delete", "clear"} and list(model) == before:
            return True
        with pytest.raises(RuntimeError, match="changed size"):
            next(walk, None)
        return False
