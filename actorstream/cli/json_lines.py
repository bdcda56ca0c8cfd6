"""Records as JSON, one a line: what a person, `jq` and a pipe between two logs can read."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from actorstream.codec.documents import decode_json
from actorstream.errors import CodecError
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")

_READ_BYTES = 1 << 16


def to_json(value: object) -> str:
    """Write any record on one line; what JSON does not know becomes text, numbers and lists.

    bytes are given in base64, times in ISO 8601, timedeltas in seconds, sets and tuples as lists.
    """
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":"))
    except TypeError:  # a key that is no str, int, float, bool or None
        return json.dumps(_with_text_keys(value), default=_plain, ensure_ascii=False, separators=(",", ":"))


class LineReader(Generic[T]):
    """Reads JSON lines from a file descriptor, as many at a time as are there."""

    def __init__(self, descriptor: int, type_: type[T]) -> None:
        """Read each line as a `type_`; `object`: whatever JSON it is."""
        self._descriptor = descriptor
        self._type = type_
        self._line = 0

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yield the values of whole lines until the input ends; empty lines are passed over.

        Raises:
            CodecError: A line is no JSON, or not of the type; says which. Those before it were yielded.
        """
        rest = b""
        while chunk := await current_world().offload.run(os.read, self._descriptor, _READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            values: list[T] = []
            try:
                for line in lines:
                    self._take(line, values)
            except CodecError:
                yield values
                raise
            yield values
        values = []
        self._take(rest, values)
        yield values

    def _take(self, line: bytes, values: list[T]) -> None:
        self._line += 1
        if line.strip():
            try:
                values.append(decode_json(self._type, line))
            except CodecError as error:
                reason = error.__cause__ or error
                raise CodecError(
                    f"line {self._line} is no {_name(self._type)}: {reason}; those before it were taken"
                ) from error


def _name(type_: type) -> str:
    return "JSON" if type_ is object else f"JSON of a {type_.__name__}"


def _plain(value: object) -> object:  # noqa: PLR0911  (one way out a kind)
    match value:
        case bytes():
            return b64encode(value).decode()
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Enum():
            return value.value
        case set() | frozenset():
            return sorted(value, key=repr)
        case _ if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        case _:
            return str(value)


def _with_text_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key if isinstance(key, str) else to_json(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list | tuple) else value
