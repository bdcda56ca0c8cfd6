"""Flink's guarantees as a library that you can `await`.

Start with `Pipeline` (api/pipeline.py), `EventLog` (eventlog/log.py) and
`KeyedProcess` (operators/keyed_process.py). To see how it works, read docs/tour.md
beside protocol/alignment.py, runtime/subtask.py, operators/generate.py,
state/memtable.py and checkpoints/manifest.py: that is the heart.
"""

from actorstream.api.job import Job, Summary
from actorstream.api.keyed import KeyedStream
from actorstream.api.pipeline import Pipeline
from actorstream.api.script import collect, run
from actorstream.api.settings import Settings
from actorstream.api.stream import Stream
from actorstream.api.subscription import Subscription
from actorstream.api.table import Table
from actorstream.errors import ActorstreamError, JobFailed
from actorstream.model.connect import Fetched, Sink, SinkContext, SinkWriter, Source, replayable
from actorstream.operators.keyed_process import Context, KeyedProcess, OperatorContext
from actorstream.operators.state_declarations import ListState, MapState, SortedMap, StateRef, ValueState
from actorstream.protocol.restart import Restart
