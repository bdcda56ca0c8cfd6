"""Two pipelines over the very same records: what would the new code have said?

    logs ──one stretch──┬─> a ──> <into>/a/totals ─┐
                        └─> b ──> <into>/b/totals ─┴─ compare, by name ──> {"totals": Comparison}

Where a and b are the same, so are their logs, byte by byte: a replay is deterministic. So every difference is one of
the code.
"""

from __future__ import annotations

from os.path import join
from typing import TYPE_CHECKING, Any

import anyio

from actorstream.errors import PlanError
from actorstream.evolve import replay_folder
from actorstream.evolve.comparison import Comparison, compare
from actorstream.evolve.replay import nobody, replay_over
from actorstream.evolve.replay_folder import ReplayNote
from actorstream.evolve.replayed_graph import outputs_of
from actorstream.evolve.stretches import absolute, span_of
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorstream.api.options import StrPath
    from actorstream.api.pipeline import Pipeline
    from actorstream.api.settings import Settings
    from actorstream.eventlog.log import EventLog
    from actorstream.eventlog.view import LogStop
    from actorstream.evolve.stretches import ReplayStart

SIDES = ("a", "b")


async def ab(  # noqa: PLR0913  (the words of a call)
    a: Pipeline,
    b: Pipeline,
    *,
    start: ReplayStart,
    until: LogStop,
    into: StrPath,
    key: Callable[[Any], object] | None = None,
    settings: Settings | None = None,
) -> Mapping[str, Comparison]:
    """Replay both over the same input, into `<into>/a` and `<into>/b`; compare each output log that both have, by name.

    Where a log ends, and what "now" is, is looked up once for both, before either runs.

    Args:
        a: One pipeline.
        b: The other one.
        start: As for `replay`.
        until: As for `replay`.
        into: A folder that is empty or not there yet, or that of an `ab` that was killed: it is begun anew.
        key: As for `compare`: what a record is about.
        settings: As for `replay`, for both.

    Raises:
        PlanError: The two have no output log in common, or as for `replay`.
        StoreError, RestoreError, JobFailed: As for `replay`.
    """
    span = await span_of(current_world(), start, until)
    graphs = dict(zip(SIDES, (a.draft.graph(), b.draft.graph()), strict=True))
    outputs = {side: outputs_of(graph) for side, graph in graphs.items()}
    common = sorted(outputs["a"].keys() & outputs["b"].keys())
    if not common:
        raise PlanError(
            f"there is nothing to compare: {a.name!r} writes {sorted(outputs['a'])}, {b.name!r} {sorted(outputs['b'])}:"
            " logs are compared whose folders have the same name"
        )
    reads = {side: await span.reads_of(graph) for side, graph in graphs.items()}
    world, path = current_world(), absolute(into)
    folder = await world.offload.run(replay_folder.begin, world.files, path)
    try:
        for side, graph in graphs.items():
            await replay_over(graph, span, reads[side], join(path, side), settings=settings, progress=nobody)
        found: dict[str, Comparison] = {}
        for name in common:
            first, second = (outputs[side][name].at(join(path, side, name)) for side in SIDES)
            found[name] = await _compared(first, second, key)
        note = ReplayNote(f"{a.name}, {b.name}", span.begin.savepoint, {}, {})
        await world.offload.run(folder.finish, note)
    finally:
        folder.release()
    return found


async def _compared(a: EventLog[Any], b: EventLog[Any], key: Callable[[Any], object] | None) -> Comparison:
    try:
        return await compare(a, b, key=key)
    finally:
        with anyio.CancelScope(shield=True):
            await a.aclose()
            await b.aclose()
