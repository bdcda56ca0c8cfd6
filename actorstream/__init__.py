"""Flink's guarantees as a library that you can `await`.

The twelve names to know first:

    Pipeline Stream Table           what a program is written with
    EventLog                        durable input and output, embedded
    KeyedProcess Context            a handler for each record of a key
    ValueState MapState ListState   what it remembers
    Job                             a running pipeline: wait, stop, get, subscribe
    collect run                     a result in one line; a script

How it works: docs/tour.md follows one record and one barrier through the files
protocol/alignment.py, runtime/subtask.py, operators/generate.py,
state/memtable.py and checkpoints/manifest.py.
"""

from actorstream.api.job import Job as Job
from actorstream.api.job import Summary as Summary
from actorstream.api.joins import BroadcastConnected as BroadcastConnected
from actorstream.api.joins import ConnectedStreams as ConnectedStreams
from actorstream.api.keyed import KeyedStream as KeyedStream
from actorstream.api.options import Options as Options
from actorstream.api.options import RunOptions as RunOptions
from actorstream.api.pipeline import Pipeline as Pipeline
from actorstream.api.run import Run as Run
from actorstream.api.savepoint import Savepoint as Savepoint
from actorstream.api.script import collect as collect
from actorstream.api.script import run as run
from actorstream.api.settings import Settings as Settings
from actorstream.api.stream import BroadcastStream as BroadcastStream
from actorstream.api.stream import Stream as Stream
from actorstream.api.subscription import Subscription as Subscription
from actorstream.api.table import Table as Table
from actorstream.api.time import Time as Time
from actorstream.api.time import WatermarkAlignment as WatermarkAlignment
from actorstream.api.windowed import WindowedStream as WindowedStream
from actorstream.api.windowed import WindowResults as WindowResults
from actorstream.connectors.push import Push as Push
from actorstream.errors import ActorstreamError as ActorstreamError
from actorstream.errors import InvariantError as InvariantError
from actorstream.errors import JobFailed as JobFailed
from actorstream.errors import MissingTimestampError as MissingTimestampError
from actorstream.errors import PlanError as PlanError
from actorstream.errors import PushClosedError as PushClosedError
from actorstream.errors import RestoreError as RestoreError
from actorstream.errors import StoreError as StoreError
from actorstream.errors import TimestampError as TimestampError
from actorstream.errors import UserCodeError as UserCodeError
from actorstream.eventlog.log import EventLog as EventLog
from actorstream.eventlog.positions import LogPosition as LogPosition
from actorstream.eventlog.positions import LogRecord as LogRecord
from actorstream.model.connect import (
    Fetched as Fetched,
)
from actorstream.model.connect import (
    Sink as Sink,
)
from actorstream.model.connect import (
    SinkContext as SinkContext,
)
from actorstream.model.connect import (
    SinkWriter as SinkWriter,
)
from actorstream.model.connect import (
    Source as Source,
)
from actorstream.model.connect import (
    replayable as replayable,
)
from actorstream.operators.accumulating_declarations import Accumulated as Accumulated
from actorstream.operators.accumulating_declarations import AggregatingState as AggregatingState
from actorstream.operators.accumulating_declarations import ReducingState as ReducingState
from actorstream.operators.call_scope import idempotency_key as idempotency_key
from actorstream.operators.call_scope import in_thread as in_thread
from actorstream.operators.changes import Change as Change
from actorstream.operators.contexts import BroadcastContext as BroadcastContext
from actorstream.operators.contexts import Context as Context
from actorstream.operators.contexts import ElementContext as ElementContext
from actorstream.operators.contexts import OperatorContext as OperatorContext
from actorstream.operators.contexts import OutputTag as OutputTag
from actorstream.operators.failures import Failure as Failure
from actorstream.operators.generators import WatermarkGenerator as WatermarkGenerator
from actorstream.operators.keyed_process import BroadcastProcess as BroadcastProcess
from actorstream.operators.keyed_process import Keyed as Keyed
from actorstream.operators.keyed_process import KeyedCoProcess as KeyedCoProcess
from actorstream.operators.keyed_process import KeyedProcess as KeyedProcess
from actorstream.operators.keyed_process import Process as Process
from actorstream.operators.process_timers import Domain as Domain
from actorstream.operators.process_timers import Timer as Timer
from actorstream.operators.retry import Retry as Retry
from actorstream.operators.state_declarations import (
    ListState as ListState,
)
from actorstream.operators.state_declarations import (
    MapState as MapState,
)
from actorstream.operators.state_declarations import (
    SortedMap as SortedMap,
)
from actorstream.operators.state_declarations import (
    StateRef as StateRef,
)
from actorstream.operators.state_declarations import (
    ValueState as ValueState,
)
from actorstream.operators.ttl import TTL as TTL
from actorstream.operators.unkeyed_declarations import BroadcastState as BroadcastState
from actorstream.operators.unkeyed_declarations import OperatorListState as OperatorListState
from actorstream.operators.windows.aggregates import Aggregate as Aggregate
from actorstream.operators.windows.assigners import Count as Count
from actorstream.operators.windows.assigners import Global as Global
from actorstream.operators.windows.assigners import Session as Session
from actorstream.operators.windows.assigners import Sliding as Sliding
from actorstream.operators.windows.assigners import Tumbling as Tumbling
from actorstream.operators.windows.assigners import Window as Window
from actorstream.operators.windows.assigners import WindowAssigner as WindowAssigner
from actorstream.operators.windows.results import WindowResult as WindowResult
from actorstream.operators.windows.triggers import Fire as Fire
from actorstream.operators.windows.triggers import Trigger as Trigger
from actorstream.operators.windows.triggers import TriggerContext as TriggerContext
from actorstream.operators.windows.window_process import WindowContext as WindowContext
from actorstream.operators.windows.window_process import WindowProcess as WindowProcess
from actorstream.protocol.restart import Restart as Restart
