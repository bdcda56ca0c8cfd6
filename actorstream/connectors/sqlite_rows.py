"""Records as rows of a table: which columns a type has, and the statements for them.

class Total(NamedTuple): user: str; cents: int        "user" TEXT NOT NULL, "cents" INTEGER NOT NULL
"""

from __future__ import annotations

import types
from dataclasses import dataclass, fields, is_dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from actorstream.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STORED: dict[object, str] = {int: "INTEGER", bool: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}
_STAGED = ("as_job", "as_operator", "as_subtask", "as_attempt", "as_checkpoint")


@dataclass(frozen=True, slots=True)
class RowType:
    """The columns of a record type. `row` gives a record's values, in their order."""

    columns: tuple[str, ...]
    declared: tuple[str, ...]
    row: Callable[[Any], tuple[object, ...]]


def row_type(kind: object) -> RowType:
    """Give the columns of a dataclass or NamedTuple whose fields SQLite can hold.

    Raises:
        PlanError: It is neither, or a field is of a type that SQLite does not have.
    """
    names: Sequence[str]
    if isinstance(kind, type) and is_dataclass(kind):
        names = [each.name for each in fields(kind)]
    elif isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = kind._fields
    else:
        raise PlanError(
            f"SQLiteSink({kind!r:.80}): expected a dataclass or NamedTuple, whose fields become columns; "
            "map the records to one before the sink"
        )
    hints = get_type_hints(kind)
    declared = tuple(_column(kind, name, hints.get(name)) for name in names)
    values = attrgetter(*names) if names else None
    if values is None:
        raise PlanError(f"SQLiteSink({kind.__name__}): it has no fields, so its table would have no columns")
    one = len(names) == 1
    return RowType(tuple(names), declared, (lambda record: (values(record),)) if one else values)


def _column(kind: type, name: str, hint: object) -> str:
    if name.lower() in {"as_row", *_STAGED}:
        raise PlanError(f"SQLiteSink({kind.__name__}): field {name} has a name that the sink needs: rename it")
    choices = get_args(hint) if get_origin(hint) in {Union, types.UnionType} else (hint,)
    stored = {_STORED.get(choice) for choice in choices if choice is not type(None)}
    sql = stored.pop() if len(stored) == 1 else None
    if sql is None:
        raise PlanError(
            f"SQLiteSink({kind.__name__}): field {name} is {hint}, and SQLite holds int, float, str, bytes, bool, and "
            "each of them or None; map the records before the sink, for example a datetime to its isoformat()"
        )
    return f"{quoted(name)} {sql}" if type(None) in choices else f"{quoted(name)} {sql} NOT NULL"


def quoted(name: str) -> str:
    """Give a name as SQL has it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


class Statements:
    """The SQL of one sink: its table, the one beside it where rows wait for their commit, and the two of all sinks."""

    def __init__(self, table: str, rows: RowType, key: tuple[str, ...]) -> None:
        """Put the names in."""
        self.staged = f"actorstream_staged_{table}"
        columns = ", ".join(map(quoted, rows.columns))
        keys = ", ".join(map(quoted, key))
        unique = f", PRIMARY KEY ({keys})" if key else ""
        self.tables = (
            f"CREATE TABLE IF NOT EXISTS {quoted(table)} ({', '.join(rows.declared)}{unique})",
            "CREATE TABLE IF NOT EXISTS actorstream_fences (job TEXT, operator TEXT, attempt INTEGER NOT NULL, "
            "holder TEXT NOT NULL, PRIMARY KEY (job, operator))",
            "CREATE TABLE IF NOT EXISTS actorstream_commits (job TEXT, operator TEXT, subtask INTEGER, "
            "checkpoint INTEGER NOT NULL, PRIMARY KEY (job, operator, subtask))",
        )
        self.make_staged = (
            f"CREATE TABLE IF NOT EXISTS {quoted(self.staged)} (as_row INTEGER PRIMARY KEY, as_job TEXT, "
            "as_operator TEXT, as_subtask INTEGER, as_attempt INTEGER, as_checkpoint INTEGER, "
            f"{', '.join(rows.declared)})"
        )
        marks = ", ".join("?" * (len(_STAGED) + len(rows.columns)))
        self.stage = f"INSERT INTO {quoted(self.staged)} ({', '.join(_STAGED)}, {columns}) VALUES ({marks})"
        whose = "as_job = ? AND as_operator = ? AND as_subtask = ? AND as_attempt = ?"
        self.name_open = f"UPDATE {quoted(self.staged)} SET as_checkpoint = ? WHERE {whose} AND as_checkpoint IS NULL"
        self.drop_open = f"DELETE FROM {quoted(self.staged)} WHERE {whose} AND as_checkpoint IS NULL"
        self.count = f"SELECT count(*) FROM {quoted(self.staged)} WHERE {whose} AND as_checkpoint = ?"
        self.drop = f"DELETE FROM {quoted(self.staged)} WHERE {whose} AND as_checkpoint = ?"
        self.show = (
            f"INSERT INTO {quoted(table)} ({columns}) SELECT {columns} FROM {quoted(self.staged)} "
            f"WHERE {whose} AND as_checkpoint = ? ORDER BY as_row"
        )
        if key:
            others = [quoted(name) for name in rows.columns if name not in key]
            changes = ", ".join(f"{name} = excluded.{name}" for name in others)
            self.show += f" ON CONFLICT ({keys}) DO " + (f"UPDATE SET {changes}" if others else "NOTHING")
        self.drop_left = (
            f"DELETE FROM {quoted(self.staged)} WHERE as_job = ? AND as_operator = ? AND as_attempt < ? AND "
            "(as_subtask = ? OR as_checkpoint IS NULL OR as_checkpoint > ?)"
        )
