"""One attempt: up together, down together, and one error that says why."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import InvariantError, StateAccessError, UserCodeError
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ValueState
from actorstream.runtime.attempt import Attempt
from tests.runtime.deploying import Deploying, subtask_of
from tests.runtime.doubles import Splits, Target, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from actorstream.model.connect import SinkContext
    from actorstream.operators.contexts import Context, OperatorContext


class Living(KeyedProcess[int, int, int]):
    """Opens and closes, and may fail wherever it is told."""

    count: ValueState[int] = ValueState(0)

    def __init__(self, said: list[str], fail_in: str = "") -> None:
        """Tell `said` what is called."""
        self.said = said
        self.fail_in = fail_in

    async def open(self, ctx: OperatorContext, /) -> None:
        """Say who this is."""
        self._say("open", f" {ctx.name}[{ctx.subtask}] of {ctx.parallelism}")

    def on_element(self, value: int, ctx: Context[int], /) -> list[int]:
        """Count."""
        self._say("element")
        self.count += 1
        return [self.count]

    async def close(self) -> None:
        """Take a turn, as closing a connection does."""
        await asyncio.sleep(0)
        self._say("close")

    def _say(self, where: str, more: str = "") -> None:
        self.said.append(where + more)
        if where == self.fail_in:
            raise RuntimeError(f"failed in {where}")


def living(
    said: list[str], fail_in: str = "", source: Any = None, *, sink: Any = None, new_chain: bool = True
) -> Pipeline:
    """A process in an actor of its own, unless `new_chain` says that it joins its source."""
    pipeline = Pipeline("t")
    stream = pipeline.source(source or [1, 1], name="in").key_by(abs)
    stream.process(lambda: Living(said, fail_in), name="p", new_chain=new_chain).sink(sink or str, name="out")
    return pipeline


in_one_actor_or_two = pytest.mark.parametrize("new_chain", [False, True], ids=["one actor", "two actors"])


@in_one_actor_or_two
async def test_attempt_runs_to_the_final_checkpoint(tmp_path: Path, new_chain: bool) -> None:
    said: list[str] = []
    attempt = Attempt(await Deploying(living(said, new_chain=new_chain), tmp_path).build())
    await attempt.run(lambda: said.append("opened"))

    assert attempt.over
    assert said == ["open p[0] of 1", "opened", "element", "element", "close"]


async def test_nothing_is_read_before_every_actor_is_open(tmp_path: Path) -> None:
    """T101: what a sink commits at a restore comes before all else, also in other actors."""
    source = Splits({"a": [1]})
    said: list[str] = []

    class Slow(Living):
        async def open(self, ctx: OperatorContext, /) -> None:
            await settle(50)
            said.append(f"open, {len(source.reads)} read")

    pipeline = Pipeline("t")
    pipeline.source(source).key_by(abs).process(lambda: Slow(said), name="p", new_chain=True)
    await Attempt(await Deploying(pipeline, tmp_path).build()).run(lambda: None)

    assert said[0] == "open, 0 read"


async def run_failing(pipeline: Pipeline, store: Path, before: Callable[[Any], object] = lambda _: None) -> Exception:
    """Run an attempt that fails; give what it raised."""
    built = await Deploying(pipeline, store).build()
    before(built)
    with pytest.raises(Exception) as failure:  # noqa: PT011
        await Attempt(built).run(lambda: None)
    return failure.value


async def test_actor_that_ends_silently_is_a_failure(tmp_path: Path) -> None:
    """A group whose child returns goes on without it: its channels would fill up and the job hang."""

    def end_silently(built: Any) -> None:
        async def run(opened: Callable[[], None], start: Callable[[], Awaitable[object]]) -> None:
            opened()
            await start()

        subtask_of(built, "p").run = run  # type: ignore[method-assign]

    error = await run_failing(living([], source=Splits({"a": [1]}, ended=False)), tmp_path, end_silently)

    assert isinstance(error, InvariantError)
    assert str(error) == "p[0] ended before the job did"


async def test_actor_that_is_cancelled_from_outside_is_a_failure(tmp_path: Path) -> None:
    """A task group ends without an exception when a child is cancelled from outside."""
    built = await Deploying(living([], source=Splits({"a": [1]}, ended=False)), tmp_path).build()
    attempt = Attempt(built)

    def cancel_actor() -> None:
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "p[0]"]
        task.cancel()

    with pytest.raises(InvariantError, match=r"p\[0\] was cancelled from outside: cancel the job, not its tasks"):
        await attempt.run(cancel_actor)
    assert not attempt.over


async def test_users_code_that_raises_cancelled_error_is_a_failure(tmp_path: Path) -> None:
    """A future that somebody else cancelled, awaited in a sink."""

    async def send(value: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    error = await run_failing(living([], sink=send), tmp_path)

    assert isinstance(error, InvariantError)
    assert "p[0] was cancelled from outside" in str(error)


async def test_first_error_is_the_report_and_others_are_notes_on_it(tmp_path: Path) -> None:
    """What breaks while the rest is cancelled is a consequence."""

    class FailsToClose(Living):
        async def close(self) -> None:
            raise OSError("socket")

    pipeline = Pipeline("t")
    stream = pipeline.source([1, 2], name="in").key_by(abs)
    stream.process(lambda: Living([], "element"), name="first", new_chain=True)
    stream.process(lambda: FailsToClose([]), name="second")
    error = await run_failing(pipeline, tmp_path)

    assert isinstance(error, UserCodeError)
    assert (error.operator, str(error.__cause__)) == ("first", "failed in element")
    (note,) = error.__notes__
    assert note.startswith("then: UserCodeError: second (subtask 0) raised OSError: socket")


async def test_error_while_closing_does_not_hide_the_error_before_it(tmp_path: Path) -> None:
    class FailsTwice(Living):
        async def close(self) -> None:
            raise OSError("socket")

    pipeline = Pipeline("t")
    pipeline.source([1]).key_by(abs).process(lambda: FailsTwice([], "element"), name="p")
    error = await run_failing(pipeline, tmp_path)

    assert isinstance(error, UserCodeError)
    assert str(error.__cause__) == "failed in element"
    assert error.__cause__.__notes__ == ["then, while closing: OSError: socket"]  # type: ignore[union-attr]


@in_one_actor_or_two
@pytest.mark.parametrize("place", ["open", "element"])
async def test_error_in_open_or_handler_names_the_operator_and_close_is_called(
    tmp_path: Path, place: str, new_chain: bool
) -> None:
    """`close` lets go of what `open` took before it failed half-way."""
    said: list[str] = []
    error = await run_failing(living(said, place, new_chain=new_chain), tmp_path)

    assert isinstance(error, UserCodeError)
    assert error.operator == "p"
    assert said[-1] == "close"


@in_one_actor_or_two
async def test_operators_are_closed_from_the_head_to_the_tail(tmp_path: Path, new_chain: bool) -> None:
    """T117: what an operator gives at its end still finds those behind it open."""
    said: list[str] = []

    class Closing(Target):
        @asynccontextmanager
        async def writer(self, ctx: SinkContext, /) -> AsyncIterator[Any]:
            async with super().writer(ctx) as writer:
                try:
                    yield writer
                finally:
                    said.append("sink closed")

    target = Closing()
    await Attempt(await Deploying(living(said, sink=target, new_chain=new_chain), tmp_path).build()).run(lambda: None)

    assert said[-2:] == ["close", "sink closed"]
    assert target.committed == [1, 2]


@in_one_actor_or_two
async def test_error_in_close_after_the_end_does_not_undo_the_end(tmp_path: Path, new_chain: bool) -> None:
    """The final checkpoint is complete and committed: running all again could only fail in the same way."""
    said: list[str] = []
    target = Target()
    attempt = Attempt(await Deploying(living(said, "close", sink=target, new_chain=new_chain), tmp_path).build())
    await attempt.run(lambda: None)

    assert attempt.over
    assert target.committed == [1, 2]


async def test_close_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a job has a deadline."""
    monkeypatch.setattr("actorstream.runtime.operator_life.CLOSE_SECONDS", 0.05)

    class Hanging(Living):
        async def close(self) -> None:
            await asyncio.sleep(60)

    pipeline = Pipeline("t")
    pipeline.source([1]).key_by(abs).process(lambda: Hanging([]), name="p")
    with anyio.fail_after(5):
        await Attempt(await Deploying(pipeline, tmp_path).build()).run(lambda: None)


