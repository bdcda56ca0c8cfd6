"""Time-to-live against a dict: whatever is frozen, lost, merged and cut into batches, handlers see what they should.

The dict keeps for each state of each key (value, expiry) and knows nothing of rows, layers, loops or descriptors.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ListState, MapState, ValueState
from actorstream.operators.ttl import TTL
from actorstream.state.ttl import stamp_of
from tests.operators.ttl_rig import Hands, Keeper
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actorstream.operators.contexts import Context

Act = tuple[str, int]
KEYS = ["a", "k" * 300]


class Uses:
    """What handlers do with states: each with the process object and a number."""

    def put(self, op: Any, n: int) -> None:
        op.seen = n

    def put_again(self, op: Any, _: int) -> None:
        op.seen = op.seen

    def get(self, op: Any, _: int) -> Any:
        return op.seen

    def forget(self, op: Any, _: int) -> Any:
        del op.seen
        return op.seen

    def append(self, op: Any, n: int) -> None:
        op.words.append(n)

    def words(self, op: Any, _: int) -> Any:
        return list(op.words)

    def forget_words(self, op: Any, _: int) -> None:
        del op.words

    def put_item(self, op: Any, n: int) -> None:
        op.items[n] = n * 10

    def get_item(self, op: Any, n: int) -> Any:
        return op.items.get(n)

    def pop_item(self, op: Any, n: int) -> Any:
        return op.items.pop(n, None)

    def has_item(self, op: Any, n: int) -> Any:
        return n in op.items

    def items(self, op: Any, _: int) -> Any:
        return list(op.items.items())

    def scan(self, op: Any, n: int) -> Any:
        return list(op.items.scan(n, reverse=n % 2 == 0, limit=2))

    def count(self, op: Any, _: int) -> Any:
        return len(op.items), len(op.lists), list(op.items), list(op.lists)

    def add_to_list(self, op: Any, n: int) -> Any:
        op.lists.setdefault(n, []).append(n)
        return [list(each) for each in op.lists.values()]

    def clear_items(self, op: Any, _: int) -> None:
        op.items.clear()

    def total(self, op: Any, _: int) -> Any:
        op.total += 1
        return op.total

    def clear_all(self, op: Any, _: int) -> None:
        pass  # `on_element` has done it

    def nothing(self, op: Any, _: int) -> None:
        pass


ACTIONS = [name for name in vars(Uses) if not name.startswith("_")]


class States(KeyedProcess[Any, Any, Any]):
    """Does what a record says with states of every kind, which a subclass gives."""

    def on_element(self, value: Act, ctx: Context[Any], /) -> Iterable[Any]:
        """Do it, and emit what that showed."""
        if value[0] == "clear_all":
            ctx.clear()
        return [(ctx.key, value, getattr(Uses, value[0])(None, self, value[1]))]


def states(ttl: TTL) -> type[States]:
    class Aging(States):
        total: ValueState[int] = ValueState(0)
        seen: ValueState[int] = ValueState(0, ttl=ttl)
        words: ListState[int] = ListState(ttl=ttl)
        items: MapState[int, int] = MapState(ttl=ttl)
        lists: MapState[int, list[int]] = MapState(ttl=ttl)

    return Aging


class Aged(NamedTuple):
    value: Any
    expiry: int


class Held:
    """What one key should have at one instant, (state, map key) -> (value, expiry), and what a handler does with it."""

    def __init__(self, held: dict[tuple[str, int], Aged], ttl: TTL, now: int, written: int) -> None:
        for place in [place for place, aged in held.items() if aged.expiry <= now]:
            del held[place]
        self.held = held
        self.later = written + ttl.duration_us
        self.step = -(-ttl.duration_us // 10) if ttl.refresh == "read" else 1 << 60

    def _put(self, name: str, at: int, value: Any) -> None:
        self.held[name, at] = Aged(value, self.later)

    def _get(self, name: str, at: int) -> Any:
        """Read a value that there is."""
        value, expiry = self.held[name, at]
        if isinstance(value, list):
            self.held[name, at] = Aged(value, max(expiry, self.later))
        elif self.later - expiry >= self.step:
            self.held[name, at] = Aged(value, self.later)
        return value

    def _there(self, name: str) -> list[int]:
        return sorted(at for of, at in self.held if of == name)

    def put(self, n: int) -> None:
        if n:
            self._put("seen", 0, n)
        else:
            self.held.pop(("seen", 0), None)

    def put_again(self, _: int) -> None:
        self.put(self.get(0))

    def get(self, _: int) -> Any:
        return self._get("seen", 0) if self._there("seen") else 0

    def forget(self, _: int) -> Any:
        self.put(0)
        return 0

    def append(self, n: int) -> None:
        self.words(0)
        self.held["words", 0].value.append(n)

    def words(self, _: int) -> Any:
        if not self._there("words"):
            self._put("words", 0, [])
        return list(self._get("words", 0))

    def forget_words(self, _: int) -> None:
        self.held.pop(("words", 0), None)

    def put_item(self, n: int) -> None:
        self._put("items", n, n * 10)

    def get_item(self, n: int) -> Any:
        return self._get("items", n) if self.has_item(n) else None

    def pop_item(self, n: int) -> Any:
        return self.held.pop(("items", n), Aged(None, 0)).value

    def has_item(self, n: int) -> Any:
        return n in self._there("items")

    def items(self, _: int) -> Any:
        return [(at, self._get("items", at)) for at in self._there("items")]

    def scan(self, n: int) -> Any:
        found = [at for at in self._there("items") if at >= n]
        return [(at, self._get("items", at)) for at in (found[::-1] if n % 2 == 0 else found)[:2]]

    def count(self, _: int) -> Any:
        items, lists = self._there("items"), self._there("lists")
        return len(items), len(lists), items, lists

    def add_to_list(self, n: int) -> Any:
        if n not in self._there("lists"):
            self._put("lists", n, [])
        self._get("lists", n).append(n)
        return [list(self._get("lists", at)) for at in self._there("lists")]

    def clear_items(self, _: int) -> None:
        for at in self._there("items"):
            del self.held["items", at]

    def total(self, _: int) -> Any:
        total = self.held.get(("total", 0), Aged(0, 0)).value + 1
        self.held["total", 0] = Aged(total, 1 << 60)
        return total

    def clear_all(self, _: int) -> None:
        self.held.clear()

    def nothing(self, _: int) -> None:
        pass


class Model:
    """What every key should have."""

    def __init__(self, ttl: TTL) -> None:
        self.ttl = ttl
        self.keys: dict[object, dict[tuple[str, int], Aged]] = {}
        self.now = self.written = 0

    def copy(self) -> dict[object, dict[tuple[str, int], Aged]]:
        def own(aged: Aged) -> Aged:
            return Aged(list(aged.value) if isinstance(aged.value, list) else aged.value, aged.expiry)

        return {key: {place: own(aged) for place, aged in held.items()} for key, held in self.keys.items()}

    def act(self, key: object, name: str, n: int) -> Any:
        held = Held(self.keys.setdefault(key, {}), self.ttl, self.now, self.written)
        return getattr(held, name)(n)


class Run:
    """A process and its model, through one history."""

    def __init__(self, shelf: Shelf, random: Random, ttl: TTL) -> None:
        self.random, self.ttl = random, ttl
        self.model = Model(ttl)
        # In event time the clock is far ahead of the records, as in a replay, and must not matter.
        self.keeper = Keeper(states(ttl), shelf, Hands(10**6 if ttl.domain == "event" else 0))
        self.stored = self.model.copy()
        self.watermark = self.highest = 0

    def records(self) -> None:
        """A batch, of which each record comes with its time and the watermark before it."""
        random, event = self.random, self.ttl.domain == "event"
        self.keeper.clock.now = max(0, self.keeper.clock.now + random.choice([0, 1, 3, 9, 24, -8]))
        if not event:
            self.model.now = self.model.written = max(self.model.now, self.keeper.clock.now)
        batch: list[tuple[object, Act]] = []
        times, marks, expected = [], [], []
        for _ in range(random.choice([2, 10, 30])):
            key, action = random.choice(KEYS), (random.choice(ACTIONS), random.randint(0, 2))
            time = self.highest + random.choice([0, 0, 1, 2, 7, -4, -15])
            batch.append((key, action))
            times.append(time)
            marks.append(self.watermark)
            if event:
                self.model.now, self.model.written = self.watermark, max(time, self.watermark)
            expected.append((key, action, self.model.act(key, *action)))
            self.highest = max(self.highest, time)
            self.watermark = max(self.watermark, self.highest - 6)
        size = random.choice([1, 2, 100])
        found: list[Any] = []
        for start in range(0, len(batch), size):
            cut = slice(start, start + size)
            found += self.keeper.feed(*batch[cut], times=times[cut], marks=marks[cut])
        assert found == expected

    def freeze(self) -> None:
        self.keeper.state.freeze()

    def checkpoint(self) -> None:
        for generation in list(self.keeper.state._waiting):
            self.keeper.shelf.finish(self.keeper.state, generation)
        self.keeper.checkpoint()
        self.stored = self.model.copy()

    def merge(self) -> None:
        now = self.model.now if self.ttl.domain == "processing" else stamp_of(self.model.now, "event")
        self.keeper.merge(self.random.choice([now, self.keeper.clock.now]))

    def evict(self) -> None:
        self.keeper.state.evict(1_000, 1 << 30)

    def crash(self) -> None:
        """Restore what was stored, under another duration and another rule of reading."""
        random = self.random
        self.ttl = TTL(random.choice([10e-6, 40e-6, 90e-6]), domain=self.ttl.domain, refresh=random.choice(WAYS))
        self.model.keys, self.model.ttl = self.stored, self.ttl
        self.stored = self.model.copy()
        self.keeper = self.keeper.restarted(states(self.ttl))
        if self.ttl.domain == "processing":
            # The new process knows of no later time, and the dict has dropped all that had expired.
            self.keeper.clock.now = self.model.now
            self.keeper.feed()


WAYS: Any = ["read", "write"]


@pytest.mark.parametrize("refresh", WAYS)
@pytest.mark.parametrize("domain", ["event", "processing"])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_handlers_see_what_a_dict_with_times_holds_t129_t136(domain: Any, refresh: Any, seed: int) -> None:
    """Batches of any size, freezes, checkpoints, merges, evictions, crashes with another duration."""
    random = Random(seed)
    shelf = Shelf(Path(mkdtemp()))
    run = Run(shelf, random, TTL(40e-6, domain=domain, refresh=refresh))
    steps: list[Callable[[], None]] = [run.records] * 6 + [run.freeze, run.checkpoint, run.merge, run.evict, run.crash]
    for _ in range(40):
        random.choice(steps)()
    run.keeper.state.stack.release()
    rmtree(shelf.folder)
