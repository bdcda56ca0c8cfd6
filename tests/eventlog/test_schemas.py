"""Records outlive their class: a log is read as the type it is opened with, or refused, never misread."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.codec.schema import schema_of
from actorstream.errors import CodecError, PlanError, RestoreError, StoreError
from actorstream.eventlog.ledger import TYPES, DeclaredType, documents, name_key, put_document
from actorstream.eventlog.log import EventLog
from actorstream.eventlog.untyped import open_untyped
from tests.eventlog.setting import Identity, values_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.codec.contract import Schema
    from actorstream.eventlog.open_log import OpenLog


@dataclass(frozen=True)
class Click:
    """Version 1."""

    user: str
    page: int


@dataclass(frozen=True)
class Titled:
    """Version 1: a field renamed, one added, in another order."""

    page: int
    name: str
    title: str = "?"


@dataclass(frozen=True)
class Visit:
    """Version 2."""

    url: str


def to_visit(click: dict[str, Any]) -> dict[str, str]:
    """Make a plain value of version 2 of one of either type of version 1."""
    return {"url": f"/{click['page']}?by={click.get('name') or click['user']}"}


def clicks(path: Path) -> EventLog[Click]:
    """Open as the first program did."""
    return EventLog(Click, path)


def titled(path: Path) -> EventLog[Titled]:
    """Open as the second program does."""
    return EventLog(Titled, path, rename={"user": "name"})


def visits(path: Path) -> EventLog[Visit]:
    """Open as the third program does."""
    return EventLog(Visit, path, version=2, migrate={1: to_visit})


async def payloads_of(log: EventLog[Any]) -> list[bytes]:
    """Read what lies in the first partition."""
    opened = await log._opened()
    read = opened.row.newest().fetch(0, 0, 100)
    return read.payloads  # type: ignore[union-attr]


async def declared_in(log: EventLog[Any]) -> list[tuple[int, int]]:
    """Give number and version of each declared type."""
    return sorted((each.number, each.version) for each in (await log._opened()).declared_types())


async def test_records_of_three_programs_are_read_side_by_side(tmp_path: Path) -> None:
    """Each as the type that the log is opened with; the first type's bytes have no header."""
    await clicks(tmp_path).append(Click("ada", 1))
    await titled(tmp_path).append(Titled(2, "bob", "Two"))
    assert await values_of(titled(tmp_path)) == [Titled(1, "ada"), Titled(2, "bob", "Two")]
    await visits(tmp_path).append(Visit("/3"))
    expected = [Visit("/1?by=ada"), Visit("/2?by=bob"), Visit("/3")]
    assert await values_of(visits(tmp_path)) == expected
    log = visits(tmp_path)
    assert await declared_in(log) == [(0, 1), (1, 1), (2, 2)]
    assert [payload[:3] for payload in await payloads_of(log)] == [b"\x82\xa4u", b"\xc1\x00\x01", b"\xc1\x00\x02"]
    await visits(tmp_path).append(Visit("/4"))
    assert len(await declared_in(visits(tmp_path))) == 3


async def test_schemas_outlive_the_segment_in_which_they_were_declared(tmp_path: Path) -> None:
    """They are in the newest one, with all that a log must remember."""
    await clicks(tmp_path).append(Click("ada", 1))
    log = await (first := titled(tmp_path))._opened()
    await first.append(Titled(2, "bob"))
    log.row.roll_over(1 << 20, 1)
    log.row.roll_over(1 << 20, 2)
    await first.aclose()
    await visits(tmp_path).append(Visit("/3"))
    assert await values_of(visits(tmp_path)) == [Visit("/1?by=ada"), Visit("/2?by=bob"), Visit("/3")]


async def test_same_type_under_a_newer_version_is_another_schema(tmp_path: Path) -> None:
    """Euros became cents: records of both are told apart."""
    await EventLog(int, tmp_path).append(5)
    cents = partial(EventLog, int, tmp_path, version=2, migrate={1: lambda euros: euros * 100})
    await cents().append(7)
    assert await values_of(cents()) == [500, 7]
    assert await declared_in(cents()) == [(0, 1), (1, 2)]


REFUSED: list[tuple[Callable[[Path], EventLog[Any]], str]] = [
    (
        lambda path: EventLog(int, path),
        r"EventLog\(int, .*holds records of another type: value was Click and is int now; stored was "
        r"Click\(user: str, page: int\) \(version 1\), declared is int \(version 1\): .*version=2 and migrate=\{1:",
    ),
    (lambda path: EventLog(Titled, path), r"value\.name was added without a default; .*say rename=\{'user': 'name'\}"),
    (
        lambda path: EventLog(Visit, path, version=2),
        "version 1 was stored, version 2 is declared, and there is no function",
    ),
]


