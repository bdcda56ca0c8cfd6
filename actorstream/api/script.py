"""For scripts and for one result: `run` and `collect`."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, Unpack

from actorstream.api.run import Run
from actorstream.errors import PlanError
from actorstream.graph.nodes import CallSpec, Node, NodeId

if TYPE_CHECKING:
    from actorstream.api.job import Job, Summary
    from actorstream.api.options import RunOptions
    from actorstream.api.pipeline import Pipeline
    from actorstream.api.stream import Stream

T = TypeVar("T")


def run(pipeline: Pipeline, **options: Unpack[RunOptions]) -> Summary:
    """Run a pipeline from a script, to its end or until Ctrl-C or SIGTERM, which stop it with a final checkpoint.

    Uses uvloop where that is installed.

    Raises:
        JobFailed: Restarts are used up.
        PlanError: An event loop runs already in this thread.
    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise PlanError(
            "run() is for scripts, and an event loop runs here already: in async code, `await pipeline.run(...)`"
        )
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_run(pipeline, options))


async def _run(pipeline: Pipeline, options: RunOptions) -> Summary:
    loop = asyncio.get_running_loop()
    async with pipeline.run(**options) as job:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, job.stop_soon)
        return await job.wait()


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Give uvloop's event loop, or None where it is not installed."""
    try:
        import uvloop  # noqa: PLC0415  (optional)
    except ImportError:
        return None
    return uvloop.Loop


async def collect(stream: Stream[T], *, limit: int | None = None) -> list[T]:
    """Run the whole pipeline in memory until its inputs end, or `limit` elements are there.

    Args:
        stream: What to give back the elements of.
        limit: Stop once so many are there; None: to the end, which an unbounded input never reaches.

    Raises:
        JobFailed: A function raised; its error is the cause.
    """
    if limit is not None and limit < 1:
        raise PlanError(f"collect: limit is {limit}, expected at least 1, or None")
    graph = stream.origin.draft.graph()
    collected: list[T] = []
    entered: list[Job] = []  # elements may come before it is

    def take(element: T) -> None:
        if limit is None or len(collected) < limit:
            collected.append(element)
        if len(collected) == limit:
            for job in entered:
                job.stop_soon()

    spec = CallSpec(collected.append if limit is None else take, is_async=False)
    graph.nodes.append(Node(NodeId(len(graph.nodes)), "collect", spec, stream.origin.inputs, parallelism=1))
    async with Run(graph, {"checkpoint_interval": None}) as job:
        entered.append(job)
        if len(collected) == limit:
            job.stop_soon()
        await job.wait()
    return collected
