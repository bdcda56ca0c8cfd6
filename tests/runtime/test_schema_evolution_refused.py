"""Changes of types that a job does not start with, and functions between versions that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.errors import CodecError, RestoreError
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from tests.runtime.test_schema_evolution import (
    First,
    Second,
    Store,
    Third,
    Total,
    TotalInCents,
    to_cents,
)

if TYPE_CHECKING:
    from pathlib import Path


class Narrow(First):
    """Values that the first class wrote cannot be these."""

    total: ValueState[int] = ValueState(0)  # type: ignore[assignment]


class Needy(First):
    """A field was added that has no default."""

    lines: ListState[TotalInCents] = ListState()  # type: ignore[assignment]


class Jumped(First):
    """A version without a function."""

    parts: MapState[int, TotalInCents] = MapState(version=3, migrate={2: to_cents})  # type: ignore[assignment]


REFUSED: list[tuple[list[type[First]], str]] = [
    (
        [First, Narrow],
        r"state p\.total changed its type: value was Total and is int now; stored was Total\(euros: int, gone: str = "
        r"\.\.\.\) \(version 1\), declared is int \(version 1\): .*say version=2 and migrate=\{1: \.\.\.\}",
    ),
    (
        [First, Needy],
        r"state p\.lines changed its type: value\[item\]\.cents was added without a default; .*give 'cents' a default, "
        r"or say rename=\{'euros': 'cents'\} if that is what it was called, or say version=2",
    ),
    ([First, Jumped], r"state p\.parts changed its type: version 1 was stored, version 3 is declared, and there is no"),
    ([First, Third, Second], r"state p\.total changed its type: version 2 was stored, and version 1 is declared"),
    ([First, Second, Narrow], r"state p\.total changed its type: value was TotalRenamed and is int now"),
]


@pytest.mark.parametrize(("owners", "said"), REFUSED, ids=["type", "default", "function", "down", "older still"])
async def test_change_that_cannot_be_read_is_refused_at_the_start(
    tmp_path: Path, owners: list[type[First]], said: str
) -> None:
    """With the state, both schemas, the difference and the remedy; and the store goes on with the class it had."""
    store = Store(tmp_path)
    for owner in owners[:-1]:
        await store.run(owner, (1, 5))
    with pytest.raises(RestoreError, match=said):
        await store.run(owners[-1], (1, 0))
    shown = await store.run(owners[-2], (1, 0))
    assert shown[-1][1] == owners[-2].made(5)


class OtherMapKeys(First):
    """Map keys of another type."""

    parts: MapState[str, Total] = MapState()  # type: ignore[assignment]


class MoreMapKeys(First):
    """Map keys that may be something else beside."""

    parts: MapState[int | None, Total] = MapState()  # type: ignore[assignment]


async def test_map_keys_of_another_type_are_refused_t34(tmp_path: Path) -> None:
    """No stored entry would be found under them, and a scan would give keys of both."""
    store = Store(tmp_path)
    await store.run(First, (1, 5))
    with pytest.raises(RestoreError, match=r"state p\.parts had int as its map keys and has str now"):
        await store.run(OtherMapKeys, (1, 0))
    assert (await store.run(MoreMapKeys, (1, 0)))[-1][2] == {5: Total(5)}


class Wrong(First):
    """Its function gives what is not of the type."""

    total: ValueState[TotalInCents] = ValueState(  # type: ignore[assignment]
        factory=lambda: TotalInCents(0), version=2, migrate={1: lambda _: "many"}
    )


class Raising(First):
    """Its function raises."""

    total: ValueState[TotalInCents] = ValueState(  # type: ignore[assignment]
        factory=lambda: TotalInCents(0), version=2, migrate={1: lambda old: old["dollars"]}
    )


async def test_wrong_result_of_a_function_names_state_and_key(tmp_path: Path) -> None:
    """Found when the value is read, and nothing is written over it."""
    store = Store(tmp_path)
    await store.run(First, (1, 5))
    with pytest.raises(
        CodecError, match=r"state p\.total, key 1: migrate=\{1: \.\.\.\} gave 'many' .*not of the declared"
    ):
        await store.run(Wrong, (1, 0))
    assert (await store.run(First, (1, 0)))[-1][1] == Total(5)


@pytest.mark.parametrize("keys", [1, 100])
async def test_error_of_a_function_names_state_and_key(tmp_path: Path, keys: int) -> None:
    """Also where many keys are read ahead by a thread; the store goes on with the class that it had."""
    store = Store(tmp_path)
    await store.run(First, *[(key, 5) for key in range(keys)])
    with pytest.raises(CodecError, match=r"state p\.total, key 0: migrate=\{1: .* raised KeyError: 'dollars'"):
        await store.run(Raising, *[(key, 0) for key in range(keys)])
    assert (await store.run(First, (0, 0)))[-1][1] == Total(5)
