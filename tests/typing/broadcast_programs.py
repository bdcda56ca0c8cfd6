"""Broadcast streams, and processes without key: see programs.py for how mistakes are marked."""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from dataclasses import dataclass
from typing import assert_type

from actorstream import (
    BroadcastConnected,
    BroadcastContext,
    BroadcastProcess,
    BroadcastState,
    BroadcastStream,
    Context,
    ElementContext,
    KeyedProcess,
    OperatorContext,
    OperatorListState,
    Pipeline,
    Process,
    Stream,
    Timer,
    ValueState,
)


@dataclass(frozen=True)
class Payment:
    card: str
    amount: float


@dataclass(frozen=True)
class Rule:
    name: str
    limit: float


class Score(BroadcastProcess[str, Payment, Rule, str]):
    rules: BroadcastState[str, Rule] = BroadcastState(version=2, migrate={1: lambda old: old}, rename={"max": "limit"})
    spent: ValueState[float] = ValueState(0.0)

    def on_element(self, payment: Payment, ctx: Context[str], /) -> Iterator[str]:
        assert_type(self.rules, Mapping[str, Rule])
        self.spent += payment.amount
        for rule in self.rules.values():
            if self.spent > rule.limit:
                yield f"{ctx.key}: {rule.name}"
        ctx.set_timer(60.0)
        self.rules["a"] = Rule("a", 1.0)  # type: ignore[index]  # refused: read-only on the keyed side
        self.rules.clear()  # type: ignore[attr-defined]  # refused: read-only on the keyed side
        ctx.writable(self.rules)  # type: ignore[attr-defined]  # refused: only on the broadcast side

    def on_broadcast(self, rule: Rule, ctx: BroadcastContext, /) -> None:
        rules = ctx.writable(self.rules)
        assert_type(rules, MutableMapping[str, Rule])
        rules[rule.name] = rule
        rules[1] = rule  # type: ignore[index]  # refused: a name is text
        rules["b"] = 1.0  # type: ignore[assignment]  # refused: a Rule
        ctx.for_each_key(Score.spent, self.visit)
        ctx.for_each_key(Score.spent, lambda card, spent: got.append((card.upper(), spent + 1)))
        ctx.set_timer(60.0)  # type: ignore[attr-defined]  # refused: there is no key

    def visit(self, card: str, spent: float) -> None:
        self.spent = spent / 2

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> None:
        self.spent = 0.0


class Batches(Process[Payment, list[Payment]]):
    waiting: OperatorListState[Payment] = OperatorListState()

    async def open(self, ctx: OperatorContext, /) -> None:
        assert_type(ctx.subtask + ctx.parallelism, int)

    def on_element(self, payment: Payment, ctx: ElementContext, /) -> Iterator[list[Payment]]:
        assert_type(self.waiting, MutableSequence[Payment])
        self.waiting.append(payment)
        if len(self.waiting) == 100:
            yield list(self.waiting)
            self.waiting.clear()
        self.waiting.extend(ctx.key)  # type: ignore[attr-defined]  # refused: there is no key


got: list[tuple[str, float]] = []
p = Pipeline("broadcast")
payments = p.source([Payment("a", 1.0)])
rules = p.source([Rule("a", 1.0)])
by_card = payments.key_by(lambda payment: payment.card)
assert_type(rules.broadcast(), BroadcastStream[Rule])
assert_type(by_card.connect(rules.broadcast()), BroadcastConnected[str, Payment, Rule])
assert_type(by_card.connect(rules.broadcast()).process(Score), Stream[str])
assert_type(payments.process(Batches), Stream[list[Payment]])
assert_type(payments.rebalance().process(Batches, name="batches", parallelism=2), Stream[list[Payment]])
by_card.connect(payments.broadcast()).process(Score)  # type: ignore[arg-type]  # refused: payments are no rules
rules.process(Batches)  # type: ignore[arg-type]  # refused: rules are no payments
by_card.process(Score)  # type: ignore[arg-type]  # refused: nothing is broadcast
by_card.process(Batches)  # type: ignore[arg-type]  # refused: a Process has no key


class Mine(KeyedProcess[str, Payment, str]):
    def on_element(self, payment: Payment, ctx: Context[str], /) -> None:
        return None


payments.process(Mine)  # type: ignore[arg-type]  # refused: there is no key
