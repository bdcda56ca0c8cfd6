"""What a savepoint that is being written takes over from its base, as it stands after every rename and drop.

    base       views: count, last     trial: n      orders: 0 -> 17     numbers: views 1, trial 2
    rename     visits: count, last    trial: n                          numbers: visits 1, trial 2
    drop       visits: count, last                                      numbers: visits 1; 2 is never used again

No entry is touched here: this decides which there will be.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from actorstream.checkpoints.numbers import Numbers
from actorstream.errors import PlanError

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest, SplitEntry, StateEntry, TimeEntry

V = TypeVar("V")


@dataclass(slots=True)
class CarriedOperator:
    """One operator of the result.

    Attributes:
        number: In layers.
        origin: Its name in the base; None: it is new.
        kept: The states whose entries are those of the base, unless something is put over them.
        written: The states that something was put into, or that were transformed.
        rewritten: Its entries go into a layer of their own, instead of the base's layers being listed again.
    """

    number: int
    origin: str | None = None
    kept: dict[str, StateEntry] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)
    rewritten: bool = False


class Carried:
    """The picture; every change raises PlanError where it makes no sense, and has then changed nothing.

    Attributes:
        numbers: The dictionary of the result.
        operators: By name.
        sources: How far each source's splits were read.
        times: How far event time had come.
    """

    def __init__(self, base: Manifest | None, *, rewritten: bool) -> None:
        """Begin with all that `base` has; with `rewritten` no operator's layers are listed again."""
        self.numbers = Numbers() if base is None else base.numbers
        self.operators: dict[str, CarriedOperator] = {}
        self.sources: dict[str, dict[str, SplitEntry]] = {}
        self.times: list[TimeEntry] = []
        if base is not None:
            self.sources = dict(base.sources)
            self.times = list(base.times)
            for name, entry in base.operators.items():
                self.operators[name] = CarriedOperator(entry.number, name, dict(entry.states), rewritten=rewritten)

    def begin_writing(self, operator: str, state: str) -> tuple[CarriedOperator, int]:
        """Give an operator, new if need be, whose state gets new entries, and the state's number."""
        self.numbers, number = self.numbers.number_operator(operator)
        self.numbers, state_number = self.numbers.number_state(operator, state)
        found = self.operators.setdefault(operator, CarriedOperator(number))
        found.written.add(state)
        found.rewritten = True
        return found, state_number

    def kept_state(self, operator: str, state: str) -> StateEntry:
        """Give a state as the base has it.

        Raises:
            PlanError: There is none, or it was transformed or dropped.
        """
        found = self._known(operator)
        if state not in found.kept:
            held = f"it has {sorted(found.kept)}" if found.origin is not None else "it is new"
            was = ", having been transformed already" if state in found.written else ""
            raise PlanError(f"operator {operator!r} has no state {state!r} from the base{was}: {held}")
        return found.kept[state]

    def rename(self, name: str, to: str) -> None:
        """Give an operator or source another name; its numbers, positions and times go along."""
        if name == to:
            return
        if name not in self.operators and name not in self.sources:
            raise PlanError(f"there is no operator or source {name!r} to rename: the base has {self._names()}")
        if to in self.operators or to in self.sources:
            raise PlanError(f"{name!r} cannot be renamed to {to!r}, which is there too: drop or rename that one first")
        names = {name: to}
        numbers = self.numbers
        self.numbers = replace(
            numbers,
            operators=_renamed(numbers.operators, names),
            states=_renamed(numbers.states, names),
            next_state=_renamed(numbers.next_state, names),
        )
        self.operators = _renamed(self.operators, names)
        self.sources = _renamed(self.sources, names)
        self.times = [
            time._replace(
                chain=names.get(time.chain, time.chain),
                assigned=_renamed(time.assigned, names),
                parts=_renamed(time.parts, names),
            )
            for time in self.times
        ]

    def drop(self, name: str, state: str | None) -> None:
        """Forget an operator's state, a source's positions, or one state."""
        if state is None:
            if name not in self.operators and name not in self.sources:
                raise PlanError(f"there is no operator or source {name!r} to drop: the base has {self._names()}")
            self.sources.pop(name, None)
            if self.operators.pop(name, None) is not None:
                self.numbers = self.numbers.without_operator(name)
            return
        operator = self._known(name)
        if state in operator.written:
            raise PlanError(f"state {name}.{state} was written in this block: drop it before, or leave that out")
        self.kept_state(name, state)
        del operator.kept[state]
        operator.rewritten = True
        self.numbers = self.numbers.without_state(name, state)

    def _known(self, name: str) -> CarriedOperator:
        operator = self.operators.get(name)
        if operator is None:
            raise PlanError(f"there is no operator {name!r} with state: there are {sorted(self.operators)}")
        return operator

    def _names(self) -> list[str]:
        return sorted({*self.operators, *self.sources})


def _renamed(by_name: dict[str, V], names: dict[str, str]) -> dict[str, V]:
    return {names.get(name, name): value for name, value in by_name.items()}
