"""Timers against a dict: whatever is set, frozen, lost, compacted and split, each fires once, at its time, in order."""

from __future__ import annotations

from pathlib import Path
from random import Random
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import key_group_of, range_of
from actorstream.model.times import TIME_MAX, TIME_MIN
from actorstream.state import entries, timer_index
from actorstream.state.timers import Timer
from tests.state.rig import ALL, Shelf
from tests.state.test_compaction import compact
from tests.state.timer_rig import DOMAINS, FIVE, LONG, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.timers import Domain

KEYS: list[object] = ["a", "b", 7, LONG, LONG + "1", LONG + "2", ("t", 1)]
NAMES: list[object] = ["", "close", LONG, LONG + "x", 3]

Identity: TypeAlias = "tuple[object, object, Domain]"
Model: TypeAlias = "dict[Identity, int]"


def in_order(model: Model, domain: Domain, groups: KeyGroupRange = ALL) -> list[Timer]:
    mine = [
        (at, encode_key(key), encode_key(name), Timer(at, key, name, domain))
        for (key, name, of), at in model.items()
        if of == domain and groups.start <= key_group_of(encode_key(key), ALL.end) < groups.end
    ]
    return [timer for *_, timer in sorted(mine, key=lambda each: each[:3])]


class History:
    """An operator at some parallelism, and what its timers should be: now, at each freeze, and in the layers."""

    def __init__(self, shelf: Shelf, random: Random) -> None:
        self.shelf = shelf
        self.random = random
        self.owners = [Owner(shelf)]
        self.model: Model = {}
        self.frozen: dict[Owner, list[Model]] = {self.owners[0]: []}
        self.stored: dict[Owner, Model] = {self.owners[0]: {}}

    def mine(self, owner: Owner) -> Model:
        groups = range(*owner.groups)
        return {each: at for each, at in self.model.items() if key_group_of(encode_key(each[0]), ALL.end) in groups}

    def owner_of(self, key: object) -> Owner:
        group = key_group_of(encode_key(key), ALL.end)
        return next(owner for owner in self.owners if group in range(*owner.groups))

    def change(self) -> None:
        random = self.random
        for _ in range(random.randint(1, 12)):
            identity = random.choice(KEYS), random.choice(NAMES), random.choice(DOMAINS)
            key, name, domain = identity
            table, action = self.owner_of(key).table, random.random()
            if action < 0.65:
                at = random.choice([random.randint(-5, 40), 7, TIME_MIN, TIME_MAX])
                table.set(key, name, domain, at)
                self.model[identity] = at
            elif action < 0.95:
                assert table.cancel(key, name, domain) == (identity in self.model)
                self.model.pop(identity, None)
            else:
                table.clear(key)
                for each in [each for each in self.model if each[0] == key]:
                    del self.model[each]

    def fire(self) -> None:
        """Take out some timers, also by parts, with changes between."""
        random, domain = self.random, self.random.choice(DOMAINS)
        for owner in self.owners:
            up_to = random.choice([random.randint(-5, 45), TIME_MAX, TIME_MIN])
            by_iterator = (timer for timer in owner.table.due(domain, up_to) if timer is not None)
            due = by_iterator if random.random() < 0.5 else self.by_calls(owner, domain, up_to)
            for _ in range(random.choice([0, 1, 3, 100])):
                timer = next(due, None)
                expected = [each for each in in_order(self.model, domain, owner.groups) if each.at <= up_to]
                assert timer == (expected[0] if expected else None)
                if timer is None:
                    break
                del self.model[timer.key, timer.name, domain]
                if random.random() < 0.3:
                    self.change()
                if random.random() < 0.1:
                    self.freeze(owner)

    def by_calls(self, owner: Owner, domain: Domain, up_to: int) -> Iterator[Timer]:
        """Take them out as the record loop does, which trusts `soonest`."""
        table, number = owner.table, DOMAINS.index(domain)
        while True:
            found = table.take_due(number, up_to)
            if found is not None:
                time, part, suffix, key, name = found
                assert (encode_key(key), encode_key(name)) == (part, suffix[1:])
                yield Timer(time, key, name, domain)
            left = [each.at for each in in_order(self.model, domain, owner.groups)]
            assert table.soonest[number] <= min(left, default=TIME_MAX), "nothing is due before"
            if found is None and (table.soonest[number] > up_to or table.soonest[number] == TIME_MAX):
                return

    def freeze(self, owner: Owner) -> None:
        if len(owner.waiting) < 3 and owner.freeze() is not None:
            self.frozen[owner].append(self.mine(owner))

    def step(self) -> None:
        random = self.random
        owner, action = random.choice(self.owners), random.random()
        if action < 0.35:
            self.change()
        elif action < 0.5:
            self.fire()
        elif action < 0.65:
            self.freeze(owner)
        elif action < 0.72 and owner.waiting:
            owner.encode(random.randint(1, 5))
        elif action < 0.82 and owner.waiting:
            owner.write(random.choice([1, 3, 100]))
            self.stored[owner] = self.frozen[owner].pop(0)
        elif action < 0.88 and owner.waiting:
            at = random.randrange(len(owner.waiting))
            owner.fail(at)
            del self.frozen[owner][at:]
        elif action < 0.93:
            owner.table.settle(random.choice([1, 3, 100]))
        elif action < 0.96:
            self.compact(owner)
        else:
            self.crash()

    def compact(self, owner: Owner) -> None:
        for groups, layers in owner.stack.runs():
            start, end = sorted(self.random.choices(range(len(layers) + 1), k=2))
            if start < end:
                compact(self.shelf, [(FIVE, owner.stack, groups, layers[start:end])])

    def crash(self) -> None:
        """Only layers are left; another parallelism takes over (T33)."""
        before = self.owners
        runs = [run for owner in before for run in owner.stack.runs()]
        self.model = {each: at for owner in before for each, at in self.stored[owner].items()}
        parallelism = self.random.randint(1, 3)
        ranges = [range_of(index, parallelism, ALL.end) for index in range(parallelism)]
        self.owners = [Owner(self.shelf, groups, runs) for groups in ranges]
        self.frozen = {owner: [] for owner in self.owners}
        self.stored = {owner: self.mine(owner) for owner in self.owners}
        for owner in before:
            owner.stack.release()

    def check(self) -> None:
        for owner in self.owners:
            for domain in DOMAINS:
                expected = in_order(self.model, domain, owner.groups)
                assert owner.table.next_time(domain) == (expected[0].at if expected else None)
        key, name, domain = self.random.choice(KEYS), self.random.choice(NAMES), self.random.choice(DOMAINS)
        assert self.owner_of(key).table.at(key, name, domain) == self.model.get((key, name, domain))

    def end(self) -> None:
        """Everything that is left fires."""
        for owner in self.owners:
            for domain in DOMAINS:
                assert owner.fired(domain, TIME_MAX) == in_order(self.model, domain, owner.groups)
                assert owner.table.next_time(domain) is None
            owner.stack.release()


@pytest.fixture(params=["true hash", "every digest the same"])
def narrow(request: pytest.FixtureRequest) -> Iterator[None]:
    """So few timers of a key group in memory that the layers are read again and again."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"FEW": 1, "MANY": 2, "MOST": 4}.items():
            patch.setattr(timer_index, name, value)
        if request.param != "true hash":
            patch.setattr(entries, "digest_of", lambda part: b"\x00" * 16)
        yield


@pytest.mark.usefixtures("narrow")
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_timers_do_what_a_dict_does_t24_t26_t30_t33_t130(seed: int) -> None:
    """Set, moved, cancelled, forgotten, fired by parts; frozen, failed, settled, compacted, lost and split."""
    shelf = Shelf(Path(mkdtemp()))
    history = History(shelf, Random(seed))
    for _ in range(60):
        history.step()
        history.check()
    history.end()
    rmtree(shelf.folder)
