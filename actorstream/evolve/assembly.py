"""From what was gathered to layers and the manifest that lists them.

    operator   touched, or max_parallelism is another   its entries of the base go to the new ones; one new layer
               else                                     the base's layers, linked already, are listed again
    the rest   positions, times, output not known to be committed, number and time of the base's checkpoint: as there

So the result stands for the same moment as its base, and a restore treats it in the same way. Without a base it is
checkpoint 1 of a new job, and sources are read from their beginning.
"""

from __future__ import annotations

from dataclasses import replace
from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.manifest import FORMAT, LayerEntry, Manifest, OperatorEntry, StackRun, StateEntry
from actorstream.errors import RestoreError
from actorstream.evolve.rewritten import KEPT
from actorstream.model.ids import LayerName
from actorstream.runtime.restoring import check_restorable
from actorstream.state.entries import EXPIRING_TAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.evolve.carried import CarriedOperator
    from actorstream.evolve.gathered import Gathered
    from actorstream.graph.plan import Plan

_HOST = "offline"


def assemble(gathered: Gathered, plan: Plan) -> Manifest:
    """Write the layers, and give the manifest.

    Raises:
        RestoreError: A job of the plan could not start from it.
        CodecError: An item was given twice.
        StoreError: The disk is full or fails.
    """
    heading = _heading(gathered, plan.graph.name)
    _check_restorable(heading, gathered, plan)
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
        operators[name] = OperatorEntry(carried.number, parallelism, stacks, _states(gathered, name, carried))
    for taken in taken_from_base(gathered) - set(layers):
        gathered.draft.drop(taken)
    return replace(heading, layers=[entry for _, entry in layers.values()], operators=operators)


def taken_from_base(gathered: Gathered) -> set[LayerName]:
    """Name the layers of the base that lie in the draft."""
    base = gathered.base
    if base is None or base.manifest.max_parallelism != gathered.max_parallelism:
        return set()
    return {entry.name for entry in base.manifest.layers}


def _heading(gathered: Gathered, pipeline: str) -> Manifest:
    """Give the manifest without layers and operators."""
    carried = gathered.carried
    if gathered.base is None:
        return Manifest(
            format=FORMAT,
            job=gathered.world.random.token(),
            pipeline=pipeline,
            attempt=1,
            checkpoint=1,
            final=False,
            created_us=gathered.world.clock.now_us(),
            max_parallelism=gathered.max_parallelism,
            numbers=carried.numbers,
        )
    return replace(
        gathered.base.manifest,
        format=FORMAT,
        pipeline=pipeline,
        max_parallelism=gathered.max_parallelism,
        numbers=carried.numbers,
        layers=[],
        operators={},
        sources=carried.sources,
        times=carried.times,
        digest="",
    )


def _check_restorable(heading: Manifest, gathered: Gathered, plan: Plan) -> None:
    """Refuse what the pipeline could not start from, before anything is written."""
    operators = {
        name: OperatorEntry(carried.number, 1, [], {**_declared(gathered, name, carried), **carried.kept})
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


def _declared(gathered: Gathered, name: str, carried: CarriedOperator) -> dict[str, StateEntry]:
    """Give the entries of the states that were written."""
    numbers, found = gathered.carried.numbers.states.get(name, {}), {}
    for state in carried.written:
        column = gathered.declared[name][state].column
        schema = column.codec.schema
        found[state] = StateEntry(numbers[state], column.kind, schema.fingerprint, schema.shape)
    return found


def _states(gathered: Gathered, name: str, carried: CarriedOperator) -> dict[str, StateEntry]:
    """Give the entries of an operator's states as its layers hold them."""
    if not carried.rewritten:
        return carried.kept
    declared = gathered.declared[name]
    found = _declared(gathered, name, carried)
    for state, entry in carried.kept.items():
        schema = declared[state].column.codec.schema
        found[state] = StateEntry(entry.number, entry.kind, schema.fingerprint, schema.shape)
    return found


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
    file = entries.write(join(gathered.draft.layers, next_name()), gathered.items.get(carried.number, {}))
    entries.close()
    return None if file is None else LayerEntry(file.name, file.size, file.digest, file.entries)


def _keep(gathered: Gathered, operator: str, state: str) -> None:
    """Take a state's entries over from the base: as they are, where they are of the schema that is declared."""
    stored, declared = gathered.carried.kept_state(operator, state), gathered.declared[operator][state]
    found = gathered.base_state(operator, state)
    number = gathered.carried.operators[operator].number
    entries, of = gathered.entries_of(operator, number), found.of
    timers = stored.kind == "timers"
    gathered.items.setdefault(number, {}).setdefault(stored.number, of)
    if stored.fingerprint == declared.column.codec.schema.fingerprint:
        first = True
        for order, parts, value in found.rows():
            if first:
                entries.check_key(of.key_of(of.item_of(parts)), of.name)
                first = False
            entries.keep(stored.number, of.part_of(parts), order, value, timers=timers)
        return
    for item, read, expiry in found.found():
        place, tagged = of.place_of(item), of.tagged_of(item, read)
        if expiry is not None:
            tagged = EXPIRING_TAG + expiry + tagged[1:]
        entries.check_key(of.key_of(item), of.name)
        entries.add(stored.number, place, tagged, KEPT, timers=timers)
