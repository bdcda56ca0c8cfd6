"""What people do with logs and snapshots: replay, compare, promote, read and write state offline."""

from actorstream.eventlog.content_digest import content_digest as content_digest
from actorstream.evolve.ab import ab as ab
from actorstream.evolve.comparison import Comparison as Comparison
from actorstream.evolve.comparison import compare as compare
from actorstream.evolve.offline_state import OfflineState as OfflineState
from actorstream.evolve.promotion import promote as promote
from actorstream.evolve.replay import replay as replay
from actorstream.evolve.resend import Resent as Resent
from actorstream.evolve.resend import resend as resend
from actorstream.evolve.snapshot_writing import SnapshotWriter as SnapshotWriter
from actorstream.evolve.snapshot_writing import write_savepoint as write_savepoint
from actorstream.evolve.snapshots import Snapshot as Snapshot
from actorstream.evolve.snapshots import open_snapshot as open_snapshot
from actorstream.runtime.replay_order import ReplayProgress as ReplayProgress
