"""How sentences say times, durations and lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = 60
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", _MINUTE), ("s", 1))
_NAMED_MAX: Final = 3


def instant(time_us: int, now_us: int) -> str:
    """Give a time in UTC to the millisecond, with its date where that is not today's: `12:01:00 UTC`.

    So a watermark, which is a microsecond below what it waits for, reads as what it means.
    """
    try:
        time = _EPOCH + timedelta(milliseconds=round(time_us / 1000))
        today = (_EPOCH + timedelta(microseconds=now_us)).date()
    except OverflowError:
        return "before all time" if time_us < 0 else "the end of time"
    text = time.strftime("%H:%M:%S")
    if time.microsecond:
        text += f".{time.microsecond // 1000:03}".rstrip("0")
    return f"{text} UTC" if time.date() == today else f"{time.date().isoformat()} {text} UTC"


def span(duration_us: int) -> str:
    """Give a duration with one or two units: `320 ms`, `4.2 s`, `4 min 10 s`."""
    seconds = max(0, duration_us) / 1e6
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < _MINUTE - 0.05:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    place = next(place for place, (_, size) in enumerate(_UNITS[:-1]) if whole >= size)
    name, size = _UNITS[place]
    lower, step = _UNITS[place + 1]
    count, rest = divmod(whole, size)
    return f"{count} {name}" + (f" {rest // step} {lower}" if rest // step else "")


def since(time_us: int, now_us: int) -> str:
    """Give a time and how long ago it is: `12:00:10 UTC (20 s ago)`."""
    return f"{instant(time_us, now_us)} ({span(now_us - time_us)} ago)"


def counted(count: int, what: str) -> str:
    """Give a number with what is counted: `1 record`, `2,048 records`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Join names; of many the first three and how many more there are."""
    if len(names) > _NAMED_MAX:
        return f"{', '.join(names[:_NAMED_MAX])} and {len(names) - _NAMED_MAX} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
