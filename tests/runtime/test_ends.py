"""What a job's end leaves out: the state that nobody can restore, and the child that nobody waits for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import JobFailed
from actorstream.protocol.restart import Restart
from actorstream.state.writer import SMALL_ENTRIES
from actorstream.state.writer_process import WriterProcess
from actorstream.system.files import RealFiles
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NUMBERS = {"a": list(range(300)), "b": list(range(300, 500))}
COUNTED = Counter((v % 7, n + 1) for v in range(7) for n in range(len(range(v, 500, 7))))


def layers_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.lmdb")]


class Looking(Target):
    """Notes which layers there are when the final checkpoint is committed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.layers: list[str] = []

    def commit(self, token: bytes) -> None:
        """Look first."""
        self.layers = layers_in(self.folder)
        super().commit(token)


class FailingOnce(Target):
    """Cannot be reached when the final checkpoint is committed."""

    def __init__(self, source: Splits[int]) -> None:
        super().__init__()
        self.source = source
        self.failures = 0

    def commit(self, token: bytes) -> None:
        """Fail the first time; by the second one the source has a split more."""
        if not self.failures:
            self.failures += 1
            self.source.records["c"] = [7_000]
            raise ConnectionError("no way")
        super().commit(token)


def counting(source: Any, target: Target) -> Pipeline:
    pipeline = Pipeline("t")
    pipeline.source(source, name="in").key_by(lambda v: v % 7).count(name="count").sink(target, name="out")
    return pipeline


@pytest.mark.parametrize("parallelism", [1, 2])
@pytest.mark.parametrize("durable", [False, True])
async def test_the_last_state_is_written_only_where_it_can_be_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, parallelism: int
) -> None:
    monkeypatch.setattr(RealFiles, "temporary", lambda _, name: str(tmp_path / name))
    target = Looking(tmp_path)
    store = tmp_path / "store" if durable else None
    await counting(Splits(NUMBERS), target).run(store=store, parallelism=parallelism, checkpoint_interval=None)

    assert bool(target.layers) == durable
    assert Counter(target.committed) == COUNTED


@pytest.mark.parametrize("parallelism", [1, 2])
async def test_a_restart_after_the_end_reads_nothing_more(parallelism: int) -> None:
    """What would come of a split that is new meets no state: the job has ended, and stays so."""
    source = Splits(NUMBERS)
    target = FailingOnce(source)
    restart = Restart.fixed_delay(1, delay=0)
    await counting(source, target).run(parallelism=parallelism, checkpoint_interval=None, restart=restart)

    assert target.failures == 1
    assert Counter(target.committed) == COUNTED


async def test_a_restart_before_the_end_finds_the_state() -> None:
    """The commit of a checkpoint in the middle fails: the job goes on from what that checkpoint holds."""
    source = Splits({"a": list(range(500))}, allowed=300)
    target = FailingOnce(source)
    async with counting(source, target).run(checkpoint_interval=None, restart=Restart.fixed_delay(1, delay=0)) as job:
        await until(lambda: len(target.attempts) == 1 and bool(source.reads))
        await job.checkpoint()
        await until(lambda: target.failures == 1)
        source.records.pop("c")
        source.allow(None)
        await job.wait()

    assert Counter(target.committed) == COUNTED


async def test_the_last_layer_of_a_short_job_needs_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting one takes 0.1 to 0.2 s, and what has ended does not starve a thread."""
    monkeypatch.setattr(WriterProcess, "__init__", lambda _: pytest.fail("a child was started"))
    pipeline = Pipeline("t")
    pipeline.source(range(3 * SMALL_ENTRIES), name="in").key_by(lambda v: v).count(name="n").sink(str)
    await pipeline.run(store=tmp_path, checkpoint_interval=None)

    assert layers_in(tmp_path)


@pytest.mark.parametrize("where", ["in a function", "at the splits"])
async def test_what_is_no_exception_fails_the_job_and_is_not_tried_again(where: str) -> None:
    """`pytest.fail` in a function gave a job that had ended well, with a summary, and half of its output."""
    tries: list[int] = []

    class Source(Splits[int]):
        async def splits(self) -> Sequence[str]:
            if where == "at the splits":
                give_up(0)
            return await super().splits()

    def give_up(value: int) -> int:
        tries.append(value)
        return pytest.fail("that must not come")

    pipeline = Pipeline("t")
    pipeline.source(Source({"a": NUMBERS["a"]}), name="in").map(give_up).sink(Target(), name="out")
    with pytest.raises(JobFailed, match=r"Failed: that must not come .not tried again: it is no Exception") as failed:
        await pipeline.run(restart=Restart.fixed_delay(3, delay=0))

    assert isinstance(failed.value.__cause__, pytest.fail.Exception)
    assert len(tries) == 1
