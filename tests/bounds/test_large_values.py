"""Values of 10 MB go the whole way: log, state, checkpoint, layer, restart, sink; one over the limit is refused."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from xxhash import xxh3_64_hexdigest

from actorstream import Context, EventLog, KeyedProcess, Pipeline, ValueState
from actorstream.checkpoints.view import StoreView
from actorstream.errors import RecordTooLargeError
from actorstream.system.files import RealFiles
from tests.bounds.processes import FILES_MAX, printed_by

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 10_000_000
MIB = 1 << 20
VALUES_HELD = 42
"""Some 26 are, as records, encoded, in pages that LMDB writes and in pieces on their way there."""


@dataclass(frozen=True)
class Document:
    """A record: `key` says which state it goes into."""

    key: str
    content: bytes


class Keeps(KeyedProcess[str, Document, "tuple[str, str, Document]"]):
    """Keeps the newest, and gives the digest of the one before with it."""

    kept: ValueState[Document | None] = ValueState(None)

    def on_element(self, value: Document, ctx: Context[str], /) -> list[tuple[str, str, Document]]:
        del ctx
        before = "" if self.kept is None else xxh3_64_hexdigest(self.kept.content)
        self.kept = value
        return [(value.key, before, value)]


def job_over(source: EventLog[Document], sink: EventLog[object]) -> Pipeline:
    pipeline = Pipeline("large")
    kept = pipeline.source(source, name="in").key_by(lambda document: document.key).process(Keeps, name="keeps")
    kept.sink(sink, name="out")
    return pipeline


def large(letter: str) -> bytes:
    return letter.encode() * SIZE


async def read(folder: Path) -> list[tuple[str, str, str]]:
    async with EventLog(object, folder / "out") as log:
        found: list[Any] = [record.value async for record in log.records(stop="now")]
    return [(key, before, xxh3_64_hexdigest(document.content)) for key, before, document in found]


async def run_until(folder: Path, count: int) -> None:
    """Run the job, and take checkpoints until so many records have come out."""
    async with EventLog(Document, folder / "in") as source, EventLog(object, folder / "out") as sink:
        started = job_over(source, sink).run(store=folder / "store", state_memory=4 * MIB, checkpoint_interval=None)
        async with started as job:
            while (await sink.summary()).records < count:
                await job.checkpoint()


async def test_10_mb_go_through_log_state_checkpoint_restart_and_sink(tmp_path: Path) -> None:
    """The state's memory is less than one value; what a restart reads is what was kept."""
    digests = {letter: xxh3_64_hexdigest(large(letter)) for letter in "abcd"}
    before = len(os.listdir("/proc/self/fd"))
    async with EventLog(Document, tmp_path / "in") as log:
        await log.append(Document("x", large("a")))
        await log.append(Document("y", large("b")))
        for letters, count in (("", 2), ("cd", 4)):
            for key, letter in zip("xy", letters, strict=False):
                await log.append(Document(key, large(letter)))
            await run_until(tmp_path, count)

    assert sorted(await read(tmp_path)) == sorted([
        ("x", "", digests["a"]), ("y", "", digests["b"]),
        ("x", digests["a"], digests["c"]), ("y", digests["b"], digests["d"]),
    ])  # fmt: skip
    view = StoreView(RealFiles(), str(tmp_path / "store" / "large"))
    manifest = view.read(view.checkpoint_ids()[-1])
    assert 2 * SIZE < sum(layer.size for layer in manifest.layers) < 7 * SIZE
    assert view.verify(manifest) == []
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.verify
@pytest.mark.timeout(300)
def test_values_of_10_mb_take_memory_for_a_few_of_them_however_many_there_are(tmp_path: Path) -> None:
    """48 records of 24 keys: reads, mailboxes, state and sinks each hold some. All of them were a gigabyte."""
    said = printed_by("tests.bounds.large_values", tmp_path, 24)
    assert said["right"] == 48, said
    assert said["peak"] - said["before"] < VALUES_HELD * SIZE / MIB, said
    assert said["files"] < FILES_MAX, said


async def test_a_record_over_16_mib_is_refused_and_the_log_goes_on(tmp_path: Path) -> None:
    async with EventLog(Document, tmp_path / "in") as log:
        with pytest.raises(RecordTooLargeError, match="16,777,216"):
            await log.append(Document("x", bytes(16 * MIB)))
        await log.append(Document("x", large("a")))
        found = [record.offset async for record in log.records(stop="now")]
    assert found == [0]
