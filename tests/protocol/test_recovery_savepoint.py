"""What a start from a savepoint means for a store, by what that holds."""

from __future__ import annotations

import pytest

from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol.attempts import Claim
from actorstream.protocol.recovery import ManifestFact, Refuse, RestoreFrom, RestoreSavepoint, decide_savepoint

FIRST = Claim(AttemptNumber(1), CheckpointId(1))


def good(*checkpoints: int) -> list[ManifestFact]:
    return [ManifestFact(CheckpointId(number), AttemptNumber(1), None) for number in checkpoints]


@pytest.mark.parametrize(
    ("checkpoints", "begun_from", "accept", "expected"),
    [
        ([], False, False, RestoreSavepoint()),
        ([], True, False, RestoreSavepoint()),
        ([3, 4], False, False, RestoreSavepoint()),  # killed before the next checkpoint
        ([3, 5], False, False, RestoreSavepoint()),  # the final checkpoint, of which it was made
        ([3, 6], False, True, RestoreSavepoint()),
        ([3, 6], True, False, RestoreFrom(CheckpointId(6))),
        ([3, 6], True, True, RestoreSavepoint()),
    ],
)
def test_start(checkpoints: list[int], begun_from: bool, accept: bool, expected: object) -> None:
    """The savepoint has id 5."""
    decision = decide_savepoint(
        good(*checkpoints), [FIRST], savepoint=CheckpointId(5), begun_from=begun_from, accept_duplicates=accept
    )
    assert decision == expected


def test_behind_a_later_checkpoint_it_is_refused_with_what_to_do() -> None:
    """Its output may be committed."""
    decision = decide_savepoint(good(3, 6), [FIRST], savepoint=CheckpointId(5), begun_from=False)

    assert isinstance(decision, Refuse)
    assert "output up to checkpoint 6 may be committed already" in decision.reason
    assert "run a fork of it" in decision.reason


def test_a_zombie_s_checkpoint_does_not_count() -> None:
    """It committed nothing: it is void."""
    claims = [FIRST, Claim(AttemptNumber(2), CheckpointId(6))]

    assert decide_savepoint(good(3, 6), claims, savepoint=CheckpointId(5), begun_from=False) == RestoreSavepoint()


def test_what_it_goes_on_from_must_be_readable() -> None:
    """A store that was begun from it is judged like any other."""
    facts = [*good(6), ManifestFact(CheckpointId(7), AttemptNumber(1), "7/manifest.json is damaged")]

    decision = decide_savepoint(facts, [FIRST], savepoint=CheckpointId(5), begun_from=True)
    assert isinstance(decision, Refuse)
    assert "checkpoint 7 cannot be restored" in decision.reason
