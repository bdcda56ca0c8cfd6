"""Which types of map keys may change: only to what a stored entry is still found under."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, Literal

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.codec.schema import schema_of
from actorstream.codec.values import codec_for
from actorstream.errors import JobFailed, RestoreError
from actorstream.operators.columns import Column
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import MapState
from actorstream.runtime.schema_check import entry_of, evolved_column
from tests.runtime.doubles import Splits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from actorstream.operators.contexts import Context


class Kind(Enum):
    """By value: its members are strings."""

    A = "a"
    B = "b"


class Other(Enum):
    """The same values, another class."""

    A = "a"
    B = "b"


class Level(IntEnum):
    """Equal to ints, and not stored as they are."""

    LOW = 1


class Place(Enum):
    """By name: its members are neither strings nor ints."""

    HERE = (0, 0)


Grown = Enum("Kind", {"A": "a", "B": "b", "C": "c"})  # type: ignore[misc]
"""What Kind is later: under the name that it had."""


def _column(keys: Any) -> Column:
    return Column("parts", "map", codec_for(int), map_key=schema_of(keys))


@pytest.mark.parametrize(
    ("stored", "declared"),
    [
        (Kind, str),
        (Kind, str | int),
        (Kind, Other),
        (Level, int),
        (Literal["a"], Kind),
        (tuple[Kind, int], tuple[str, int]),
        (tuple[Kind, int], tuple[Other, int]),
        (tuple[Place, Kind], tuple[Place, Other]),
        (tuple[Kind, ...], tuple[str, ...]),
    ],
)
def test_an_enum_in_map_keys_stays_the_enum_that_it_is(stored: Any, declared: Any) -> None:
    """Values may be read as what they are made of; a key's bytes name the class and the member."""
    with pytest.raises(RestoreError, match=r"as its map keys .* under which no stored entry would be found"):
        evolved_column("op", _column(declared), entry_of(_column(stored), 1))


@pytest.mark.parametrize(
    ("stored", "declared"),
    [
        (Kind, Kind),
        (Kind, Grown),
        (Kind, Kind | None),
        (tuple[Place, Kind], tuple[Place, Grown]),
        (Literal["a"], str),
        (str, str | int),
    ],
)
def test_map_keys_that_may_be_more_are_found_as_before(stored: Any, declared: Any) -> None:
    """Members, choices or types were added."""
    column = evolved_column("op", _column(declared), entry_of(_column(stored), 1))
    assert column.map_key == schema_of(declared)


class _ByKind(KeyedProcess[int, int, object]):
    parts: MapState[Kind, int] = MapState()

    def on_element(self, value: int, ctx: Context[int], /) -> Iterable[object]:
        self.parts[Kind.A] = value
        return []


class _ByText(KeyedProcess[int, int, object]):
    parts: MapState[str, int] = MapState()

    def on_element(self, value: int, ctx: Context[int], /) -> Iterable[object]:
        return [self.parts.get("a")]


async def test_a_job_whose_keys_were_an_enum_does_not_start_with_its_values_as_keys(tmp_path: Path) -> None:
    """It would find nothing, and write beside what is there."""
    for process, splits in ((_ByKind, {"0": [5]}), (_ByText, {"0": [5], "1": [6]})):
        out: list[object] = []
        pipeline = Pipeline("keys", max_parallelism=8)
        keyed = pipeline.source(Splits(splits), name="in").key_by(lambda _: 1)
        keyed.process(process, name="op").sink(out.append, name="out")
        if process is _ByKind:
            await pipeline.run(store=tmp_path)
        else:
            with pytest.raises(
                (RestoreError, JobFailed), match=r"state op\.parts had Kind as its map keys and has str"
            ):
                await pipeline.run(store=tmp_path)
            assert out == []
