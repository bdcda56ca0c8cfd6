"""What must hold of attempt claims."""

from __future__ import annotations

from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol.attempts import Claim, is_void, next_claim


def claim(attempt: int, first_checkpoint: int) -> Claim:
    return Claim(AttemptNumber(attempt), CheckpointId(first_checkpoint))


def ids(*numbers: int) -> list[CheckpointId]:
    return [CheckpointId(number) for number in numbers]


def void(attempt: int, checkpoint: int, *claims: Claim) -> bool:
    return is_void(AttemptNumber(attempt), CheckpointId(checkpoint), claims)


def test_first_claim_is_one_and_one() -> None:
    """An empty store."""
    assert next_claim([], []) == claim(1, 1)


def test_claim_is_above_every_id_ever_seen_t81() -> None:
    """T81: unfinished checkpoints left files under their ids; a claim without any manifest counts too."""
    assert next_claim([claim(1, 1)], ids(3, 9, 4)) == claim(2, 10)
    assert next_claim([claim(2, 10), claim(1, 1)], ids(3, 9, 4)) == claim(3, 11)


def test_manifest_of_a_replaced_attempt_is_void_from_the_later_first_id_on() -> None:
    """The picture of the module: 1..4 stay good, 7 is a zombie's, 5 and 6 are the new attempt's."""
    claims = (claim(1, 1), claim(2, 5))

    assert not void(1, 4, *claims)
    assert void(1, 5, *claims)
    assert void(1, 7, *claims)
    assert not void(2, 5, *claims)


def test_any_later_attempt_voids() -> None:
    """Not only the next one."""
    assert void(1, 6, claim(1, 1), claim(2, 7), claim(3, 6))
