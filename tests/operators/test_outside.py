"""Between two batches a state's attribute holds something that refuses every use (T32)."""

from __future__ import annotations

import asyncio
import copy
import math
import operator
import os
import pickle
from typing import TYPE_CHECKING, Any, cast

import pytest

from actorstream.errors import StateAccessError
from actorstream.operators import outside as module
from actorstream.operators.outside import Outside
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from tests.operators.processes import Process, feed, rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.operators.contexts import Context


class Owner:
    """Declares two states."""

    count: Any = ValueState(0)
    recent: Any = ListState()


def outside(name: str = "count") -> Any:
    return Outside(vars(Owner)[name], Owner)


def _set(value: Any) -> None:
    value[0] = 1


def _set_attribute(value: Any) -> None:
    value.anything = 1


def _delete(value: Any) -> None:
    del value[0]


def _enter(value: Any) -> None:
    with value:
        pass


async def _await(value: Any) -> None:
    await value


async def _aiter(value: Any) -> None:
    async for _ in value:
        pass


async def _aenter(value: Any) -> None:
    async with value:
        pass


def _started(of: Callable[[Any], Any]) -> Callable[[Any], object]:
    def run(value: Any) -> None:
        coroutine = of(value)
        try:
            coroutine.send(None)
        finally:
            coroutine.close()

    return run


def _with_three(do: Callable[[Any, Any], object]) -> Callable[[Any], object]:
    return lambda value: do(value, 3)


