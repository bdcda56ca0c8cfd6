"""Steps of histories: each is a rule of the machine, and may come by chance, as often as its weight says.

Hypothesis by itself seldom gets deep: it tries few rules at a time, and each as often as the next.
So an example begins with a history: a list of seeds, a step each. Any of them can be left out, which
is how hypothesis makes a failing history short.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from actorstream.state.missing import MISSING
from actorstream.testing.faults import Fault
from tests.state.content import BOUNDS, VALUES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

POOLS: dict[str, Sequence[object]] = {
    "index": (None, None, 0, 1, 2),  # of a subtask; None: all of them
    "at": range(4),  # of a key, a flight, a cold read, a value that was handed out
    "map_at": range(5),
    "name": range(2),
    "value": [*VALUES, MISSING],
    "other": [*VALUES, MISSING],
    "extra": (None, 0, 1, 2),
    "start": [*[None] * 10, *BOUNDS],
    "stop": [*[None] * 10, *BOUNDS],
    "limit": range(1, 5),
    "keep": (0, 0, 1),
    "drop": (False, False, False, True),
    "trouble": (None, None, None, "late", *[Fault(nth, "EIO") for nth in range(1, 5)]),
    "first": range(4),
    "more": range(4),
    "now": (None, None, 0, 1, 2, 3),
    "parallelism": (1, 1, 2, 3),
    "back": [(0, 0, 0), (0, 0, 0), (0, 0, 0), (1, 0, 2), (0, 1, 1), (2, 2, 2)],  # manifests, for each subtask
    "seed": range(1 << 16),
}
"""What an argument of a step is drawn from, by its name; any other is a yes or no."""

SALT = st.integers(0, 1 << 64)
LETTERS = "".join(map(chr, range(0x100, 0x200)))
LEAST = (0, 10, 40, 80, 120)
STEPS_MAX = 160
HISTORY = st.sampled_from(LEAST).flatmap(lambda least: st.text(LETTERS, min_size=least, max_size=STEPS_MAX))
"""A history, drawn as a text, which hypothesis can shrink: each letter, with a salt, is the seed of one step."""

_weights: dict[str, int] = {}
_needs: dict[str, str] = {}
_pools: dict[str, dict[str, Sequence[object]]] = {}


def step(weight: int, needs: str = "columns") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a method a rule and a step, for machines of which the attribute `needs` is true."""

    def make(method: Callable[..., None]) -> Callable[..., None]:
        name = method.__name__
        pools = {argument: POOLS.get(argument, (False, True)) for argument in signature(method).parameters}
        del pools["self"]
        _weights[name], _needs[name], _pools[name] = weight, needs, pools
        strategies: dict[str, Any] = {argument: st.sampled_from(pool) for argument, pool in pools.items()}
        decorate: Any = rule(**strategies)
        made: Callable[..., None] = precondition(lambda machine: bool(getattr(machine, needs)))(decorate(method))
        return made

    return make


def take_a_step(machine: object, random: Random) -> None:
    """Call some step with some arguments."""
    names = [name for name in _weights if getattr(machine, _needs[name])]
    (name,) = random.choices(names, [_weights[name] for name in names])
    arguments = {argument: random.choice(pool) for argument, pool in _pools[name].items()}
    note(f"  {name}({', '.join(f'{argument}={value!r}' for argument, value in arguments.items())})")
    getattr(machine, name)(**arguments)
