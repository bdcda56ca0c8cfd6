"""Simulation, faulty disks and what users test their pipelines with."""

from actorstream.testing.harness import Harness as Harness
from actorstream.testing.harness import harness as harness
from actorstream.testing.harness_outputs import ReplayDiffersError as ReplayDiffersError
from actorstream.testing.isolation import RecordChangedError as RecordChangedError
from actorstream.testing.quiescence import StillBusyError as StillBusyError
