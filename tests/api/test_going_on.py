"""Jobs that go on from a savepoint or checkpoint: elsewhere, as another job, and when they are refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.api.settings import Settings
from actorstream.errors import PlanError, RestoreError, StoreError
from actorstream.eventlog.log import EventLog
from actorstream.protocol.restart import Restart
from tests.api.evolving import RECORDS, check, has_read, numbers, sums
from tests.runtime.doubles import Splits, Target, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.api.savepoint import Savepoint

from tests.api.test_savepoints import manifest_at


def flip(savepoint: Savepoint) -> None:
    """Change some bits of its only layer."""
    (path,) = Path(savepoint.path, "layers").iterdir()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * 64 + content[4160:])


async def test_a_moved_savepoint_goes_on_elsewhere_as_the_same_job(tmp_path: Path) -> None:
    """To another store, at another parallelism: nothing is lost, nothing comes twice; said again, it goes on."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path / "one") as job:
        await has_read(job, 120)
        savepoint = await job.stop(savepoint="last")
    moved = shutil.move(savepoint.path, tmp_path / "usb stick")
    shutil.rmtree(tmp_path / "one")

    for allowed, parallelism in ((50, 3), (60, 2), (80, 1)):
        source.allow(allowed)
        run = sums(source, out).run(store=tmp_path / "two", restore=moved, parallelism=parallelism)
        async with run as job:
            before = len(out.committed)
            await has_read(job, 4 * allowed - before)
    check(out.committed, 80)


async def test_an_intermediate_savepoint_brings_its_pending_output_along(tmp_path: Path) -> None:
    """Killed right after it: whoever goes on from it commits what it holds, once."""
    source, out = numbers(30), Target()
    with pytest.raises(KeyError):  # noqa: PT012
        async with sums(source, out).run(store=tmp_path, checkpoint_interval=None, restart=Restart.never()) as job:
            await has_read(job, 120)
            await job.savepoint("a")
            raise KeyError
    assert out.committed == []

    source.allow(40)
    async with sums(source, out).run(store=tmp_path, restore="a") as job:
        await has_read(job, 40)
    check(out.committed, 40)


async def test_going_back_behind_committed_output_needs_a_second_yes(tmp_path: Path) -> None:
    """T111: later checkpoints have committed; with the yes their output comes again, from the savepoint on."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 120)
        await job.savepoint("a")
        source.allow(40)
        await has_read(job, 160)
    check(out.committed, 40)

    with pytest.raises(RestoreError, match=r"output up to checkpoint 2 may be committed .* --accept-duplicates"):
        await sums(source, out).run(store=tmp_path, restore="a")
    async with sums(source, out).run(store=tmp_path, restore="a", accept_duplicates=True) as job:
        await has_read(job, 40)
    assert len(out.committed) == 200
    assert {key: max(t for at, t in out.committed[160:] if at == key) for key, _ in out.committed[160:]} == {
        key: max(t for at, t in out.committed[:160] if at == key) for key, _ in out.committed[160:]
    }
    assert out.repeats == 1, "what the savepoint holds as pending was committed before"


async def test_a_log_refuses_the_savepoint_of_a_job_that_has_gone_on_elsewhere_t111(tmp_path: Path) -> None:
    """T111: in an empty store nothing is known of the origin's later output; the log knows."""
    log, source = EventLog(tuple[int, int], tmp_path / "out"), numbers(30)
    async with log, sums(source, log).run(store=tmp_path / "one", checkpoint_interval=None) as job:
        await has_read(job, 120)
        early = await job.savepoint("early")
        source.allow(40)
        await has_read(job, 160)
        await job.stop()
        # Its store is not touched by this, so it is the log that has to say no.
        with pytest.raises(RestoreError, match=r"holds the output of checkpoint 2 .* goes on from checkpoint 1"):
            await sums(source, log).run(store=tmp_path / "two", restore=early, restart=Restart.never())
        check([record.value async for record in log.records(stop="now")], 40)


