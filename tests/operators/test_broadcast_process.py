"""`BroadcastProcess` in a job: who reads, who writes, and what is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    JobFailed,
    OutputTag,
)
from actorstream.errors import CodecError, MissingTimestampError, StateAccessError
from actorstream.operators.broadcast_view import BroadcastView, Writable
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

from tests.operators.broadcasting import Job, Scores


async def test_all_subtasks_have_what_is_broadcast() -> None:
    """Whatever key a record has, and whichever subtask has that."""
    job = Job()
    async with harness(job.pipeline, parallelism=4) as h:
        await h.send(job.rules, ("b", 2), ("a", 1))
        await h.send(job.words, *[(key, 0) for key in "abcdefgh"])
        assert sorted(h.outputs(job.out)) == [(key, 1, [("a", 1), ("b", 2)]) for key in "abcdefgh"]
        await h.send(job.rules, ("b", 3), ("b", lambda self, ctx: ctx.writable(self.rules).pop("a")))
        assert h.outputs(job.out) == [1, 1, 1, 1], "what on_broadcast emits comes from each subtask"
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(job.words, *[(key, 0) for key in "abcdefgh"])
        assert sorted(h.outputs(job.out)) == [(key, 2, [("b", 3)]) for key in "abcdefgh"]


async def test_isolated_operators_do_the_same() -> None:
    """In the harness that gives each subtask its own copies, and sends state through a checkpoint at each call."""
    job = Job()
    async with harness(job.pipeline, parallelism=2, isolate=True) as h:
        await h.send(job.rules, ("b", [2]), ("a", 1))
        await h.send(job.words, ("x", 0), ("y", 0), ("x", 0))
        rules = [("a", 1), ("b", [2])]
        assert sorted(h.outputs(job.out)) == [("x", 1, rules), ("x", 2, rules), ("y", 1, rules)]


async def test_a_mutable_value_is_copied_when_it_is_written() -> None:
    """T125: the record is the other subtasks' too, and what one appends to must not be what all have."""

    def extend(self: Any, ctx: Any) -> None:
        rules = ctx.writable(self.rules)
        rules.setdefault("list", shared)
        rules["list"].append(1)

    shared: list[int] = []
    job = Job()
    async with harness(job.pipeline, parallelism=4) as h:
        await h.send(job.rules, ("r", extend), ("r", extend))
        await h.send(job.words, *[(key, 0) for key in "abcdefgh"])
        assert [rules for *_, rules in h.outputs(job.out)[8:]] == [[("list", [1, 1])]] * 8
    assert shared == []


async def test_all_entries_can_be_removed_at_once_and_the_last_in_order() -> None:
    """And they are not in the next snapshot either, whoever of the subtasks keeps them."""

    def pop(self: Any, ctx: Any) -> tuple[str, int]:
        entry: tuple[str, int] = ctx.writable(self.rules).popitem()
        return entry

    def clear(self: Any, ctx: Any) -> None:
        ctx.writable(self.rules).clear()

    job = Job()
    async with harness(job.pipeline, parallelism=2) as h:
        await h.send(job.rules, ("c", 3), ("a", 1), ("b", 2), ("r", pop))
        assert h.outputs(job.out) == [("c", 3)] * 2
        for write, left in (
            (lambda *_: None, [("a", 1), ("b", 2)]),
            (lambda s, ctx: ctx.writable(s.rules).clear(), []),
        ):
            await h.send(job.rules, ("r", write))
            await h.checkpoint()
            await h.crash_and_recover()
            h.outputs(job.out)
            await h.send(job.words, ("a", lambda self, _: list(self.rules.items())))
            assert h.outputs(job.out) == [left]
        await h.send(job.rules, ("n", 1))
        with pytest.raises(JobFailed, match="KeyError"):
            await h.send(job.rules, ("r", pop), ("r", pop))


def test_removing_every_entry_takes_as_long_as_there_are_entries() -> None:
    """Entry by entry from the front it takes n² steps: 40,000 rules held the event loop for 4.6 s."""

    def took(remove: Callable[[Any], object], entries: object) -> float:
        begun = time.thread_time()
        remove(entries)
        return time.thread_time() - begun

    def pop_all(entries: MutableMapping[Any, Any]) -> None:
        while entries:
            entries.popitem()

    for remove in (Writable.clear, pop_all):
        ratios = []
        for _ in range(3):
            writer = BroadcastView(Scores.rules, Scores, None).writer
            writer.open = True
            writer.fill((number, number) for number in range(20_000))
            ratios.append(took(remove, writer) / took(pop_all, dict.fromkeys(range(20_000))))
        assert min(ratios) < 30


