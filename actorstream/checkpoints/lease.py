"""Who may write a store: its identity, the lock between honest processes, and attempt numbers against the rest.

    JOB               the job id, drawn once; a pipeline's name is never an identity
    LOCK              held by the running process; ends with it
    attempts/3.fence  from here on attempts below 3 publish nothing
    attempts/3        attempt 3 and its first checkpoint id

A start fences first and looks afterwards, a publish drafts first and looks
afterwards, so one of the two always sees the other:

    old attempt      draft ──> higher number? ──> link
    new attempt      fence ──> sweep drafts   ──> list checkpoints ──> claim

Whatever the old attempt still links was linked before the sweep, hence is listed,
and the claim's first checkpoint id lies above it. What it has not linked by then
it cannot link any more.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from os.path import join
from typing import TYPE_CHECKING

from actorstream.checkpoints.put import discard, disk_errors, names_in, put_if_absent, read_file
from actorstream.checkpoints.sealed import seal, unseal
from actorstream.codec.documents import Int64  # noqa: TC001  (documents are read by it)
from actorstream.errors import FencedError, InvariantError, StoreError, StoreInUseError
from actorstream.model.ids import AttemptNumber, CheckpointId, JobId
from actorstream.protocol.attempts import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

    from actorstream.model.world import FileLock, FileSystem

FORMAT = 1
_NUMBER = re.compile(r"([1-9][0-9]{0,17})(\.fence)?")
_NAMED = re.compile(r"[0-9a-zA-Z]{8,64}")


@dataclass(frozen=True, slots=True)
class Origin:
    """The savepoint that a store was begun from: whose it was, its id, and the digest of its manifest."""

    job: str
    checkpoint: Int64
    digest: str


@dataclass(frozen=True, slots=True)
class JobNote:
    """Content of `JOB`. `fork`: runs beside its origin under this name, with an id of its own."""

    format: Int64
    job: str
    origin: Origin | None = None
    fork: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ClaimNote:
    """Content of `attempts/<n>`; `holder` is random, so that a folder put back from a copy is not taken for ours."""

    format: Int64
    attempt: Int64
    first_checkpoint: Int64
    holder: str
    digest: str = ""


class Lease:
    """The right to write one store. Call `open`, then `lock`, then `claim`; `check` before each write that counts."""

    def __init__(self, files: FileSystem, root: str) -> None:
        """Touch nothing yet."""
        self._files = files
        self._root = root
        self._attempts = join(root, "attempts")
        self._token = ""
        self._note: JobNote | None = None
        self._lock: FileLock | None = None
        self._claimed: tuple[Claim, bytes] | None = None

    @property
    def attempt(self) -> AttemptNumber:
        """The number that `claim` gave."""
        if self._claimed is None:
            raise InvariantError(f"{self._root}: no attempt was claimed yet")
        return self._claimed[0].attempt

    @property
    def holder(self) -> str:
        """The token of `open`: it tells apart two who have one attempt number, in two copies of a store."""
        return self._token

    @property
    def note(self) -> JobNote:
        """What `JOB` says."""
        if self._note is None:
            raise InvariantError(f"{self._root}: not opened yet")
        return self._note

    def open(self, token: str, *, origin: Origin | None = None, fork: str = "") -> JobId:
        """Give the store's job id; the first time it is the origin's, for a fork and without an origin `token`.

        Args:
            token: Fresh and random.
            origin: The savepoint from which a store that is not there yet is begun.
            fork: The name under which it then runs beside its origin.

        Raises:
            StoreError: `JOB` is damaged, or gone while there are attempts.
        """
        if not _NAMED.fullmatch(token):
            raise InvariantError(f"a job id is 8 to 64 letters and digits, not {token!r}")
        self._token = token
        path = join(self._root, "JOB")
        with disk_errors(self._root, "making the store"):
            # Makes durable, too, a JOB whose maker died before its sync.
            self._files.make_dirs(self._attempts)
            absent = not self._files.exists(path)
        if absent:
            job = token if origin is None or fork else origin.job
            self._make_job(path, JobNote(FORMAT, job, origin, fork))
        self._note = self._read_note()
        return JobId(self._note.job)

    def lock(self) -> None:
        """Keep other honest processes out until `close`.

        Raises:
            StoreInUseError: Another process holds the store; nothing was changed.
        """
        path = join(self._root, "LOCK")
        with disk_errors(path, "locking"):
            self._lock = self._files.lock(path)
        if self._lock is None:
            newest = max(self.numbers(), default=0)
            raise StoreInUseError(
                f"{path} is held by another live process (the newest attempt is {newest}): stop that process "
                f"(`fuser -v {path}` names it), or use another store; "
                "run(take_over=True) goes past one that hangs, and fences it"
            )

    def claims(self) -> list[Claim]:
        """Give every attempt so far, oldest first.

        Raises:
            StoreError: A claim is damaged.
        """
        return [self._read_claim(number) for number, fence in sorted(self.numbers().items()) if not fence]

    def numbers(self) -> dict[int, bool]:
        """Give each attempt number there is, and whether it is only a fence yet."""
        names = names_in(self._files, self._attempts)
        found = [match for name in names if (match := _NUMBER.fullmatch(name))]
        claimed = {int(match[1]) for match in found if not match[2]}
        return {int(match[1]): int(match[1]) not in claimed for match in found}

    def claim(self, proposed: Claim, sweep: Callable[[AttemptNumber], CheckpointId]) -> Claim:
        """Take the next attempt: from the moment of the fence no lower one publishes anything.

        Args:
            proposed: What `next_claim` gave. Its numbers are raised where the store moved on meanwhile.
            sweep: Removes the drafts of lower attempts, then gives the highest checkpoint id there is.

        Returns:
            The claim as written. Decide what to restore only now.

        Raises:
            FencedError: Somebody claimed this number, or a higher one, first; or a higher one than our last.
        """
        self._refuse_taken_over()
        attempt = self._fence(proposed.attempt)
        highest = sweep(attempt)
        claim = Claim(attempt, CheckpointId(max(proposed.first_checkpoint, highest + 1)))
        path = join(self._attempts, str(attempt))
        note = seal(ClaimNote(FORMAT, attempt, claim.first_checkpoint, self._token))
        draft = f"{path}.{self._token}.draft"
        if not put_if_absent(self._files, path, note, draft=draft, folders=[self._attempts]):
            raise FencedError(f"{path} was claimed by another process at this moment: start again")
        discard(self._files, f"{path}.fence")
        self._claimed = (claim, note)
        return claim

    def check(self) -> None:
        """Make sure that the store is still the one we opened, and ours.

        Raises:
            FencedError: A higher attempt exists.
            StoreError: The folder was removed, or replaced by another.
        """
        if self._claimed is None:
            raise InvariantError(f"{self._root}: claim an attempt before writing")
        claim, note = self._claimed
        if self._read_note() != self._note:
            raise StoreError(f"{self._root} was replaced by another job's store while in use: put the folder back")
        newest = max(self.numbers(), default=0)
        if newest > claim.attempt:
            raise FencedError(f"{self._root}: attempt {newest} has taken over from {claim.attempt}: this one must stop")
        path = join(self._attempts, str(claim.attempt))
        if read_file(self._files, path) != note:
            raise StoreError(
                f"{path} is not what this attempt wrote: the store was replaced by a copy; stop and restart"
            )

    def tidy(self, oldest: AttemptNumber) -> None:
        """Remove claims that void nothing, as no manifest of an attempt below `oldest` is left, and old drafts."""
        for name in names_in(self._files, self._attempts):
            match = _NUMBER.match(name)
            if match and int(match[1]) < self.attempt and (int(match[1]) < oldest or name.endswith(".draft")):
                discard(self._files, join(self._attempts, name))
        for name in names_in(self._files, self._root):
            if name.startswith("JOB.") and name.endswith(".draft"):
                discard(self._files, join(self._root, name))

    def close(self) -> None:
        """Let go of the lock; a second call does nothing."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _make_job(self, path: str, note: JobNote) -> None:
        used = [folder for folder in ("attempts", "checkpoints") if names_in(self._files, join(self._root, folder))]
        # Looked at in this order: whoever makes JOB at this moment does so before the first attempt.
        if used and not self._files.exists(path):
            raise StoreError(
                f"{path} is missing, but there are {' and '.join(used)}: it held the job id, which is also in every "
                "manifest; put it back from a copy, or start with an empty store"
            )
        put_if_absent(self._files, path, seal(note), draft=f"{path}.{self._token}.draft", folders=[self._root])

    def _refuse_taken_over(self) -> None:
        """Take nothing back: who froze, was taken over from, and fails when it wakes up must not start again (T105).

        What it has claimed itself, in a start that failed half-way, is its own; a fence alone is of a start that died.
        """
        if self._claimed is None:
            return
        mine = self._claimed[0].attempt
        for number, fence in self.numbers().items():
            if number > mine and not fence and self._read_claim_note(number).holder != self._token:
                raise FencedError(
                    f"{self._root}: attempt {number} has taken over from {mine}: this one must not start again"
                )

    def _fence(self, attempt: int) -> AttemptNumber:
        while True:
            numbers = self.numbers()
            claimed = [number for number, fence in numbers.items() if not fence and number >= attempt]
            if claimed:
                raise FencedError(f"{self._attempts}: attempt {max(claimed)} was claimed before {attempt}: start again")
            # A fence without a claim was left by a start that died, or that is about to lose to us.
            attempt = max(attempt, *(number + 1 for number in numbers), 1)
            path = join(self._attempts, f"{attempt}.fence")
            with disk_errors(path, "fencing"), suppress(FileExistsError):
                self._files.create(path).close()
                return AttemptNumber(attempt)

    def _read_claim(self, number: int) -> Claim:
        note = self._read_claim_note(number)
        return Claim(AttemptNumber(note.attempt), CheckpointId(note.first_checkpoint))

    def _read_claim_note(self, number: int) -> ClaimNote:
        path = join(self._attempts, str(number))
        remedy = "put it back from a copy; it keeps manifests of older attempts from being taken for newer ones"
        note = unseal(ClaimNote, path, read_file(self._files, path), newest=FORMAT, remedy=remedy)
        if note.attempt != number:
            raise StoreError(f"{path} holds the claim of attempt {note.attempt}, expected {number}; {remedy}")
        return note

    def _read_note(self) -> JobNote:
        path = join(self._root, "JOB")
        remedy = "put it back from a copy; the job id is also in every manifest"
        note = unseal(JobNote, path, read_file(self._files, path), newest=FORMAT, remedy=remedy)
        if not _NAMED.fullmatch(note.job):
            raise StoreError(f"{path} names the job {note.job!r}, expected letters and digits; {remedy}")
        return note
