"""Rows of an SQLite table: once, in the transaction that knows their checkpoint; updated by key or added."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from actorstream import JobFailed, Pipeline, PlanError, Restart, RestoreError
from actorstream.connectors.sqlite import SQLiteSink
from actorstream.errors import CodecError, FencedError, StoreError
from actorstream.testing.conformance import check_sink
from tests.eventlog.setting import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Total(NamedTuple):
    user: str
    cents: int


@dataclass(frozen=True)
class Mixed:
    number: int
    share: float
    word: str
    raw: bytes
    good: bool
    note: str | None


WORDS: Any = Total("a", ["b"])  # type: ignore[arg-type]
NONE: Any = Total("a", None)  # type: ignore[arg-type]
TOTALS = [Total(f"user {number}", number * 100) for number in range(10)]


def rows(path: str | Path, table: str = "totals") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f'SELECT * FROM "{table}"').fetchall()


def left_aside(path: str | Path, table: str = "totals") -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f'SELECT count(*) FROM "actorstream_staged_{table}"').fetchone()[0])


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield
        db.execute("ROLLBACK")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("key", [(), "user"], ids=["append", "upsert"])
async def test_it_conforms(key: Sequence[str]) -> None:
    def make(place: str) -> SQLiteSink[Total]:
        return SQLiteSink(Total, place, "totals", key=key, timeout=0.01)

    report = await check_sink(make, lambda place: [Total(*row) for row in rows(place)], TOTALS, down=locked)
    assert report.trials["outage"] == 1
    assert report.trials["cancelled at every call"] > 30


async def commit(sink: SQLiteSink[Any], records: Sequence[Any], checkpoint: int = 1, attempt: int = 1) -> None:
    async with sink.writer(Identity(attempt=attempt)) as writer:
        await writer.write(records)
        token = await writer.pre_commit(checkpoint)
        assert token is not None
        await writer.commit(token)


async def test_every_type_of_column_comes_back(tmp_path: Path) -> None:
    records = [Mixed(2**62, 0.5, 'say "x"', b"\0", True, None), Mixed(-1, 1e300, "", b"", False, "n")]
    await commit(SQLiteSink(Mixed, tmp_path / "t.db", "totals"), records)

    assert [Mixed(*row) for row in rows(tmp_path / "t.db")] == records


async def test_a_key_replaces_the_row_also_within_one_commit(tmp_path: Path) -> None:
    sink = SQLiteSink(Total, tmp_path / "t.db", "totals", key="user")
    await commit(sink, [Total("a", 1), Total("b", 2), Total("a", 3)])
    await commit(sink, [Total("b", 4)], checkpoint=2, attempt=2)

    assert sorted(rows(tmp_path / "t.db")) == [("a", 3), ("b", 4)]
    assert left_aside(tmp_path / "t.db") == 0


async def test_many_rows_are_set_aside_before_the_barrier_and_go_with_their_writer(tmp_path: Path) -> None:
    sink = SQLiteSink(Total, tmp_path / "t.db", "totals")
    async with sink.writer(Identity()) as writer:
        await writer.write([Total("a", number) for number in range(5_000)])
        assert left_aside(tmp_path / "t.db") == 5_000
        assert rows(tmp_path / "t.db") == []
    assert left_aside(tmp_path / "t.db") == 0


async def test_a_table_of_somebody_else_is_written_to(tmp_path: Path) -> None:
    """Further columns, other order, a unique index in place of a primary key."""
    with closing(sqlite3.connect(tmp_path / "t.db")) as db:
        db.execute(
            "CREATE TABLE totals (id INTEGER PRIMARY KEY, cents INTEGER, user TEXT UNIQUE, at TEXT DEFAULT 'now')"
        )
    await commit(SQLiteSink(Total, tmp_path / "t.db", "totals", key="user"), TOTALS[:1])

    assert rows(tmp_path / "t.db") == [(1, 0, "user 0", "now")]


async def test_a_table_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "t.db")) as db:
        db.execute("CREATE TABLE totals (user TEXT, cents INTEGER)")
        db.execute("CREATE TABLE other (user TEXT)")
    with pytest.raises(StoreError, match="does not match any PRIMARY KEY or UNIQUE"):
        await commit(SQLiteSink(Total, tmp_path / "t.db", "totals", key="user"), TOTALS)
    with pytest.raises(StoreError, match="table 'other' has no column 'cents'"):
        await commit(SQLiteSink(Total, tmp_path / "t.db", "other"), TOTALS)


class Wider(NamedTuple):
    user: str
    cents: int
    note: str | None


async def test_columns_may_be_added_once_nothing_waits(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    narrow, wide = SQLiteSink(Total, path, "totals"), SQLiteSink(Wider, path, "totals")
    async with narrow.writer(Identity()) as writer:
        await writer.write(TOTALS[:1])
        token = await writer.pre_commit(1)
    assert token is not None
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE totals ADD COLUMN note TEXT")
    with pytest.raises(StoreError, match="1 rows wait for their commit"):
        await commit(wide, [Wider("w", 1, None)], checkpoint=2, attempt=2)
    async with narrow.writer(Identity(attempt=2)) as writer:
        await writer.commit(token)
    await commit(wide, [Wider("w", 1, "x")], checkpoint=3, attempt=3)

    assert rows(path) == [("user 0", 0, None), ("w", 1, "x")]


@pytest.mark.parametrize(
    ("record", "said"),
    [(Total("a", 2**63), "too large"), (WORDS, "unsupported type|not supported"), (NONE, "NOT NULL")],
)
async def test_a_value_without_a_column_is_the_records_fault(record: Total, said: str, tmp_path: Path) -> None:
    with pytest.raises(CodecError, match=said):
        await commit(SQLiteSink(Total, tmp_path / "t.db", "totals"), [record])
    assert rows(tmp_path / "t.db") == []


async def test_rows_that_somebody_removed_are_not_passed_over(tmp_path: Path) -> None:
    sink = SQLiteSink(Total, tmp_path / "t.db", "totals")
    async with sink.writer(Identity()) as writer:
        await writer.write(TOTALS)
        token = await writer.pre_commit(1)
        assert token is not None
        with closing(sqlite3.connect(tmp_path / "t.db")) as db, db:
            db.execute("DELETE FROM actorstream_staged_totals WHERE user = 'user 3'")
        with pytest.raises(StoreError, match="has 9 rows of checkpoint 1, expected 10"):
            await writer.commit(token)
        with pytest.raises(StoreError, match="no token of an SQLiteSink"):
            await writer.commit(b"else")


async def test_two_holders_of_one_attempt_are_kept_apart(tmp_path: Path) -> None:
    sink = SQLiteSink(Total, tmp_path / "t.db", "totals")
    async with sink.writer(Identity(holder="one")):
        with pytest.raises(FencedError):
            await commit_as(sink, Identity(holder="two"))
    await commit(sink, TOTALS)
    with pytest.raises(RestoreError, match="the output of checkpoint 1 is committed"):
        await commit_as(sink, Identity(attempt=2, restored=0))


async def commit_as(sink: SQLiteSink[Any], identity: Identity) -> None:
    async with sink.writer(identity):
        pass


class Number(NamedTuple):
    number: int


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SQLiteSink(int, "t.db", "t"), "expected a dataclass or NamedTuple"),
        (lambda: SQLiteSink(Bad, "t.db", "t"), "field words is"),
        (lambda: SQLiteSink(Reserved, "t.db", "t"), "has a name that the sink needs"),
        (lambda: SQLiteSink(Total, "t.db", "t", key="name"), "key 'name' is no field"),
        (lambda: SQLiteSink(Total, "t.db", "sqlite_t"), "table is 'sqlite_t'"),
        (lambda: SQLiteSink(Total, ":memory:", "t"), "give a file"),
    ],
)
def test_what_cannot_be_a_table_is_refused_at_once(make: Any, said: str) -> None:
    with pytest.raises(PlanError, match=said):
        make()


class Bad(NamedTuple):
    words: list[str]


class Reserved(NamedTuple):
    as_job: str


async def test_a_job_writes_each_row_once(tmp_path: Path) -> None:
    """Also a strange table name, two subtasks, and a function that fails once in between."""
    failed: list[int] = []

    def number_of(number: int) -> Number:
        if number == 700 and not failed:
            failed.append(number)
            raise ValueError("once")
        return Number(number)

    pipeline = Pipeline("numbers")
    numbers = pipeline.source(list(range(2_000))).map(number_of)
    numbers.sink(SQLiteSink(Number, tmp_path / "t.db", 'a "b" c'), parallelism=2)
    await pipeline.run(store=tmp_path / "store", checkpoint_interval=0.01, restart=Restart.fixed_delay(delay=0.0))

    with closing(sqlite3.connect(tmp_path / "t.db")) as db:
        assert sorted(db.execute('SELECT number FROM "a ""b"" c"')) == [(number,) for number in range(2_000)]
    assert failed == [700]


async def test_a_target_that_is_down_between_pre_commit_and_commit_gets_all_once_when_it_is_back(
    tmp_path: Path,
) -> None:
    """The job restarts until the database can be written to again; what it had pre-committed comes first."""
    path, started = tmp_path / "t.db", list[int]()
    await commit(SQLiteSink(Number, path, "totals"), [Number(-1)])
    lock = locked(path)

    class LockedAtCommit(SQLiteSink[Number]):
        def writer(self, ctx: Any, /) -> Any:
            started.append(ctx.attempt)
            if ctx.attempt == 4:
                lock.__exit__(None, None, None)
            return _Locking(super().writer(ctx), ctx.attempt, lock)

    pipeline = Pipeline("down")
    pipeline.source(list(range(100))).map(Number).sink(LockedAtCommit(Number, path, "totals", timeout=0.01))
    await pipeline.run(store=tmp_path / "store", restart=Restart.fixed_delay(5, delay=0.0))

    assert sorted(rows(path)) == [(number,) for number in range(-1, 100)]
    assert started == [1, 2, 3, 4]


class _Locking:
    """Takes the database down as the first attempt wants to commit."""

    def __init__(self, inner: Any, attempt: int, lock: Any) -> None:
        self._inner, self._attempt, self._lock = inner, attempt, lock

    async def __aenter__(self) -> Any:
        self._writer = await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._inner.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    async def commit(self, token: bytes) -> None:
        if self._attempt == 1:
            self._lock.__enter__()
        await self._writer.commit(token)


async def test_without_restarts_a_target_that_is_down_fails_the_job(tmp_path: Path) -> None:
    pipeline = Pipeline("down")
    pipeline.source([1]).map(Number).sink(SQLiteSink(Number, tmp_path / "none" / "t.db", "totals"))
    with pytest.raises((JobFailed, StoreError), match="unable to open database file"):
        await pipeline.run()
