"""A WebSocket feed into a log, against a real server: what breaks off, falls silent, and sends its last records again.

The protocol has no position to go on from: what the server sends while nobody is connected does not come.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio
import pytest
from websockets.asyncio.client import connect as connected
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.frames import Frame, Opcode

from actorstream import EventLog, Pipeline, PlanError, Restart
from actorstream.connectors.ingest import ingest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

AT_ONCE = Restart.fixed_delay(1_000_000, delay=0.0)
GIVES_UP = Restart.fixed_delay(2, delay=0.0)


class Trade(NamedTuple):
    number: int
    price: float


@asynccontextmanager
async def serving(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    server: Server
    async with serve(handler, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def feed(url: str, **options: float) -> Callable[[Trade | None], AsyncIterator[Trade]]:
    """Connect as a program would: no more than this is needed."""

    async def connect(last: Trade | None) -> AsyncIterator[Trade]:
        async with connected(url, proxy=None, close_timeout=0.05, **options) as socket:  # type: ignore[arg-type]
            await socket.send(json.dumps(None if last is None else last.number))
            async for message in socket:
                yield Trade(*json.loads(message))

    return connect


def text(number: int) -> str:
    return json.dumps([number, number / 2])


def break_off(socket: ServerConnection) -> None:
    """Send one half of a message, and reset the connection: no closing handshake, no end of the frame."""
    half = Frame(Opcode.TEXT, text(999).encode()).serialize(mask=False)
    socket.transport.write(half[: len(half) // 2])
    socket.transport.abort()


async def in_the_log(log: EventLog[Trade]) -> list[int]:
    return [record.value.number async for record in log.records(stop="now")]


async def ingest_once(log: EventLog[Trade], connect: Callable[[Trade | None], AsyncIterator[Trade]]) -> None:
    await ingest(log, connect, restart=AT_ONCE, id_of=lambda trade: trade.number, remember=64)


class Exchange:
    """Sends its last `again` trades to whoever connects, then `each` new ones; ends a connection in all the ways.

    Between two connections `unseen` trades happen that nobody is told of, unless they are among the last.
    """

    def __init__(self, *, again: int, each: int, connections: int, unseen: int = 0) -> None:
        self.again, self.each, self.connections, self.unseen = again, each, connections, unseen
        self.told: list[int] = []
        self.asked: list[int | None] = []
        self.next = 0

    async def handle(self, socket: ServerConnection) -> None:
        self.asked.append(json.loads(await socket.recv()))
        turn = len(self.asked)
        if turn > self.connections:
            await socket.close(1001)
            return
        for number in range(max(0, self.next - self.again), self.next + self.each):
            await socket.send([text(number)[:2], text(number)[2:]])  # in fragments
            self.told.append(number)
        self.next += self.each + self.unseen
        await [self._close_normally, self._fail, self._ping_then_break, self._return][turn % 4](socket)

    async def _close_normally(self, socket: ServerConnection) -> None:
        await socket.close(1000)

    async def _fail(self, socket: ServerConnection) -> None:
        await socket.close(1011, "overloaded")

    async def _ping_then_break(self, socket: ServerConnection) -> None:
        await (await socket.ping())  # the client's pong says that all before has come
        break_off(socket)

    async def _return(self, socket: ServerConnection) -> None:
        """Leave the rest to the server, which closes."""


async def test_what_is_sent_again_after_a_break_is_in_the_log_once(tmp_path: Path) -> None:
    """Over 12 connections that end in four ways, and a restart of the process between any two of three rounds."""
    exchange = Exchange(again=30, each=20, connections=12)
    async with serving(exchange.handle) as url:
        for _ in range(3):
            async with EventLog(Trade, tmp_path / "trades") as log, anyio.create_task_group() as group:
                group.start_soon(ingest_once, log, feed(url))
                connections = len(exchange.asked) + 5
                with anyio.fail_after(20):
                    while len(exchange.asked) < connections:  # noqa: ASYNC110  (a server gives no event)
                        await anyio.sleep(0.001)
                group.cancel_scope.cancel()
        assert len(exchange.asked) > exchange.connections
        async with EventLog(Trade, tmp_path / "trades") as log:
            found = await in_the_log(log)

    assert found == list(range(exchange.next))
    assert len(exchange.told) > len(found)


async def test_without_ids_what_is_sent_again_is_there_again_and_what_nobody_heard_is_not(tmp_path: Path) -> None:
    """What the guide says about a protocol without positions, said by a test: nothing is invented to hide a gap."""
    exchange = Exchange(again=3, each=4, unseen=5, connections=5)
    async with serving(exchange.handle) as url, EventLog(Trade, tmp_path / "trades") as log:
        with anyio.fail_after(20), pytest.raises(ConnectionError):
            await ingest(log, feed(url), restart=GIVES_UP)
        found = await in_the_log(log)
    assert found == exchange.told
    assert found[:11] == [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12]
    assert exchange.asked[:3] == [None, 3, 12]  # who can, asks for what follows


async def test_a_connection_that_falls_silent_is_given_up_by_its_pings(tmp_path: Path) -> None:
    """A half-open connection never breaks by itself; the client's keepalive ends it."""
    silent = anyio.Event()

    async def handle(socket: ServerConnection) -> None:
        await socket.recv()
        if silent.is_set():
            await socket.send(text(2))
        else:
            await socket.send(text(1))
            silent.set()
            socket.transport.pause_reading()  # as behind a cable that was cut: no pong, no close
        await socket.wait_closed()

    seen: list[Trade] = []
    async with serving(handle) as url, EventLog(Trade, tmp_path / "trades") as log:
        pipeline = Pipeline("trades")
        pipeline.source(log).sink(seen.append)
        async with pipeline.run(), anyio.create_task_group() as group:
            connect = feed(url, ping_interval=0.05, ping_timeout=0.05)
            group.start_soon(lambda: ingest(log, connect, restart=AT_ONCE))
            with anyio.fail_after(20):
                while Trade(2, 1.0) not in seen:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
            group.cancel_scope.cancel()
    assert seen[:2] == [Trade(1, 0.5), Trade(2, 1.0)]


async def test_a_number_of_ids_that_remembers_none_is_refused(tmp_path: Path) -> None:
    async with EventLog(Trade, tmp_path / "log") as log:
        with pytest.raises(PlanError, match="remember=0, expected 1 or more"):
            await ingest(log, feed("ws://127.0.0.1:1"), id_of=lambda trade: trade.number, remember=0)
