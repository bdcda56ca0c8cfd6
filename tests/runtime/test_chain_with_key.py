"""Keys in a chain: of one type wherever they are made, and a chain done in two parts around its key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actorstream.errors import CodecError, RestoreError, UserCodeError
from actorstream.runtime.piece_sizes import SLICE_RECORDS_FIRST
from tests.runtime.running_chain import Running, fail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from actorstream.api.stream import Stream


# ---- keys


class Keying(Running):
    """A count whose keys come with the batch, or are made in its own chain: in the step, or before it."""

    def __init__(self, where: str, folder: Path) -> None:
        super().__init__(
            lambda s: s.key_by(lambda key: key).count(name="head", new_chain=where == "elsewhere"),
            "head" if where == "elsewhere" else "in",
        )
        assert self.rig.chain.keyed_inside == (where != "elsewhere")
        self._elsewhere = where == "elsewhere"
        if where == "before":
            self.in_two(folder)

    async def keys(self, *keys: object) -> None:
        """Handle one record of each key."""
        await self.work(keys, keys if self._elsewhere else None)

    async def refused(self, *keys: object) -> Exception:
        """Do the same where it fails."""
        return await self.blamed(keys, keys if self._elsewhere else None)


where_keys_are_made = pytest.mark.parametrize("where", ["elsewhere", "inside", "before"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, True),
        (1, 1.0),
        (True, 1),
        ("a", 1),
        ("a", b"a"),
        ((1,), 1),
        (1, "a"),
        ((1, "a"), (True, "a")),
        ((1,), (1.0,)),
        ((None, 1.0), (0, 1)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("together", [True, False])
@where_keys_are_made
async def test_second_type_of_key_is_refused(
    first: object, second: object, together: bool, where: str, tmp_path: Path
) -> None:
    """T137: 1, 1.0 and True are one dict entry and three encodings."""
    running = Keying(where, tmp_path)
    if not together:
        await running.keys(first)
        error = await running.refused(second)
    else:
        error = await running.refused(first, second)

    assert isinstance(error, CodecError)
    message = str(error)
    assert "head: key_by gave " in message
    assert type(second).__name__ in message
    assert type(first).__name__ in message
    assert "convert in the key function" in message
    if together and where != "inside":
        assert running.rig.rows() == {}


@where_keys_are_made
async def test_key_none_is_refused_with_the_remedy(where: str, tmp_path: Path) -> None:
    error = await Keying(where, tmp_path).refused("a", None)

    assert isinstance(error, CodecError)
    assert "head: key_by gave None; filter such records out before, or give them a key" in str(error)


@where_keys_are_made
async def test_keys_unlike_the_stored_ones_are_refused(where: str, tmp_path: Path) -> None:
    """T34: the store was kept under texts."""
    running = Keying(where, tmp_path)
    running.runner.keys.expect_like("a")
    error = await running.refused(1)

    assert isinstance(error, RestoreError)
    assert str(error).startswith(
        "head: key_by gave 1, a int, but the state in the store is kept under keys of type str"
    )
    assert running.rig.rows() == {}


async def test_key_that_is_refused_inside_a_chain_is_told_with_its_record(tmp_path: Path) -> None:
    """Who made it is the operator before: its record is at hand there."""
    error = await Keying("inside", tmp_path).refused(1, 2, None)

    assert str(error).startswith("in (subtask 0): head: key_by gave None; ")
    assert str(error).endswith("at record 3 of a batch, of type NoneType, read from split 's' up to position 41")


@pytest.mark.parametrize(
    "key", [[1], {"a": 1}, {1}, object(), 1j, float("nan"), (1, [2])], ids=lambda key: type(key).__name__
)
@where_keys_are_made
async def test_key_that_has_no_encoding_is_refused_before_it_is_state(key: object, where: str, tmp_path: Path) -> None:
    """Not seconds later, at the next snapshot; and a list says the same as any other."""
    running = Keying(where, tmp_path)
    error = await running.refused(key)

    assert isinstance(error, CodecError)
    assert "head: key_by gave " in str(error)
    assert running.rig.rows() == {}


@pytest.mark.parametrize("key", [None, object()], ids=["None", "object"])
async def test_key_that_cannot_be_routed_names_the_operator_and_the_record(key: object) -> None:
    """With several receivers the sender encodes the key, before the receiver can look at it."""
    running = Running(lambda s: s.map(abs).key_by(lambda _: key).count(name="head"), parallelism=2)
    error = await running.blamed([5])

    assert isinstance(error, CodecError)
    assert "map-1" in str(error)
    assert "record 1 of a batch, of type int, read from split 's' up to position 41" in str(error)


# ---- in two parts


def noting(calls: list[tuple[str, int]], name: str) -> Callable[[Any], Any]:
    def fn(value: Any) -> Any:
        calls.append((name, value))
        return value

    return fn


async def test_chain_in_two_parts_does_every_record_once_on_either_side_of_its_key(tmp_path: Path) -> None:
    """As after a restore: what is before the key, and beside it, is done for the whole piece first."""
    calls: list[tuple[str, int]] = []
    sunk: list[int] = []
    counted: list[tuple[int, int]] = []

    def build(stream: Stream[Any]) -> None:
        before = stream.map(noting(calls, "before"), name="m").filter(lambda v: v != 3)
        before.key_by(lambda v: v % 2).count(name="n").map(noting(calls, "after")).sink(counted.append)
        before.sink(sunk.append)
        before.rebalance().map(abs)

    running = Running(build)
    running.in_two(tmp_path)
    await running.work(range(5))

    assert calls == [
        *(("before", value) for value in range(5)),
        ("after", (0, 1)),
        ("after", (1, 1)),
        ("after", (0, 2)),
        ("after", (0, 3)),
    ]
    assert sunk == [0, 1, 2, 4]
    assert counted == [(0, 1), (1, 1), (0, 2), (0, 3)]
    assert running.sent() == [[0, 1, 2, 4]]
    assert running.rig.rows() == {0: 3, 1: 1}
    statistics = running.statistics
    assert (statistics.records_in, statistics.records_out, statistics.records_delivered) == (5, 4, 8)


async def test_two_parts_become_one_when_a_piece_missed_nothing(tmp_path: Path) -> None:
    """A list between costs something: it is kept up only while the disk is asked."""
    running = Running(lambda s: s.key_by(abs).count(name="n").sink(str)).in_two(tmp_path)
    parts = []
    for value in range(3):
        await running.work([value])
        parts += [
            part
            for (_, part, _, _), compiled in running.runner._compiled.items()
            if compiled.step is running.runner._step
        ]

    assert parts == ["after key", "whole", "whole"]
    assert running.rig.rows() == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize("inside", [True, False])
async def test_rows_on_disk_are_read_by_a_thread_before_the_piece_that_needs_them(tmp_path: Path, inside: bool) -> None:
    """T22: the loop reads none itself, where the key is made in the chain as where it comes with the batch."""
    running = Running(
        lambda s: (
            s.key_by(lambda v: v // 2).count(name="n", new_chain=not inside).map(str, name="m").rebalance().map(str)
        ),
        "in" if inside else "n",
    )
    running.in_two(tmp_path, dict.fromkeys(range(0, 100, 2), 10))
    running.runner.slice = 200
    keys = [value // 2 for value in range(200)]
    await running.work(range(200), None if inside else keys)

    assert running.rig.rows() == {key: 12 if key % 2 == 0 else 2 for key in range(100)}
    assert running.sent() == [
        [str((key, start + n)) for key in range(100) for start in (10 * (key % 2 == 0),) for n in (1, 2)]
    ]
    assert running.rig.state is not None
    assert running.rig.state.rows.loads == 0


async def test_nothing_that_comes_to_the_key_leaves_nothing_to_do(tmp_path: Path) -> None:
    """A filter before it let no record through."""
    running = Running(lambda s: s.filter(lambda v: v > 10).key_by(abs).count(name="n").sink(str))
    running.in_two(tmp_path)
    await running.work(range(5))

    assert running.rig.rows() == {}
    assert (running.statistics.records_in, running.statistics.records_delivered) == (5, 0)


async def test_waiting_between_the_two_parts_is_no_work(tmp_path: Path) -> None:
    """A slow sink before the key, or a slow disk behind it: the next piece is as large as this one's work allows."""

    async def send(value: int) -> None:
        running.clock.seconds += 1

    running = Running(lambda s: (s.sink(send), s.key_by(abs).count(name="n").sink(str)))
    running.in_two(tmp_path)
    await running.work(range(3))

    assert running.statistics.busy_seconds == 0
    assert running.runner.slice >= SLICE_RECORDS_FIRST