def _three_with(do: Callable[[Any, Any], object]) -> Callable[[Any], object]:
    return lambda value: do(3, value)


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor", "lshift", "rshift")
_COMPARED = ("lt", "le", "gt", "ge", "eq", "ne")
USES: dict[str, Callable[[Any], object]] = {
    **{f"{name} right": _with_three(getattr(operator, name)) for name in (*_BINARY, *_COMPARED)},
    **{f"{name} left": _three_with(getattr(operator, name)) for name in (*_BINARY, *_COMPARED)},
    **{f"{name} in place": _with_three(getattr(operator, f"i{name.strip('_')}")) for name in _BINARY},
    "divmod": lambda value: divmod(value, 3),
    "divmod left": lambda value: divmod(3, value),
    "minus": operator.neg,
    "plus": operator.pos,
    "invert": operator.invert,
    "abs": abs,
    "round": round,
    "int": int,
    "float": float,
    "complex": complex,
    "index": operator.index,
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
    "truth": bool,
    "not": operator.not_,
    "hash": hash,
    "in a set": lambda value: {value},
    "len": len,
    "list": list,
    "for": iter,
    "next": next,
    "reversed": reversed,
    "in": lambda value: 3 in value,
    "item": lambda value: value[0],
    "set item": _set,
    "delete item": _delete,
    "call": lambda value: value(),
    "method": lambda value: value.append(1),
    "attribute": lambda value: value.real,
    "set attribute": _set_attribute,
    "delete attribute": lambda value: delattr(value, "anything"),
    "str": str,
    "format": lambda value: f"{value}",
    "percent": lambda value: "%d" % value,  # noqa: UP031  (another way than a format)
    "print": print,
    "bytes": bytes,
    "path": os.fspath,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "unpack": lambda value: [*value],
    "with": _enter,
    "await": _started(_await),
    "async for": _started(_aiter),
    "async with": _started(_aenter),
    "max": lambda value: max(value, 3),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("name", ["count", "recent"])
def test_any_use_is_refused(use: Callable[[Any], object], name: str) -> None:
    """T32: what a background task computes from it would be of no key, or of whichever came last."""
    with pytest.raises(
        StateAccessError, match=rf"Owner\.{name} was used where there is no key: state belongs to a key"
    ):
        use(outside(name))


@pytest.mark.parametrize("use", module._USES)
def test_every_use_in_the_list_is_a_method_that_refuses(use: str) -> None:
    with pytest.raises(StateAccessError, match="state belongs to a key"):
        getattr(Outside, f"__{use}__")(outside())


def test_the_list_names_everything_that_numbers_texts_lists_and_sets_can_do() -> None:
    """What is missing there would be answered by `object`, or by a TypeError that says nothing of state."""
    plain = {
        *("__new__", "__init__", "__init_subclass__", "__subclasshook__", "__class_getitem__", "__doc__"),
        *(
            "__class__",
            "__getattribute__",
            "__getattr__",
            "__repr__",
            "__dir__",
            "__getstate__",
            "__sizeof__",
            "__reduce__",
        ),
        *("__getnewargs__", "__getformat__", "__alloc__"),
    }
    able = {
        name
        for kind in (int, float, complex, str, bytes, list, dict, set)
        for name in dir(kind)
        if name.startswith("__") and callable(getattr(kind, name))
    }

    assert able - plain - {f"__{use}__" for use in module._USES} == set()


def test_debuggers_can_show_it() -> None:
    """`repr` alone works: a traceback with local values must not fail."""
    assert repr(outside()) == "<state Owner.count outside a handler>"
    assert f"{outside('recent')!r}" == "<state Owner.recent outside a handler>"


# ---- where a process has no key


class Astray(Process):
    """Uses its state wherever it is told."""

    count: ValueState[int] = ValueState(0)
    recent: ListState[int] = ListState()
    days: MapState[int, int] = MapState()

    def __init__(self, use: Callable[[Any], object] = lambda _: None) -> None:
        """Use it in the constructor."""
        use(self)

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Use it properly."""
        if callable(value):
            value(self)
        self.count += 1
        return [self.count]


def write_value(op: Any) -> None:
    op.count = 1


def write_list(op: Any) -> None:
    op.recent = []


def write_map(op: Any) -> None:
    op.days = {}


def delete(op: Any) -> None:
    del op.count


def delete_list(op: Any) -> None:
    del op.recent


def add_one(op: Any) -> None:
    op.count += 1


WITHOUT_KEY: dict[str, Callable[[Any], object]] = {
    "read value": lambda op: op.count,
    "read list": lambda op: op.recent,
    "read map": lambda op: op.days.get(1),
    "measure map": lambda op: len(op.days),
    "empty map": lambda op: op.days.clear(),
    "write value": write_value,
    "write list": write_list,
    "write map": write_map,
    "delete": delete,
    "delete list": delete_list,
    "add": add_one,
}


@pytest.mark.parametrize("use", WITHOUT_KEY.values(), ids=WITHOUT_KEY.keys())
def test_state_is_refused_in_the_constructor(use: Callable[[Any], object]) -> None:
    """T32: there is no key yet."""
    with pytest.raises(StateAccessError, match="state belongs to a key"):
        Astray(use)


@pytest.mark.parametrize("use", WITHOUT_KEY.values(), ids=WITHOUT_KEY.keys())
def test_state_is_refused_in_open_and_before_the_first_batch(use: Callable[[Any], object]) -> None:
    """T32: `open` has no key either; a silent write there would be lost."""
    made = rig(Astray)

    with pytest.raises(StateAccessError, match="state belongs to a key"):
        use(made.process)
    assert feed(made, ("a", 1)) == [1]


IN_BETWEEN: dict[str, Callable[[Any], object]] = {
    "compute": lambda op: op.count + 1,
    "compare": lambda op: op.count == 1,
    "ask": lambda op: bool(op.count),
    "show": lambda op: f"{op.count}",
    "copy": lambda op: list(op.recent),
    "append": lambda op: op.recent.append(1),
    "add": add_one,
    "read map": WITHOUT_KEY["read map"],
    "measure map": WITHOUT_KEY["measure map"],
    "empty map": WITHOUT_KEY["empty map"],
}


@pytest.mark.parametrize("use", IN_BETWEEN.values(), ids=IN_BETWEEN.keys())
def test_using_what_a_state_is_between_two_batches_is_refused(use: Callable[[Any], object]) -> None:
    """T32: a background task has no key; whichever came last is not its own."""
    made = rig(Astray)
    feed(made, ("a", 1))

    with pytest.raises(StateAccessError, match="state belongs to a key"):
        use(made.process)
    assert feed(made, ("a", 1)) == [2]


def test_looking_at_a_state_between_two_batches_gives_no_value_of_any_key() -> None:
    """T32: what can be read is the same whatever was handled last."""
    made = rig(Astray)
    feed(made, ("a", 1))
    process = cast("Any", made.process)
    seen = process.count, process.recent
    feed(made, ("b", 1), ("a", 1))

    assert process.count is seen[0]
    assert process.recent is seen[1]
    assert [repr(value) for value in seen] == [
        "<state Astray.count outside a handler>",
        "<state Astray.recent outside a handler>",
    ]


@pytest.mark.parametrize("name", ["write value", "write list", "write map", "delete", "delete list"])
def test_change_between_two_batches_ends_the_next_one(name: str) -> None:
    """T32: it would be lost silently, and whoever wrote it believes in it."""
    made = rig(Astray)
    feed(made, ("a", 1))
    WITHOUT_KEY[name](made.process)

    with pytest.raises(StateAccessError, match=r"state belongs to a key|Astray\.days was assigned or deleted"):
        feed(made, ("a", 1))
    assert made.rows() == {"a": (1, [])} or name == "write map"


def test_state_is_refused_after_a_handler_failed() -> None:
    """T32: `close` comes after that too."""
    made = rig(Astray)
    with pytest.raises(ZeroDivisionError):
        feed(made, ("a", lambda _: 1 // 0))
    assert made.bindings.process is not None
    made.bindings.process.retire()

    for use in WITHOUT_KEY.values():
        with pytest.raises(StateAccessError, match="state belongs to a key"):
            use(made.process)


def test_retiring_twice_or_before_the_first_batch_is_harmless() -> None:
    """`close` comes whatever came before."""
    made = rig(Astray)
    assert made.bindings.process is not None
    made.bindings.process.retire()
    feed(made, ("a", 1))
    made.bindings.process.retire()
    made.bindings.process.retire()

    with pytest.raises(StateAccessError, match="state belongs to a key"):
        _ = cast("Astray", made.process).count


class Watched(Process):
    """Has a background task that looks at the state of whichever key came last."""

    count: ValueState[int] = ValueState(0)

    def __init__(self) -> None:
        self.open_now: asyncio.Event = asyncio.Event()
        self.found: list[str] = []

    async def look(self) -> None:
        """Use the state after each batch, as a reporter would."""
        while True:
            await self.open_now.wait()
            self.open_now.clear()
            try:
                self.found.append(f"{self.count} so far")
            except StateAccessError as error:
                self.found.append(str(error))

    def on_element(self, value: Any, ctx: Context[Any], /) -> Iterable[Any]:
        """Count."""
        self.count += 1
        return [self.count]


async def test_state_that_a_background_task_reads_is_refused_whenever_it_looks() -> None:
    """T32: before the first batch, between two, and at the end."""
    made = rig(Watched)
    process = cast("Watched", made.process)
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(process.look())
        for number in range(4):
            if number == 3:
                assert made.bindings.process is not None
                made.bindings.process.retire()
            elif number:
                assert feed(made, ("a", 1)) == [number]
            process.open_now.set()
            while len(process.found) == number:  # noqa: ASYNC110  (one turn of the loop or two)
                await asyncio.sleep(0)
        looking.cancel()

    assert [found[:45] for found in process.found] == ["Watched.count was used where there is no key: "[:45]] * 4


def test_map_that_was_assigned_is_an_error_and_not_a_loss() -> None:
    """A plain dict in its place would take the writes of all keys and keep none."""
    made = rig(Astray)

    with pytest.raises(StateAccessError, match=r"Astray\.days was assigned or deleted: .*clear\(\) and .*update"):
        feed(made, ("a", write_map))
