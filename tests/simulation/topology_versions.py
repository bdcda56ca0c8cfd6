"""Versions of the program of a topology: what a process that is started later may have changed.

    version 0     as topologies.py has it
    version 1     every stateful operator has another name; the tally is a class of its own, of whose states one is of
                  another type, and its results tell that they are its; a map and a fold (`leaf`) are added
    version 2     again other names, and a field of that state has one; `leaf` is gone, and so is the map

A tally's results of one version come before those of the next, and else say the same: `shown` takes the mark away.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from actorstream.graph.nodes import ProcessSpec, StatefulSpec
from actorstream.operators.state_declarations import ValueState
from actorstream.testing.session import BrokenPromiseError
from tests.simulation.lanes import LaneTally
from tests.simulation.stages import Result

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    from actorstream.api.pipeline import Pipeline
    from actorstream.api.settings import SettingValues
    from actorstream.graph.nodes import Node
    from actorstream.operators.contexts import Context
    from actorstream.testing.committed import Rows
    from tests.simulation.stages import Event

VERSIONS = 3
LEAF = "leaf"
TO_LEAF = "to-leaf"
_MARK = 1_000_000


class Lanes:
    """What `LaneTally.seen` becomes; the class keeps its name when it changes."""

    @dataclass
    class Seen:
        """How often each lane was seen."""

        lanes: dict[str, int] = field(default_factory=dict)
        since: int = 1


class RenamedLanes:
    """Once more."""

    @dataclass
    class Seen:
        """How often each lane was seen."""

        by_lane: dict[str, int] = field(default_factory=dict)
        since: int = 1


class MarkedTally(LaneTally):
    """Version 1: counts lanes in a dataclass."""

    seen: ValueState[Lanes.Seen] = ValueState(  # type: ignore[assignment]
        factory=Lanes.Seen, version=2, migrate={1: Lanes.Seen}
    )

    def on_element(self, value: Event, ctx: Context[str], /) -> Iterator[Result]:
        lanes = self.seen.lanes
        lanes[value.lane] = count = lanes.get(value.lane, 0) + 1
        yield _marked(self.rest(value, ctx.key, count), 1)


class RenamedTally(LaneTally):
    """Version 2: the field of that has another name."""

    seen: ValueState[RenamedLanes.Seen] = ValueState(  # type: ignore[assignment]
        factory=RenamedLanes.Seen,
        version=2,
        migrate={1: RenamedLanes.Seen},
        rename={"lanes": "by_lane"},
    )

    def on_element(self, value: Event, ctx: Context[str], /) -> Iterator[Result]:
        lanes = self.seen.by_lane
        lanes[value.lane] = count = lanes.get(value.lane, 0) + 1
        yield _marked(self.rest(value, ctx.key, count), 2)


_TALLIES: Mapping[int, type[LaneTally]] = {0: LaneTally, 1: MarkedTally, 2: RenamedTally}


@dataclass
class LeafModel:
    """The fold that version 1 has."""

    value: int = 0

    def step(self, key: str, event: Event) -> Result:
        self.value += 1
        return Result(key, event, self.value, 0)

    def states(self) -> Mapping[str, object]:
        return vars(self)


def count_one(count: int, _: Event) -> int:
    """Fold."""
    return count + 1


def upgraded(pipeline: Pipeline, version: int) -> None:
    """Change what was built by the words of version 0."""
    nodes = pipeline.draft.nodes
    nodes[:] = [_upgraded(node, version) for node in nodes]


def _upgraded(node: Node, version: int) -> Node:
    if not version or not isinstance(node.spec, StatefulSpec):
        return node
    spec = node.spec
    if isinstance(spec, ProcessSpec) and spec.owner is LaneTally:
        spec = replace(spec, factory=_TALLIES[version], owner=_TALLIES[version])
    return replace(node, spec=spec, name=_named(node.name, version))


def settings_for(pipeline: Pipeline, version: int) -> SettingValues:
    """Give what a process of this version has to say of the names that others gave; `pipeline` is of version 0."""
    names = [node.name for node in pipeline.draft.nodes if isinstance(node.spec, StatefulSpec)]
    others = [other for other in range(VERSIONS) if other != version]
    return {
        "restore_as": {_named(name, other): _named(name, version) for name in names for other in others},
        "allow_dropped": [
            *([TO_LEAF] if version != 1 else []),  # what was in flight to it
            *(name for other in others for name in (_named(LEAF, other), f"{_named(LEAF, other)}.output")),
        ],
    }


def _named(name: str, version: int) -> str:
    return f"{name}-v{version}" if version else name


def _marked(result: Result, version: int) -> Result:
    return replace(result, total=result.total + _MARK * version)


def shown(rows: Mapping[str, Rows]) -> Mapping[str, Rows]:
    """Give what sinks hold without the marks, which must not go back in any lane; raise BrokenPromiseError."""
    return {sink: [_shown(sink, part) for part in parts] for sink, parts in rows.items()}


def _shown(sink: str, rows: Sequence[object]) -> list[object]:
    if sink != "out":
        return list(rows)
    newest: dict[Hashable, int] = {}
    found: list[object] = []
    for row in rows:
        assert isinstance(row, Result)
        lane, version = (row.key, row.event.lane), version_of(row)
        if version < newest.get(lane, 0):
            raise BrokenPromiseError("prefix", f"{row} of version {version} comes after one of {newest[lane]}")
        newest[lane] = version
        found.append(replace(row, total=row.total % _MARK))
    return found


def version_of(row: object) -> int:
    """Give the version of the tally that has made a row."""
    return row.total // _MARK if isinstance(row, Result) else 0


def unwrapped(state: str, value: object) -> object:
    """Give the state of any version as version 0 has it."""
    if state == "seen" and isinstance(value, Lanes.Seen):
        return value.lanes
    return value.by_lane if state == "seen" and isinstance(value, RenamedLanes.Seen) else value
