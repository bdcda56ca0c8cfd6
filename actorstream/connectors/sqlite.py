"""A table of an SQLite database as a sink: each row once, whatever dies in between.

    write ──> rows aside, in the same file ──pre_commit: named, synced──> token ──in the manifest──>
    commit: ONE transaction of the target     fence? committed before? rows into the table + mark of the checkpoint

The checkpoint's id is in the target's own transaction, so rows and mark are there together or not at all. Opening a
writer stores its attempt: from then on a lower attempt of the job can change nothing. No transaction stays open
between two calls, so nobody who waits for the database waits for a checkpoint.
"""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from actorstream.codec.documents import decode_json
from actorstream.connectors.sqlite_rows import Statements, quoted, row_type
from actorstream.errors import CodecError, FencedError, PlanError, RestoreError, StoreError
from actorstream.system.current import current_world

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from actorstream.model.connect import SinkContext

T = TypeVar("T")
R = TypeVar("R")

_PIECE_ROWS = 2_000


class SQLiteSink(Generic[T]):
    """Writes records as rows: `stream.sink(SQLiteSink(Total, "shop.db", "totals", key="user"))`.

    Without `key` rows are added; with it the row of that key is replaced. The table is made where it is missing, and
    `actorstream_staged_<table>`, `actorstream_fences` and `actorstream_commits` beside it. Readers see what is
    committed: rows appear at the pace of checkpoints.
    """

    def __init__(
        self,
        type_: type[T],
        path: str | os.PathLike[str],
        table: str,
        *,
        key: str | Sequence[str] = (),
        timeout: float = 5.0,
    ) -> None:
        """Say what goes where; nothing is opened yet.

        Args:
            type_: A dataclass or NamedTuple of int, float, str, bytes, bool, each or None: its fields are columns.
            path: The database; made if missing, in a folder that exists.
            table: Its table. One that exists has these columns, and with `key` they are its primary key or unique.
            key: Names the columns by which a row is replaced.
            timeout: Seconds to wait while others write to the database. Then the job fails, and tries again.

        Raises:
            PlanError: The type has no such columns, or a name makes no sense.
        """
        self._rows = row_type(type_)
        keys = (key,) if isinstance(key, str) else tuple(key)
        unknown = [name for name in keys if name not in self._rows.columns]
        if unknown:
            raise PlanError(f"SQLiteSink: key {unknown[0]!r} is no field of {type_.__name__}: {self._rows.columns}")
        if not table or "\0" in table or table.lower().startswith("sqlite_"):
            raise PlanError(f"SQLiteSink: table is {table!r}, expected a name that SQLite does not keep for itself")
        if os.fspath(path) in {"", ":memory:"}:
            raise PlanError("SQLiteSink: each writer would have a database in memory of its own: give a file")
        self._type = type_
        self._path = os.path.abspath(os.fspath(path))
        self._table = table
        self._key = keys
        self._timeout = timeout

    def forked(self, name: str, /) -> SQLiteSink[T]:
        """Give the sink for the fork of this name: <table>@<name> in the same database."""
        return SQLiteSink(self._type, self._path, f"{self._table}@{name}", key=self._key, timeout=self._timeout)

    @asynccontextmanager
    async def writer(self, ctx: SinkContext, /) -> AsyncIterator[SQLiteWriter[T]]:
        """Open the writer of one subtask, and fence off lower attempts.

        Raises:
            FencedError: A higher attempt has opened a writer before.
            RestoreError: The job goes on from an older checkpoint than the one it has committed here.
            StoreError: The database cannot be opened, is locked, or the table has other columns.
        """
        writer = SQLiteWriter[T](ctx, self._path, Statements(self._table, self._rows, self._key), self._rows.row)
        offload = current_world().offload
        try:
            await offload.run(writer.open, self._timeout, self._table, self._rows.columns)
            yield writer
        finally:
            await offload.run(writer.close)


class _Token(NamedTuple):
    """What a pre-commit has set aside, by whom, and how many rows."""

    job: str
    operator: str
    subtask: int
    attempt: int
    checkpoint: int
    rows: int

    def encode(self) -> bytes:
        return json.dumps(self).encode()

    @property
    def place(self) -> tuple[str, str, int, int, int]:
        return self[:5]


