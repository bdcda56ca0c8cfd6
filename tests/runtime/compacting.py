"""What the tests of the compactor share: stacks over shared layers, and threads that can be held."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from actorstream.model.ids import LayerName, OperatorNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.runtime.compactor import LAYERS_AIM, Compactor, OwnedStack
from actorstream.state.entries import Slots, head_of
from actorstream.state.stack import LayerStack
from actorstream.system.current import current_world
from tests.state.rig import Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from actorstream.model.world import World

FIVE = OperatorNumber(5)
LOW, HIGH = KeyGroupRange(0, 4), KeyGroupRange(4, 8)


class HeldOffload:
    """Threads that give their result only when they may."""

    def __init__(self, world: World) -> None:
        self.busy = 0
        self.may_return = anyio.Event()
        self.called = 0
        self._offload = world.offload

    async def run(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call, then wait."""
        with anyio.CancelScope(shield=True):
            result = await self._offload.run(fn, *args, **kwargs)
            self.called += 1
            await self.may_return.wait()
        await checkpoint()
        return result


class Bench:
    """Two stacks over shared layers, of values 0 to 9 under keys 0 to 9, and their compactor at work.

    What is there at first is what the restored manifest lists. `held` is what actors were told, `clocks` what the
    states of each stack say of the time.
    """

    def __init__(
        self, folder: Path, world: World | None = None, *, layers: int = LAYERS_AIM + 2, **options: Any
    ) -> None:
        self.shelf = Shelf(folder)
        self.world = world or current_world()
        self.stacks = [LayerStack.covering(LOW), LayerStack.covering(HIGH)]
        self.held: list[bool] = []
        self.clocks: list[dict[int, int]] = [{}, {}]
        for value in range(layers):
            self.push(value)
        self.compactor = Compactor(
            self.world,
            str(folder),
            self.shelf.name,
            [OwnedStack(FIVE, stack, partial(self._clock_of, n)) for n, stack in enumerate(self.stacks)],
            hold=self.held.append,
            **options,
        )
        self.values = self.read()

    def _clock_of(self, number: int) -> dict[int, int]:
        return self.clocks[number]

    def push(self, value: int) -> None:
        slots = Slots()
        part = [
            slots.entry(head_of(FIVE, group, 1), b"%d" % key, b"", b"\x00%d" % value)
            for group in (0, 5)
            for key in {value, 7}
        ]
        with self.shelf.layer(part) as layer:
            for stack in self.stacks:
                stack.push(layer)

    def freeze_early(self, value: int) -> None:
        """Push a layer that no manifest lists, and say so as an actor does."""
        self.push(value)
        for stack in self.stacks:
            self.compactor.on_pushed(stack)
        self.values = self.read()

    def read(self) -> list[bytes | None]:
        found = []
        for stack, group in zip(self.stacks, (0, 5), strict=True):
            for key in range(20):
                values = (layer.get(head_of(FIVE, group, 1) + b"%d" % key) for layer in stack.layers_for(group))
                found.append(next((value for value in values if value is not None), None))
        return found

    def listed(self) -> frozenset[LayerName]:
        """Name what a manifest of now lists."""
        return frozenset(layer.file.name for s in self.stacks for _, run in s.runs() for layer in run)

    def complete(self) -> None:
        self.compactor.on_complete(self.listed())

    def names(self) -> list[str]:
        return sorted(path.name for path in self.shelf.folder.iterdir())

    @property
    def depths(self) -> list[int]:
        return [stack.layers for stack in self.stacks]


@asynccontextmanager
async def at_work(bench: Bench) -> AsyncIterator[Bench]:
    """Run the compactor of a bench for the block."""
    async with anyio.create_task_group() as group:
        group.start_soon(bench.compactor.run)
        try:
            yield bench
        finally:
            if isinstance(bench.world.offload, HeldOffload):
                bench.world.offload.may_return.set()  # what it holds is not cut short by a test that fails
        group.cancel_scope.cancel()
    for stack in bench.stacks:
        stack.release()
