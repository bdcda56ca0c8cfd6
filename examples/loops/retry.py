"""Try again, later: a call that fails waits twice as long as the time before, and then goes round once more.

    python retry.py          three requests to a service that does not answer each at once

A request that has failed is kept by a timer, which sends it back. Timer and attempt are state, so a crash loses
neither. A request comes out once; the service may be called once more after a crash, as anything outside may be.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from actorstream import Context, KeyedProcess, OutputTag, Pipeline, Stream, Timer, ValueState, collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ATTEMPTS = 5
FIRST = timedelta(milliseconds=10)

Request = tuple[str, int]
"""What to ask for, and which attempt this is, from 1."""
AGAIN: OutputTag[Request] = OutputTag("again")


def retrying(requests: Stream[str], call: Callable[[str], bool]) -> Stream[tuple[str, int, bool]]:
    """Give each request once, with its last attempt and whether that was answered."""

    class Try(KeyedProcess[str, Request, tuple[str, int, bool]]):
        """One request at a time for each name."""

        failed: ValueState[int] = ValueState(0)

        def on_element(self, request: Request, ctx: Context[str], /) -> Iterator[tuple[str, int, bool]]:
            name, attempt = request
            answered = call(name)
            if answered or attempt == ATTEMPTS:
                yield name, attempt, answered
            else:
                self.failed = attempt
                ctx.set_timer(ctx.now + FIRST * 2 ** (attempt - 1), domain="processing")

        def on_timer(self, timer: Timer, ctx: Context[str], /) -> None:
            ctx.emit_to(AGAIN, (ctx.key, self.failed + 1))

    def body(tries: Stream[Request]) -> tuple[Stream[Request], Stream[tuple[str, int, bool]]]:
        tried = tries.key_by(lambda request: request[0]).process(Try, name="try")
        return tried.side_output(AGAIN), tried

    return requests.map(lambda name: (name, 1)).feedback(body, name="retry")


async def answers(requests: Iterable[str], call: Callable[[str], bool]) -> dict[str, tuple[int, bool]]:
    """Give the last attempt of each request, and whether it was answered."""
    pipeline = Pipeline("requests")
    done = await collect(retrying(pipeline.source(list(requests)), call))
    return {name: (attempt, answered) for name, attempt, answered in done}


if __name__ == "__main__":
    calls: Counter[str] = Counter()

    def third_time(name: str) -> bool:
        """Answer at the third call; never for "nobody"."""
        calls[name] += 1
        return calls[name] == 3 and name != "nobody"

    for asked, (attempt, answered) in sorted(asyncio.run(answers(["ann", "bob", "nobody"], third_time)).items()):
        print(f"{asked:8}{'answered' if answered else 'given up'} at attempt {attempt}")
