r"""Server-sent events out of the bytes of a response, whatever client has fetched it.

    id: 7\n event: price\n data: {"eur":\n data: 12}\n \n          ->  ServerSentEvent("price", '{"eur":\n12}', "7")

Source: the HTML standard, "Server-sent events", sections 9.2.5 and 9.2.6.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, NamedTuple

from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator

EVENT_CHARACTERS_MAX = 16 << 20


class ServerSentEvent(NamedTuple):
    """One event. `id` is the last one that was given, also by an earlier event: what to ask for after it."""

    event: str
    data: str
    id: str


async def server_sent_events(chunks: AsyncIterable[bytes], *, last_id: str = "") -> AsyncIterator[ServerSentEvent]:
    """Give each event once its empty line has come; one that breaks off before is not given.

    Args:
        chunks: The body, in pieces: `response.aiter_bytes()` of httpx.
        last_id: The id that was asked for, which events without one go on with.

    Raises:
        CodecError: An event is longer than 16 Mi characters.
    """
    parser = _Parser(last_id)
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event


class _Parser:
    def __init__(self, last_id: str) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._text = ""
        self._begun = False
        self._after_return = False
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._id = last_id

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        decoded = self._decode(chunk)
        if self._after_return and decoded:
            decoded = decoded.removeprefix("\n")  # the second half of a line's end
            self._after_return = False
        self._after_return = self._after_return or decoded.endswith("\r")
        text = self._text + decoded
        if not self._begun and text:
            self._begun, text = True, text.removeprefix("\ufeff")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._text = lines.pop()
        if self._size + len(self._text) > EVENT_CHARACTERS_MAX:
            raise CodecError(f"a server-sent event is longer than {EVENT_CHARACTERS_MAX} characters: is it one?")
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                yield ServerSentEvent(self._event or "message", "\n".join(self._data), self._id)
                self._event, self._data, self._size = "", [], 0
            else:
                self._event = ""

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value) + 1
            if self._size > EVENT_CHARACTERS_MAX:
                raise CodecError(f"a server-sent event is longer than {EVENT_CHARACTERS_MAX} characters: is it one?")
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
