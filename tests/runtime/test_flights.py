"""Where records in flight go: to whom they were sent, or to whom they would be sent now."""

from __future__ import annotations

from typing import Any

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.checkpoints.in_flight import InFlightChannel, InFlightPart
from actorstream.errors import RestoreError
from actorstream.graph.chaining import plan_graph
from actorstream.model.batch import Batch
from actorstream.model.ids import SubtaskId
from actorstream.model.key_groups import range_of
from actorstream.model.signals import Idle, Watermark
from actorstream.runtime.event_time import Told
from actorstream.runtime.flights import Flights, plan_for
from tests.runtime.doubles import Splits

KEYS = list(range(40))


def plan_of(parallelism: int) -> Any:
    made = Pipeline("t")
    keyed = made.source(Splits({"a": [1], "b": [2]}), name="in").key_by(lambda value: value)
    keyed.count(name="count").map(lambda row: row, name="pass", new_chain=True).sink(print, name="out")
    return plan_graph(made.draft.graph(), parallelism=parallelism, has_store=False)


def part(chain: str, *items: Any, place: InFlightChannel, parallelism: int = 2, subtask: int = 0) -> InFlightPart:
    return InFlightPart(chain, subtask, [place], [(0, item) for item in items], parallelism)


BATCH = Batch(list(KEYS), list(KEYS), list(KEYS), None, list(KEYS), 99)
KEYED = InFlightChannel("count:0", 1, of=2, watermark=17, idle=True)


def test_at_the_same_parallelism_all_comes_by_its_channel_as_it_was() -> None:
    flights = Flights(plan_of(2), [part("count", BATCH, Watermark(5), Idle(), place=KEYED, subtask=1)])
    plan = plan_of(2)
    exchange = plan.chain_of[plan.graph.nodes[1].id].inputs[0]
    assert [(to, at, item) for to, at, item in flights.all({})] == [
        (SubtaskId("count", 1), 1, item) for item in (BATCH, Watermark(5), Idle())
    ]
    assert flights.told(plan.chain_of[exchange.receiver], 1, exchange, 1) == Told(17, idle=True)
    assert flights.told(plan.chain_of[exchange.receiver], 1, exchange, 0) is None


@pytest.mark.parametrize("parallelism", [2, 3, 5])
def test_by_key_each_record_goes_where_its_key_group_is_and_says_nothing_of_time_t121(parallelism: int) -> None:
    """T121: several channels have become one; what one of them had said would be too much for another."""
    senders = 4  # the sender had another parallelism, whatever the receiver's
    place = KEYED._replace(of=senders, sender=3)
    plan = plan_of(parallelism)
    flights = Flights(plan, [part("count", BATCH, Watermark(5), Idle(), place=place, parallelism=2)])
    found = list(flights.all({}))
    assert {key for _, _, item in found for key in item.keys} == set(KEYS)  # type: ignore[union-attr]
    for receiver, channel, item in found:
        assert isinstance(item, Batch)
        assert channel == 3 % parallelism
        assert (item.marks, item.watermark, item.values, item.timestamps) == (None, None, item.keys, item.keys)
        assert item.keys == sorted(item.keys or [])  # type: ignore[type-var]
        assert range_of(receiver.subtask, parallelism, plan.graph.max_parallelism)
    exchange = plan.chain_of[plan.graph.nodes[1].id].inputs[0]
    assert flights.told(plan.chain_of[exchange.receiver], 0, exchange, 1) is None


@pytest.mark.parametrize("parallelism", [1, 3])
def test_as_the_user_chooses_each_record_goes_where_the_function_says_now(parallelism: int) -> None:
    made = Pipeline("t")
    chosen = made.source(Splits({"a": [1]}), name="in").partition_by(lambda value, count: value % count)
    chosen.map(abs, name="abs").sink(print, name="out")
    plan = plan_graph(made.draft.graph(), parallelism=parallelism, has_store=False)
    batch = Batch(list(KEYS), list(KEYS), None, None)
    parts = [part("abs", batch, place=InFlightChannel("abs:0", 1, of=2), parallelism=2)]
    found = list(Flights(plan, parts).all({}))
    assert {to.subtask: item.values for to, _, item in found if isinstance(item, Batch)} == {
        subtask: [key for key in KEYS if key % parallelism == subtask] for subtask in range(parallelism)
    }