@pytest.mark.parametrize(("opened", "said"), REFUSED, ids=["type", "field", "version"])
async def test_type_that_cannot_read_what_is_there_is_refused_when_it_is_opened(
    tmp_path: Path, opened: Callable[[Path], EventLog[Any]], said: str
) -> None:
    """Readers and writers alike, with both schemas, the difference and the remedy; nothing is declared."""
    await clicks(tmp_path).append(Click("ada", 1))
    for use in (values_of, lambda log: log.append(None)):
        with pytest.raises(StoreError, match=said):
            await use(opened(tmp_path))
    assert await declared_in(clicks(tmp_path)) == [(0, 1)]
    assert await values_of(clicks(tmp_path)) == [Click("ada", 1)]


async def test_older_program_is_refused_once_a_newer_version_is_declared(tmp_path: Path) -> None:
    """A version that goes down; the newer program goes on."""
    await clicks(tmp_path).append(Click("ada", 1))
    await visits(tmp_path).append(Visit("/2"))
    with pytest.raises(StoreError, match=r"version 2 was stored, and version 1 is declared; .*start the program that"):
        await values_of(clicks(tmp_path))
    assert len(await values_of(visits(tmp_path))) == 2


async def test_older_writer_at_work_beside_a_newer_one_writes_what_it_says(tmp_path: Path) -> None:
    """A rolling restart: its records stay those of its version, whoever opens the log meanwhile."""
    old = clicks(tmp_path)
    await old.append(Click("ada", 1))
    new = visits(tmp_path)
    await new.append(Visit("/2"))
    await old.append(Click("eve", 3))
    await new.append(Visit("/4"))
    assert await values_of(visits(tmp_path)) == [Visit("/1?by=ada"), Visit("/2"), Visit("/3?by=eve"), Visit("/4")]


async def test_reader_at_work_goes_on_over_a_newer_type_that_it_can_read(tmp_path: Path) -> None:
    """A field was added: who does not know it does without."""
    await EventLog(Click, tmp_path).append(Click("ada", 1))
    reader = clicks(tmp_path)
    records = reader.read("0", None)
    assert (await anext(records)).values == [Click("ada", 1)]
    writer = EventLog(ClickWithTime, tmp_path)
    await writer.append(ClickWithTime("bob", 2, 5.0))
    await writer.append(ClickWithTime("cid", 3, 5.0))
    fetched = [value async for each in records_until(records, 2) for value in each]
    assert fetched == [Click("bob", 2), Click("cid", 3)]


async def test_reader_at_work_stops_before_a_newer_type_that_it_cannot_read(tmp_path: Path) -> None:
    """It names the record, both versions and the remedy, and gives nothing in its place."""
    await clicks(tmp_path).append(Click("ada", 1))
    reader = clicks(tmp_path)
    records = reader.read("0", None)
    assert (await anext(records)).values == [Click("ada", 1)]
    await visits(tmp_path).append(Visit("/2"))
    with pytest.raises(
        CodecError,
        match=r"record at partition 0, offset 1 is not of the type that this log was opened with: version 2 was stored,"
        r" and version 1 is declared; .*start the program that declares version 2",
    ):
        await anext(records)


async def test_a_log_that_was_opened_before_anything_was_declared_reads_the_first_type_as_what_it_is(
    tmp_path: Path,
) -> None:
    """Each type's bytes can be read as the other's where fields have defaults: that would be silent."""
    log = EventLog(Bid, tmp_path / "log", rename={"price": "amount"})
    assert await values_of(log) == []
    records = log.read("0", None)
    assert (await anext(records)).caught_up
    await EventLog(Offer, tmp_path / "log").extend([Offer(9.5, "bob"), Offer(7.0)])
    await EventLog(Bid, tmp_path / "log", rename={"price": "amount"}).append(Bid(8.0, "ada"))
    expected = [Bid(9.5, "bob"), Bid(7.0), Bid(8.0, "ada")]
    assert await values_of(log) == expected
    assert [value async for each in records_until(records, 3) for value in each] == expected


async def test_a_log_that_was_opened_before_a_type_that_it_cannot_read_stops_there(tmp_path: Path) -> None:
    """As it would be refused if it was opened afterwards."""
    log = EventLog(Offer, tmp_path)
    assert await values_of(log) == []
    await EventLog(Visit, tmp_path).append(Visit("/1"))
    with pytest.raises(CodecError, match=r"offset 0 is not of the type that this log was opened with: .*price.*"):
        await values_of(log)


async def test_an_untyped_log_that_was_opened_empty_reads_what_comes(tmp_path: Path) -> None:
    """Where nothing is ever declared, records are what they are taken for."""
    log = EventLog(int, tmp_path)
    assert await values_of(log) == []
    untyped = open_untyped(tmp_path)
    for value in (1, 2):
        await untyped.append(value)
    assert await values_of(log) == [1, 2]
    assert await values_of(untyped) == [1, 2]


@dataclass(frozen=True)
class Offer:
    """Version 1."""

    price: float
    who: str = ""


