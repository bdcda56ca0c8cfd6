"""What happens to an operator that is rescaled: records, watermarks, time that passes, another parallelism."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from actorstream.codec.ordered_keys import encode_key
from actorstream.model.key_groups import key_group_of
from tests.time.driving import Event

if TYPE_CHECKING:
    from random import Random

GROUPS = 8
KEYS = "abcdefgh"


class Records(NamedTuple):
    """Records come, each on its side."""

    events: list[tuple[int, Event]]


class Told(NamedTuple):
    """The owner of a key group is told a watermark."""

    group: int
    watermark: int


class Passed(NamedTuple):
    """Time passes by the clock."""

    seconds: int


class Rescale(NamedTuple):
    """A checkpoint is taken, and another parallelism goes on. `undone`: in the midst of what is due."""

    parallelism: int
    undone: bool


Step: TypeAlias = "Records | Told | Passed | Rescale"


def group_of(event: Event) -> int:
    return key_group_of(encode_key(event.key), GROUPS)


def steps_of(random: Random, sides: int) -> list[Step]:
    """Draw what happens: records out of order, some late, subtasks that drift apart, and rescales."""
    steps: list[Step] = []
    front = number = 0
    for _ in range(random.randint(4, 24)):
        match random.choice(("records", "records", "told", "told", "told", "clock", "rescale")):
            case "records":
                events = []
                for _ in range(random.randint(1, 8)):
                    at = max(0, front + random.choice((-25, -9, -4, -2, -1, 0, 0, 1, 2, 5)))
                    front = max(front, at)
                    event = Event(random.choice(KEYS), random.randint(0, 11), at, number)
                    events.append((random.randrange(sides), event))
                    number += 1
                steps.append(Records(events))
            case "told":
                steps.append(Told(random.randrange(GROUPS), max(0, front + random.randint(-30, 4))))
            case "clock":
                steps.append(Passed(random.randint(1, 5)))
            case _:
                # Some have come far ahead, and not done yet what that makes due.
                ahead = random.sample(range(GROUPS), random.randint(0, 3))
                steps += [Told(group, max(0, front + random.randint(-6, 8))) for group in ahead]
                steps.append(Rescale(random.choice((1, 2, 3, 5, 8)), undone=random.random() < 0.7))
    return steps
