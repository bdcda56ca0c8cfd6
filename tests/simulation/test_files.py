"""Files in, files out, on a disk that loses power: parts are whole at every moment, and hold every record once.

in/0.jsonl ┐                    ┌ part-…-0-…    a process dies at a change of the disk; then it is killed, or the
in/1.jsonl ┴──> tally by key ───┴ part-…-1-…    machine loses its power, and the job goes on with other subtasks
"""

from __future__ import annotations

import csv
import json
import os
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

import anyio
import pytest

from actorstream import Context, KeyedProcess, Pipeline, Restart, Settings, ValueState
from actorstream.connectors.files import Csv, FileSink, FileSource, JsonLines, json_lines
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.ends import Trickle
from actorstream.testing.run import run_simulated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.testing.run import Outcome

pytestmark = pytest.mark.simulation

FILES, RECORDS = 2, 15
STRIDE = 7
"""One crash of so many in a test run, each of them in `make sweep`."""


class Event(NamedTuple):
    key: str
    number: int


class Count(NamedTuple):
    key: str
    number: int
    seen: int
    note: str


class Tally(KeyedProcess[str, Event, Count]):
    seen: ValueState[int] = ValueState(0)

    def on_element(self, value: Event, ctx: Context[str], /) -> Iterator[Count]:
        self.seen += 1
        yield Count(value.key, value.number, self.seen, "two\nlines")


def key_of(file: int, number: int) -> str:
    return f"{file}{number % 2}"


EXPECTED = sorted(
    [key_of(file, number), str(number), str(number // 2 + 1), "two\nlines"]
    for file in range(FILES)
    for number in range(RECORDS)
)


@contextmanager
def machine() -> Iterator[SimulatedDisk]:
    """Give a disk with the input on it."""
    with temporary_disk() as empty:
        os.mkdir(f"{empty.root}/in")
        for file in range(FILES):
            events = [Event(key_of(file, number), number)._asdict() for number in range(RECORDS)]
            with open(f"{empty.root}/in/{file}.jsonl", "w") as target:
                target.writelines(f"{json.dumps(event)}\n" for event in events)
        yield SimulatedDisk(empty.root)


async def job(root: str, parallelism: int) -> str:
    """The program of a process."""
    pipeline = Pipeline("files")
    events = pipeline.source(Trickle(FileSource(f"{root}/in", JsonLines(Event)), 0.02), name="in")
    sink = FileSink(f"{root}/out", Csv(Count), roll_records=2)
    events.key_by(lambda event: event.key).process(Tally, name="tally").sink(sink, name="out")
    run = pipeline.run(
        store=f"{root}/store",
        parallelism=parallelism,
        checkpoint_interval=0.02,
        restart=Restart.fixed_delay(100, delay=0.05),
        settings=Settings(tolerated_failures=-1),
    )
    with anyio.fail_after(120):
        await run
    return "finished"


def process(disk: SimulatedDisk, parallelism: int, seed: str, operation: int | None = None) -> Outcome[str]:
    with patch.multiple(json_lines, SLICE_RECORDS=4):
        return run_simulated(lambda: job(disk.root, parallelism), seed=seed, disk=disk, crash_at_operation=operation)


def visible(disk: SimulatedDisk) -> list[list[str]]:
    """Read all parts as a reader of the folder does, who knows nothing of us."""
    rows: list[list[str]] = []
    for name in disk.list_dir(f"{disk.root}/out"):
        if not name.startswith("."):
            with open(f"{disk.root}/out/{name}", newline="") as part:
                header, *found = csv.reader(part, strict=True)
            assert header == list(Count._fields)
            assert 1 <= len(found) <= 2
            assert part_ends(f"{disk.root}/out/{name}")
            rows += found
    return sorted(rows)


def part_ends(path: str) -> bool:
    with open(path, "rb") as part:
        return part.read().endswith(b"\n")


def run_through(operation: int, seed: int) -> tuple[Outcome[str], bool]:
    """Crash at a change of the disk, then at another one, then run to the end; look at the folder after each."""
    rng = random.Random(f"{operation} {seed}")
    with machine() as disk:
        first = process(disk, 1 + seed % 3, f"{operation} {seed} first", operation)
        broken_off = [first]
        cut(disk, rng)
        before = visible(disk)
        broken_off.append(process(disk, rng.randint(1, 3), f"{operation} {seed} again", rng.randint(1, 90)))
        cut(disk, rng)
        after = visible(disk)
        assert set(map(tuple, before)) <= set(map(tuple, after)), "what was seen is gone"
        assert process(disk, rng.randint(1, 3), f"{operation} {seed} last").value() == "finished"
        cut(disk, rng)
        assert visible(disk) == EXPECTED
        assert [name for name in disk.list_dir(f"{disk.root}/out") if name.startswith(".part")] == []
        disk.kill()
        return first, 0 < len(before) < len(EXPECTED)


def cut(disk: SimulatedDisk, rng: random.Random) -> None:
    if rng.random() < 0.6:
        disk.power_cut(rng)
    else:
        disk.kill()


def sweep(stride: int, seed: int) -> None:
    """Crash at each `stride`-th change of the disk until a process comes to its end."""
    partly, operation = 0, 1 + seed % stride
    while True:
        first, some = run_through(operation, seed)
        partly += some
        if first.crash is None:
            break
        operation += stride
    assert operation > 100, "the crashes have not come far"
    assert partly > 50 // stride, "some crashes must come between the first commit and the last"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(2))
def test_files_hold_every_record_once_wherever_it_breaks_off(seed: int) -> None:
    sweep(STRIDE, seed)


@pytest.mark.verify
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("seed", range(2, 8))
def test_files_hold_every_record_once_after_a_crash_at_every_change_of_the_disk(seed: int) -> None:
    sweep(1, seed)