def test_without_keys_a_subtask_takes_what_others_had() -> None:
    place = InFlightChannel("pass:0", 2, of=3)
    flights = Flights(plan_of(2), [part("pass", BATCH, place=place, parallelism=3, subtask=2)])
    ((receiver, channel, item),) = flights.all({})
    assert (receiver, channel) == (SubtaskId("pass", 0), 0)
    assert item.values == KEYS  # type: ignore[union-attr]


def test_what_was_left_of_a_split_goes_to_its_reader() -> None:
    flights = Flights(plan_of(2), [part("in", BATCH, place=InFlightChannel("b", 0, "split"), parallelism=1)])
    splits = {SubtaskId("in", 0): ["a"], SubtaskId("in", 1): ["b"]}
    assert [(to, at) for to, at, _ in flights.all(splits)] == [(SubtaskId("in", 1), 0)]
    with pytest.raises(RestoreError, match="taken from split 'b', which is not there any more"):
        list(flights.all({SubtaskId("in", 0): ["a"]}))


def test_an_exchange_that_one_subtask_would_not_need_is_kept_t122() -> None:
    """T122: with one subtask the keyed operator joins the source's actor, where nothing could be in flight to it."""
    plan = plan_of(1)
    assert [chain.name for chain in plan.chains] == ["in", "pass"]
    kept = plan_for(plan, [part("count", BATCH, place=KEYED)], frozenset())
    assert [chain.name for chain in kept.chains] == ["in", "count", "pass"]
    assert plan_for(plan, [], frozenset()) is plan
    assert plan_for(plan_of(2), [part("count", BATCH, place=KEYED)], frozenset()).parallelism == 2


def test_every_actor_that_something_is_on_its_way_to_is_kept_apart() -> None:
    """The one that has no state of its own any more would take in another: jobs `aggregates`, seed 0, two to one."""
    made = Pipeline("t")
    keyed = made.source(Splits({"a": [1]}), name="in").key_by(lambda value: value)
    for name in ("first", "second"):
        keyed.count(name=name).sink(print, name=f"{name}-out")
    plan = plan_graph(made.draft.graph(), parallelism=1, has_store=False)
    assert [chain.name for chain in plan.chains] == ["in", "second"]
    parts = [part(name, BATCH, place=InFlightChannel(f"{name}:0", 1, of=2)) for name in ("first", "second")]
    assert [chain.name for chain in plan_for(plan, parts, frozenset()).chains] == ["in", "first", "second"]


def test_a_name_that_may_mean_another_operator_is_refused_t122() -> None:
    with pytest.raises(RestoreError, match=r"in flight to 'count', a name that we made up.*start from a savepoint"):
        plan_for(plan_of(2), [part("count", BATCH, place=KEYED)], frozenset({"count"}))


def test_an_input_that_is_gone_is_refused_t122() -> None:
    flights = Flights(plan_of(2), [part("count", BATCH, place=InFlightChannel("count:1", 0, of=2))])
    with pytest.raises(RestoreError, match=r"'count' has no such input any more \(it has \['count:0'\]\).*savepoint"):
        list(flights.all({}))


def test_what_was_on_its_way_to_an_operator_that_is_in_a_loop_now_is_refused() -> None:
    """A loop counts what is in it, and knows nothing of what would come before its lanes."""

    def body(rows: Any) -> Any:
        kept = rows.key_by(lambda value: value).count(name="count")
        return kept.filter(lambda row: row[1] < 2), kept

    made = Pipeline("t")
    made.source(Splits({"a": [1], "b": [2]}), name="in").feedback(body, name="again").sink(print, name="out")
    for parallelism in (1, 2, 3):
        plan = plan_graph(made.draft.graph(), parallelism=parallelism, has_store=False)
        name = next(chain.name for chain in plan.chains if chain.loop is not None)
        parts = [part("count", BATCH, place=KEYED), part(name, BATCH, place=KEYED._replace(exchange=f"{name}:0"))]
        for each in parts:
            with pytest.raises(RestoreError, match=rf"in flight to {each.chain!r}.*in loop 'again' now.*savepoint"):
                list(Flights(plan_for(plan, [each], frozenset()), [each]).all({}))
