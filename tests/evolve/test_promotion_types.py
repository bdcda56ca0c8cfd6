"""Records that were encoded before a promotion and written after it: of the same type, whatever number it has now."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.errors import PromotedError, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.evolve import promote
from tests.eventlog.setting import Identity, values_of

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Old:
    n: int


@dataclass(frozen=True)
class New:
    n: int
    who: str = "?"


@dataclass(frozen=True)
class Newest:
    n: int
    who: str = "?"
    when: int = 0


NEW = [New(i, "new") for i in range(4)]


async def _log(tmp_path: Path) -> EventLog[New]:
    """Give a log in which New has number 1."""
    async with EventLog(Old, tmp_path / "log") as old:
        await old.extend([Old(i) for i in range(3)])
    log = EventLog(New, tmp_path / "log")
    await log.append(New(3, "x"))
    return log


async def _promote(tmp_path: Path, *first: type) -> None:
    """Put records in its place: New has number 0 there, or the next one after those declared first."""
    for type_ in first:
        before: EventLog[Any] = EventLog(type_, tmp_path / "new")
        async with before:
            await before.append(type_(100))
    async with EventLog(New, tmp_path / "new") as new, EventLog(New, tmp_path / "log") as log:
        await new.extend(NEW)
        await promote(log, new.path)


@pytest.mark.parametrize("first", [(), (Old,)], ids=["another number", "the same number"])
async def test_what_a_sink_stages_after_a_promotion_is_committed_by_the_next_attempt(
    tmp_path: Path, first: tuple[type, ...]
) -> None:
    """It was encoded before: only in memory, so that nothing lay in staged/ when the log was promoted."""
    async with (log := await _log(tmp_path)), log.writer(Identity(restored=1)) as writer:
        await writer.write([New(4, "job"), New(5, "job")])
        await _promote(tmp_path, *first)
        token = await writer.pre_commit(2)
        assert token is not None
        with pytest.raises(StoreError, match="was promoted"):
            await writer.commit(token)
    again = EventLog(New, tmp_path / "log")
    async with again, again.writer(Identity(attempt=2, restored=2)) as writer:
        await writer.commit(token)
        await writer.commit(token)
        await writer.write([New(6, "job")])
        third = await writer.pre_commit(3)
        assert third is not None
        await writer.commit(third)
    before = [New(100) for _ in first]
    assert await values_of(again) == [*before, *NEW, New(4, "job"), New(5, "job"), New(6, "job")]


async def test_a_number_is_put_where_none_stood(tmp_path: Path) -> None:
    """Nothing stands for 0. Taken for one of those, the record would go through `migrate`."""

    def second(name: str) -> EventLog[New]:
        return EventLog(New, tmp_path / name, version=2, migrate={1: lambda old: New(old["n"], "migrated")})

    async with (log := second("log")), log.writer(Identity(restored=1)) as writer:
        await writer.write([New(4, "job")])
        async with EventLog(New, tmp_path / "new") as first:
            await first.append(New(3))
        async with second("new") as new, second("log") as other:
            await new.append(New(3, "new"))
            await promote(other, new.path)
        token = await writer.pre_commit(2)
        assert token is not None
    async with log, log.writer(Identity(attempt=2, restored=2)) as writer:
        await writer.commit(token)
        assert await values_of(log) == [New(3, "migrated"), New(3, "new"), New(4, "job")]


async def test_a_type_that_the_log_does_not_know_any_more_is_refused_until_its_program_comes(tmp_path: Path) -> None:
    """The next attempt is a newer program's: the records' type is declared by the older one alone. Nothing is lost."""
    await _log(tmp_path)
    async with EventLog(Newest, tmp_path / "log") as log, log.writer(Identity(restored=1)) as writer:
        await writer.write([Newest(4, "job", 1)])
        await _promote(tmp_path)
        token = await writer.pre_commit(2)
        assert token is not None
    newer = EventLog(New, tmp_path / "log")
    async with newer, newer.writer(Identity(attempt=2, restored=2)) as writer:
        with pytest.raises(StoreError, match=r"a type that this log does not know: it was promoted since.*start the"):
            await writer.commit(token)
    assert await values_of(newer) == NEW
    async with EventLog(Newest, tmp_path / "log") as log, log.writer(Identity(attempt=3, restored=2)) as writer:
        await writer.commit(token)
        assert await values_of(log) == [*(Newest(each.n, each.who) for each in NEW), Newest(4, "job", 1)]


def _meanwhile(doing: Coroutine[Any, Any, object]) -> None:
    """Do something while this thread's loop stands still."""
    thread = threading.Thread(target=lambda: asyncio.run(doing))
    thread.start()
    thread.join()


@pytest.mark.parametrize("others_first", [True, False])
async def test_records_encoded_before_a_promotion_are_not_appended_under_the_old_number(
    tmp_path: Path, *, others_first: bool
) -> None:
    """Whoever appends first after it has the log's new encoder made: that is not the one that made these."""
    log = await _log(tmp_path)

    async def promoted() -> None:
        await _promote(tmp_path)
        if others_first:
            await log.append(New(9, "first"))

    def values() -> Iterator[New]:
        yield from (New(100 + i, "y") for i in range(300))
        _meanwhile(promoted())
        yield New(400, "y")

    with pytest.raises(PromotedError, match="Open it anew"):
        await log.extend(values())
    expected = [*NEW, New(9, "first")] if others_first else NEW
    assert await values_of(log) == expected
    await log.extend(New(i, "z") for i in range(3))
    assert await values_of(log) == [*expected, *(New(i, "z") for i in range(3))]


async def test_an_extend_goes_on_over_a_promotion_that_numbers_types_alike(tmp_path: Path) -> None:
    """The piece that was being made, and those after it."""
    log = await _log(tmp_path)
    count = 40_000

    def values() -> Iterator[New]:
        for i in range(count):
            if i == 10_000:
                _meanwhile(_promote(tmp_path, Old))
            yield New(i, "y")

    positions = await log.extend(values())
    assert [position.offset for position in positions] == list(range(5, 5 + count))
    assert await values_of(log) == [New(100), *NEW, *(New(i, "y") for i in range(count))]
