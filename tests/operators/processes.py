"""One process class in a chain of its own, fed with keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actorstream.api.pipeline import Pipeline
from actorstream.operators.keyed_process import KeyedProcess
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable

Process = KeyedProcess[Any, Any, Any]


def rig(owner: Callable[[], Process], **options: Any) -> Rig:
    pipeline = Pipeline("t")
    pipeline.source([0]).key_by(lambda value: value).process(owner, name="head").rebalance().map(str)
    return Rig(pipeline, "head", **options)


def feed(made: Rig, *records: tuple[object, object]) -> list[Any]:
    """Run (key, value) pairs as one batch; give what was emitted."""
    times = cast("Any", [None] * len(records))
    (lists,) = made.run([value for _, value in records], [key for key, _ in records], times)
    return list(lists.values)
