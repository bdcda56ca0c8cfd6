"""Tells sources that this process feeds when a run begins to read them, and when it has ended, however that was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from actorstream.graph.nodes import SourceSpec
from actorstream.model.connect import FedSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.graph.nodes import LogicalGraph
    from actorstream.runtime.supervisor import Supervisor


@contextmanager
def feeding(graph: LogicalGraph, supervisor: Supervisor) -> Iterator[None]:
    """Let senders wait while the block runs, and refuse them from its end on.

    Raises:
        PlanError: A source is read by another job, or twice by this one.
    """
    begun: list[FedSource] = []
    try:
        for node in graph.nodes:
            if isinstance(node.spec, SourceSpec) and isinstance(node.spec.source, FedSource):
                node.spec.source.begin_feeding(graph.name)
                begun.append(node.spec.source)
        yield
    finally:
        for source in begun:
            source.end_feeding(supervisor.failure)
