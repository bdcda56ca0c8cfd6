"""Files as a sink: each record once in parts that readers only see whole, whatever is broken off, whoever goes on."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import Pipeline
from actorstream.connectors.files import Csv, FileSink, FileSource, JsonLines
from actorstream.connectors.files.part_tokens import decode_part_token, encode_part_token
from actorstream.errors import CodecError, FencedError, InvariantError, PlanError, RestoreError, StoreError
from actorstream.model.connect import ForkableSink, Sink
from actorstream.testing.conformance import check_sink
from tests.connectors.files.setting import Click, Hit, Identity, records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HITS = [Hit(f"user {number % 3}", number, "x,\r\n" if number % 2 else None) for number in range(40)]
FORMATS: list[Any] = [JsonLines(Hit), Csv(Hit)]


def seen(folder: Path | str) -> list[str]:
    """What a reader sees in a folder: its names without a dot before them."""
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if os.path.isdir(folder) else []


def hidden(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.startswith(".part"))


async def read_back(folder: str, format_: Any) -> list[Any]:
    """Every record that is visible; a part that is not whole would fail to be read."""
    return [record for name in seen(folder) for record in await records(f"{folder}/{name}", format_)]


async def staged_by(sink: FileSink[Hit], ctx: Identity, checkpoint: int, values: list[Hit]) -> bytes:
    """Write and pre-commit as an attempt that then dies."""
    async with sink.writer(ctx) as writer:
        await writer.write(values)
        token = await writer.pre_commit(checkpoint)
        assert token is not None
        return token


@contextmanager
def unreachable(folder: str | Path) -> Iterator[None]:
    """Let another thing stand where the folder was, as where a disk is not mounted; then it is back."""
    away = f"{folder}.away"
    os.rename(folder, away)
    open(folder, "x").close()
    yield
    os.remove(folder)
    os.rename(away, folder)


@pytest.mark.parametrize("format_", FORMATS, ids=lambda each: type(each).__name__)
async def test_it_stands_what_every_sink_must_stand(format_: Any) -> None:
    """Cancelled and killed at every call, aborts, zombies, rescales, late and repeated notices, and an outage."""
    report = await check_sink(
        lambda place: FileSink(place, format_, roll_records=3),
        lambda place: read_back(place, format_),
        HITS[:12],
        down=unreachable,
    )
    assert report.trials["outage"] == 1


async def test_parts_appear_whole_with_the_commit(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out", JsonLines(Click), roll_records=2)
    assert isinstance(sink, Sink)
    async with sink.writer(Identity(operator="my out")) as writer:
        await writer.write([Click("ann", page) for page in range(5)])
        token = await writer.pre_commit(7)
        assert token is not None
        assert len(token) <= 4096
        assert seen(tmp_path / "out") == []
        await writer.write([Click("ann", 5)])
        await writer.commit(token)
        owner = "job%2D1-my%20out-0"
        assert seen(tmp_path / "out") == [f"part-{owner}-0000000007-{number:04d}.jsonl" for number in range(3)]
        second = await writer.pre_commit(8)
        assert second is not None
        await writer.commit(second)
        assert await writer.pre_commit(9) is None
    assert hidden(tmp_path / "out") == []
    contents = [(tmp_path / "out" / name).read_text() for name in seen(tmp_path / "out")]
    assert [text.count("\n") for text in contents] == [2, 2, 1, 1]
    assert json.loads(contents[3]) == asdict(Click("ann", 5))


async def test_a_part_is_full_by_its_bytes(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, Csv(Hit), roll_bytes=1_000_000)
    token = await staged_by(sink, Identity(), 1, [Hit("x" * 90, 1)] * 40_000)
    async with sink.writer(Identity(attempt=2, restored=1)) as writer:
        await writer.commit(token)
    sizes = [(tmp_path / name).stat().st_size for name in seen(tmp_path)]
    assert len(sizes) == 4
    assert all(1_000_000 <= size < 1_100_000 for size in sizes[:-1])
    assert await read_back(str(tmp_path), Csv(Hit)) == [Hit("x" * 90, 1)] * 40_000


async def test_a_writer_that_is_left_leaves_nothing_that_is_not_pre_committed(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, JsonLines(Hit), roll_records=2)
    async with sink.writer(Identity()) as writer:
        await writer.write(HITS[:3])
        await writer.pre_commit(1)
        await writer.write(HITS[3:10])
    assert len(hidden(tmp_path)) == 2


async def test_a_reader_may_take_parts_away(tmp_path: Path) -> None:
    """A commit that comes again finds no part, and must not take that for a loss."""
    sink = FileSink(tmp_path, JsonLines(Hit))
    async with sink.writer(Identity()) as writer:
        await writer.write(HITS)
        token = await writer.pre_commit(1)
        assert token is not None
        await writer.commit(token)
    (name,) = seen(tmp_path)
    (tmp_path / name).unlink()
    async with sink.writer(Identity(attempt=2, restored=1)) as writer:
        await writer.commit(token)
        await writer.abort(None)
    assert seen(tmp_path) == []


async def test_a_lost_or_damaged_part_is_told_and_nothing_is_committed(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, JsonLines(Hit), roll_records=20)
    token = await staged_by(sink, Identity(), 1, HITS)
    first, second = (tmp_path / name for name in hidden(tmp_path))
    content = second.read_bytes()
    async with sink.writer(Identity(attempt=2, restored=1)) as writer:
        second.write_bytes(content[:-1])
        with pytest.raises(StoreError, match=r"2 parts of checkpoint 1 have \d+ bytes, expected"):
            await writer.commit(token)
        second.unlink()
        with pytest.raises(StoreError, match="is missing: it is one of 2 with the 40 records of checkpoint 1"):
            await writer.commit(token)
        assert first.exists()
        second.write_bytes(content)
        await writer.commit(token)
    assert await read_back(str(tmp_path), JsonLines(Hit)) == HITS


async def test_t105_a_zombie_is_refused_whatever_it_tries(tmp_path: Path) -> None:
    """T105: from the moment a newer attempt has opened a writer, also of another subtask."""
    sink = FileSink(tmp_path, JsonLines(Hit))
    async with sink.writer(Identity(subtask=1)) as zombie:
        await zombie.write(HITS)
        token = await zombie.pre_commit(1)
        assert token is not None
        await zombie.write(HITS)
        async with sink.writer(Identity(attempt=2)):
            with pytest.raises(FencedError, match="attempt 2 of job job-1 writes here, this is attempt 1"):
                await zombie.commit(token)
            with pytest.raises((FencedError, StoreError)):
                await zombie.pre_commit(2)
    with pytest.raises(FencedError):
        await staged_by(sink, Identity(), 3, HITS)
    with pytest.raises(FencedError, match="another instance of job job-1, with attempt 2 too"):
        await staged_by(sink, Identity(attempt=2, holder="two"), 3, HITS)
    assert seen(tmp_path) == []


async def test_a_job_that_goes_back_behind_its_output_is_refused(tmp_path: Path) -> None:
    """Also where readers have taken the parts away."""
    sink = FileSink(tmp_path, JsonLines(Hit))
    token = await staged_by(sink, Identity(), 5, HITS)
    async with sink.writer(Identity(attempt=2, restored=5)) as writer:
        await writer.commit(token)
    for _ in range(2):
        with pytest.raises(RestoreError, match="output of checkpoint 5 of job job-1, but the job goes on from checkpo"):
            await staged_by(sink, Identity(attempt=3, restored=4), 6, HITS)
        for name in seen(tmp_path):
            (tmp_path / name).unlink()


async def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    sink: FileSink[Any] = FileSink(tmp_path, Csv(dict[str, Any]))
    async with sink.writer(Identity(operator="rows")) as writer:
        with pytest.raises(CodecError, match=r"^rows: a record cannot be written to .*: TypeError: 'a' is a list"):
            await writer.write([{"a": [1]}])
        with pytest.raises(CodecError, match=r"the fields \['b', 'c'\], and the columns are \['a'\]"):
            await writer.write([{"a": 1}, {"b": 1, "c": 2}])
    with pytest.raises(InvariantError):
        await writer.write([{"a": 1}])
    for wrong in ({"roll_bytes": 0}, {"roll_records": 0}):
        with pytest.raises(PlanError, match="expected at least 1"):
            FileSink(tmp_path, Csv(Hit), **wrong)


async def test_a_token_of_another_sink_or_version_is_refused(tmp_path: Path) -> None:
    sink = FileSink(tmp_path, JsonLines(Hit))
    token = decode_part_token(await staged_by(sink, Identity(), 1, HITS))
    async with sink.writer(Identity(attempt=2)) as writer:
        for wrong in (
            b"{}",
            encode_part_token(replace(token, format=2)),
            encode_part_token(replace(token, suffix="/")),
        ):
            with pytest.raises(StoreError, match="a sink's token in the checkpoint"):
                await writer.commit(wrong)
    with pytest.raises(StoreError, match="give the operator a shorter name"):
        encode_part_token(replace(token, operator="x" * 5_000))


async def test_files_in_files_out_over_runs_of_other_parallelism(tmp_path: Path) -> None:
    """Files that grow are followed by a job that is stopped and goes on by more and fewer subtasks."""
    (tmp_path / "in").mkdir()
    out = str(tmp_path / "out")
    for run, parallelism in enumerate((1, 3, 2), 1):
        for name in range(4):
            with (tmp_path / "in" / f"{name}.jsonl").open("a") as file:
                for page in range(name + 2_000 * (run - 1), 2_000 * run, 4):
                    file.write(json.dumps(asdict(Click(f"u{page % 5}", page))) + "\n")
        pipeline = Pipeline("p")
        clicks = pipeline.source(FileSource(tmp_path / "in", JsonLines(Click, follow=True)), name="in")
        clicks.rebalance().sink(FileSink(out, Csv(Click)), name="out")
        async with pipeline.run(store=tmp_path / "store", checkpoint_interval=None, parallelism=parallelism) as job:
            while len(await read_back(out, Csv(Click))) < 2_000 * run:
                await job.checkpoint()
    assert sorted(click.page for click in await read_back(out, Csv(Click))) == list(range(6_000))
    assert hidden(tmp_path / "out") == []


async def test_a_fork_writes_beside_it(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out", JsonLines(Hit), roll_records=5)
    assert isinstance(sink, ForkableSink)
    fork = sink.forked("b")
    assert (fork.folder, fork.roll_records) == (f"{tmp_path}/out@b", 5)