@dataclass(frozen=True)
class Bid:
    """Version 1: the amount has another name."""

    amount: float = 0.0
    who: str = ""


@dataclass(frozen=True)
class ClickWithTime(Click):
    """A field more than `Click`."""

    seconds: float = 0.0


async def records_until(records: Any, count: int) -> Any:
    """Give batches until so many records came."""
    seen = 0
    while seen < count:
        fetched = await anext(records)
        seen += len(fetched.values)
        yield fetched.values


async def test_records_staged_by_an_older_program_are_committed_as_what_they_are(tmp_path: Path) -> None:
    """A job was stopped between pre-commit and commit, and restored by newer code."""
    async with clicks(tmp_path).writer(Identity()) as writer:
        await writer.write([Click("ada", 1)])
        token = await writer.pre_commit(1)
    assert token is not None
    async with visits(tmp_path).writer(Identity(attempt=2, restored=1)) as writer:
        await writer.commit(token)
        await writer.write([Visit("/2")])
        second = await writer.pre_commit(2)
        assert second is not None
        await writer.commit(second)
    assert await values_of(visits(tmp_path)) == [Visit("/1?by=ada"), Visit("/2")]


async def test_pipeline_over_a_log_of_another_type_is_refused_at_its_start(tmp_path: Path) -> None:
    """As source and as sink, before a record is read."""
    await clicks(tmp_path / "log").append(Click("ada", 1))
    seen: list[object] = []
    reading = Pipeline("reading")
    reading.source(EventLog(int, tmp_path / "log").view(stop="now"), name="in").sink(seen.append, name="out")
    writing = Pipeline("writing")
    writing.source([1, 2], name="in").sink(EventLog(int, tmp_path / "log"), name="out")
    for made in (reading, writing):
        with pytest.raises(
            (StoreError, RestoreError), match="holds records of another type: value was Click and is int"
        ):
            await made.run()
    assert not seen


async def test_untyped_log_reads_records_of_every_schema(tmp_path: Path) -> None:
    """As `actorstream log` shows them; and it appends only where its type was declared."""
    await clicks(tmp_path).append(Click("ada", 1))
    await titled(tmp_path).append(Titled(2, "bob", "Two"))
    log = open_untyped(tmp_path)
    assert await values_of(log) == [{"user": "ada", "page": 1}, {"page": 2, "name": "bob", "title": "Two"}]
    with pytest.raises(StoreError, match="another type"):
        await log.append(1)


async def test_untyped_log_appends_under_the_number_of_any_value(tmp_path: Path) -> None:
    """Else its records would be taken for those of the first type."""
    await EventLog(int, tmp_path).append(1)
    anything = partial(EventLog, object, tmp_path, version=2, migrate={1: str})
    await anything().append("two")
    with pytest.raises(StoreError, match="another type"):
        await open_untyped(tmp_path).append("three")
    await anything().append("three")
    assert await values_of(anything()) == ["1", "two", "three"]


async def test_types_without_a_number_are_read_only_as_they_are(tmp_path: Path) -> None:
    """Logs of versions that gave none: which record has which type, nobody knows."""
    log = clicks(tmp_path)
    await log.append(Click("ada", 1))
    declare_without_number(await log._opened(), schema_of(ClickWithTime))
    await log.aclose()
    assert await values_of(EventLog(ClickWithTime, tmp_path)) == [ClickWithTime("ada", 1)]
    assert await values_of(clicks(tmp_path)) == [Click("ada", 1)]
    with pytest.raises(StoreError, match="several types have no number"):
        await values_of(titled(tmp_path))


def declare_without_number(log: OpenLog, schema: Schema) -> None:
    """Do as an older version did."""
    with log.row.newest().env.transaction(write=True) as txn:
        put_document(txn, name_key(TYPES, schema.fingerprint), DeclaredType(schema.fingerprint, schema.shape))
        assert len(documents("", txn, TYPES, DeclaredType)) == 2


async def test_wrong_result_of_a_function_names_the_record(tmp_path: Path) -> None:
    await clicks(tmp_path).append(Click("ada", 1))
    log = EventLog(Visit, tmp_path, version=2, migrate={1: lambda _: 5})
    with pytest.raises(
        CodecError, match=r"partition 0, offset 0 .*migrate=\{1: \.\.\.\} gave 5 .*not of the declared type"
    ):
        await values_of(log)


async def test_arguments_are_checked(tmp_path: Path) -> None:
    """What needs no type at once, a name when the type is looked at."""
    with pytest.raises(PlanError, match="versions are whole numbers"):
        EventLog(Click, tmp_path, version=0)
    with pytest.raises(PlanError, match="one function for each older version"):
        EventLog(Click, tmp_path, version=2, migrate={2: to_visit})
    with pytest.raises(PlanError, match=r"Click\(user: str, page: int\) has no 'nobody'"):
        await EventLog(Click, tmp_path, rename={"user": "nobody"}).append(Click("ada", 1))
