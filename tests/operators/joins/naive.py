"""The joins once more, from their definitions: all records in one list, all pairs, nothing dropped.

Each gives the whole output in its order, and the late records, from events in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.times import TIME_MAX, TIME_MIN
from tests.operators.joins.rig import Record, Watermark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actorstream.operators.changes import Change
    from actorstream.operators.joins.cogroup import CoGroup
    from actorstream.operators.joins.interval import IntervalJoin
    from actorstream.operators.joins.table_join import TableJoin
    from actorstream.operators.timed import Emitted
    from actorstream.operators.windows.assigners import Span
    from tests.operators.joins.rig import Event


class Given(NamedTuple):
    """What came out."""

    outputs: list[Emitted]
    late: list[object]


class Arrival(NamedTuple):
    """A record, its number, and the watermark when it came."""

    number: int
    watermark: int
    side: int
    key: object
    value: object
    timestamp: int


def moves(events: Sequence[Event]) -> Iterable[Arrival | Watermark]:
    """Give records with the watermark before them, and how the watermark moves, to the end of input."""
    watermark = TIME_MIN
    for n, event in enumerate(events):
        match event:
            case Record():
                yield Arrival(n, watermark, *event)
            case Watermark(at) if at > watermark:
                watermark = at
                yield event
            case _:
                pass
    yield Watermark(TIME_MAX)


def interval_join(join: IntervalJoin, events: Sequence[Event]) -> Given:
    before, after = join.before_us, join.after_us
    reach = max(after, 0), max(before, 0)
    arrivals = [move for move in moves(events) if isinstance(move, Arrival)]
    good = [each for each in arrivals if each.timestamp + reach[each.side] > each.watermark]

    def joins(left: Arrival, right: Arrival) -> bool:
        return left.key == right.key and left.timestamp - before <= right.timestamp <= left.timestamp + after

    partners: dict[int, list[Arrival]] = {
        each.number: [o for o in good if o.side != each.side and (joins(o, each) if each.side else joins(each, o))]
        for each in good
    }
    outer = join.how in {"left", "full"}, join.how in {"right", "full"}
    # A lonely row comes out when no partner can come any more that is not late.
    lonely = sorted(
        (each.timestamp + (max(before, 0) + after, max(after, 0) + before)[each.side], encode_key(each.key), each)
        for each in good
        if outer[each.side] and not partners[each.number]
    )
    outputs: list[Emitted] = []
    for move in moves(events):
        if isinstance(move, Watermark):
            while lonely and lonely[0][0] <= move.at:
                each = lonely.pop(0)[2]
                outputs.append(((None, each.value) if each.side else (each.value, None), each.timestamp))
        elif move in good:
            earlier = [each for each in partners[move.number] if each.number < move.number]
            for each in sorted(earlier, key=lambda each: (each.timestamp, each.number)):
                pair = (each.value, move.value) if move.side else (move.value, each.value)
                outputs.append((pair, max(each.timestamp, move.timestamp)))
    return Given(outputs, [each.value for each in arrivals if each not in good])


def cogroup(join: CoGroup, events: Sequence[Event], make: Callable[..., object]) -> Given:  # noqa: C901  (whole)
    """Windows as the assigner gives them; merged where they touch, among those that are not gone."""
    lateness = join.allowed_lateness_us
    inside: list[tuple[Span, Arrival]] = []
    outputs: list[Emitted] = []
    late: list[object] = []
    watermark = TIME_MIN

    def windows(key: object) -> set[Span]:
        alive = {span for span, each in inside if each.key == key}
        return grown_together(alive) if join.assigner.merging else alive

    def fire(key: object, window: Span) -> None:
        merging = join.assigner.merging
        found: dict[int, tuple[int, int, Arrival]] = {}  # by number: what stands for several windows is in one once
        for span, each in inside:
            if each.key == key and (window[0] <= span[0] and span[1] <= window[1] if merging else span == window):
                at = span[0] if merging else each.timestamp
                if each.number not in found or at < found[each.number][0]:
                    found[each.number] = at, each.number, each
        mine = sorted(found.values())
        lefts = [each.value for *_, each in mine if not each.side]
        rights = [each.value for *_, each in mine if each.side]
        outputs.extend((make(key, window, value), window[1] - 1) for value in join.fn(lefts, rights))

    for move in moves(events):
        if isinstance(move, Watermark):
            ended = [
                (window[1], encode_key(each.key), window, each.key)
                for each in {each.key: each for _, each in inside}.values()
                for window in windows(each.key)
                if watermark < window[1] - 1 <= move.at
            ]
            for _, _, window, key in sorted(ended, key=lambda each: each[:3]):
                fire(key, window)
            watermark = move.at
            dead = [
                (key, window)
                for key in {each.key for _, each in inside}
                for window in windows(key)
                if window[1] - 1 + lateness <= watermark
            ]
            inside[:] = [
                (span, each)
                for span, each in inside
                if not any(each.key == key and w[0] <= span[0] and span[1] <= w[1] for key, w in dead)
                or (not join.assigner.merging and (each.key, span) not in dead)
            ]
        else:
            spans = join.assigner.assign_us(move.value, move.timestamp)
            late_spans = 0
            into: list[Span] = []
            for span in spans:
                now = windows(move.key)
                merged = span
                if join.assigner.merging:
                    merged = next(w for w in grown_together({*now, span}) if w[0] <= span[0] and span[1] <= w[1])
                if merged[1] - 1 + lateness <= watermark:
                    late_spans += 1
                else:
                    inside.append((span, move))
                    into.append(merged)
            if spans and late_spans == len(spans):
                late.append(move.value)
            now = windows(move.key)
            grown = {
                next(w for w in now if w == m or (join.assigner.merging and w[0] <= m[0] and m[1] <= w[1]))
                for m in into
            }
            for window in sorted(grown, key=lambda window: (window[1], window[0])):
                if window[1] - 1 <= watermark:
                    fire(move.key, window)
    return Given(outputs, late)


def grown_together(spans: set[Span]) -> set[Span]:
    """Merge what touches."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return set(merged)


