"""From the schemas in a manifest to states that read their values: or the refusal, before anything is opened.

    manifest: views.total  0 Total(euros)          columns: total  TotalV2(cents), version 2, migrate {1: f}
                     └──────────────────> evolve <─────────────────┘
                          views.total  writes 1, reads 0 through f and 1 as it is

A state's kind does not change, and its schemas only grow in number: what was stored stays in layers for as long as
nobody changes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.checkpoints.manifest import StateEntry
from actorstream.codec.evolution import SchemaRefusedError
from actorstream.codec.schema import Schema, kind_of, spoken
from actorstream.codec.upgrade import upgrade
from actorstream.codec.widening import DifferenceError
from actorstream.errors import RestoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorstream.checkpoints.manifest import Manifest, OperatorEntry
    from actorstream.operators.columns import Column


def check_states(operator: str, entry: OperatorEntry, columns: Sequence[Column]) -> None:
    """Refuse states that these columns cannot read.

    Raises:
        RestoreError: One is gone, of another kind, or its values cannot be read; names it, the old and the new
            schema, the difference and the remedy.
    """
    present = {column.name: column for column in columns}
    for state, stored in entry.states.items():
        if state not in present:
            raise RestoreError(
                f"operator {operator!r} had a state {state!r}, which its class does not declare any more: "
                f"keep the declaration, or give it up (allow_dropped=['{operator}.{state}'])"
            )
        evolved_column(operator, present[state], stored)


def evolved_columns(manifest: Manifest, columns: Mapping[str, Sequence[Column]]) -> dict[str, Sequence[Column]]:
    """Give the columns as they read the values that a manifest's layers hold.

    Raises:
        RestoreError: As `check_states`.
    """
    found: dict[str, Sequence[Column]] = {}
    for operator, declared in columns.items():
        entry = manifest.operators.get(operator)
        stored = {} if entry is None else entry.states
        found[operator] = [
            evolved_column(operator, column, stored[column.name]) if column.name in stored else column
            for column in declared
        ]
    return found


def evolved_column(operator: str, column: Column, stored: StateEntry) -> Column:
    """Give a column as it reads the values of a stored state.

    Raises:
        RestoreError: As `check_states`.
    """
    if column.kind != stored.kind:
        raise RestoreError(
            f"state {operator}.{column.name} was a {stored.kind} state and is now a {column.kind} state: "
            "give the new state a new name"
        )
    if column.map_key is not None and stored.map_key is not None and not _same_keys(stored.map_key, column.map_key):
        raise RestoreError(
            f"state {operator}.{column.name} had {spoken(stored.map_key)} as its map keys and has "
            f"{spoken(column.map_key.shape)} now, under which no stored entry would be found: keys keep their type; "
            "keep the declaration, and give the new type a new name beside it"
        )
    try:
        return column.evolved(stored.schemas)
    except SchemaRefusedError as error:
        raise RestoreError(
            f"state {operator}.{column.name} changed its type: {error}; "
            "or keep the declaration, and give the new type a new name beside it"
        ) from error


def entry_of(column: Column, number: int) -> StateEntry:
    """Give what a manifest says of a column that has this number in layer keys."""
    schema = column.codec.schema
    return StateEntry(
        number,
        column.kind,
        schema.fingerprint,
        schema.shape,
        version=column.evolution.version,
        schema=column.number,
        older=list(column.others),
        map_key=None if column.map_key is None else column.map_key.shape,
    )


def _same_keys(stored: object, declared: Schema) -> bool:
    """Tell whether keys of the stored shape are keys of the declared type too: as bytes that need no step would be.

    But keys are not stored as values are: an Enum's has its class and its member's name (codec/ordered_keys.py), and
    nothing else is found under it, not even what a value of it could be read as.
    """
    try:
        same = upgrade(Schema("", stored), declared, {}) is None
    except DifferenceError:
        return False
    return same and list(_enums(stored)) == list(_enums(declared.shape))


def _enums(shape: Any) -> Iterator[str]:  # noqa: ANN401  (JSON)
    """Give the name of each Enum in a shape, in order."""
    if kind_of(shape) == "enum":
        yield shape["enum"]
    elif isinstance(shape, dict | list):
        for each in shape.values() if isinstance(shape, dict) else shape:
            yield from _enums(each)
