"""Simulation, faulty disks and what users test their pipelines with."""

from actorstream.testing.harness import Harness as Harness
from actorstream.testing.harness import harness as harness
from actorstream.testing.harness_outputs import ReplayDiffersError as ReplayDiffersError
from actorstream.testing.isolation import RecordChangedError as RecordChangedError
from actorstream.testing.quiescence import StillBusyError as StillBusyError
from actorstream.testing.simulation import Simulation as Simulation
from actorstream.testing.simulation import SimulationFailedError as SimulationFailedError
from actorstream.testing.simulation import outside as outside
from actorstream.testing.simulation import simulate as simulate
