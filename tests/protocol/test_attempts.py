"""What must hold of attempt claims."""

from __future__ import annotations

from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol.attempts import Claim, is_fenced, is_void, next_claim


def claim(attempt: int, first_checkpoint: int) -> Claim:
    return Claim(AttemptNumber(attempt), CheckpointId(first_checkpoint))


def ids(*numbers: int) -> list[CheckpointId]:
    return [CheckpointId(number) for number in numbers]


def void(attempt: int, checkpoint: int, *claims: Claim) -> bool:
    return is_void(AttemptNumber(attempt), CheckpointId(checkpoint), claims)


def test_first_claim_is_one_and_one() -> None:
    """An empty store."""
    assert next_claim([], []) == claim(1, 1)
    assert next_claim([], [], newest_valid=CheckpointId(0)) == Claim(AttemptNumber(1), CheckpointId(1), CheckpointId(1))


def test_claim_is_above_every_id_ever_seen_t81() -> None:
    """T81: unfinished checkpoints left files under their ids, and void ones their manifests."""
    assert next_claim([claim(1, 1)], ids(3, 9, 4)) == claim(2, 10)
    assert next_claim([claim(2, 10), claim(1, 1)], ids(3, 9, 4)) == claim(3, 10)


def test_claim_voids_what_comes_into_the_gap_below_its_first_id() -> None:
    """4 was the newest valid manifest, 7 a void one: a 5 that an older attempt publishes now comes too late."""
    claims = [claim(1, 1), claim(2, 5)]
    third = next_claim(claims, ids(4, 7), newest_valid=CheckpointId(4))

    assert third == Claim(AttemptNumber(3), CheckpointId(8), CheckpointId(5))
    assert void(2, 5, *claims, third)
    assert not void(1, 4, *claims, third)
    assert not void(2, 5, *claims, next_claim(claims, ids(4, 7)))


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


def test_attempt_is_fenced_by_any_later_claim() -> None:
    """Also by one whose first id is far above: it must publish and commit nothing more."""
    assert not is_fenced(AttemptNumber(2), [claim(1, 1), claim(2, 5)])
    assert is_fenced(AttemptNumber(1), [claim(1, 1), claim(2, 5)])
