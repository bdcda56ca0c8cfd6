"""`BroadcastProcess` and `Process` in a job: who reads, who writes, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import (
    BroadcastContext,
    BroadcastProcess,
    BroadcastState,
    Context,
    ElementContext,
    JobFailed,
    KeyedProcess,
    ListState,
    MapState,
    OperatorContext,
    OperatorListState,
    OutputTag,
    Pipeline,
    PlanError,
    Process,
    Timer,
    ValueState,
)
from actorstream.errors import CodecError, MissingTimestampError, StateAccessError
from actorstream.operators.process_binding import make_process
from actorstream.testing.harness import harness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorstream import Stream

Word = tuple[str, Any]
"""A key or the name of a rule, and what to do."""


class Scores(BroadcastProcess[str, Word, Word, Any]):
    """Does what records say: a handler is looked up by the name in them."""

    rules: BroadcastState[str, Any] = BroadcastState()
    count: ValueState[int] = ValueState(0)
    seen: ListState[int] = ListState()
    days: MapState[int, int] = MapState()
    aged: ValueState[int] = ValueState(0, ttl=60)

    def on_element(self, value: Word, ctx: Context[str], /) -> list[Any]:
        """Call what came, or count."""
        if callable(value[1]):
            return [value[1](self, ctx)]
        self.count += 1
        self.seen.append(self.count)
        self.days[self.count] = 1
        self.aged = self.count
        return [(ctx.key, self.count, list(self.rules.items()))]

    def on_broadcast(self, value: Word, ctx: BroadcastContext, /) -> list[Any]:
        """Call what came, or write it."""
        if callable(value[1]):
            return [value[1](self, ctx)]
        ctx.writable(self.rules)[value[0]] = value[1]
        return []

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Any]:
        """Tell what is there."""
        self.count += 100
        yield "timer", ctx.key, self.count, list(self.rules)


class Job:
    """A pipeline of it, and its two inputs."""

    def __init__(self, *, timed: bool = False) -> None:
        self.pipeline = Pipeline("p", max_parallelism=8)
        self.words: list[Word] = []
        self.rules: list[Word] = []
        words, rules = self.pipeline.source(self.words, name="words"), self.pipeline.source(self.rules, name="rules")
        if timed:
            words, rules = words.assign_timestamps(_at), rules.assign_timestamps(_at)
        self.out: Stream[Any] = words.key_by(lambda word: word[0]).connect(rules.broadcast()).process(Scores)

    async def fails(self, side: list[Word], call: Callable[[Any, Any], object], kind: type[Exception]) -> str:
        """Let a handler do something that is refused; give what is said."""
        async with harness(self.pipeline) as h:
            await h.send(self.words, ("a", 1))
            with pytest.raises(JobFailed) as failed:
                await h.send(side, ("a", call))
        cause = failed.value.__cause__
        assert cause is not None
        found = cause.__cause__ if isinstance(cause.__cause__, kind) else cause
        assert isinstance(found, kind), repr(cause)
        return str(cause)


def _at(word: Word) -> float:
    return float(word[1]) if isinstance(word[1], int) else 5.0


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


# ---- for_each_key


def _visited(state: Any, change: Callable[[Any], object] | None = None) -> Callable[[Any, Any], object]:
    def visit(self: Any, ctx: Any) -> list[Any]:
        found: list[Any] = []

        def one(key: str, value: Any) -> None:
            found.append((key, dict(value) if state == Scores.days else value if isinstance(value, int) else [*value]))
            if change is not None:
                change(self)

        ctx.for_each_key(state, one)
        return found

    return visit


@pytest.mark.parametrize("recovers", [False, True], ids=["in memory", "from layers"])
async def test_every_key_that_has_something_of_a_state_is_visited(*, recovers: bool) -> None:
    """In the order of the keys; a key that never wrote, or has deleted it, has nothing."""
    job = Job()
    async with harness(job.pipeline) as h:
        await h.send(job.words, ("b", 0), ("a", 0), ("c", 0), ("b", 0), ("c", lambda _, ctx: ctx.clear()))
        if recovers:
            await h.checkpoint()
            await h.crash_and_recover()
        await h.send(job.words, ("d", lambda self, _: len(self.days)), ("e", 0))
        h.outputs(job.out)
        for state, right in (
            (Scores.count, [("a", 1), ("b", 2), ("e", 1)]),
            (Scores.seen, [("a", [1]), ("b", [1, 2]), ("e", [1])]),
            (Scores.days, [("a", {1: 1}), ("b", {1: 1, 2: 1}), ("e", {1: 1})]),
            (Scores.aged, [("a", 1), ("b", 2), ("e", 1)]),
        ):
            await h.send(job.rules, ("r", _visited(state)))
            assert h.outputs(job.out) == [right]
        await h.advance(clock=61)
        await h.send(job.words, ("a", lambda *_: None))  # time is looked at with each piece of a batch
        await h.send(job.rules, ("r", _visited(Scores.aged)))
        assert h.outputs(job.out)[-1] == [], "expired"


async def test_a_visit_may_change_every_state_of_the_key() -> None:
    """As a handler may: what it writes is stored, and in the next checkpoint."""

    def change(self: Any) -> None:
        self.count += 10
        self.seen.append(7)
        self.days.clear()
        if self.count == 12:
            del self.seen
        self.aged = 5

    job = Job()
    async with harness(job.pipeline, parallelism=3) as h:
        await h.send(job.words, ("a", 0), ("b", 0), ("b", 0))
        await h.checkpoint()
        await h.send(job.rules, ("r", _visited(Scores.count, change)))
        await h.checkpoint()
        await h.crash_and_recover()
        h.outputs(job.out)

        def tell(self: Any, _: Any) -> object:
            return self.count, [*self.seen], dict(self.days), self.aged

        await h.send(job.words, ("a", tell), ("b", tell), ("z", tell))
        assert sorted(h.outputs(job.out)) == [(0, [], {}, 0), (11, [1, 7], {}, 5), (12, [], {}, 5)]


def _each_in_each(self: Any, ctx: Any) -> None:
    ctx.for_each_key(Scores.count, lambda *_: ctx.for_each_key(Scores.count, lambda *_: None))


async def test_for_each_key_takes_a_state_by_key_of_the_class() -> None:
    """Not of another one, not one without key; and not inside of itself."""

    class Other(KeyedProcess[str, int, int]):
        other: ValueState[int] = ValueState(0)

    job = Job()
    for state in (Other.other, Scores.rules, "count"):
        said = await job.fails(job.rules, lambda _, ctx, s=state: ctx.for_each_key(s, print), StateAccessError)  # type: ignore[misc]
        assert "give it a state by key of this class" in said
    said = await job.fails(job.rules, _each_in_each, StateAccessError)
    assert "inside of for_each_key" in said


# ---- without key


class Batches(Process[int, list[int]]):
    """Three at a time."""

    waiting: OperatorListState[int] = OperatorListState()
    life: list[str]

    async def open(self, ctx: OperatorContext, /) -> None:
        """Note who this is."""
        self.life = LIFE
        self.life.append(f"open {ctx.name} {ctx.subtask} of {ctx.parallelism}, {list(self.waiting)}")

    def on_element(self, value: int, ctx: ElementContext, /) -> Iterator[list[int]]:
        """Gather."""
        self.waiting.append(value)
        if len(self.waiting) == 3:
            yield list(self.waiting)
            self.waiting.clear()

    async def close(self) -> None:
        """Say so."""
        self.life.append(f"close {list(self.waiting)}")


LIFE: list[str] = []


async def test_a_process_without_key_keeps_a_list() -> None:
    """From `open` to `close`, over a crash too."""
    LIFE.clear()
    pipeline, numbers = Pipeline("p"), list[int]()
    out = pipeline.source(numbers).process(Batches, name="batches")
    async with harness(pipeline) as h:
        await h.send(numbers, 1, 2, 3, 4, 5)
        await h.checkpoint()
        await h.send(numbers, 6)
        await h.crash_and_recover()
        await h.send(numbers, 7)
        assert h.outputs(out) == [[1, 2, 3], [4, 5, 6]]
    assert LIFE == [
        "open batches 0 of 1, []",
        "close []",
        "open batches 0 of 1, [4, 5]",
        "close [7]",
    ]


async def test_a_list_cannot_be_replaced() -> None:
    """It is changed in place."""

    class Replaces(Process[int, int]):
        waiting: OperatorListState[int] = OperatorListState()

        def on_element(self, value: int, ctx: ElementContext, /) -> None:
            self.waiting = [value]  # type: ignore[assignment]

    pipeline, numbers = Pipeline("p"), list[int]()
    pipeline.source(numbers).process(Replaces)
    async with harness(pipeline) as h:
        with pytest.raises(JobFailed, match=r"Replaces.waiting was .*: an operator list state .* self.waiting\[:\] = "):
            await h.send(numbers, 1)


async def test_any_operator_may_have_a_list() -> None:
    """Beside its states by key."""

    class Both(KeyedProcess[int, int, tuple[int, int]]):
        count: ValueState[int] = ValueState(0)
        all: OperatorListState[int] = OperatorListState()

        def on_element(self, value: int, ctx: Context[int], /) -> list[tuple[int, int]]:
            self.count += 1
            self.all.append(value)
            return [(self.count, len(self.all))]

    pipeline, numbers = Pipeline("p"), list[int]()
    out = pipeline.source(numbers).key_by(lambda value: value % 2).process(Both)
    async with harness(pipeline) as h:
        await h.send(numbers, 1, 2, 3)
        await h.checkpoint()
        await h.crash_and_recover()
        await h.send(numbers, 5)
        assert h.outputs(out) == [(1, 1), (1, 2), (2, 3), (3, 4)]


def test_outside_a_job_there_is_no_state() -> None:
    """Neither before the operator is made nor on the class, where it is the declaration."""
    with pytest.raises(StateAccessError, match=r"Batches.waiting was used before its operator was made"):
        _ = Batches().waiting
    with pytest.raises(StateAccessError, match=r"Scores.rules was used before"):
        make_process(Scores, Scores).rules = {}  # type: ignore[attr-defined]
    assert isinstance(Scores.rules, BroadcastState)
    assert isinstance(Batches.waiting, OperatorListState)


# ---- what the plan refuses


class _Timed(Process[int, int]):
    def on_timer(self, timer: Timer, ctx: Any, /) -> None:
        """There is no key."""


class _Async(Process[int, int]):
    async def on_element(self, value: int, ctx: ElementContext, /) -> list[int]:
        return [value]


class _AsyncRules(BroadcastProcess[str, int, int, int]):
    def on_element(self, value: int, ctx: Context[str], /) -> None:
        """Do nothing."""

    async def on_broadcast(self, value: int, ctx: BroadcastContext, /) -> None:
        """Be refused."""


class _Keyed(KeyedProcess[int, int, int]):
    def on_element(self, value: int, ctx: Context[int], /) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda s: s.process(_Timed), "has on_timer, but a timer belongs to a key"),
        (lambda s: s.process(_Async), "on_element is async, which is not supported yet"),
        (lambda s: s.process(_Keyed), "is a KeyedProcess, which does not fit here: derive it from Process, or put key"),
        (lambda s: s.process(Batches()), "which all subtasks would share"),
        (lambda s: s.key_by(abs).process(Batches), "is a Process, which does not fit here: derive it from KeyedProc"),
        (lambda s: s.key_by(abs).connect(s.broadcast()).process(_AsyncRules), "on_broadcast is async"),
        (lambda s: s.key_by(abs).connect(s.broadcast()).process(_Keyed), "derive it from BroadcastProcess"),
        (lambda s: s.key_by(abs).connect(s), "the other stream has no key"),
    ],
)
def test_classes_that_do_not_fit_are_refused_where_they_are_given(build: Any, said: str) -> None:
    """With what to do."""
    with pytest.raises(PlanError) as refused:
        build(Pipeline("p").source([1]))
    assert said in str(refused.value)


def make(owner: type[Any]) -> Any:
    """Build an object: a function that does is not asked for its class before the start."""
    return owner()


class _KeyState(Process[int, int]):
    count: ValueState[int] = ValueState(0)

    def on_element(self, value: int, ctx: ElementContext, /) -> None:
        """Do nothing."""


class _RulesAlone(KeyedProcess[int, int, int]):
    rules: BroadcastState[int, int] = BroadcastState()

    def on_element(self, value: int, ctx: Context[int], /) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda s: s.process(_KeyState), r"_KeyState \(_KeyState\) has a ValueState 'count', which belongs to a key"),
        (lambda s: s.key_by(abs).process(_RulesAlone), r"has a BroadcastState 'rules', but no broadcast stream"),
        (lambda s: s.process(lambda: make(_Keyed), name="k"), r"_Keyed \(k\) is a KeyedProcess, which does not fit"),
        (
            lambda s: s.key_by(abs).process(lambda: make(Batches), name="k"),
            r"Batches \(k\) is a Process, which does not",
        ),
    ],
)
async def test_states_that_do_not_fit_are_refused_at_the_start(build: Any, said: str) -> None:
    """A function that makes the object says its class only then."""
    pipeline = Pipeline("p")
    build(pipeline.source([1]))
    with pytest.raises(PlanError, match=said):
        async with pipeline.run():
            pass