@pytest.mark.parametrize("operator", ["first", "n", "last"])
async def test_error_in_either_part_names_operator_record_and_position(operator: str, tmp_path: Path) -> None:
    def of(name: str) -> Callable[[Any], Any]:
        return fail if name == operator else lambda value: value

    def add(total: int, value: int) -> int:
        return of("n")(value)  # type: ignore[no-any-return]

    def build(stream: Stream[Any]) -> None:
        first = stream.map(of("first"), name="first").key_by(lambda v: 0)
        first.fold(0, add, name="n").map(lambda kv: kv[1]).map(of("last"), name="last").sink(str)

    running = Running(build)
    running.in_two(tmp_path)
    error = await running.blamed([1, 2, 3])

    assert isinstance(error, UserCodeError)
    assert (error.operator, error.position, error.record) == (operator, ("s", 41), 3)
    assert "at record 3 of a batch, of type int, read from split 's' up to position 41" in str(error)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", ["in", "m", "n", "after"])
async def test_tap_inside_a_chain_with_its_key_inside_gets_each_record_once(
    name: str, parts: int, tmp_path: Path
) -> None:
    """Before the key, at the operator with state, and after it."""
    running = Running(
        lambda s: s.map(lambda v: v + 1, name="m").key_by(lambda v: v % 2).count(name="n").map(str, name="after")
    )
    seen: list[Any] = []

    async def tap(values: Sequence[object]) -> None:
        seen.extend(values)

    if parts == 2:
        running.in_two(tmp_path)
    await running.work([7])
    node = next(node.id for node in running.rig.chain.nodes if node.name == name)
    running.runner.taps[node, ""] = [tap]
    running.runner.compile()
    await running.work([0, 1, 2])

    assert (
        seen
        == {
            "in": [0, 1, 2],
            "m": [1, 2, 3],
            "n": [(1, 1), (0, 2), (1, 2)],
            "after": ["(1, 1)", "(0, 2)", "(1, 2)"],
        }[name]
    )
