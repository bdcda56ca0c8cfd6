"""Small numbers that stand for names inside layers: they only grow and are never used again.

    operators  views -> 1   scores -> 2       next_operator 3
    states     views: count -> 1, last -> 2   next_state  views: 3

A layer holds numbers only, and old layers outlive a pipeline's names. A number
that came back under another name would show one operator another's state; so
dropping a name forgets the name, not the number (T81 in spirit).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from actorstream.codec.documents import Int64, Number16  # noqa: TC001  (documents are read by it)
from actorstream.errors import PlanError
from actorstream.model.ids import OperatorNumber, StateNumber

NUMBER_MAX = 0xFFFF
"""Two bytes in a layer's key."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The dictionary as it stands in one manifest. Never changed: growth gives a new one."""

    operators: dict[str, Number16] = field(default_factory=dict)
    states: dict[str, dict[str, Number16]] = field(default_factory=dict)
    next_operator: Int64 = 1
    next_state: dict[str, Int64] = field(default_factory=dict)

    def number_operator(self, name: str) -> tuple[Numbers, OperatorNumber]:
        """Give the operator's number, a fresh one if the name is new.

        Raises:
            PlanError: All 65,535 numbers were used.
        """
        known = self.operators.get(name)
        if known is not None:
            return self, OperatorNumber(known)
        number = _within_two_bytes(self.next_operator, f"operator {name!r}")
        grown = replace(
            self,
            operators=self.operators | {name: number},
            states=self.states | {name: {}},
            next_operator=number + 1,
            next_state=self.next_state | {name: 1},
        )
        return grown, OperatorNumber(number)

    def number_state(self, operator: str, state: str) -> tuple[Numbers, StateNumber]:
        """Give the state's number within its operator, which gets one too if it has none.

        Raises:
            PlanError: All 65,535 numbers were used.
        """
        numbers, _ = self.number_operator(operator)
        known = numbers.states[operator].get(state)
        if known is not None:
            return numbers, StateNumber(known)
        number = _within_two_bytes(numbers.next_state[operator], f"state {state!r} of operator {operator!r}")
        grown = replace(
            numbers,
            states=numbers.states | {operator: numbers.states[operator] | {state: number}},
            next_state=numbers.next_state | {operator: number + 1},
        )
        return grown, StateNumber(number)

    def without_operator(self, name: str) -> Numbers:
        """Forget an operator whose state was given up: the same name later gets a fresh number."""
        return replace(
            self,
            operators={other: number for other, number in self.operators.items() if other != name},
            states={other: states for other, states in self.states.items() if other != name},
            next_state={other: number for other, number in self.next_state.items() if other != name},
        )

    def without_state(self, operator: str, state: str) -> Numbers:
        """Forget one state of an operator: the same name later gets a fresh number."""
        left = {other: number for other, number in self.states.get(operator, {}).items() if other != state}
        return replace(self, states=self.states | {operator: left}) if operator in self.states else self

    def problem(self) -> str | None:
        """Say what breaks the rules in a dictionary that was read, or None."""
        if len(set(self.operators.values())) != len(self.operators):
            return "two operators have one number"
        if any(number >= self.next_operator for number in self.operators.values()):
            return f"an operator's number is not below next_operator {self.next_operator}"
        if not self.operators.keys() == self.states.keys() == self.next_state.keys():
            return "operators, states and next_state name different operators"
        for operator, states in self.states.items():
            if len(set(states.values())) != len(states):
                return f"two states of operator {operator!r} have one number"
            if any(number >= self.next_state[operator] for number in states.values()):
                return f"a state's number in operator {operator!r} is not below {self.next_state[operator]}"
        return None


def _within_two_bytes(number: int, what: str) -> int:
    if number > NUMBER_MAX:
        raise PlanError(f"{what} would get number {number}, over {NUMBER_MAX}: names were changed too often; fork")
    return number