def table_join(join: TableJoin, events: Sequence[Event]) -> Given:  # noqa: C901  (whole)
    versions: list[Arrival] = []
    waiting: list[Arrival] = []
    outputs: list[Emitted] = []
    late: list[object] = []
    watermark = TIME_MIN

    def remembered(all_versions: list[Arrival], horizon: int) -> list[Arrival]:
        """Leave out what was deleted before anybody asks: only an older change that comes later can tell."""
        if join.as_of == "arrival":
            return all_versions
        kept: list[Arrival] = []
        for key in {each.key for each in all_versions}:
            mine = sorted((each.timestamp, each.number, each) for each in all_versions if each.key == key)
            past = [each for *_, each in mine if each.timestamp <= horizon]
            gone = past if past and past[-1].value.new is None else []  # type: ignore[attr-defined]
            kept += [each for *_, each in mine if each not in gone]
        return sorted(kept, key=lambda each: each.number)

    def answer(each: Arrival) -> None:
        mine = [version for version in versions if version.key == each.key]
        if join.as_of == "event_time":
            mine = sorted(
                (version for version in mine if version.timestamp <= each.timestamp),
                key=lambda version: (version.timestamp, version.number),
            )
        value: object = cast("Change[object, object]", mine[-1].value).new if mine else None
        if value is not None or join.how == "left":
            outputs.append(((each.value, value), each.timestamp))

    for move in moves(events):
        match move:
            case Watermark(at):
                ready = [each for each in waiting if each.timestamp <= at]
                waiting = [each for each in waiting if each.timestamp > at]
                for each in sorted(ready, key=lambda each: (each.timestamp, encode_key(each.key), each.number)):
                    answer(each)
                watermark = at
                versions[:] = remembered(versions, watermark - join.versions_us + 1)
            case Arrival(side=1):
                versions.append(move)
                versions[:] = remembered(versions, watermark - join.versions_us + 1)
            case Arrival() if join.as_of == "arrival":
                answer(move)
            case Arrival(timestamp=timestamp):
                if timestamp > watermark:
                    waiting.append(move)
                elif timestamp + join.versions_us <= watermark:
                    late.append(move.value)
                else:
                    answer(move)
    return Given(outputs, late)
