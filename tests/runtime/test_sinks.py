"""A writer under the commit protocol: who is called when, and what a snapshot must carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.errors import ActorstreamError
from actorstream.model.ids import CheckpointId
from actorstream.protocol.commit import PendingCommit
from actorstream.runtime.sinks import TOKEN_BYTES_MAX, SinkPort, WriterContext

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE, TWO, THREE = CheckpointId(1), CheckpointId(2), CheckpointId(3)
CONTEXT = WriterContext("job", "out", 0, 1, 0)


class Recorder:
    """A writer that writes down its calls; a token says what it covers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self._open: list[object] = []

    async def write(self, values: Sequence[object], /) -> None:
        """Take records."""
        self.calls.append(("write", list(values)))
        self._open += values

    async def pre_commit(self, checkpoint: int, /) -> bytes | None:
        """Name them."""
        self.calls.append(("pre_commit", checkpoint))
        written, self._open = self._open, []
        return f"{checkpoint}:{written}".encode() if written else None

    async def commit(self, token: bytes, /) -> None:
        """Show them."""
        self.calls.append(("commit", token))

    async def abort(self, token: bytes | None, /) -> None:
        """Drop them."""
        self.calls.append(("abort", token))


async def test_restored_tokens_are_committed_in_order_and_then_the_rest_is_dropped() -> None:
    """T101: their checkpoint is complete; T105: what a dead attempt left open is not."""
    writer = Recorder()
    port = SinkPort(CONTEXT, writer)

    await port.restore([PendingCommit(TWO, b"2"), PendingCommit(ONE, b"1")])

    assert writer.calls == [("commit", b"1"), ("commit", b"2"), ("abort", None)]
    assert port.pending() == ()


async def test_fresh_start_drops_what_was_left_open() -> None:
    """T105: also where there is no checkpoint at all."""
    writer = Recorder()
    await SinkPort(CONTEXT, writer).restore([])

    assert writer.calls == [("abort", None)]


async def test_token_is_pending_from_its_barrier_to_its_commit() -> None:
    writer = Recorder()
    port = SinkPort(CONTEXT, writer)
    await port.restore([])
    await port.write([1, 2])
    await port.pre_commit(ONE)
    token = PendingCommit(ONE, b"1:[1, 2]")

    assert port.pending() == (token,)
    await port.complete(ONE)
    assert port.pending() == ()
    assert writer.calls[1:] == [("write", [1, 2]), ("pre_commit", 1), ("commit", token.token)]


async def test_checkpoint_without_output_has_no_token() -> None:
    writer = Recorder()
    port = SinkPort(CONTEXT, writer)
    await port.restore([])
    await port.pre_commit(ONE)
    await port.complete(ONE)

    assert writer.calls[1:] == [("pre_commit", 1)]


async def test_notice_that_was_skipped_or_repeated_commits_each_token_once_in_order() -> None:
    """T102, T103, T104: 1 was aborted, the notice of 2 lost, that of 3 comes twice."""
    writer = Recorder()
    port = SinkPort(CONTEXT, writer)
    await port.restore([])
    for checkpoint in (ONE, TWO, THREE):
        await port.write([int(checkpoint)])
        await port.pre_commit(checkpoint)
    await port.complete(THREE)
    await port.complete(THREE)
    await port.complete(TWO)

    commits = [call for call in writer.calls if call[0] == "commit"]
    assert commits == [("commit", b"1:[1]"), ("commit", b"2:[2]"), ("commit", b"3:[3]")]


async def test_token_that_is_too_large_for_a_manifest_is_refused_with_the_remedy() -> None:
    port = SinkPort(CONTEXT, Recorder())
    await port.restore([])
    await port.write(["x" * TOKEN_BYTES_MAX])

    with pytest.raises(
        ActorstreamError, match=r"sink out gave a token of \d+ bytes, at most 4096 .* its name in the token"
    ):
        await port.pre_commit(ONE)