@pytest.mark.parametrize("fail_in", ["", "element"])
async def test_writer_may_await_while_it_is_closed(tmp_path: Path, fail_in: str) -> None:
    """Closing a connection takes a turn of the loop, also when the job is being cancelled."""
    target = Target()
    attempt = Attempt(await Deploying(living([], fail_in, sink=target), tmp_path).build())
    if fail_in:
        with pytest.raises(UserCodeError):
            await attempt.run(lambda: None)
    else:
        await attempt.run(lambda: None)

    assert target.closed == 1


async def test_reader_may_await_while_it_is_closed(tmp_path: Path) -> None:
    """The `finally` of a source's generator closes files and connections."""
    said: list[str] = []

    class Closing(Splits[int]):
        async def read(self, split: str, after: int | None, /) -> Any:
            try:
                async for fetched in super().read(split, after):
                    yield fetched
            finally:
                await asyncio.sleep(0)
                said.append("closed")

    source = Closing({"a": list(range(10_000))}, batch=100)
    error = await run_failing(living([], "element", source), tmp_path)

    assert isinstance(error, UserCodeError)
    assert said == ["closed"]


async def test_cancelling_an_attempt_cancels_its_actors_and_is_no_failure(tmp_path: Path) -> None:
    said: list[str] = []
    attempt = Attempt(await Deploying(living(said, source=Splits({"a": [1]}, ended=False)), tmp_path).build())
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(attempt.run, lambda: None)
            await until(lambda: "element" in said)
            scope.cancel()

    assert said[-1] == "close"
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "p[0]"]


