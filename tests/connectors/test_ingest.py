"""Live feeds into a log, over real sockets: what is durable is not asked for again, and nothing between is lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream import EventLog, Pipeline, PlanError, Restart
from actorstream.connectors import server_sent_events as sse
from actorstream.connectors.ingest import FeedEndedError, ingest
from actorstream.connectors.server_sent_events import ServerSentEvent, server_sent_events
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

AT_ONCE = Restart.fixed_delay(3, delay=0.0)


class Tick(NamedTuple):
    id: str
    data: str


class Feed:
    """An HTTP server of events 1, 2, ..., `last`, which breaks off each connection after `per_connection` bytes."""

    def __init__(self, last: int, per_connection: int) -> None:
        self.last = last
        self.per_connection = per_connection
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        after = headers.get("last-event-id", "")
        self.asked.append(after)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        body = "".join(
            f": hello\r\nid: {number}\r\ndata: tick\r\ndata: {number}\r\n\r\n"
            for number in range(int(after or 0) + 1, self.last + 1)
        )
        writer.write(body.encode()[: self.per_connection])
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_events_come_once_over_many_connections_and_processes(tmp_path: Path) -> None:
    feed = Feed(last=200, per_connection=1_000)
    async with serving(feed.serve) as port, httpx.AsyncClient() as client:

        async def connect(last: Tick | None) -> AsyncIterator[Tick]:
            headers = {} if last is None else {"Last-Event-ID": last.id}
            async with client.stream("GET", f"http://127.0.0.1:{port}", headers=headers) as response:
                async for event in server_sent_events(response.aiter_bytes()):
                    yield Tick(event.id, event.data)

        ticks: list[Tick] = []
        for _ in range(2):  # the second time as after a restart: the log says where it was
            async with EventLog(Tick, tmp_path / "ticks") as log:
                with pytest.raises(FeedEndedError):
                    await ingest(log, connect, restart=AT_ONCE)
                ticks = [record.value async for record in log.records(stop="now")]

    assert ticks == [Tick(str(number), f"tick\n{number}") for number in range(1, 201)]
    assert feed.asked[0] == ""
    assert feed.asked[-1] == "200"
    assert len(set(feed.asked)) > 5


async def test_messages_of_a_socket_go_through_the_log_into_a_job(tmp_path: Path) -> None:
    """As of a WebSocket: the server gives what it has while one listens, and the job reads the log."""
    connections = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.writelines(b"%d\n" % number for number in range(10 * connections, 10 * connections + 10))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with serving(serve) as port, EventLog(int, tmp_path / "messages") as log:

        async def connect(_: int | None) -> AsyncIterator[int]:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                async for line in reader:
                    yield int(line)
            finally:  # also where the job has all that it wants
                writer.close()
                with anyio.CancelScope(shield=True), suppress(ConnectionError):
                    await writer.wait_closed()

        seen: list[int] = []
        pipeline = Pipeline("messages")
        pipeline.source(log).sink(seen.append)
        async with pipeline.run(), anyio.create_task_group() as group:
            group.start_soon(lambda: ingest(log, connect, restart=Restart.fixed_delay(3, delay=0.0)))
            with anyio.fail_after(20):
                while len(seen) < 50:  # noqa: ASYNC110  (what a job has done gives no event)
                    await anyio.sleep(0.005)
            group.cancel_scope.cancel()
    assert seen[:50] == list(range(10, 60))


async def test_a_feed_that_cannot_be_reached_is_given_up_by_the_strategy(tmp_path: Path) -> None:
    tried = []

    async def connect(last: int | None) -> AsyncIterator[int]:
        tried.append(last)
        raise OSError("nobody there")
        yield 0

    async with EventLog(int, tmp_path / "log") as log:
        with pytest.raises(OSError, match="nobody there"):
            await ingest(log, connect, restart=AT_ONCE)
    assert tried == [None] * 4


async def test_a_record_that_the_log_refuses_ends_it_and_closes_the_connection(tmp_path: Path) -> None:
    closed = []

    async def connect(_: int | None) -> AsyncIterator[Any]:
        try:
            yield 1
            yield "no int"
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async with EventLog(int, tmp_path / "log") as log:
        with pytest.raises(CodecError):
            await ingest(log, connect)
    assert closed == [True]


async def test_a_log_of_several_partitions_is_refused(tmp_path: Path) -> None:
    async def connect(_: int | None) -> AsyncIterator[int]:
        yield 1

    async with EventLog(int, tmp_path / "log", partitions=2, key=lambda number: number) as log:
        with pytest.raises(PlanError, match="has 2 partitions"):
            await ingest(log, connect)


# ---- the events' text


async def events(chunks: Iterable[bytes]) -> list[ServerSentEvent]:
    async def given() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return [event async for event in server_sent_events(given(), last_id="0")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: a\n\n", [("message", "a", "0")]),
        ("data:a\rdata\r\rdata:  b\r\r", [("message", "a\n", "0"), ("message", " b", "0")]),
        ("\ufeffdata: a\n\n", [("message", "a", "0")]),
        ("event: x\nid: 1\ndata: a\n\nevent: y\n\ndata: b\n\n", [("x", "a", "1"), ("message", "b", "1")]),
        (": note\nretry: 5\nother: x\ndata\n\n", [("message", "", "0")]),
        ("id: a\0b\ndata: x\n\nid\ndata: y\n\n", [("message", "x", "0"), ("message", "y", "")]),
        ("data: line\u2028one\x0b\x85\n\n", [("message", "line\u2028one\x0b\x85", "0")]),
        ("data: never ends\n", []),
    ],
)
@given(data=st.data())
def test_events_are_read_as_the_standard_says_however_the_bytes_are_cut(
    text: str, expected: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)))))
    chunks = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert asyncio.run(events(chunks)) == [ServerSentEvent(*each) for each in expected]


async def test_an_event_without_end_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_CHARACTERS_MAX", 1_000)
    for text in (b"x" * 600, b"data: " + b"x" * 500 + b"\n"):
        with pytest.raises(CodecError, match="longer than 1000"):
            await events([text] * 3)
