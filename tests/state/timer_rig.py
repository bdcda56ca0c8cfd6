"""What the tests of timers share: one subtask's timers over real layers."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.state.key_space import KeySpace
from actorstream.state.operator_state import Generation
from actorstream.state.stack import LayerStack
from actorstream.state.timers import Timer, TimerTable
from tests.state.rig import ALL, encode_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorstream.model.key_groups import KeyGroupRange
    from actorstream.state.entries import Entry
    from actorstream.state.stack import Run
    from actorstream.state.timers import Domain
    from tests.state.rig import Shelf

FIVE = OperatorNumber(5)
LONG = "k" * 250
DOMAINS: list[Domain] = ["event", "processing"]


class Owner:
    """One subtask's timers, over its stack, with generations on their way."""

    def __init__(self, shelf: Shelf, groups: KeyGroupRange = ALL, runs: Sequence[Run] = ()) -> None:
        self.shelf = shelf
        self.groups = groups
        self.stack = LayerStack.covering(groups, runs)
        space = KeySpace(operator=FIVE, name="op", key_groups=groups, max_parallelism=ALL.end, stack=self.stack)
        self.table = TimerTable(StateNumber(9), space)
        self.waiting: list[Generation] = []
        self.encoded: dict[Generation, list[list[Entry]]] = {}

    def freeze(self) -> Generation | None:
        bottom = not self.waiting and not self.stack.layers
        part = self.table.freeze()
        if part is None:
            return None
        generation = Generation([(self.table, part)], [self.table], bottom=bottom)
        self.waiting.append(generation)
        self.encoded[generation] = []
        return generation

    def encode(self, limit: int) -> None:
        """Encode a slice of the oldest generation."""
        generation = self.waiting[0]
        self.encoded[generation].append(generation.encode(limit))

    def write(self, limit: int = 7) -> None:
        """Bring the oldest generation into a layer."""
        generation = self.waiting.pop(0)
        parts = self.encoded.pop(generation) + encode_all(generation, limit)
        if generation.entries:
            with self.shelf.layer(*parts) as layer:
                self.stack.push(layer)
        generation.written()

    def fail(self, at: int) -> None:
        """Take back a generation and every newer one."""
        for generation in reversed(self.waiting[at:]):
            generation.take_back()
        del self.waiting[at:]

    def checkpoint(self) -> None:
        if self.freeze() is not None:
            self.write()
        self.table.settle(10_000)

    def restored(self) -> Owner:
        return Owner(self.shelf, self.groups, self.stack.runs())

    def fired(self, domain: Domain, up_to: int, most: int | None = None) -> list[Timer]:
        return list(islice((timer for timer in self.table.due(domain, up_to) if timer is not None), most))
