"""What a savepoint that is being written takes over from its base, as it stands after every rename and drop.

    base       views: count, last     trial: n      orders: 0 -> 17     numbers: views 1, trial 2
    rename     visits: count, last    trial: n                          numbers: visits 1, trial 2
    drop       visits: count, last                                      numbers: visits 1; 2 is never used again

No entry is touched here: this decides which there will be. Names change as they do where a job is restored
(runtime/adapting.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actorstream.errors import PlanError
from actorstream.runtime.adapting import adapt, known_in

if TYPE_CHECKING:
    from actorstream.checkpoints.manifest import Manifest, StateEntry


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
        manifest: All that there will be, under its present names; what is new has its number, and nothing else yet.
        operators: By name.
    """

    def __init__(self, base: Manifest, *, rewritten: bool) -> None:
        """Begin with all that `base` has; with `rewritten` no operator's layers are listed again."""
        self.manifest = base
        self.operators = {
            name: CarriedOperator(entry.number, name, dict(entry.states), rewritten=rewritten)
            for name, entry in base.operators.items()
        }

    def begin_writing(self, operator: str, state: str) -> tuple[CarriedOperator, int]:
        """Give an operator, new if need be, whose state gets new entries, and the state's number."""
        numbers, number = self.manifest.numbers.number_operator(operator)
        numbers, state_number = numbers.number_state(operator, state)
        self.manifest = replace(self.manifest, numbers=numbers)
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
        """Give an operator, source or sink another name; numbers, positions, times and output go along."""
        if name == to:
            return
        names = self._names()
        if name not in names:
            raise PlanError(f"there is no operator, source or sink {name!r} to rename: the base has {names}")
        if to in names:
            raise PlanError(f"{name!r} cannot be renamed to {to!r}, which is there too: drop or rename that one first")
        self.manifest = adapt(self.manifest, restore_as={name: to}, allow_dropped=())
        self.operators = {to if known == name else known: operator for known, operator in self.operators.items()}

    def drop(self, name: str, state: str | None) -> None:
        """Forget an operator's state, a source's positions, a sink's pending output, or one state."""
        if state is None:
            names = self._names()
            if name not in names:
                raise PlanError(f"there is no operator, source or sink {name!r} to drop: the base has {names}")
            self.manifest = adapt(self.manifest, restore_as={}, allow_dropped=(name,))
            self.operators.pop(name, None)
            return
        operator = self._known(name)
        if state in operator.written:
            raise PlanError(f"state {name}.{state} was written in this block: drop it before, or leave that out")
        self.kept_state(name, state)
        del operator.kept[state]
        operator.rewritten = True
        self.manifest = replace(self.manifest, numbers=self.manifest.numbers.without_state(name, state))

    def _known(self, name: str) -> CarriedOperator:
        operator = self.operators.get(name)
        if operator is None:
            raise PlanError(f"there is no operator {name!r} with state: there are {sorted(self.operators)}")
        return operator

    def _names(self) -> list[str]:
        """Name all that has something in the base, or was written."""
        return sorted(known_in(self.manifest))
