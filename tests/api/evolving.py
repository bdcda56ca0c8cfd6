"""A job whose output tells everything: running sums by key, over a source that can be held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.api.pipeline import Pipeline
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.api.job import Job

KEYS = 7
RECORDS = {str(split): range(split, 600, 4) for split in range(4)}


def numbers(allowed: int | None = None) -> Splits[int]:
    """Give a source of four splits that goes on for ever, but for now only up to `allowed` records each."""
    return Splits(RECORDS, allowed=allowed, ended=False)


def sums(
    source: Splits[int], sink: Any, *, name: str = "sum", sink_name: str = "out", source_name: str = "in"
) -> Pipeline:
    """Sum by key, and tell each sum as it becomes."""
    pipeline = Pipeline("sums")
    keyed = pipeline.source(source, name=source_name).key_by(lambda value: value % KEYS)
    added = keyed.map_with_state(0, lambda total, value: (total + value, (value % KEYS, total + value)), name=name)
    added.sink(sink, name=sink_name)
    return pipeline


async def has_read(job: Job, count: int) -> None:
    """Wait until the job has read so many records in this run."""
    await until(lambda: job.summary().records_in >= count)


def check(committed: Sequence[tuple[int, int]], allowed: int) -> None:
    """See that the output is that of the first `allowed` records of each split: each once, and each sum one more."""
    values = [value for records in RECORDS.values() for value in records[:allowed]]
    assert len(committed) == len(values)
    for key in range(KEYS):
        own = sorted(total for at, total in committed if at == key)
        steps = [after - before for before, after in zip([0, *own], own, strict=False)]
        assert sorted(steps) == sorted(value for value in values if value % KEYS == key)


def target() -> Target:
    """Give an outside system."""
    return Target()
