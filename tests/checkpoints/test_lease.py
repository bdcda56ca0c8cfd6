from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.lease import ClaimNote, JobNote, Lease
from actorstream.checkpoints.sealed import seal
from actorstream.errors import FencedError, InvariantError, StoreError, StoreInUseError
from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol.attempts import Claim, next_claim
from actorstream.system.files import RealFiles
from tests.checkpoints.stepped_files import AtStep, Crash, SteppedFiles, crash, fail_at

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO = "1" * 32, "2" * 32
NEWER = "written by a newer actorstream"


def opened(root: Path, token: str = ONE, files: RealFiles | None = None) -> Lease:
    lease = Lease(files or RealFiles(), str(root))
    lease.open(token)
    return lease


def highest(checkpoint: int = 0) -> CheckpointId:
    return CheckpointId(checkpoint)


def claim(attempt: int, first: int = 1) -> Claim:
    return Claim(AttemptNumber(attempt), CheckpointId(first))


def claimed(root: Path, attempt: int = 1, token: str = ONE) -> Lease:
    lease = opened(root, token)
    lease.claim(claim(attempt), lambda _: highest())
    return lease


def test_the_job_id_is_drawn_once(tmp_path: Path) -> None:
    """A pipeline's name is never an identity, and a second start is the same job."""
    assert Lease(RealFiles(), str(tmp_path / "job")).open(ONE) == ONE
    assert Lease(RealFiles(), str(tmp_path / "job")).open(TWO) == ONE


def test_two_openers_at_once_agree_on_the_job_id(tmp_path: Path) -> None:
    """At every step of one opener another one opens: whoever links first names the job."""
    number = 0
    fired = True
    while fired:
        root = tmp_path / str(number)
        seen: list[str] = []
        hook = AtStep(number, lambda root=root, seen=seen: seen.append(Lease(RealFiles(), str(root)).open(TWO)))  # type: ignore[misc]
        first = Lease(SteppedFiles(hook), str(root)).open(ONE)
        fired = hook.fired
        assert seen in ([], [first])
        number += 1
    assert number > 5


def test_a_crash_at_any_step_of_the_first_open_is_healed_by_the_next(tmp_path: Path) -> None:
    number = 0
    fired = True
    while fired:
        root = tmp_path / str(number)
        hook = AtStep(number, crash)
        try:
            opened(root, files=SteppedFiles(hook))
        except Crash:
            assert Lease(RealFiles(), str(root)).open(TWO) in {ONE, TWO}
        fired = hook.fired
        number += 1
    assert number > 5


def test_files_of_a_store_are_private(tmp_path: Path) -> None:
    claimed(tmp_path / "job").lock()
    for path in [tmp_path / "job", *(tmp_path / "job").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)


def test_each_flipped_byte_of_job_is_an_error_that_names_it(tmp_path: Path) -> None:
    opened(tmp_path)
    path = tmp_path / "JOB"
    data = path.read_bytes()
    for place, byte in enumerate(data):
        path.write_bytes(data[:place] + bytes([byte ^ 1]) + data[place + 1 :])
        with pytest.raises(StoreError, match=r"/JOB .*put it back from a copy"):
            opened(tmp_path)


def test_job_of_a_newer_version_or_nonsense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "JOB").write_bytes(seal(JobNote(2, ONE)))
    with pytest.raises(StoreError, match=NEWER):
        opened(tmp_path)
    (tmp_path / "JOB").write_bytes(seal(JobNote(1, "../other")))
    with pytest.raises(StoreError, match="expected letters and digits"):
        opened(tmp_path)


def test_a_missing_job_is_not_drawn_anew_over_attempts(tmp_path: Path) -> None:
    """A new id would orphan every token that the old one staged."""
    claimed(tmp_path)
    (tmp_path / "JOB").unlink()
    with pytest.raises(StoreError, match=r"/JOB is missing, but there are attempts"):
        opened(tmp_path)


