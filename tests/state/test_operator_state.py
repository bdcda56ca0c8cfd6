"""State against a plain dict model, through freezes, failures, evictions, cold reads, crashes and other splits."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from actorstream.codec.ordered_keys import encode_key
from actorstream.state import cold_read, epochs, operator_state
from actorstream.state.memtable import MISSING
from tests.state.histories import INDEX, KEY, KEYS, MAP_KEY, MAP_KEYS, VALUE, History, by_code
from tests.state.rig import MAP, OTHER_ROW, ROW, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorstream.state.operator_state import StateColumn


@pytest.fixture(autouse=True)
def everything_is_large() -> Iterator[None]:
    """Let written entries linger, clean ones fill several dicts, and every batch be worth a cold read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operator_state, "_SETTLE_AT_ONCE", 0)
        patch.setattr(epochs, "CLEAN_ENTRIES_MAX", 2)
        patch.setattr(cold_read, "COLD_KEYS_MIN", 0)
        yield


class Rows(History):
    """One value column."""

    columns: Sequence[StateColumn] = (ROW,)
    ways: Sequence[str] = (
        *("set_row", "set_row", "delete_row", "read_and_change_in_place", "read_and_change_in_place"),
        *("begin_cold_read", "end_cold_read", "read_everything"),
    )

    def row_of(self, value: object) -> object:
        return value

    @rule(key=KEY, value=VALUE)
    def set_row(self, key: str, value: object) -> None:
        subtask, row = self.owner(key), self.row_of(value)
        subtask.state.rows.live[key] = row
        subtask.model.rows[key] = deepcopy(row)

    @rule(key=KEY)
    def delete_row(self, key: str) -> None:
        subtask = self.owner(key)
        subtask.state.clear_key(key)
        subtask.model.rows[key] = MISSING

    @rule(key=KEY, extra=st.integers(0, 9))
    def read_and_change_in_place(self, key: str, extra: int) -> None:
        subtask = self.owner(key)
        row, expected = read(subtask.state, key), subtask.model.rows.get(key, MISSING)
        assert row == expected
        for value, model in zip(columns_of(row), columns_of(expected), strict=True):
            if isinstance(value, list) and isinstance(model, list):
                value.append(extra)
                model.append(extra)

    @rule(index=INDEX)
    def read_everything(self, index: int) -> None:
        """As records do, which is not as `peek` does."""
        subtask = self.at(index)
        for key in KEYS:
            if self.owner(key) is subtask:
                assert read(subtask.state, key) == subtask.model.rows.get(key, MISSING)

    @rule(index=INDEX, change=st.booleans())
    def begin_cold_read(self, index: int, change: bool) -> None:
        """Its thread may be done at once, or only when it is waited for."""
        subtask = self.at(index)
        subtask.state._cold_reads._looking = True
        begun = subtask.state.missing([key for key in KEYS if self.owner(key) is subtask])
        if begun is not None:
            subtask.cold_reads.append(begun)
            if change:
                begun.read()

    @rule(index=INDEX, at=INDEX, change=st.booleans(), reverse=st.booleans())
    def end_cold_read(self, index: int, at: int, change: bool, reverse: bool) -> None:
        subtask = self.at(index)
        for begun in subtask.cold_reads[at : at + 1]:
            subtask.cold_reads.remove(begun)
            if change:
                begun.read()
            begun.drop() if reverse and change else begun.settle()


class WideRows(Rows):
    """Two value columns in one row."""

    columns = (ROW, OTHER_ROW)

    def row_of(self, value: object) -> object:
        return (MISSING, value) if isinstance(value, int) and value % 2 else (value, 3)


class Maps(History):
    """A map column."""

    columns = (MAP,)
    ways = (
        *("set_entry", "set_entry", "set_entry", "delete_entry", "clear", "read_and_change_in_place", "scan"),
        "read_everything",
    )

    @rule(key=KEY, map_key=MAP_KEY, value=VALUE)
    def set_entry(self, key: str, map_key: object, value: object) -> None:
        subtask = self.owner(key)
        subtask.state.maps["pages"].set(key, map_key, value)
        subtask.model.maps.setdefault(key, {})[map_key] = deepcopy(value)

    @rule(key=KEY, map_key=MAP_KEY)
    def delete_entry(self, key: str, map_key: object) -> None:
        subtask = self.owner(key)
        subtask.state.maps["pages"].delete(key, map_key)
        subtask.model.maps.setdefault(key, {}).pop(map_key, None)

    @rule(key=KEY)
    def clear(self, key: str) -> None:
        subtask = self.owner(key)
        subtask.state.clear_key(key)
        subtask.model.maps[key] = {}

    @rule(key=KEY, map_key=MAP_KEY)
    def read_and_change_in_place(self, key: str, map_key: object) -> None:
        subtask = self.owner(key)
        table, model = subtask.state.maps["pages"], subtask.model.maps.get(key, {})
        assert table.contains(key, map_key) == (map_key in model)
        value = table.get(key, map_key)
        assert value == model.get(map_key, MISSING)
        if isinstance(value, list):
            value.append(4)
            model[map_key] = deepcopy(value)

    @rule(index=INDEX)
    def read_everything(self, index: int) -> None:
        """One by one, which is not as scans do."""
        subtask = self.at(index)
        for key in KEYS:
            for map_key in MAP_KEYS if self.owner(key) is subtask else ():
                expected = map_key in subtask.model.maps.get(key, {})
                assert subtask.state.maps["pages"].contains(key, map_key) == expected

    @rule(key=KEY, start=st.none() | MAP_KEY, stop=st.none() | MAP_KEY, reverse=st.booleans(), change=st.booleans())
    def scan(self, key: str, start: object, stop: object, reverse: bool, change: bool) -> None:
        subtask = self.owner(key)
        table, model = subtask.state.maps["pages"], subtask.model.maps.get(key, {})
        low, high = (None if bound is None else encode_key(bound) for bound in (start, stop))
        inside = (
            (map_key, value)
            for map_key, value in model.items()
            if (low is None or encode_key(map_key) >= low) and (high is None or encode_key(map_key) < high)
        )
        found = list(table.items(key, start, stop, reverse=reverse))
        assert found == by_code(inside)[:: -1 if reverse else 1]
        assert table.len(key) == len(model)
        for map_key, value in found if change else ():
            if isinstance(value, list):
                value.append(8)
                model[map_key] = deepcopy(value)


def columns_of(row: object) -> tuple[object, ...]:
    return row if isinstance(row, tuple) else (row,)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("machine", [Rows, WideRows, Maps])
def test_long_history_ends_where_the_model_does(machine: type[History], seed: int) -> None:
    """What takes a write, a freeze, an eviction and a read at the right moments seldom happens by chance."""
    history = machine()
    history.start(parallelism=1 + seed % 2)
    history.go_on(Random(seed), 300)
    history.teardown()


QUICK = settings(max_examples=10, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
TestRows, TestWideRows, TestMaps = Rows.TestCase, WideRows.TestCase, Maps.TestCase
for _case in (TestRows, TestWideRows, TestMaps):
    _case.settings = QUICK
del _case
