"""Scalars and choices that may be read as wider ones, and the error where something may not.

int -> float (where it is exact), int -> Decimal, bool -> int
an Enum, Literal or choice of scalars -> one with more, or the str or int that all of them are
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from actorstream.codec.schema import spoken
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Json: TypeAlias = Any
Step: TypeAlias = "Callable[[Any], Any]"
_Alternative: TypeAlias = tuple[str, str | None]
"""A class, and one value of it, or None for all."""

_AS_READ: Final = frozenset({"None", "bool", "int", "float", "str", "bytes"})

_NOT_IN_KEYS: Final = frozenset({"datetime", "time", "any"})
_pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


class DifferenceError(CodecError):
    """Bytes of an old schema cannot be read as the new one.

    Attributes:
        remedy: What to do, beside migrating; may be empty.
    """

    def __init__(self, sentence: str, remedy: str = "") -> None:
        """Keep the remedy apart from the sentence."""
        super().__init__(sentence)
        self.remedy = remedy


def differs(old: Json, new: Json, place: str) -> DifferenceError:
    """Make the error of a place whose type changed."""
    return DifferenceError(f"{place} was {spoken(old)} and is {spoken(new)} now")


def is_scalar(shape: Json) -> bool:
    """Tell whether dict keys of that shape stand in a packed map: `Shape.scalar`."""
    if isinstance(shape, str):
        return shape not in _NOT_IN_KEYS
    return "one of" in shape or "values" in shape


def is_plain_literal(choices: Iterable[str]) -> bool:
    """Tell whether all choices of a Literal, as `repr` gives them, are packed as they are."""
    try:
        return all(ast.literal_eval(each).__class__ in (int, str, type(None)) for each in choices)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False  # what no `repr` gives: nested too deeply


def _exact_float(raw: object) -> float:
    if isinstance(raw, int) and (found := float(raw)) == raw:
        return found
    raise CodecError(f"no float holds {raw!r:.40} exactly: say int | float, or version= and migrate= with what to do")


_WIDENED: Final[dict[tuple[str, str], Step]] = {
    ("int", "float"): _exact_float,
    ("bool", "int"): int,
    ("int", "Decimal"): str,
}


def widen(old: Json, new: Json, place: str) -> Step | None:
    """Give the step from one scalar or choice to another; None: read as it is.

    Raises:
        DifferenceError: There is none.
    """
    if old == new:
        return None
    if isinstance(old, str) and isinstance(new, str) and (old, new) in _WIDENED:
        return _WIDENED[old, new]
    was, now = _choices(old), _choices(new)
    if was is not None and now is not None and was[0] == now[0]:
        gone = [each for each in was[1] if each not in now[1]]
        if gone:
            sentence = f"{place} may have been {gone[0]!r}, which {spoken(new)} has no more"
            raise DifferenceError(sentence, "keep what was stored")
        # A Literal that was packed as it is, and has a choice now that cannot be: all go self-describing.
        flips = was[0] == "literal" and is_plain_literal(was[1]) and not is_plain_literal(now[1])
        return _pack if flips else None
    if not _covered(_alternatives(old), _alternatives(new)):
        raise differs(old, new, place)
    return float if old == "float" else None


def _choices(shape: Json) -> tuple[str, list[Json]] | None:
    return next(((key, shape[key]) for key in ("values", "names", "literal", "one of") if key in shape), None)


def _covered(old: set[_Alternative] | None, new: set[_Alternative] | None) -> bool:
    if old is None or new is None:
        return False
    return all(each in new or (each[0], None) in new for each in old)


def _alternatives(shape: Json) -> set[_Alternative] | None:
    """Give what may stand in the bytes; None where that says too little."""
    if isinstance(shape, str):
        return {(shape, None)} if shape in _AS_READ else None
    if "one of" in shape:
        return {(name, None) for name in shape["one of"]}
    if "values" in shape:
        return {(type(value).__name__, repr(value)) for value in shape["values"]}
    if "literal" in shape and is_plain_literal(shape["literal"]):
        return {(_class_of(ast.literal_eval(each)), each) for each in shape["literal"]}
    return None


def _class_of(value: object) -> str:
    return "None" if value is None else type(value).__name__
