"""Writes how a record is added to its slice, with no call but the user's own.

if cs <= t < ce and w < close:           the slice of the record before, none of whose windows has fired
    v = get(k, M) ...                    d is this epoch's dict of it; below: older epochs may know more
    d[k] = 1 if v is M else v + 1
else:
    r = take(k, e, t, w)                 any other record: the operator itself, which knows what is late
    cs, ce, d = ...               its slice is the one for those that follow
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.codec.values import is_immutable
from actorstream.operators.joins.sliced_cogroup import SEALED_AT

if TYPE_CHECKING:
    from actorstream.operators.joins.sliced_cogroup import SlicedCoGroupOperator
    from actorstream.operators.step_text import StepText
    from actorstream.operators.windows.aggregates import Aggregation
    from actorstream.operators.windows.sliced import SlicedWindows


def begin_slices(text: StepText, operator: SlicedWindows, *, near: float | None) -> None:
    """Write what stands before the loop: no slice is known. With `near` times are not exact, see `write_slice_of`."""
    text.constant("older_of", operator.older)
    text.constant("has_older", operator.has_older)
    text.constant("enter", operator.enter)
    text.constant("close_at", operator.close_at)
    text.begin("cs = ce = 0" if near is None else "ca = ce = 0.0")


def write_held(text: StepText, depth: int) -> None:
    """Write what the slice at hand holds of a key: v."""
    text.emit(depth, "v = get(k, M)")
    text.emit(depth, "if v is M and below: v = older_of(cs, k)")


def write_addition(text: StepText, aggregation: Aggregation, item: str, depth: int, *, one_key: bool) -> None:
    """Write the addition to the slice at hand.

    Where all records have one key, what is held of it is known from the record before: 0.05 of q7.
    """
    if not one_key:
        write_held(text, depth)
    held = "d[k] = v" if one_key else "d[k]"
    fn = aggregation.fn
    match aggregation.shape:
        case "count":
            text.emit(depth, f"{held} = 1 if v is M else v + 1")
        case "sum" if fn is not None:
            text.emit(depth, f"{held} = (0 if v is M else v) + {text.applied('term', fn, item)}")
        case "min" | "max" as shape if fn is not None:
            text.emit(depth, f"m = {text.applied('term', fn, item)}")
            text.emit(depth, f"if v is M or m {'<' if shape == 'min' else '>'} v: {held} = m")
        case "min_by" | "max_by" as shape if fn is not None:
            text.emit(depth, f"m = {text.applied('term', fn, item)}")
            text.emit(depth, f"if v is M or m {'<' if shape == 'min_by' else '>'} v[0]: {held} = m, {item}")
        case "fold" if fn is not None and is_immutable(aggregation.initial):
            text.constant("initial", aggregation.initial)
            text.emit(depth, f"{held} = {text.constant('fold', fn)}(initial if v is M else v, {item})")
        case _:
            text.constant("add", aggregation.add)
            text.emit(depth, f"{held} = add(v, {item})")


def write_record_kept(
    text: StepText, operator: SlicedCoGroupOperator, item: str, side: int, time: str, depth: int
) -> None:
    """Write that a record of one side is put to the others of its key."""
    text.constant("seal", operator.seal)
    text.emit(depth, "v = get(k, M)")
    text.emit(depth, "if v is M and below:")
    text.emit(depth + 1, "v = older_of(cs, k)")
    text.emit(depth + 1, "if v is not M: d[k] = v")
    text.emit(depth, "if v is M:")
    text.emit(depth + 1, f"d[k] = [{side}, {time}, {item}]")
    text.emit(depth, "else:")
    text.emit(depth + 1, f"v += {side}, {time}, {item}")
    text.emit(depth + 1, f"if len(v) >= {SEALED_AT}: seal(cs, k, v)")


def write_slice_of(
    text: StepText, operator: SlicedWindows, time: str, mark: str, depth: int, *, near: float | None
) -> None:
    """Write that the slice of this record is at hand from here on; ends inside the condition that it may be.

    With `near` those that follow have times that are not exact: for so many microseconds from its bounds it is not.
    """
    offset = f" - {operator.offset}" if operator.offset else ""
    text.emit(depth, f"cs = {time} - ({time}{offset}) % {operator.slice_us}")
    text.emit(depth, "ce = cs" if near is None else "ca = ce = 0.0")
    text.emit(depth, f"if {mark} < close_at(cs):")
    if near is None:
        text.emit(depth + 1, f"ce = cs + {operator.slice_us}")
    else:
        text.emit(depth + 1, f"ca, ce = cs + {near}, cs + {operator.slice_us - near}")
    text.emit(depth + 1, f"d = enter(cs, {mark})")
    text.emit(depth + 1, "below = has_older(cs)")
    text.emit(depth + 1, "get = d.get")
