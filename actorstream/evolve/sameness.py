"""When two records are the same: equal types, equal fields, whatever order their dicts are in.

A record's content is a digest of 128 bits over bytes that equal values share. As everywhere in logs and keys, 1, 1.0
and True are three values; NaN equals itself here, as one that was written twice should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128_digest

from actorstream.codec.records import record_class
from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DICT = "{}"


class Sameness:
    """Gives the content of records, without the fields to be ignored."""

    def __init__(self, ignore: Sequence[str]) -> None:
        """Ignore fields of these names in the record itself, not in what it holds.

        Raises:
            PlanError: `ignore` is one string, whose letters would be taken for names.
        """
        if isinstance(ignore, str):
            raise PlanError(f"ignore={ignore!r}: give a list of names, [{ignore!r}]")
        self._ignored = frozenset(ignore)
        self._never_seen = set(ignore)
        self._takers: dict[type, Callable[[Any], object]] = {}

    def content(self, value: object) -> bytes:
        """Give 16 bytes that records share if they are the same, and only then.

        Raises:
            CodecError: The record holds what no log can.
        """
        take = self._takers.get(value.__class__)
        if take is None:
            take = self._takers[value.__class__] = self._taker(value.__class__)
        return xxh3_128_digest(SELF_DESCRIBING.encode(take(value)))

    def check_ignored(self) -> None:
        """Refuse names that no record had.

        Raises:
            PlanError: There is one, most likely misspelt: the comparison would not mean what was asked for.
        """
        if self._never_seen:
            raise PlanError(
                f"ignore={sorted(self._never_seen)}: no record has a field of that name; check its spelling"
            )

    def _taker(self, kind: type) -> Callable[[Any], object]:
        record = record_class(kind)
        if record is not None:
            self._never_seen.difference_update(record.names)
            left_out = [at for at, name in enumerate(record.names) if name in self._ignored]
            return _of_record(_name_of(kind), record.parts, left_out)
        if kind is dict and self._ignored:
            return self._without_ignored
        return plain

    def _without_ignored(self, value: dict[object, object]) -> object:
        if self._never_seen:
            self._never_seen.difference_update(name for name in value if isinstance(name, str))
        return plain({name: item for name, item in value.items() if name not in self._ignored})


def _of_record(
    name: str, parts: Callable[[object], tuple[object, ...]], left_out: Sequence[int]
) -> Callable[[object], object]:
    def take(value: object) -> object:
        values = parts(value)
        if left_out:
            values = tuple([part for at, part in enumerate(values) if at not in left_out])
        if not _LEAVES.issuperset(map(type, values)):
            values = tuple(map(plain, values))
        return (name, *values)

    return take


def plain(value: object) -> object:
    """Give a value whose encoding is the same for all equal ones: dicts become sorted pairs, records their parts."""
    kind = value.__class__
    if kind in _LEAVES:
        return value
    if kind is dict:
        pairs = [(_bytes_of(key), _bytes_of(item)) for key, item in value.items()]  # type: ignore[attr-defined]
        return (_DICT, *[part for pair in sorted(pairs) for part in pair])
    if kind is list:
        return [plain(item) for item in value]  # type: ignore[attr-defined]
    if kind is tuple:
        return tuple([plain(item) for item in value])  # type: ignore[attr-defined]
    record = record_class(kind)
    return value if record is None else (_name_of(kind), *map(plain, record.parts(value)))


_LEAVES = frozenset({type(None), bool, int, float, str, bytes})


def _bytes_of(value: object) -> bytes:
    return SELF_DESCRIBING.encode(plain(value))


def _name_of(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