class SQLiteWriter(Generic[T]):
    """One subtask's `SinkWriter`, with a connection of its own; its calls run in threads, one at a time."""

    def __init__(self, ctx: SinkContext, path: str, sql: Statements, row: Callable[[T], tuple[object, ...]]) -> None:
        """Take the identity; nothing is opened yet."""
        self._ctx = ctx
        self._path = path
        self._sql = sql
        self._row = row
        self._offload = current_world().offload
        self._connection: sqlite3.Connection | None = None
        self._buffer: list[tuple[object, ...]] = []
        self._count = 0

    async def write(self, values: Sequence[T], /) -> None:
        """Set rows aside, in memory up to 2,000 of them.

        Raises:
            CodecError: A value is of a type or size that SQLite does not hold.
            FencedError: A newer attempt has taken over.
            StoreError: The database is locked, damaged or out of reach.
        """
        self._buffer += map(self._row, values)
        self._count += len(values)
        if len(self._buffer) >= _PIECE_ROWS:
            await self._offload.run(self._flush)

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """Make the rows durable beside the table; None if there are none."""
        if not self._count:
            return None
        return await self._offload.run(self._finish, checkpoint)

    async def commit(self, token: bytes, /) -> None:
        """Move the token's rows into the table, unless they are there already.

        Raises:
            FencedError: A newer attempt has taken over.
            StoreError: The rows are not there, the table refuses one, or the database is out of reach.
        """
        await self._offload.run(self._show, decode_token_of_rows(token))

    async def abort(self, token: bytes | None, /) -> None:
        """Drop what `token` names; None: what lower attempts left behind.

        Of other subtasks, which may be no more, only what no restored checkpoint can name: theirs to commit are others.
        """
        await self._offload.run(self._drop, None if token is None else decode_token_of_rows(token))

    # ---- in a thread

    def open(self, timeout: float, table: str, columns: Sequence[str]) -> None:
        """Connect, make the tables, and raise the fence; blocking."""
        import sqlite3  # noqa: PLC0415  (it loads a library, and few need it)

        with _mapped(self._path):
            self._connection = sqlite3.connect(
                self._path, timeout=timeout, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous = FULL")
        with self._transaction() as db:
            for statement in (*self._sql.tables, self._sql.make_staged):
                db.execute(statement)
            found = _columns(db, table)
            if missing := [name for name in columns if name not in found]:
                raise StoreError(
                    f"{self._path}: table {table!r} has no column {missing[0]!r} (it has {sorted(found)}): add it, or "
                    "write to another table"
                )
            if not set(columns) <= _columns(db, self._sql.staged):
                self._make_staged_anew(db)
            db.execute(f"EXPLAIN {self._sql.show}", ("", "", 0, 0, 0))  # a key that is not unique is refused here
            self._raise_fence(db)

    def close(self) -> None:
        """Drop what was not pre-committed, and disconnect; blocking."""
        connection = self._connection
        if connection is None:
            return
        try:
            with suppress(StoreError), self._transaction() as db:  # whoever is next drops it, too
                db.execute(self._sql.drop_open, self._whose)
        finally:
            self._connection = None
            connection.close()

    @property
    def _whose(self) -> tuple[str, str, int, int]:
        ctx = self._ctx
        return ctx.job, ctx.operator, ctx.subtask, ctx.attempt

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction, alone among writers from its beginning."""
        db = self._connection
        if db is None:
            raise StoreError(f"{self._path}: the sink's writer was used outside its `async with`")
        with _mapped(self._path):
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _make_staged_anew(self, db: sqlite3.Connection) -> None:
        waiting = db.execute(f"SELECT count(*) FROM {quoted(self._sql.staged)}").fetchone()[0]
        if waiting:
            raise StoreError(
                f"{self._path}: {waiting} rows wait for their commit in {self._sql.staged!r}, which has other columns "
                "than the type has now: run the program of before until it has stopped, then this one"
            )
        db.execute(f"DROP TABLE {quoted(self._sql.staged)}")
        db.execute(self._sql.make_staged)

    def _raise_fence(self, db: sqlite3.Connection) -> None:
        ctx = self._ctx
        self._check_fence(db, opening=True)
        newest = db.execute(
            "SELECT max(checkpoint) FROM actorstream_commits WHERE job = ? AND operator = ?", (ctx.job, ctx.operator)
        ).fetchone()[0]
        if newest is not None and newest > ctx.restored:
            raise RestoreError(
                f"{self._path}: the output of checkpoint {newest} is committed, but the job goes on from checkpoint "
                f"{ctx.restored}: it would write what lies between twice; restore the newest one, or say "
                "accept_duplicates"
            )
        db.execute(
            "INSERT INTO actorstream_fences VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET attempt = excluded.attempt, holder = excluded.holder",
            (ctx.job, ctx.operator, ctx.attempt, ctx.holder),
        )

    def _check_fence(self, db: sqlite3.Connection, *, opening: bool = False) -> None:
        ctx = self._ctx
        found = db.execute(
            "SELECT attempt, holder FROM actorstream_fences WHERE job = ? AND operator = ?", (ctx.job, ctx.operator)
        ).fetchone()
        if found is None:
            if opening:
                return
            raise StoreError(
                f"{self._path}: the fence of sink {ctx.operator!r} is gone: somebody has emptied its table"
            )
        attempt, holder = found
        if attempt > ctx.attempt or (attempt == ctx.attempt and holder != ctx.holder):
            raise FencedError(
                f"{self._path}: attempt {attempt} writes for sink {ctx.operator!r}, so attempt {ctx.attempt} may not "
                "any more"
            )

    def _flush(self) -> None:
        with self._transaction() as db:
            self._check_fence(db)
            self._stage(db)
        self._buffer = []

    def _stage(self, db: sqlite3.Connection) -> None:
        import sqlite3  # noqa: PLC0415

        whose = (*self._whose, None)
        try:
            db.executemany(self._sql.stage, ((*whose, *row) for row in self._buffer))
        except sqlite3.IntegrityError as error:
            raise CodecError(
                f"{self._path}: a value cannot be stored: {error} (NaN counts as none); say `| None` in the type"
            ) from error

    def _finish(self, checkpoint: int) -> bytes:
        with self._transaction() as db:
            self._check_fence(db)
            self._stage(db)
            db.execute(self._sql.name_open, (checkpoint, *self._whose))
        token = _Token(*self._whose, checkpoint, self._count)
        self._buffer, self._count = [], 0
        return token.encode()

    def _show(self, token: _Token) -> None:
        mark = token.job, token.operator, token.subtask
        with self._transaction() as db:
            # A savepoint may bring tokens of another job: attempts of two jobs do not compare, the mark alone decides.
            if token.job == self._ctx.job:
                self._check_fence(db)
            committed = db.execute(
                "SELECT checkpoint FROM actorstream_commits WHERE job = ? AND operator = ? AND subtask = ?", mark
            ).fetchone()
            if committed is not None and committed[0] >= token.checkpoint:
                return
            found = db.execute(self._sql.count, token.place).fetchone()[0]
            if found != token.rows:
                raise StoreError(
                    f"{self._path}: {self._sql.staged!r} has {found} rows of checkpoint {token.checkpoint}, expected "
                    f"{token.rows}: somebody has removed them; restore the database from a copy"
                )
            db.execute(self._sql.show, token.place)
            db.execute(self._sql.drop, token.place)
            db.execute(
                "INSERT INTO actorstream_commits VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET checkpoint = excluded.checkpoint",
                (*mark, token.checkpoint),
            )

    def _drop(self, token: _Token | None) -> None:
        ctx = self._ctx
        with self._transaction() as db:
            self._check_fence(db)
            if token is not None:
                db.execute(self._sql.drop, token.place)
            else:
                db.execute(self._sql.drop_left, (ctx.job, ctx.operator, ctx.attempt, ctx.subtask, ctx.restored))


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({quoted(table)})")}


def decode_token_of_rows(token: bytes) -> _Token:
    """Read what `pre_commit` gave.

    Raises:
        StoreError: It did not give that.
    """
    try:
        return decode_json(_Token, token)
    except CodecError as error:
        raise StoreError(f"{token!r:.80} is no token of an SQLiteSink: it is of another sink of that name") from error


@contextmanager
def _mapped(path: str) -> Iterator[None]:
    """Give what SQLite raises as an error of ours that names the database."""
    import sqlite3  # noqa: PLC0415

    try:
        yield
    except (OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as error:
        raise CodecError(f"{path}: a value cannot be stored: {error}; map the records before the sink") from error
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {type(error).__name__}: {error}") from error
