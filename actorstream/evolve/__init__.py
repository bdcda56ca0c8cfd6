"""What people do with the logs of pipelines that change: compare them, and let one take another's place."""

from actorstream.evolve.comparison import Comparison as Comparison
from actorstream.evolve.comparison import compare as compare
from actorstream.evolve.promotion import promote as promote
