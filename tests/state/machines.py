"""The machines that are run, and the small limits under which a handful of entries is a lot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from actorstream.state import (
    budget,
    cold_read,
    entries,
    epochs,
    key_space,
    layer,
    layer_builder,
    map_changes,
    map_table,
    operator_state,
    stack,
)
from tests.state.handling import Handling
from tests.state.machine import OTHER_MAP
from tests.state.rig import MAP, OTHER_ROW, ROW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMALL = [
    (operator_state, "_SETTLE_AT_ONCE", 0),
    (operator_state, "_LOOK_AT", 1),
    (epochs, "CLEAN_ENTRIES_MAX", 2),
    (cold_read, "COLD_KEYS_MIN", 0),
    (stack, "_READ_AT_ONCE", 2),
    (map_changes, "_SMALL", 1),
    (map_changes, "_SORTED_AT_ONCE", 2),
    (map_table, "_SAMPLE_EVERY", 2),
    (key_space, "_CACHED_KEYS_MAX", 2),
    (layer_builder, "_RUN_ENTRIES", 2),
    (layer, "_COPIED_BYTES_MAX", 8),
    (layer_builder, "SORT_ENTRIES_MAX", 3),
    (layer_builder, "_WAITING_BYTES", 600),
    (layer_builder, "_MAP_BYTES", 1 << 14),
    (budget, "_EVICTED_AT_ONCE", 2),
    (budget, "_SETTLED_AT_ONCE", 1),
    (budget, "_GROWTH", 2),
    (budget, "_BATCHES", 2),
]


class Rows(Handling):
    columns = (ROW,)


class WideRows(Handling):
    columns = (ROW, OTHER_ROW)


class Maps(Handling):
    columns = (MAP,)


class Expiring(Handling):
    columns = (ROW, OTHER_ROW, MAP)
    expiring = True


class OneDigest(Handling):
    """All long keys have the same digest: only whole keys tell them apart."""

    columns = (ROW, MAP)
    long = True


class Grouped(Handling):
    columns = (ROW, MAP, OTHER_MAP)
    grouped = True


def run(machine: type[Handling], examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    """Drive a machine through `examples` histories; raises what the first of them that fails raised."""
    how = settings(
        max_examples=examples,
        stateful_step_count=1,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=phases,
    )
    with everything_is_large(one_digest=issubclass(machine, OneDigest)):
        run_state_machine_as_test(machine, settings=how)


@contextmanager
def everything_is_large(*, one_digest: bool) -> Iterator[None]:
    """Let a handful of entries be too many for one dict, one slice, one read, one transaction."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in SMALL:
            patch.setattr(module, name, value)
        if one_digest:
            patch.setattr(entries, "digest_of", lambda part: bytes(16))
        yield
