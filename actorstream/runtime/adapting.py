"""A snapshot under the names of new code: operators renamed, operators and states given up.

    restore_as     {"scores": "points"}     what was of scores is of points now
    allow_dropped  ["old", "views.last"]    an operator's state, positions or output, or one state of it, is not needed

Numbers in layers stay, whatever a name becomes; what is dropped loses its name, so that one who has it later starts
empty, at the beginning of event time.

A service may say the same at each start: what was said to the run that took the snapshot too (`Manifest.restore_as`,
`allow_dropped`) is done by then. Done again, two names that were exchanged would be exchanged back, and a dropped name
that is used again would be dropped again. Only where the pipeline lacks the old name can it not have been meant as
done. And a name that the snapshot does not have is no error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from actorstream.checkpoints.manifest import format_of
from actorstream.errors import RestoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from actorstream.checkpoints.manifest import InFlightEntry, Manifest, TimeEntry
    from actorstream.checkpoints.numbers import Numbers

V = TypeVar("V")


def adapt(
    manifest: Manifest,
    *,
    restore_as: Mapping[str, str],
    allow_dropped: Collection[str],
    present: Collection[str] = (),
) -> Manifest:
    """Give the snapshot under new names, without what may go; `present` are the names that the pipeline has.

    Raises:
        RestoreError: Two operators would have one name.
    """
    names, dropped = renames(manifest, restore_as, present), drops(manifest, allow_dropped, present)
    return _without(_renamed(manifest, names), dropped)


def drops(manifest: Manifest, allow_dropped: Collection[str], present: Collection[str]) -> Collection[str]:
    """Give those of the names to be dropped that the snapshot may have in the sense that is meant."""
    done = {name for name in manifest.allow_dropped if name in present}
    return [name for name in allow_dropped if name not in done]


def renames(manifest: Manifest, restore_as: Mapping[str, str], present: Collection[str]) -> Mapping[str, str]:
    """Give those of the new names that the snapshot does not have yet."""
    done = {old: new for old, new in manifest.restore_as.items() if old in present}
    return {old: new for old, new in restore_as.items() if done.get(old) != new}


def known_in(manifest: Manifest) -> set[str]:
    """Give every name under which the snapshot has state, positions or pending output."""
    return {
        *manifest.numbers.operators,
        *manifest.operators,
        *manifest.sources,
        *(t.operator for t in manifest.sinks),
        *(e.chain for e in manifest.in_flight),
    }


def _renamed(manifest: Manifest, names: Mapping[str, str]) -> Manifest:
    if not names:
        return manifest
    known = known_in(manifest)
    names = {old: new for old, new in names.items() if old in known}
    kept = known - names.keys()
    for old, new in names.items():
        if new in kept or list(names.values()).count(new) > 1:
            raise RestoreError(
                f"restore_as makes {old!r} {new!r}, but the snapshot has another operator of that name "
                f"(it has {sorted(known)}): rename that one too, or drop it"
            )
    numbers = manifest.numbers
    return replace(
        manifest,
        numbers=replace(
            numbers,
            operators=_keys(numbers.operators, names),
            states=_keys(numbers.states, names),
            next_state=_keys(numbers.next_state, names),
        ),
        operators=_keys(manifest.operators, names),
        sources=_keys(manifest.sources, names),
        sinks=[replace(token, operator=names.get(token.operator, token.operator)) for token in manifest.sinks],
        times=[_time(entry, names) for entry in manifest.times],
        in_flight=[_in_flight(entry, names) for entry in manifest.in_flight],
    )


def _in_flight(entry: InFlightEntry, names: Mapping[str, str]) -> InFlightEntry:
    chain = names.get(entry.chain, entry.chain)
    return entry._replace(chain=chain, written=entry.written or entry.chain)


def _time(entry: TimeEntry, names: Mapping[str, str]) -> TimeEntry:
    return entry._replace(
        chain=names.get(entry.chain, entry.chain),
        assigned=_keys(entry.assigned, names),
        parts=_keys(entry.parts, names),
        told={_exchange(name, names): told for name, told in entry.told.items()},
    )


def _exchange(name: str, names: Mapping[str, str]) -> str:
    receiver, _, place = name.rpartition(":")
    return f"{names.get(receiver, receiver)}:{place}"


def _keys(values: Mapping[str, V], names: Mapping[str, str]) -> dict[str, V]:
    return {names.get(name, name): value for name, value in values.items()}


def _without(manifest: Manifest, dropped: Collection[str]) -> Manifest:
    if not dropped:
        return manifest
    numbers, operators = manifest.numbers, dict(manifest.operators)
    for name in dropped:
        numbers = numbers.without_operator(name)
        operators.pop(name, None)
    for name, operator in operators.items():
        gone = [state for state in operator.states if f"{name}.{state}" in dropped]
        numbers = _without_states(numbers, name, gone)
        left = {state: entry for state, entry in operator.states.items() if state not in gone}
        operators[name] = replace(operator, states=left)
    in_flight = [entry for entry in manifest.in_flight if entry.chain not in dropped]
    return replace(
        manifest,
        format=format_of(in_flight),
        numbers=numbers,
        operators=operators,
        sources={name: splits for name, splits in manifest.sources.items() if name not in dropped},
        sinks=[token for token in manifest.sinks if token.operator not in dropped],
        times=[_time_without(entry, dropped) for entry in manifest.times if entry.chain not in dropped],
        in_flight=in_flight,
    )


def _time_without(entry: TimeEntry, dropped: Collection[str]) -> TimeEntry:
    """Forget event time as well: one who has the name later starts at its beginning, and finds nothing late."""
    return entry._replace(
        assigned={name: time for name, time in entry.assigned.items() if name not in dropped},
        parts={name: parts for name, parts in entry.parts.items() if name not in dropped},
        told={name: told for name, told in entry.told.items() if name.rpartition(":")[0] not in dropped},
    )


def _without_states(numbers: Numbers, operator: str, states: Collection[str]) -> Numbers:
    for state in states:
        numbers = numbers.without_state(operator, state)
    return numbers