@in_one_actor_or_two
async def test_process_that_saw_no_record_is_closed_too(tmp_path: Path, new_chain: bool) -> None:
    """Its states were never made attributes, so there is nothing to let go of."""
    said: list[str] = []
    source = Splits[int]({"a": []})
    await Attempt(await Deploying(living(said, source=source, new_chain=new_chain), tmp_path).build()).run(lambda: None)

    assert said == ["open p[0] of 1", "close"]


@in_one_actor_or_two
async def test_state_that_a_task_changes_between_two_batches_fails_the_attempt(tmp_path: Path, new_chain: bool) -> None:
    """T32: what a background task writes would be lost silently: the next batch of its operator says so."""
    said: list[str] = []
    made: list[Living] = []

    class Astray(Living):
        def __init__(self, said: list[str]) -> None:
            super().__init__(said)
            made.append(self)

    source = Splits({"a": [1, 1]}, batch=1, allowed=1)
    pipeline = Pipeline("t")
    pipeline.source(source, name="in").key_by(abs).process(lambda: Astray(said), name="p", new_chain=new_chain)
    attempt = Attempt(await Deploying(pipeline, tmp_path).build())

    async def change() -> None:
        await until(lambda: "element" in said)
        made[0].count = 5
        source.allow(None)

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        with pytest.raises(StateAccessError, match=r"Astray\.count was used where there is no key"):
            await attempt.run(lambda: None)
    assert said == ["open p[0] of 1", "element", "close"]


async def test_layers_are_let_go_when_the_attempt_ends(tmp_path: Path) -> None:
    built = await Deploying(living([]), tmp_path).build()
    await Attempt(built).run(lambda: None)

    assert built.layers_in_use() == set()
