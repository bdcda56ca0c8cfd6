"""Two services behind one HTTP port: a model that gives topics, and a help desk that takes tickets with a topic.

Both are slow. The model works on four texts at a time and answers 429 to what is more; every fifth text it answers with
500 at first; what is longer than `longest` it refuses for good. It remembers its answers by the `Idempotency-Key` of a
request: who asks again is not charged again. The desk files a ticket once, however often it is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

AT_A_TIME = 4
SECONDS = 0.01


class Services:
    """What is behind the port, and what can be known of it afterwards."""

    def __init__(self, longest: int = 100) -> None:
        self.longest = longest
        self.answers: dict[str, str] = {}
        self.charged: Counter[str] = Counter()  # by text: how often the model has worked on it
        self.filed: dict[str, str] = {}  # by ticket: its topic
        self.said: Counter[int] = Counter()  # by status
        self.stumbled: set[str] = set()
        self.busy = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Listen on a free port of loopback while the block is entered; give the address."""
        async with await asyncio.start_server(self.answer, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request, and answer it: no more of HTTP than this example needs."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = json.loads(await reader.readexactly(int(headers["content-length"])))
            service = self.topic if head[0].startswith("POST /topic ") else self.file
            status, result = await service(headers["idempotency-key"], body)
            self.said[status] += 1
            content = json.dumps(result).encode()
            lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(content)}", "Connection: close", "", ""]
            writer.write("\r\n".join(lines).encode() + content)
            await writer.drain()
        writer.close()

    async def topic(self, key: str, body: Mapping[str, str]) -> tuple[int, str]:
        """Think about a text."""
        text = body["text"]
        if key in self.answers:
            return 200, self.answers[key]
        if len(text) > self.longest:
            return 413, f"{len(text)} characters, expected {self.longest} at most"
        if self.busy == AT_A_TIME:
            return 429, "too many requests"
        if key not in self.stumbled and len(text) % 5 == 0:
            self.stumbled.add(key)
            return 500, "out of order"
        self.busy += 1
        self.charged[text] += 1
        self.answers[key] = "money" if "invoice" in text else "login"
        try:
            await asyncio.sleep(SECONDS)
        finally:
            self.busy -= 1
        return 200, self.answers[key]

    async def file(self, key: str, body: Mapping[str, str]) -> tuple[int, str]:
        """File a ticket, or say that it is there."""
        await asyncio.sleep(SECONDS)
        if key in self.filed:
            return 200, "it is there"
        self.filed[key] = body["topic"]
        return 201, "filed"
