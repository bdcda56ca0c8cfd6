"""Beside a broadcast stream barriers overtake too: all but what is broadcast, which every snapshot holds all of.

in ──by key──> weigh      a record tells how many rules it has been weighed by: of a key never fewer than before
rules ──all──> weigh      a rule visits every key once, in each split's order, and is told once by each subtask
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.checkpoints.in_flight import read_part
from actorstream.operators.keyed_process import BroadcastProcess
from actorstream.operators.state_declarations import ValueState
from actorstream.operators.unkeyed_declarations import BroadcastState
from actorstream.state.layer import LayerFile, open_written
from actorstream.testing.disk import temporary_disk
from tests.runtime.doubles import Splits
from tests.runtime.test_overtaking import KEYS, Setting, under_pressure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from actorstream.api.job import Job
    from actorstream.operators.contexts import BroadcastContext, Context, OperatorContext

RULES = 300
RULE_SPLITS = 2


class Weigh(BroadcastProcess[int, int, int, tuple[Any, ...]]):
    """Numbers the records of each key, and says how many rules were known; a rule below 0 is not spoken of."""

    count: ValueState[int] = ValueState(0)
    visits: ValueState[int] = ValueState(0)
    rules: BroadcastState[int, int] = BroadcastState()

    async def open(self, ctx: OperatorContext, /) -> None:
        self.subtask, self.parallelism = ctx.subtask, ctx.parallelism

    def on_element(self, value: int, ctx: Context[int], /) -> Iterable[tuple[Any, ...]]:
        self.count += 1
        yield "record", ctx.key, self.count, value, sum(self.rules.values()), self.visits

    def on_broadcast(self, value: int, ctx: BroadcastContext, /) -> list[tuple[Any, ...]]:
        rules = ctx.writable(self.rules)
        split = value % RULE_SPLITS
        rules[split] = rules.get(split, 0) + 1
        found: list[tuple[Any, ...]] = []

        def visit(key: int, _: int) -> None:
            self.visits += 1
            found.append(("visit", value, key, self.visits))

        ctx.for_each_key(Weigh.count, visit)
        if value < 0:
            return []
        if value % self.parallelism == self.subtask:
            found.append(("rule", value, rules[split]))
        return found


@dataclass
class Weighing(Setting):
    """Records by key beside rules; the sink behind both is slow."""

    rules: int = RULES
    silent: int = 0

    def pipeline(self) -> Pipeline:
        made = Pipeline("t", max_parallelism=16)
        rows = {str(split): list(range(split, self.records, self.splits)) for split in range(self.splits)}
        rules = {
            str(split): [*[split - RULE_SPLITS] * self.silent, *range(split, self.rules, RULE_SPLITS)]
            for split in range(RULE_SPLITS)
        }
        keyed = made.source(Splits(rows), name="in").key_by(lambda value: value % KEYS)
        said = made.source(Splits(rules), name="rules").broadcast()
        weighed = keyed.connect(said).process(Weigh, name="weigh")
        weighed.map(lambda row: row, name="out-of-it", new_chain=self.forward).sink(self.target, name="out")
        return made

    def finish(self, **options: Any) -> None:
        """Run to the end, and look at what came of every rule and record."""
        self.target.seconds = 0.0
        self.process(lambda job: job.wait(), **options)
        rows: Sequence[tuple[Any, ...]] = self.target.committed
        assert Counter(row[1] for row in rows if row[0] == "rule") == dict.fromkeys(range(self.rules), 1)
        assert {row[1]: row[2] for row in rows if row[0] == "rule"} == {
            rule: self.silent + rule // RULE_SPLITS + 1 for rule in range(self.rules)
        }
        for key in range(KEYS):
            records = [row[2:] for row in rows if row[0] == "record" and row[1] == key]
            assert [count for count, *_ in records] == list(range(1, len(records) + 1))
            assert sorted(value for _, value, *_ in records) == list(range(key, self.records, KEYS))
            known = [(rules, visits) for *_, rules, visits in records]
            assert known == sorted(known), f"key {key} was weighed by fewer rules than before"
            self._check_visits([row[1:] for row in rows if row[0] == "visit" and row[2] == key])

    def _check_visits(self, visits: Sequence[tuple[int, int, int]]) -> None:
        """From the first that found the key, every rule came by once, and those of a split in their order."""
        numbers = [number for *_, number in visits]
        assert numbers == (sorted(set(numbers)) if self.silent else list(range(1, len(visits) + 1)))
        for split in range(RULE_SPLITS):
            found = [rule for rule, *_ in visits if rule % RULE_SPLITS == split]
            assert found == list(range(self.rules))[split::RULE_SPLITS][-len(found) or self.rules :]

    def overtaken(self) -> Counter[str]:
        """Count the records in flight by exchange."""
        manifest, found = self.manifest(), Counter[str]()
        for entry in manifest.in_flight:
            listed = [manifest.layers[index] for index in entry.layers]
            layers = [
                open_written(
                    f"{self.disk.root}/store/t/layers/{each.name}",
                    LayerFile(each.name, each.size, each.digest, each.entries),
                )
                for each in listed
            ]
            part = read_part(layers, entry.chain, entry.subtask, entry.items)
            for layer in layers:
                layer.release()
            for channel, item in part.items:
                found[part.channels[channel].exchange] += len(getattr(item, "values", ()))
        return found


@pytest.fixture
def setting() -> Iterator[Weighing]:
    with temporary_disk() as disk:
        yield Weighing(disk, ordered=False)


def test_records_by_key_are_overtaken_beside_a_broadcast_stream_and_what_is_broadcast_is_not(setting: Weighing) -> None:
    """Rules are queued before the barrier: they are worked through first, though there is no room behind."""
    setting.lane_items, setting.records = 3_000, 4_000
    setting.rules, setting.silent = 20, 2_000
    setting.target.seconds = 0.003
    slow = setting.process(under_pressure, timeout=None, retained=1)
    assert setting.manifest().in_flight == []
    quick = setting.process(under_pressure)
    found = setting.overtaken()
    assert slow > 1.0
    assert quick < 0.03
    assert found["weigh:0"] > 300
    assert found["weigh:1"] == 0
    setting.finish()


@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_wherever_it_is_restored_no_rule_is_lost_or_taken_twice_t119_t124(
    setting: Weighing, before: int, after: int
) -> None:
    """By no key and no subtask, in no state and no output."""
    setting.forward = False
    setting.process(under_pressure, parallelism=before)
    assert setting.overtaken()["weigh:0"]
    setting.process(under_pressure, parallelism=after)
    setting.finish(parallelism=before)


@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_a_savepoint_beside_a_broadcast_stream_holds_nothing_in_flight_t17(setting: Weighing, timeout: float) -> None:
    """Also while what was in flight still comes again, and is not to be passed by the barrier of a savepoint."""

    async def savepoint(job: Job) -> None:
        await job.savepoint("kept")

    setting.process(under_pressure)
    assert setting.manifest().in_flight
    setting.process(savepoint, timeout=timeout)
    setting.finish(timeout=timeout)
