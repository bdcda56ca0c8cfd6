"""Identifiers: small integers and strings that must never be mixed up."""

from __future__ import annotations

from typing import NamedTuple, NewType

ChannelIndex = NewType("ChannelIndex", int)
"""Position of an input channel within one subtask, from 0."""

CheckpointId = NewType("CheckpointId", int)
"""Number of a checkpoint within a job: starts at 1, only grows, never reused."""

AttemptNumber = NewType("AttemptNumber", int)
"""Number of a deployment of a job: starts at 1, only grows; the highest one fences the rest."""

JobId = NewType("JobId", str)
"""Drawn at random when a store is made; a pipeline's name is never an identity."""

LayerName = NewType("LayerName", str)
"""File name of a layer inside its store: `<attempt>-<host>-<n>.lmdb`."""

OperatorNumber = NewType("OperatorNumber", int)
"""Stands for an operator's name inside layers: only grows, never reused."""

StateNumber = NewType("StateNumber", int)
"""Stands for a state's name inside one operator: starts at 1, only grows, never reused."""


class SubtaskId(NamedTuple):
    """One parallel instance of a chain: the chain's name and its index among the chain's subtasks."""

    chain: str
    subtask: int

    def __str__(self) -> str:
        """Give the form used in logs and errors: `views[0]`."""
        return f"{self.chain}[{self.subtask}]"
