"""What is given in place of a stream, a tag, a duration or windows is refused where it is given, by name."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Pipeline, PlanError, Tumbling

if TYPE_CHECKING:
    from collections.abc import Callable


def streams() -> tuple[Any, Any]:
    numbers = Pipeline("p").source([1, 2, 3])
    return numbers, numbers.key_by(lambda number: number)


NO_KEY = "the other stream has no key: say key_by(...)"
USES: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "before": (lambda _, keyed: keyed.interval_join(keyed, before="1", after=1), "before is '1', expected a timedelta"),
    "after": (lambda _, keyed: keyed.interval_join(keyed, before=1, after=None), "after is None, expected a timedelta"),
    "bool": (lambda _, keyed: keyed.interval_join(keyed, before=True, after=1), "before is True, expected a timedelta"),
    "late": (lambda _, keyed: keyed.interval_join(keyed, before=1, after=1, late="x"), "late is 'x', expected an Out"),
    "side": (lambda plain, _: plain.side_output("late"), "side_output is 'late', expected an OutputTag"),
    "interval": (lambda plain, keyed: keyed.interval_join(plain, before=1, after=1), f"interval_join: {NO_KEY}"),
    "nothing": (lambda _, keyed: keyed.interval_join(5, before=1, after=1), "the other is int, expected a stream with"),
    "cogroup": (lambda plain, keyed: keyed.cogroup(plain, Tumbling(1), max), f"cogroup: {NO_KEY}"),
    "seconds": (lambda _, keyed: keyed.cogroup(keyed, 60, max), "cogroup: windows are 60, expected windows such as"),
    "class": (lambda _, keyed: keyed.window_join(keyed, Tumbling), "expected windows such as Tumbling(60)"),
    "pairs": (lambda plain, keyed: keyed.window_join(plain, Tumbling(1)), f"window_join: {NO_KEY}"),
    "connect": (lambda plain, keyed: keyed.connect(plain), f"connect: {NO_KEY} or broadcast()"),
    "windowed": (lambda _, keyed: keyed.connect(keyed.window(Tumbling(1))), "the other is WindowedStream, expected a"),
    "union": (lambda plain, keyed: plain.union(keyed), "union: KeyedStream was given, expected streams without a key"),
    "keyed": (lambda plain, keyed: keyed.union(plain), f"union: {NO_KEY}"),
    "all": (lambda plain, _: plain.window_all(Tumbling(1)).count(parallelism=4), "parallelism is 4, expected 1"),
}


@pytest.mark.parametrize("use", USES)
def test_a_wrong_use_is_refused_where_it_is_made(use: str) -> None:
    """Most were an AttributeError of ours; a keyed stream in a union failed the job, a parallelism was passed over."""
    make, said = USES[use]
    with pytest.raises(PlanError, match=re.escape(said)):
        make(*streams())


@pytest.mark.parametrize("before", [-5, -5.0, timedelta(seconds=-5)])
def test_a_bound_of_an_interval_may_be_negative(before: Any) -> None:
    _, keyed = streams()
    keyed.interval_join(keyed, before=before, after=10)
    with pytest.raises(PlanError, match="interval_join"):
        keyed.interval_join(keyed, before=before, after=1)
