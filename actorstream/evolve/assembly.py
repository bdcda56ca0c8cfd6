"""From what was gathered to layers and the manifest that lists them.

    operator   touched, or max_parallelism is another   its entries of the base go to the new ones; one new layer
               else                                     the base's layers, linked already, are listed again
    state      put into                                 its values are of the schema that is declared, with the number
                                                        that a job would give it beside the base's
               transformed, or new                      of that schema alone, number 0
               else                                     of all schemas that the base knows
    the rest   positions, times and floors, output not known to be committed, number and time of the base's
               checkpoint: as there

So the result stands for the same moment as its base, and a restore treats it in the same way. Without a base it is
checkpoint 1 of a new job, and sources are read from their beginning.
"""

from __future__ import annotations

from dataclasses import replace
from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.manifest import ALIGNED_FORMAT, FloorRun, LayerEntry, Manifest, OperatorEntry, StackRun
from actorstream.errors import RestoreError
from actorstream.evolve.snapshots import lasting_codec
from actorstream.model.ids import LayerName
from actorstream.runtime.assembling import logs_of
from actorstream.runtime.restoring import check_restorable
from actorstream.runtime.schema_check import entry_of, evolved_column
from actorstream.state.entries import VALUE_TAG
from actorstream.state.ttl import tag_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.checkpoints.manifest import StateEntry
    from actorstream.evolve.carried import CarriedOperator
    from actorstream.evolve.gathered import Gathered
    from actorstream.graph.plan import Plan
    from actorstream.model.world import World
    from actorstream.operators.columns import Column

_HOST = "offline"


def assemble(gathered: Gathered, plan: Plan) -> Manifest:
    """Write the layers, and give the manifest.

    Raises:
        RestoreError: A job of the plan could not start from it.
        CodecError: An item was given twice.
        StoreError: The disk is full or fails.
    """
    heading = _heading(gathered, plan)
    _check_restorable(heading, gathered, plan)
    floors = {name: _floors(gathered, name, carried) for name, carried in gathered.carried.operators.items()}
    layers: dict[LayerName, tuple[int, LayerEntry]] = {}
    next_name = _names(gathered, heading.attempt)
    operators: dict[str, OperatorEntry] = {}
    for name, carried in gathered.carried.operators.items():
        if carried.rewritten:
            entry = _write(gathered, name, carried, next_name)
            parallelism, runs = 1, [(0, gathered.max_parallelism, [] if entry is None else [entry])]
        else:
            parallelism, runs = _runs_of_base(gathered, carried)
        stacks = [
            StackRun(start, end, [layers.setdefault(each.name, (len(layers), each))[0] for each in entries])
            for start, end, entries in runs
        ]
        states = _states(gathered, name, carried)
        operators[name] = OperatorEntry(carried.number, parallelism, stacks, states, floors[name])
    for taken in taken_from_base(gathered) - set(layers):
        gathered.draft.drop(taken)
    return replace(heading, layers=[entry for _, entry in layers.values()], operators=operators)


def taken_from_base(gathered: Gathered) -> set[LayerName]:
    """Name the layers of the base that lie in the draft."""
    base = gathered.base
    if base is None or base.manifest.max_parallelism != gathered.max_parallelism:
        return set()
    return {entry.name for entry in base.manifest.layers}


def blank(world: World, pipeline: str, max_parallelism: int) -> Manifest:
    """Give the manifest of a job that has done nothing yet."""
    return Manifest(
        format=ALIGNED_FORMAT,
        job=world.random.token(),
        pipeline=pipeline,
        attempt=1,
        checkpoint=1,
        final=False,
        created_us=world.clock.now_us(),
        max_parallelism=max_parallelism,
    )


def _heading(gathered: Gathered, plan: Plan) -> Manifest:
    """Give the manifest without layers and operators."""
    return replace(
        gathered.carried.manifest,
        format=ALIGNED_FORMAT,
        pipeline=plan.graph.name,
        max_parallelism=gathered.max_parallelism,
        layers=[],
        operators={},
        logs=logs_of(plan),
        digest="",
    )


def _floors(gathered: Gathered, name: str, carried: CarriedOperator) -> list[FloorRun]:
    """Give how far event time had come for key groups of an operator, beyond the least of its subtasks.

    Raises:
        RestoreError: The key groups are others now.
    """
    base, origin = gathered.base, carried.origin
    if base is None or origin is None or base.manifest.drained:
        return []
    floors = base.manifest.operators[origin].floors
    if floors and base.manifest.max_parallelism != gathered.max_parallelism:
        raise RestoreError(
            f"operator {name!r}: event time had come further for some of its key groups than for others, which cannot "
            f"be said of those of another max_parallelism ({gathered.max_parallelism} instead of "
            f"{base.manifest.max_parallelism}): windows would fire again, late records be taken. Let the job run on "
            f"until its event time has passed that of all of them, and take the snapshot then; or drop({name!r})"
        )
    return floors


