"""Stores and logs that earlier versions wrote are read for ever, by the classes they had and by changed ones."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.checkpoints.manifest import unseal
from actorstream.checkpoints.savepoints import find_snapshot, read_snapshot, verify_snapshot
from actorstream.codec.evolution import split_header
from actorstream.errors import RestoreError, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.untyped import open_untyped
from actorstream.system.files import RealFiles
from tests.eventlog.setting import values_of
from tests.golden import changed, first
from tests.golden.changed import Cents, NamedClick, Second, Third, shown_by_second, shown_by_third
from tests.golden.first import EVENTS, LONG_KEY, Click, Kind, Ledger, Point, TimedClick
from tests.golden.write import HERE, run, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.golden.first import Event

UNNUMBERED = "unnumbered"
"""Written before schemas had numbers: one schema a state, two in one log."""
TWO_SCHEMAS = "two-schemas"
"""Written by two generations of the classes, with a number for each."""


def copied(tmp_path: Path, name: str) -> Path:
    """Give a copy of what is kept: a restored job goes on writing."""
    return Path(shutil.copytree(HERE / name, tmp_path / name))


def splits_of(name: str, *more: Event) -> dict[str, Sequence[Event]]:
    """Give the splits that the kept store has read, and one with more."""
    second: dict[str, Sequence[Event]] = {"second": [("bob", 9)]} if name == TWO_SCHEMAS else {}
    return {"first": EVENTS, **second, "third": more}


async def look(store: Path, name: str, owner: type[Ledger], start: float = 0.0) -> dict[str, dict[str, Any]]:
    """Restore a kept store into a class, and give what it shows of every key."""
    shown, _ = await run(store, owner, splits_of(name, ("ada", 0), ("bob", 0), (LONG_KEY, 0)), start=start)
    return {each["key"]: each for each in shown}


async def test_store_is_restored_by_the_class_that_wrote_it(tmp_path: Path) -> None:
    """Nothing has changed but the version of the library."""
    shown = await look(copied(tmp_path, UNNUMBERED) / "store", UNNUMBERED, Ledger, start=0)
    assert shown["bob"]["total"] == first.Total(8, 1)
    assert shown["bob"]["aging"] == first.Total(8, 2)
    assert (shown["bob"]["kind"], shown["bob"]["place"], shown["bob"]["number"]) == (Kind.TRADE, Point(8, -8), 8)
    assert shown["ada"]["anything"][1]["order"].at == first.NOON
    assert list(shown["bob"]["parts"]) == ["order 6", "order 8", "refund 6", "refund 8"]
    assert shown["bob"]["lines"] == [first.Line("item 6", 6), first.Line("item 8", 8)]
    assert shown[LONG_KEY]["total"] == first.Total(7, 1)


async def test_store_is_restored_by_classes_that_read_it_as_it_is(tmp_path: Path) -> None:
    """Fields added, removed, reordered, renamed; numbers, enums, unions widened; a time-to-live taken away."""
    shown = await look(copied(tmp_path, UNNUMBERED) / "store", UNNUMBERED, Second)
    for key, number in (("ada", 5), (LONG_KEY, 7)):
        assert shown[key].pop("anything")[0] == number
        assert shown[key] == shown_by_second(key, number)


@pytest.mark.parametrize("name", [UNNUMBERED, TWO_SCHEMAS])
async def test_store_is_restored_by_classes_with_functions(tmp_path: Path, name: str) -> None:
    """Also where values of two schemas lie side by side."""
    store = copied(tmp_path, name) / "store"
    shown = await look(store, name, Third)
    for key, number in (("ada", 5), (LONG_KEY, 7)):
        assert shown[key] == shown_by_third(key, number)
    again = await look(store, name, Third)
    assert again == {}, "its splits have been read"


async def test_a_kept_savepoint_is_restored_by_classes_with_functions(tmp_path: Path) -> None:
    """Into an empty store; the savepoint itself stays as it is kept."""
    splits = splits_of(TWO_SCHEMAS, ("ada", 0), ("bob", 0), (LONG_KEY, 0))
    shown, _ = await run(tmp_path / "store", Third, splits, start=0.0, savepoint=HERE / "savepoint")
    kept = await look(copied(tmp_path, TWO_SCHEMAS) / "store", TWO_SCHEMAS, Third)
    assert {each["key"]: each for each in shown} == kept
    place = find_snapshot(RealFiles(), str(HERE / "savepoint"))
    assert verify_snapshot(RealFiles(), place, read_snapshot(RealFiles(), place)) == []


async def test_values_of_two_generations_are_read_side_by_side(tmp_path: Path) -> None:
    """`bob` was changed by the second class, the others were not."""
    store = copied(tmp_path, TWO_SCHEMAS) / "store"
    shown = await look(store, TWO_SCHEMAS, Second)
    assert shown["ada"] | {"anything": 0} == shown_by_second("ada", 5) | {"anything": 0}
    bob = shown["bob"]
    assert bob["total"] == changed.Total(9.0, 1, ["second"])
    assert bob["aging"] == changed.Total(9.0, 2, ["second"])
    assert (bob["kind"], bob["place"], bob["number"]) == (changed.WiderKind.STATE, changed.Place(9, -9, "second"), 9.5)
    assert bob["parts"]["gift 9"] == changed.Gift("g9")
    assert bob["parts"]["order 6"] == changed.Order(first.NOON, "o6")
    assert bob["lines"] == [changed.Line("item 6", 6), changed.Line("item 8", 8), changed.Line("title 9", 9)]


async def test_functions_see_values_of_two_generations(tmp_path: Path) -> None:
    """Each as the plain value of its own schema."""
    bob = (await look(copied(tmp_path, TWO_SCHEMAS) / "store", TWO_SCHEMAS, Third))["bob"]
    assert bob["total"] == bob["aging"] == Cents(900, ("second",))
    assert (bob["kind"], bob["place"], bob["number"], bob["anything"]) == ("kind s", 9, 9.5, "str")
    assert bob["parts"]["order 6"] == "Order o6"
    assert bob["parts"]["gift 9"] == "Gift g9"
    assert bob["lines"] == ["item 6", "item 8", "title 9"]


@pytest.mark.parametrize(("name", "expected"), [(UNNUMBERED, 15.0), (TWO_SCHEMAS, 24.0)])
async def test_sum_of_a_kept_store_goes_on_as_a_float(tmp_path: Path, name: str, expected: float) -> None:
    """An accumulator is a state as any other."""
    _, sums = await run(copied(tmp_path, name) / "store", Second, splits_of(name, ("bob", 1)), start=0.0)
    assert sums == {"bob": expected}


async def test_class_of_the_first_generation_is_refused_after_the_second(tmp_path: Path) -> None:
    """Its types are narrower than what lies in the store."""
    with pytest.raises(RestoreError, match=r"state ledger\.\w+ changed its type"):
        await look(copied(tmp_path, TWO_SCHEMAS) / "store", TWO_SCHEMAS, Ledger, start=0)


async def test_log_without_numbers_is_read_as_its_type_and_as_a_changed_one(tmp_path: Path) -> None:
    """Its one type is known, so renaming works too; what is appended gets a number."""
    path = copied(tmp_path, UNNUMBERED) / "log"
    assert await values_of(EventLog(Click, path)) == [Click("ada", 1), Click("bob", 2)]
    renamed = EventLog(NamedClick, path, rename={"user": "name"})
    await renamed.append(NamedClick(3, "cid"))
    assert await values_of(renamed) == [NamedClick(1, "ada"), NamedClick(2, "bob"), NamedClick(3, "cid")]


async def test_log_with_two_types_without_numbers_is_read_as_it_was(tmp_path: Path) -> None:
    """Which record has which type is not known, so only what reads both as they are may open it."""
    path = copied(tmp_path, UNNUMBERED) / "timed"
    expected = [TimedClick("ada", 1), TimedClick("bob", 2), TimedClick("cid", 3, 1.5)]
    assert await values_of(EventLog(TimedClick, path)) == expected
    assert await values_of(EventLog(Click, path)) == [Click(each.user, each.page) for each in expected]
    with pytest.raises(StoreError, match="several types have no number"):
        await values_of(EventLog(NamedClick, path, rename={"user": "name"}))


async def test_log_with_two_schemas_is_read_as_either_and_as_a_third(tmp_path: Path) -> None:
    """And shown as it is to whom has no type."""
    folder = copied(tmp_path, TWO_SCHEMAS)
    renamed = EventLog(NamedClick, folder / "log", rename={"user": "name"})
    assert await values_of(renamed) == [NamedClick(1, "ada"), NamedClick(2, "bob"), NamedClick(4, "dan")]
    texts = EventLog(str, folder / "log", version=2, migrate={1: lambda old: old.get("name") or old["user"]})
    assert await values_of(texts) == ["ada", "bob", "dan"]
    assert (await values_of(open_untyped(folder / "log")))[2] == {"page": 4, "name": "dan"}
    timed = [TimedClick("ada", 1), TimedClick("bob", 2), TimedClick("cid", 3, 1.5)]
    assert await values_of(EventLog(TimedClick, folder / "timed")) == timed
    with pytest.raises(StoreError, match="holds records of another type"):
        await values_of(EventLog(Click, folder / "log"))


def test_what_is_kept_is_what_this_version_writes(tmp_path: Path) -> None:
    """Where the same program numbers its schemas in another way, a new folder is due beside the old ones."""
    write(tmp_path / "now")
    for folder in (HERE / TWO_SCHEMAS, tmp_path / "now"):
        assert asyncio.run(numbers_in(shutil.copytree(folder / "log", tmp_path / "copy" / folder.name))) == [0, 0, 1]
        newest = folder / "store" / "golden" / "checkpoints" / "2" / "manifest.json"
        states = unseal(str(newest), newest.read_bytes()).operators["ledger"].states
        numbers = {name: [each.number for each in entry.schemas] for name, entry in states.items()}
        assert numbers == {name: [0] if name == "anything" else [0, 1] for name in states}


async def numbers_in(path: Path) -> list[int]:
    """Give the number of the schema of each record of a log."""
    log = EventLog(NamedClick, path, rename={"user": "name"})
    read: Any = (await log._opened()).row.newest().fetch(0, 0, 10)
    await log.aclose()
    return [split_header(payload)[0] for payload in read.payloads]


def test_what_is_kept_is_never_written_again() -> None:
    """A version that reads only what it writes itself would pass every test here."""
    with pytest.raises(FileExistsError):
        write(HERE / TWO_SCHEMAS)
