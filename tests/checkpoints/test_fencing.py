"""An old attempt that is still alive beside a new one: at every step of the one, all of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.directory import CheckpointDirectory
from actorstream.errors import FencedError
from actorstream.model.ids import CheckpointId
from actorstream.protocol.attempts import next_claim
from actorstream.protocol.recovery import RestoreFrom, decide
from tests.checkpoints.stepped_files import AtStep, SteppedFiles, Switch
from tests.checkpoints.stores import JOB, manifest_of, start, write_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Newcomer:
    """The next attempt: claims, then decides what to restore."""

    def __init__(self, root: Path) -> None:
        """Do nothing yet."""
        self._root = root
        self.directory: CheckpointDirectory | None = None

    def start(self) -> None:
        """Take over."""
        self.directory, self.claim = start(self._root)
        self.decision = decide(self.directory.manifests(), self.directory.claims())

    def runs(self) -> CheckpointDirectory:
        """Take over now, if not before."""
        if self.directory is None:
            self.start()
        assert self.directory is not None
        return self.directory


class Old:
    """Attempt 1, with checkpoint 1 published, and checkpoint 2 about to be."""

    def __init__(self, root: Path) -> None:
        """Publish checkpoint 1; then set `hook.then`."""
        self.hook = Switch()
        self.directory, self.claim = start(root, files=SteppedFiles(self.hook))
        self.directory.publish(manifest_of(self.claim, 1, [write_layer(self.directory, "1-main-1.lmdb")]))
        self.next = manifest_of(self.claim, 2, [write_layer(self.directory, "1-main-2.lmdb")])

    def publishes(self) -> bool:
        """Publish checkpoint 2; False if it was fenced."""
        try:
            self.directory.publish(self.next)
        except FencedError:
            return False
        return True


def each_step(run: Callable[[int], AtStep]) -> Iterator[int]:
    """Run with 0, 1, 2, … until there is no such step."""
    number = 0
    while run(number).fired:
        number += 1
        yield number


def test_a_checkpoint_that_the_old_one_completes_is_what_the_new_one_restores(tmp_path: Path) -> None:
    """Its output may be committed. And what the new one did not see must never appear, nor take its ids."""
    outcomes = set()

    def run(number: int) -> AtStep:
        root = tmp_path / str(number)
        new = Newcomer(root)
        old = Old(root)
        old.hook.then = hook = AtStep(number, new.start)
        completed = old.publishes()
        directory = new.runs()
        assert new.decision == RestoreFrom(CheckpointId(2 if completed else 1))
        assert decide(directory.manifests(), directory.claims()) == new.decision, "nothing appears later"
        assert new.claim.first_checkpoint > (2 if completed else 1)
        assert directory.verify(directory.load(new.decision.checkpoint)) == []
        directory.publish(manifest_of(new.claim, new.claim.first_checkpoint))
        outcomes.add(completed)
        return hook

    assert len(list(each_step(run))) > 8
    assert outcomes == {True, False}


def test_an_old_one_that_publishes_during_a_claim_is_either_seen_or_fenced(tmp_path: Path) -> None:
    """The claim's first checkpoint lies above all that the old one completed, also after `next_claim` looked."""
    outcomes = set()

    def run(number: int) -> AtStep:
        root = tmp_path / str(number)
        old = Old(root)
        done: list[bool] = []
        hook = AtStep(number, lambda: done.append(old.publishes()))
        directory = CheckpointDirectory(SteppedFiles(hook), str(root))
        directory.open(JOB)
        claim = directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
        decision = decide(directory.manifests(), directory.claims())
        completed = done == [True]
        assert decision == RestoreFrom(CheckpointId(2 if completed else 1))
        assert claim.first_checkpoint > (2 if completed else 1)
        assert old.publishes() is False
        outcomes.update(done)
        return hook

    assert len(list(each_step(run))) > 6
    assert outcomes == {True, False}


def test_an_old_one_that_deletes_while_the_new_one_starts_takes_nothing_from_it(tmp_path: Path) -> None:
    def run(number: int) -> AtStep:
        root = tmp_path / str(number)
        new = Newcomer(root)
        old = Old(root)
        assert old.publishes()

        def take_over() -> None:
            new.start()
            write_layer(new.runs(), "2-main-1.lmdb")

        old.hook.then = hook = AtStep(number, take_over)
        fenced = False
        try:
            old.directory.retire(keep=1, in_use=[])
        except FencedError:
            fenced = True
        assert not fenced or hook.fired
        directory = new.runs()
        assert new.decision == RestoreFrom(CheckpointId(2))
        assert directory.verify(directory.load(CheckpointId(2))) == []
        assert (root / "layers" / "2-main-1.lmdb").exists() is hook.fired
        return hook

    assert len(list(each_step(run))) > 4


def test_two_newcomers_at_once_do_not_both_publish(tmp_path: Path) -> None:
    winners = set()

    def run(number: int) -> AtStep:
        root = tmp_path / str(number)
        Old(root)
        new = Newcomer(root)
        hook = AtStep(number, new.start)
        directory = CheckpointDirectory(SteppedFiles(hook), str(root))
        directory.open(JOB)
        try:
            mine = directory.claim(next_claim(directory.claims(), directory.checkpoint_ids()))
        except FencedError:
            winners.add("theirs")
            return hook
        theirs = new.runs()
        assert mine.attempt != new.claim.attempt
        low, high = sorted([(mine, directory), (new.claim, theirs)], key=lambda one: one[0].attempt)
        with pytest.raises(FencedError):
            low[1].publish(manifest_of(low[0], low[0].first_checkpoint))
        high[1].publish(manifest_of(high[0], high[0].first_checkpoint))
        winners.add("mine" if high[1] is directory else "theirs")
        return hook

    assert len(list(each_step(run))) > 4
    assert winners == {"mine", "theirs"}