def _check_restorable(heading: Manifest, gathered: Gathered, plan: Plan) -> None:
    """Refuse what the pipeline could not start from, before anything is written."""
    operators = {
        name: OperatorEntry(carried.number, 1, [], {**_fresh(gathered, name, carried), **carried.kept})
        for name, carried in gathered.carried.operators.items()
    }
    columns = {name: [state.column for state in states.values()] for name, states in gathered.declared.items()}
    # Of the pipeline's own max_parallelism this says nothing: it may be the old one still.
    asked = replace(heading, operators=operators, max_parallelism=plan.graph.max_parallelism)
    try:
        check_restorable(asked, plan, columns)
    except RestoreError as error:
        raise RestoreError(
            f"pipeline {plan.graph.name!r} could not start from this savepoint: {error}; "
            "or rename, transform or drop it in this block"
        ) from error


def _fresh(gathered: Gathered, name: str, carried: CarriedOperator) -> dict[str, StateEntry]:
    """Give the entries of the states that were written, as if there were no older values."""
    numbers, declared = gathered.carried.manifest.numbers.states.get(name, {}), gathered.declared
    return {state: entry_of(declared[name][state].column, numbers[state]) for state in carried.written}


def _evolved(gathered: Gathered, name: str, carried: CarriedOperator) -> dict[str, Column]:
    """Give the columns of the states that were put over values of the base."""
    return {
        state: evolved_column(name, gathered.declared[name][state].column, carried.kept[state])
        for state in carried.written & set(carried.kept)
    }


def _states(gathered: Gathered, name: str, carried: CarriedOperator) -> dict[str, StateEntry]:
    """Give the entries of an operator's states as its layers hold them: values of the base as they were there."""
    over = {
        state: entry_of(column, carried.kept[state].number)
        for state, column in _evolved(gathered, name, carried).items()
    }
    return {**_fresh(gathered, name, carried), **carried.kept, **over}


def _names(gathered: Gathered, attempt: int) -> Callable[[], LayerName]:
    """Give what gives the names of new layers."""
    used = set() if gathered.base is None else {entry.name for entry in gathered.base.manifest.layers}
    made = 0

    def next_name() -> LayerName:
        nonlocal made
        while True:
            made += 1
            name = LayerName(f"{attempt}-{_HOST}-{made}.lmdb")
            if name not in used:
                return name

    return next_name


def _runs_of_base(gathered: Gathered, carried: CarriedOperator) -> tuple[int, list[tuple[int, int, list[LayerEntry]]]]:
    base, origin = gathered.base, carried.origin
    if base is None or origin is None:
        return 1, []
    entry, layers = base.manifest.operators[origin], base.manifest.layers
    return entry.parallelism, [(run.start, run.end, [layers[at] for at in run.layers]) for run in entry.stacks]


def _write(
    gathered: Gathered, name: str, carried: CarriedOperator, next_name: Callable[[], LayerName]
) -> LayerEntry | None:
    for state in carried.kept:
        _keep(gathered, name, state)
    entries = gathered.entries_of(name, carried.number)
    headers = {
        carried.kept[state].number: tag_of(lasting_codec(column.codec)).removeprefix(VALUE_TAG)
        for state, column in _evolved(gathered, name, carried).items()
    }
    items = gathered.items.get(carried.number, {})
    file = entries.write(join(gathered.draft.layers, next_name()), items, headers)
    entries.close()
    return None if file is None else LayerEntry(file.name, file.size, file.digest, file.entries)


def _keep(gathered: Gathered, operator: str, state: str) -> None:
    """Take a state's entries over from the base as they are, whatever their schemas: as a merge of layers does."""
    stored, found = gathered.carried.kept_state(operator, state), gathered.base_state(operator, state)
    number = gathered.carried.operators[operator].number
    entries, of = gathered.entries_of(operator, number), found.of
    gathered.items.setdefault(number, {}).setdefault(stored.number, of)
    first = True
    for order, parts, value in found.rows():
        if first and of.keyed:
            entries.check_key(of.key_of(of.item_of(parts)), of.name)
            first = False
        entries.keep(stored.number, of.part_of(parts), order, value, timers=stored.kind == "timers")