async def test_a_store_that_never_got_further_than_its_savepoint_asks_for_it_again(tmp_path: Path) -> None:
    """Starting empty there would look like success."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path / "one") as job:
        savepoint = await job.stop(savepoint="last")
    with pytest.raises(KeyError):
        async with sums(source, out).run(store=tmp_path / "two", restore=savepoint, checkpoint_interval=None):
            raise KeyError

    with pytest.raises(RestoreError, match=r"was begun from savepoint \d+ .* name that savepoint again"):
        await sums(source, out).run(store=tmp_path / "two")
    async with sums(source, out).run(store=tmp_path / "two", restore=savepoint):
        pass
    async with sums(source, out).run(store=tmp_path / "two"):
        pass


async def test_another_job_s_savepoint_is_refused(tmp_path: Path) -> None:
    """Two jobs in one store would each take the other's checkpoints for its own."""
    source = numbers(3)
    async with sums(source, Target()).run(store=tmp_path / "one") as job:
        savepoint = await job.stop(savepoint="last")
    async with sums(source, Target()).run(store=tmp_path / "two"):
        pass

    with pytest.raises(RestoreError, match="restore it into an empty store, or run beside the other job"):
        await sums(source, Target()).run(store=tmp_path / "two", restore=savepoint)


async def test_a_savepoint_is_left_alone_unless_the_job_claims_it_t80(tmp_path: Path) -> None:
    """T80: by default it stays for ever; claimed, it goes once the job has a checkpoint of its own, and not before."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path / "one") as job:
        await has_read(job, 120)
        savepoint = await job.stop(savepoint="last")
    copy = shutil.copytree(savepoint.path, tmp_path / "copy")
    async with sums(source, out).run(store=tmp_path / "two", restore=savepoint):
        pass
    assert manifest_at(savepoint).layers

    claim = Settings(claim=True)
    claimed = sums(source, Target()).run(
        store=tmp_path / "three", restore=copy, settings=claim, checkpoint_interval=None
    )
    async with claimed as job:
        assert copy.exists()
        await job.checkpoint()
        await until(lambda: not copy.exists())
    async with sums(source, Target()).run(store=tmp_path / "three") as job:
        pass


async def test_a_checkpoint_of_another_store_can_be_gone_on_from(tmp_path: Path) -> None:
    """It is as good as a savepoint, as long as it is there."""
    source, out = numbers(30), Target()
    async with sums(source, out).run(store=tmp_path / "one", checkpoint_interval=None) as job:
        await has_read(job, 120)
        number = await job.checkpoint()
        await job.stop()
    source.allow(40)
    folder = tmp_path / "one/sums/checkpoints" / str(number)
    async with sums(source, out).run(store=tmp_path / "two", restore=folder, settings=Settings(claim=True)) as job:
        await has_read(job, 40)
        await job.checkpoint()
        await job.checkpoint()
    assert (folder / "manifest.json").exists(), "what is a store's is not claimed"
    check(out.committed, 40)


class Kept(Splits[int]):
    """A source that deletes old records, and forgets those it keeps them for; it may refuse a savepoint."""

    refused: bool = False

    def __init__(self) -> None:
        """Keep everything, for nobody yet."""
        super().__init__(RECORDS, allowed=10, ended=False)
        self.kept_for: dict[str, str] = {}

    async def keep_for(self, job: str, store: str, positions: Mapping[str, object], /) -> None:
        """Note who needs records."""
        if self.refused and "@" in job:
            raise StoreError("the register cannot be written: No space left on device")
        self.kept_for[job] = store

    async def release(self, job: str, store: str | None = None, /) -> None:
        """Forget somebody, if it was that store which told of it."""
        if store in {None, self.kept_for.get(job)}:
            self.kept_for.pop(job, None)


@pytest.mark.parametrize("restore_as", [{}, {"in": "input"}], ids=["the same", "renamed"])
async def test_nothing_is_kept_for_a_claimed_savepoint_that_is_gone(tmp_path: Path, restore_as: dict[str, str]) -> None:
    """A log would keep its records for ever."""
    source, out = Kept(), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 40)
        savepoint = await job.stop(savepoint="last")
    assert any("@last" in name for name in source.kept_for)
    settings = Settings(claim=True, restore_as=restore_as)
    name = restore_as.get("in", "in")
    again = sums(source, out, source_name=name).run(store=tmp_path, restore=savepoint, settings=settings)
    async with again as job:
        await job.checkpoint()
        await until(lambda: not any("@last" in name for name in source.kept_for))
    assert not (tmp_path / "sums/savepoints/last").exists()
    assert any(kept.endswith(f"/{name}") for kept in source.kept_for)


async def test_a_source_that_cannot_be_told_that_a_claimed_savepoint_is_gone_is_told_again(tmp_path: Path) -> None:
    """It is gone by then, which counted as an error at each checkpoint that followed: nobody was told any more."""

    class Busy(Kept):
        busy = 1

        async def release(self, job: str, store: str | None = None, /) -> None:
            if "@" in job and self.busy:
                self.busy -= 1
                raise StoreError("another process holds the writer lock")
            await super().release(job, store)

    source = Busy()
    async with sums(source, Target()).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 40)
        savepoint = await job.stop(savepoint="last")
    run = sums(source, Target()).run(store=tmp_path, restore=savepoint, settings=Settings(claim=True))
    async with run as job:
        await job.checkpoint()
        await until(lambda: not source.busy)
        assert any("@last" in name for name in source.kept_for)
        await job.checkpoint()
        await until(lambda: not any("@last" in name for name in source.kept_for))


async def test_a_claimed_copy_takes_nothing_from_its_original(tmp_path: Path) -> None:
    """They have one name, but only the original was told of by it."""
    source = Kept()
    async with sums(source, Target()).run(store=tmp_path / "one", checkpoint_interval=None) as job:
        await has_read(job, 40)
        savepoint = await job.stop(savepoint="last")
    (tmp_path / "copies").mkdir()
    copy = shutil.copytree(savepoint.path, tmp_path / "copies/last")
    run = sums(source, Target()).run(store=tmp_path / "two", restore=copy, settings=Settings(claim=True))
    async with run as job:
        await job.checkpoint()
        await until(lambda: not copy.exists())
        await job.checkpoint()
    assert savepoint.path in source.kept_for.values()


@pytest.mark.parametrize("stop", [False, True], ids=["savepoint", "stop with savepoint"])
async def test_a_savepoint_whose_records_nobody_keeps_is_taken_back(tmp_path: Path, *, stop: bool) -> None:
    """The error says that there is none; and then there is none, and the name is free."""
    source, out = Kept(), Target()
    async with sums(source, out).run(store=tmp_path, checkpoint_interval=None) as job:
        await has_read(job, 40)
        source.refused = True
        with pytest.raises(StoreError, match="No space left on device"):
            await (job.stop(savepoint="last") if stop else job.savepoint("last"))
        assert job.status == "running"
        assert not (tmp_path / "sums/savepoints/last").exists()
        source.refused = False
        source.allow(20)
        await has_read(job, 80)
        await job.savepoint("last")
        assert any("@last" in name for name in source.kept_for)
    check(out.committed, 20)


async def test_a_damaged_savepoint_makes_no_store(tmp_path: Path) -> None:
    """Found before anything is written; named, with what to do."""
    source = numbers(30)
    async with sums(source, Target()).run(store=tmp_path / "one") as job:
        await has_read(job, 120)
        savepoint = await job.stop(savepoint="last")
    layers = os.listdir(f"{savepoint.path}/layers")
    os.truncate(f"{savepoint.path}/layers/{layers[0]}", 4096)

    with pytest.raises(StoreError, match=r"has 4096 bytes, expected \d+; put it back from a copy"):
        await sums(source, Target()).run(store=tmp_path / "two", restore=savepoint)
    assert not (tmp_path / "two").exists()


async def test_flipped_bits_of_a_layer_are_found_before_it_is_opened(tmp_path: Path) -> None:
    """LMDB would die of them."""
    source = numbers(30)
    async with sums(source, Target()).run(store=tmp_path / "one") as job:
        await has_read(job, 120)
        savepoint = await job.stop(savepoint="last")
    flip(savepoint)

    with pytest.raises(StoreError, match=r"digest .* was found, .* expected"):
        await sums(source, Target()).run(store=tmp_path / "two", restore=savepoint)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"restore": 1.5, "store": "x"}, "expected a Savepoint, its folder or name"),
        ({"restore": "a"}, r"expected a store too"),
        ({"fork": "a/b", "store": "x"}, "expected a name of 1 to 64"),
        ({"fork": "a"}, "expected a store too"),
        ({"fork": "a", "restore": 3, "store": "x"}, "for a fork"),
    ],
)
def test_wrong_options_say_what_is_expected(options: dict[str, object], found: str) -> None:
    """Before anything is touched."""
    with pytest.raises(PlanError, match=found):
        sums(numbers(), Target()).run(**options)  # type: ignore[arg-type,unused-awaitable]


async def test_nothing_to_restore_may_be_said(tmp_path: Path) -> None:
    """A service that takes it from its configuration need not leave the option out."""
    source, out = numbers(5), Target()
    async with sums(source, out).run(store=tmp_path, restore=None) as job:
        await has_read(job, 20)
    async with sums(source, out).run(restore=None):
        pass
    check(out.committed[:20], 5)


async def test_a_name_that_is_none_says_so(tmp_path: Path) -> None:
    """Neither a folder nor a savepoint of the store."""
    with pytest.raises(StoreError, match="nowhere is not there: expected the folder of a savepoint"):
        await sums(numbers(), Target()).run(store=tmp_path, restore="nowhere")
