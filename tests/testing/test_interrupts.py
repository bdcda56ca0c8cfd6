"""What ends a test from outside ends a simulation at once: it is no failure of the pipeline."""

from __future__ import annotations

import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

import anyio
import pytest

from actorstream import Pipeline, Restart
from actorstream.system.current import current_world
from actorstream.testing import simulate
from actorstream.testing.run import run_simulated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(60)]

TIMEOUT = "it takes too long"


@pytest.fixture(autouse=True)
def handled() -> Iterator[None]:
    """A handler that raises wherever the program just is, as pytest-timeout's does."""

    def stop(number: int, frame: object) -> NoReturn:
        pytest.fail(TIMEOUT)

    with _handling(signal.SIGUSR1, stop):
        yield
        assert signal.getsignal(signal.SIGUSR1) is stop


@contextmanager
def _handling(number: signal.Signals, handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def ring() -> None:
    """Send the signal; a handler of Python runs before this returns, or right behind it."""
    signal.raise_signal(signal.SIGUSR1)


# -- in a program ------------------------------------------------------------------------------------------------------


async def in_a_group() -> None:
    """The group would keep it, and tell of a group of errors."""

    async def one() -> None:
        await anyio.sleep(1)
        ring()

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(anyio.sleep_forever)


async def in_a_thread() -> None:
    await current_world().offload.run(ring)


async def in_a_program_that_swallows_all() -> None:
    with suppress(BaseException):
        ring()
    await anyio.sleep(1)


async def while_it_is_buried() -> None:
    """What is left over is closed in silence."""

    async def left() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ring()

    async with anyio.create_task_group() as group:
        group.start_soon(left)
        await anyio.sleep(1)
        raise KeyError("dead")


@pytest.mark.parametrize("main", [in_a_group, in_a_thread, in_a_program_that_swallows_all, while_it_is_buried])
def test_what_a_signal_raises_leaves_the_simulation(main: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match=TIMEOUT):
        run_simulated(main)  # type: ignore[arg-type]


def test_a_handler_that_goes_on_changes_nothing() -> None:
    rung: list[int] = []

    async def main() -> str:
        ring()
        await anyio.sleep(1)
        return "over"

    with _handling(signal.SIGUSR1, lambda number, frame: rung.append(number)):
        assert run_simulated(main).value() == "over"
    assert rung == [signal.SIGUSR1]


# -- in a pipeline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [ring, lambda: pytest.fail(TIMEOUT)])
def test_a_pipeline_is_not_blamed_for_it(end: Callable[[], object]) -> None:
    """It was a failure of the attempt; the job went on, or was run again and again to be made smaller."""
    calls: list[int] = []

    def copy(number: int) -> int:
        calls.append(number)
        if len(calls) == 30:
            end()
        return number

    def copying() -> Pipeline:
        pipeline = Pipeline("copying")
        pipeline.source(range(12)).map(copy).sink(lambda _: None)
        return pipeline

    with pytest.raises(pytest.fail.Exception, match=TIMEOUT):
        simulate(copying, seeds=20)
    assert len(calls) == 30


def test_ctrl_c_leaves_it_too() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            pipeline = Pipeline("p")
            pipeline.source(range(3)).map(lambda _: signal.raise_signal(signal.SIGINT)).sink(lambda _: None)
            await pipeline.run(restart=Restart.fixed_delay(3, delay=0.1))

    # What a shell has put into the background ignores it.
    with _handling(signal.SIGINT, signal.default_int_handler), pytest.raises(KeyboardInterrupt):
        run_simulated(main)
