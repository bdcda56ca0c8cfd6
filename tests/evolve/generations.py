"""A store over which three generations of one program ran, with values of all their schemas; and a fourth program."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from actorstream import Pipeline, ValueState
from actorstream.protocol.restart import Restart
from tests.golden.changed import Cents, Second, Third
from tests.golden.first import EVENTS, Ledger
from tests.runtime.doubles import Splits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.golden.first import Event


class Newest(Third):
    """The third generation, writing too."""

    def add(self, number: int) -> None:
        """Change every state."""
        self.total = Cents(number * 100, ("third",))
        self.aging = Cents(number * 100, ("third",))
        self.kind = "third"
        self.place = number
        self.number = Decimal(number)
        self.anything = "third"
        self.parts[f"gift {number}"] = f"third {number}"
        self.lines.append(f"line {number}")


class Spoken(Newest):
    """What no older total can be read as, and says nothing of how."""

    total: ValueState[str] = ValueState("", version=2)  # type: ignore[assignment]


GENERATIONS: Sequence[tuple[type[Ledger], str, Sequence[Event]]] = [
    (Ledger, "first", EVENTS),
    (Second, "second", [("bob", 9)]),
    (Newest, "third", [("cid", 3)]),
]


def pipeline(owner: Callable[[], Any], splits: dict[str, Any], sink: Any = print, *, wide: int = 128) -> Pipeline:
    """Give the pipeline of one generation."""
    made = Pipeline("t", max_parallelism=wide)
    keyed = made.source(Splits(splits), name="in").key_by(lambda event: event[0])
    keyed.process(owner, name="ledger").sink(sink, name="out")
    return made


async def run_all(store: Path, generations: int = 3) -> Path:
    """Run the first of them over a store; give the job's folder."""
    splits: dict[str, Sequence[Event]] = {}
    for owner, name, events in GENERATIONS[:generations]:
        splits = {**splits, name: events}
        made = pipeline(owner, splits, lambda _: None)
        await made.run(store=store, restart=Restart.never())
    return store / "t"


async def shown_by_job(
    store: Path, savepoint: Path, owner: Callable[[], Any], *keys: str, generations: int = 3, wide: int = 128
) -> dict[str, dict[str, Any]]:
    """Restore a savepoint into a new store, by a running job; give what it shows of each key."""
    seen: list[dict[str, Any]] = []
    splits: dict[str, Sequence[Event]] = {name: events for _, name, events in GENERATIONS[:generations]}
    splits["more"] = [(key, 0) for key in keys]
    made = pipeline(owner, splits, seen.append, wide=wide)
    await made.run(store=store, restore=savepoint, restart=Restart.never())
    return {each["key"]: each for each in seen if each["key"] in keys}
