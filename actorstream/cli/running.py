"""Running a pipeline in a process of its own: until its inputs end, or a signal asks it to stop.

    first SIGINT or SIGTERM    stop: a final checkpoint, its output committed
    second one                 cancel at once; the last complete checkpoint stays

The process is ours, so the garbage collector's thresholds are too: at the default,
collecting takes a third of the time of a job that keeps many records.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from actorstream.api.script import loop_factory

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.api.job import Job, Summary
    from actorstream.api.run import Run

_YOUNG_OBJECTS = 10_000
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_until_stopped(run: Callable[[], Run], watch: Callable[[Job], None], *, every_seconds: float) -> Summary:
    """Run to the end, on uvloop where that is installed.

    Args:
        run: Gives the run, once the loop is there.
        watch: Called with the job as soon as it is up, and then again and again.
        every_seconds: How often.

    Raises:
        JobFailed: Restarts are used up.
        KeyboardInterrupt: A second signal came before the job had stopped.
    """
    calm_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(run(), watch, every_seconds))


def calm_collector() -> None:
    """Let the garbage collector look less often. For processes that are ours only: it holds for all of the process."""
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 100)


def log_to_stderr(level: int) -> None:
    """Show the library's events on standard error; standard output is for results."""
    logger = logging.getLogger("actorstream")
    logger.setLevel(level)
    logger.handlers[:] = [_ToStandardError()]


class _ToStandardError(logging.Handler):
    """Writes to whatever standard error is at the time: a live display moves it above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(" ", "milliseconds")
        sys.stderr.write(f"{moment} {record.levelname.lower()} {self.format(record)}\n")


async def _run(run: Run, watch: Callable[[Job], None], every_seconds: float) -> Summary:
    stop = _Stop()
    try:
        async with run as job:
            stop.take(job)
            watching = _Watch(job, watch, every_seconds)
            try:
                return await job.wait()
            finally:
                watching.end()
    except asyncio.CancelledError:
        if stop.times > 1:
            raise KeyboardInterrupt from None
        raise
    finally:
        stop.forget()


class _Stop:
    """Turns signals into a stop, also those that come before the job is up."""

    def __init__(self) -> None:
        self.times = 0
        self._job: Job | None = None
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal)

    def take(self, job: Job) -> None:
        """The job is up."""
        self._job = job
        if self.times:
            job.stop_soon()

    def forget(self) -> None:
        """Leave signals to whom they were before."""
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        self.times += 1
        if self.times > 1 and self._task is not None:
            self._task.cancel()
        elif self._job is not None:
            self._job.stop_soon()


class _Watch:
    """Calls a function on the loop again and again: no task of its own."""

    def __init__(self, job: Job, watch: Callable[[Job], None], every_seconds: float) -> None:
        self._job = job
        self._watch = watch
        self._every = every_seconds
        self._loop = asyncio.get_running_loop()
        self._turn()

    def _turn(self) -> None:
        self._watch(self._job)
        self._next = self._loop.call_later(self._every, self._turn)

    def end(self) -> None:
        """Call it no more."""
        self._next.cancel()