def test_only_one_process_holds_the_lock_and_it_ends_with_the_process(tmp_path: Path) -> None:
    code = (
        "import sys; from actorstream.checkpoints.lease import Lease; from actorstream.system.files import RealFiles\n"
        f"lease = Lease(RealFiles(), {str(tmp_path)!r}); lease.open('3' * 32); lease.lock()\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        mine = opened(tmp_path)
        with pytest.raises(StoreInUseError, match=r"LOCK is held by another live process .*stop that process"):
            mine.lock()
        other.kill()
    mine.lock()
    mine.close()
    mine.close()
    opened(tmp_path).lock()


def test_a_failing_lock_is_a_store_error(tmp_path: Path) -> None:
    lease = opened(tmp_path)
    (tmp_path / "LOCK").mkdir()
    with pytest.raises(StoreError, match=r"/LOCK: locking failed"):
        lease.lock()


def test_claims_come_back_in_order(tmp_path: Path) -> None:
    lease = opened(tmp_path)
    for number in range(1, 12):
        lease.claim(next_claim(lease.claims(), []), lambda _: highest())
        assert lease.attempt == number
    assert [one.attempt for one in lease.claims()] == list(range(1, 12))


def test_a_taken_number_is_not_claimed_twice(tmp_path: Path) -> None:
    claimed(tmp_path)
    with pytest.raises(FencedError, match="attempt 1 was claimed before 1: start again"):
        opened(tmp_path, TWO).claim(claim(1), lambda _: highest())


def test_the_first_checkpoint_is_raised_above_what_the_sweep_finds(tmp_path: Path) -> None:
    """An attempt that was still alive may have completed checkpoints after `next_claim` looked."""
    lease = opened(tmp_path)
    assert lease.claim(claim(1, first=5), lambda _: highest(7)) == claim(1, first=8)
    assert lease.claims() == [claim(1, first=8)]


def test_what_another_has_taken_over_is_not_taken_back(tmp_path: Path) -> None:
    """T105: a process that froze may fail by anything when it wakes up, and starts again: it must not fence the other.

    It may start again itself as often as it likes, and go past what a start has left that died on its way.
    """
    first = claimed(tmp_path, 1)
    again = first.claim(next_claim(first.claims(), []), lambda _: highest())
    (tmp_path / "attempts" / "3.fence").touch()
    again = first.claim(next_claim(first.claims(), []), lambda _: highest())
    assert again.attempt == 4
    second = opened(tmp_path, TWO)
    second.claim(next_claim(second.claims(), []), lambda _: highest())
    with pytest.raises(FencedError, match="attempt 5 has taken over from 4"):
        first.claim(next_claim(first.claims(), []), lambda _: highest())
    second.check()


def test_a_fence_without_a_claim_is_passed_over(tmp_path: Path) -> None:
    """A start died between its fence and its claim: the next one is not locked out."""
    opened(tmp_path)
    (tmp_path / "attempts" / "1.fence").touch()
    lease = opened(tmp_path)
    assert lease.claims() == []
    assert lease.claim(claim(1), lambda _: highest()) == claim(2)


def test_a_fence_alone_stops_the_attempts_below_it(tmp_path: Path) -> None:
    lease = claimed(tmp_path)
    lease.check()
    (tmp_path / "attempts" / "2.fence").touch()
    with pytest.raises(FencedError, match="attempt 2 has taken over from 1: this one must stop"):
        lease.check()


def test_a_crash_at_any_step_of_a_claim_lets_the_next_start_claim(tmp_path: Path) -> None:
    number = 0
    fired = True
    while fired:
        root = tmp_path / str(number)
        opened(root)
        hook = AtStep(number, crash)
        lease = Lease(SteppedFiles(hook), str(root))
        try:
            lease.open(ONE)
            lease.claim(claim(1), lambda _: highest())
        except Crash:
            again = opened(root, TWO)
            got = again.claim(next_claim(again.claims(), []), lambda _: highest())
            assert again.claims()[-1] == got
            again.check()
        fired = hook.fired
        number += 1
    assert number > 7


@pytest.mark.parametrize("step", ["create", "write", "sync", "link"])
def test_a_disk_error_in_a_claim_is_a_store_error_and_claims_nothing(tmp_path: Path, step: str) -> None:
    opened(tmp_path)
    name = "/1" if step == "link" else f"1.{ONE}.draft"
    lease = opened(tmp_path, files=SteppedFiles(fail_at(step, name, errno.ENOSPC)))
    with pytest.raises(StoreError, match="free some space"):
        lease.claim(claim(1), lambda _: highest())
    with pytest.raises(InvariantError):
        lease.check()


def test_a_full_disk_at_the_fence_is_a_store_error(tmp_path: Path) -> None:
    opened(tmp_path)
    lease = opened(tmp_path, files=SteppedFiles(fail_at("create", "1.fence", errno.ENOSPC)))
    with pytest.raises(StoreError, match=r"1\.fence: fencing failed"):
        lease.claim(claim(1), lambda _: highest())


def test_a_damaged_or_misplaced_claim_is_an_error(tmp_path: Path) -> None:
    """It decides which manifests are void: a wrong number in it must not pass."""
    lease = claimed(tmp_path)
    path = tmp_path / "attempts" / "1"
    data = path.read_bytes()
    for place, byte in enumerate(data):
        path.write_bytes(data[:place] + bytes([byte ^ 1]) + data[place + 1 :])
        with pytest.raises(StoreError, match=r"attempts/1 .*put it back from a copy"):
            lease.claims()
    path.write_bytes(data)
    path.rename(tmp_path / "attempts" / "3")
    with pytest.raises(StoreError, match="holds the claim of attempt 1, expected 3"):
        lease.claims()


def test_a_removed_store_is_noticed(tmp_path: Path) -> None:
    lease = claimed(tmp_path / "job")
    (tmp_path / "job").rename(tmp_path / "moved")
    with pytest.raises(StoreError, match=r"/JOB: reading failed: .*it was removed or moved"):
        lease.check()


def test_another_store_in_the_same_place_is_noticed(tmp_path: Path) -> None:
    lease = claimed(tmp_path / "job")
    (tmp_path / "job").rename(tmp_path / "moved")
    claimed(tmp_path / "job", token=TWO)
    with pytest.raises(StoreError, match="was replaced by another job's store"):
        lease.check()


def test_an_older_copy_of_the_store_in_its_place_is_noticed(tmp_path: Path) -> None:
    """Same job id, but not our claim: our layers are not in it either."""
    lease = claimed(tmp_path / "job")
    note = tmp_path / "job" / "attempts" / "1"
    note.write_bytes(seal(ClaimNote(1, 1, 1, TWO)))
    with pytest.raises(StoreError, match="was replaced by a copy"):
        lease.check()
    note.unlink()
    with pytest.raises(StoreError, match=r"attempts/1: reading failed"):
        lease.check()


def test_tidying_leaves_the_claims_that_matter(tmp_path: Path) -> None:
    lease = opened(tmp_path)
    for _ in range(4):
        lease.claim(next_claim(lease.claims(), []), lambda _: highest())
    for leftover in ("attempts/3.aaaaaaaa.draft", "attempts/2.fence", "JOB.aaaaaaaa.draft", "attempts/notes.txt"):
        (tmp_path / leftover).touch()
    lease.tidy(AttemptNumber(3))
    assert [one.attempt for one in lease.claims()] == [3, 4]
    assert sorted(path.name for path in (tmp_path / "attempts").iterdir()) == ["3", "4", "notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["JOB", "attempts"]


def test_misuse_is_our_bug(tmp_path: Path) -> None:
    lease = opened(tmp_path)
    with pytest.raises(InvariantError, match="claim an attempt"):
        lease.check()
    with pytest.raises(InvariantError, match="no attempt"):
        _ = lease.attempt
    with pytest.raises(InvariantError, match="a job id is"):
        lease.open("../x")
