"""What people do with the logs and snapshots of pipelines that change: replay, compare, promote."""

from actorstream.eventlog.content_digest import content_digest as content_digest
from actorstream.evolve.ab import ab as ab
from actorstream.evolve.comparison import Comparison as Comparison
from actorstream.evolve.comparison import compare as compare
from actorstream.evolve.promotion import promote as promote
from actorstream.evolve.replay import replay as replay
from actorstream.runtime.replay_order import ReplayProgress as ReplayProgress