WRITES: dict[str, Callable[[Any, Any], object]] = {
    "set": lambda self, _: self.rules.__setitem__("a", 1),
    "delete": lambda self, _: self.rules.__delitem__("a"),
    "clear": lambda self, _: self.rules.clear(),
    "pop": lambda self, _: self.rules.pop("a", None),
    "popitem": lambda self, _: self.rules.popitem(),
    "setdefault": lambda self, _: self.rules.setdefault("a", 1),
    "update": lambda self, _: self.rules.update(a=1),
    "in place": lambda self, _: self.rules.__ior__({"a": 1}),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("side", ["words", "rules"])
async def test_broadcast_state_itself_is_read_only(write: str, side: str) -> None:
    """On the keyed side, and on the other one too: there is one way to write."""
    job = Job()
    said = await job.fails(getattr(job, side), WRITES[write], StateAccessError)
    assert "Scores.rules is broadcast state, which is read-only here" in said
    assert "ctx.writable(self.rules)" in said


async def test_what_writable_gave_is_good_for_one_call() -> None:
    """Kept on the object, it would let the keyed side write."""
    job = Job()
    async with harness(job.pipeline) as h:
        await h.send(job.rules, ("r", lambda self, ctx: setattr(self, "kept", ctx.writable(self.rules))))
        with pytest.raises(JobFailed, match=r"what ctx.writable\(Scores.rules\) gave was kept and used later"):
            await h.send(job.words, ("a", lambda self, _: self.kept.update(a=1)))


async def test_writable_takes_broadcast_state_of_the_object() -> None:
    """Not any dict."""
    job = Job()
    said = await job.fails(job.rules, lambda _, ctx: ctx.writable({}), StateAccessError)
    assert "ctx.writable was given a dict" in said


async def test_broadcast_state_cannot_be_replaced() -> None:
    """It would be lost."""
    job = Job()
    said = await job.fails(job.words, lambda self, _: setattr(self, "rules", {}), StateAccessError)
    assert "Scores.rules was assigned or deleted: broadcast state is written in on_broadcast" in said


async def test_keys_of_one_broadcast_state_are_of_one_type_t137() -> None:
    """1, 1.0 and True are equal in Python, and three keys where they are stored."""
    job = Job()

    def write(self: Any, ctx: Any) -> None:
        ctx.writable(self.rules).update({1: "a"})
        ctx.writable(self.rules)[True] = "b"

    said = await job.fails(job.rules, write, CodecError)
    assert "Scores.rules has a key that equals True in Python and is of another type" in said


USES: dict[str, Callable[[Any, Any], object]] = {
    "read": lambda self, _: self.count + 1,
    "assign": lambda self, _: setattr(self, "count", 1),
    "list": lambda self, _: self.seen.append(1),
    "map": lambda self, _: self.days.get(1),
    "replace map": lambda self, _: setattr(self, "days", {}),
    "expiring": lambda self, _: self.aged,
}


@pytest.mark.parametrize("use", USES)
async def test_states_by_key_are_refused_in_on_broadcast_t32(use: str) -> None:
    """There is no key."""
    job = Job()
    said = await job.fails(job.rules, USES[use], StateAccessError)
    assert "where there is no key" in said or "was assigned or deleted" in said


async def test_what_a_timer_has_left_is_not_there_either_t32() -> None:
    """A timer that is due before a record of the broadcast stream fires in the same step: its key is gone by then."""
    job = Job(timed=True)
    async with harness(job.pipeline) as h:
        await h.send(job.words, ("a", lambda _, ctx: ctx.set_timer(6)))
        await h.send(job.words, ("b", 9))
        with pytest.raises(JobFailed, match=r"Scores.count was used where there is no key"):
            await h.send(job.rules, ("r", 7), ("r", 8), ("r", 9), ("r", lambda self, _: self.count + 1))


async def test_timers_see_what_is_broadcast() -> None:
    """Time goes by the slower of both inputs."""
    job = Job(timed=True)
    async with harness(job.pipeline) as h:
        await h.send(job.rules, ("r", 1))
        await h.send(job.words, ("a", lambda _, ctx: ctx.set_timer(20)), ("a", 30))
        assert h.outputs(job.out)[1:] == [("a", 1, [("r", 1)])]
        await h.send(job.rules, ("s", 30))
        assert h.outputs(job.out) == [("timer", "a", 101, ["r", "s"])]


def _told(_: Any, ctx: Any) -> tuple[datetime, datetime, datetime]:
    return ctx.timestamp, ctx.watermark, ctx.now


async def test_on_broadcast_is_told_the_time_of_its_record() -> None:
    """And has side outputs, as any handler."""
    job = Job(timed=True)
    tag = OutputTag[str]("aside")
    aside = job.out.side_output(tag)
    async with harness(job.pipeline) as h:
        await h.send(job.words, ("a", 9))
        await h.send(job.rules, ("r", 4), ("r", _told), ("r", lambda _, ctx: ctx.emit_to(tag, "given")))
        at = datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
        assert h.outputs(job.out)[1][0] == at
        assert h.outputs(aside) == ["given"]
    job = Job()
    await job.fails(job.rules, lambda _, ctx: ctx.timestamp, MissingTimestampError)
    assert "no attribute 'set_timer'" in await job.fails(job.rules, lambda _, ctx: ctx.set_timer(1), AttributeError)
