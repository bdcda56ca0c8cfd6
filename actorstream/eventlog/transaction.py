"""One write transaction of a log, and what can be written in one.

A transaction carries the writes of many callers; each `apply` sees what those before
it wrote. An error of one write aborts the transaction, and the others run again
without it (open_log.py), so a write may raise at any point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from actorstream.codec.evolution import SCHEMAS_MAX, header_of
from actorstream.errors import DataLossError, FencedError, RestoreError, StoreError
from actorstream.eventlog.ledger import (
    COMMITTED,
    CONSUMERS,
    FENCES,
    NEXT_OFFSETS,
    OLDEST,
    SEALED,
    TIME_BLOCK,
    TYPES,
    Committed,
    Consumer,
    DeclaredType,
    Fence,
    Sealed,
    block_key,
    document,
    each_document,
    name_key,
    number_key,
    offsets_of,
    oldest_in,
    pack_offsets,
    put_document,
    row,
    value_of,
)
from actorstream.eventlog.records import TIME_BYTES, rows_of
from actorstream.eventlog.retention import removable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actorstream.eventlog.segment import Segment
    from actorstream.state.lmdb_env import Transaction

R_co = TypeVar("R_co", covariant=True)


class Write(Protocol[R_co]):
    """Something to be written, all of it or nothing."""

    @property
    def size(self) -> int:
        """About how many bytes of records it adds."""
        ...

    def apply(self, txn: LogTransaction, /) -> R_co:
        """Write it; what it gives or raises goes to the caller once the transaction is durable."""
        ...


class LogTransaction:
    """The newest segment, open for writing."""

    def __init__(self, segment: Segment, txn: Transaction) -> None:
        """Wrap an LMDB write transaction of `segment`."""
        self.path = segment.path
        self.txn = txn
        self._next = offsets_of(segment.path, txn, NEXT_OFFSETS, segment.birth.partitions)
        self._appended = False

    def append(self, partition: int, bodies: Sequence[bytes]) -> int:
        """Add records behind the last one; give the offset of the first."""
        if partition >= len(self._next):
            raise StoreError(f"{self.path}: there is no partition {partition}, only {len(self._next)}: damaged input")
        first = offset = self._next[partition]
        at = 0
        with self.txn.cursor() as cursor:
            while at < len(bodies):
                block = offset // TIME_BLOCK
                part = bodies[at : at + (block + 1) * TIME_BLOCK - offset]
                written, added = cursor.putmulti(rows_of(partition, offset, part), overwrite=False)
                if written != len(part) or added != len(part):
                    raise DataLossError(
                        f"{self.path}: partition {partition} has records behind its end, {offset}: the file is damaged;"
                        " restore it from a copy"
                    )
                self._note_time(block_key(partition, block), max([body[:TIME_BYTES] for body in part]))
                at += len(part)
                offset += len(part)
        self._next[partition] = offset
        self._appended = True
        return first

    def _note_time(self, key: bytes, newest: bytes) -> None:
        stored = self.txn.get(key)
        if stored is None or newest > value_of(self.path, key, stored):
            self.txn.put(*row(key, newest))

    def document(self, key: bytes, type_: type[R_co]) -> R_co | None:
        """Read a document of the ledger."""
        return document(self.path, self.txn, key, type_)

    def documents(self, kind: bytes, type_: type[R_co]) -> list[R_co]:
        """Read all documents of one kind."""
        return list(self.each_document(kind, type_))

    def each_document(self, kind: bytes, type_: type[R_co]) -> Iterator[R_co]:
        """Read the documents of one kind in order, as far as they are asked for."""
        return each_document(self.path, self.txn, kind, type_)

    def put_document(self, key: bytes, entry: object) -> None:
        """Write a document of the ledger."""
        put_document(self.txn, key, entry)

    def announce(self, sealed: Sealed) -> None:
        """Put the digest of a sealed segment into the ledger, unless it is there, or the segment gone by now."""
        key = number_key(SEALED, sealed.segment)
        if sealed.segment >= self._oldest() and self.txn.get(key) is None:
            self.put_document(key, sealed)

    def _oldest(self) -> int:
        return oldest_in(self.path, self.txn)

    def refuse_older(self, job: str, attempt: int) -> None:
        """Refuse an attempt below the highest of the job that has opened a writer, for whichever operator.

        Raises:
            FencedError: A newer attempt has taken over.
        """
        for fence in self._fences_of(job):
            if fence.attempt > attempt:
                raise FencedError(
                    f"{self.path}: attempt {fence.attempt} of job {job} writes here for operator {fence.operator!r},"
                    f" this is attempt {attempt}: a newer deployment has taken over, so this one must stop"
                )

    def refuse_another(self, job: str, attempt: int, holder: str) -> None:
        """Refuse a second one with the same attempt number: both go on from one savepoint, or one from a copy.

        Raises:
            FencedError: The number is another's.
        """
        for fence in self._fences_of(job):
            if fence.attempt == attempt and fence.holder not in {"", holder}:
                raise FencedError(
                    f"{self.path}: another instance of job {job}, with attempt {attempt} too, writes here for operator"
                    f" {fence.operator!r}: both go on from one savepoint or a copy of one store; stop one, or run one"
                    " of them as a fork"
                )

    def _fences_of(self, job: str) -> Iterator[Fence]:
        # Of all operators: the job may have been moved, and this one renamed on the way.
        return (fence for fence in self.each_document(FENCES, Fence) if fence.job == job)

    def finish(self) -> None:
        """Write what all appends share; call it last."""
        if self._appended:
            self.txn.put(*row(NEXT_OFFSETS, pack_offsets(self._next)))


@dataclass(frozen=True)
class Append:
    """Records, by partition; gives the offset of each partition's first."""

    bodies: Mapping[int, Sequence[bytes]]
    size: int

    def apply(self, txn: LogTransaction, /) -> dict[int, int]:
        """Write them."""
        return {partition: txn.append(partition, bodies) for partition, bodies in self.bodies.items()}


@dataclass(frozen=True)
class RaiseFence:
    """From now on nobody with a lower attempt of the job writes here.

    Refuses a writer whose job goes on from an older checkpoint than the one it has committed here: it
    would write everything between the two once more.
    """

    job: str
    operator: str
    attempt: int
    subtask: int
    restored: int
    holder: str
    size: int = 0

    def apply(self, txn: LogTransaction, /) -> None:
        """Store the attempt if it is the highest."""
        txn.refuse_older(self.job, self.attempt)
        txn.refuse_another(self.job, self.attempt, self.holder)
        # The mark may be another subtask's, or under an older name of the operator: the job has come so far.
        marks = [mark for mark in txn.each_document(COMMITTED, Committed) if mark.job == self.job]
        last = max(marks, key=lambda mark: mark.checkpoint, default=None)
        if last is not None and last.checkpoint > self.restored:
            found = f"checkpoint {self.restored}" if self.restored else "no checkpoint"
            raise RestoreError(
                f"{txn.path} holds the output of checkpoint {last.checkpoint} of operator {last.operator!r}, but "
                f"the job goes on from {found}: what lies between would be written twice; put the newest folder of "
                "checkpoints/ back from a copy, or write to another log"
            )
        fence = Fence(self.job, self.operator, self.attempt, self.holder)
        key = name_key(FENCES, self.job, self.operator)
        if txn.document(key, Fence) != fence:
            txn.put_document(key, fence)


@dataclass(frozen=True)
class CommitOnce:
    """The records that one subtask wrote for one checkpoint: added by the first commit, by no later one.

    `records` reads them, in pieces, and raises StoreError at its end if they were not what was staged.
    `attempt` None: no fence. `written` is their type as the log had it when they were encoded, None where that was not
    noted. Gives False where the checkpoint, or a later one, was committed before.
    """

    mark: Committed
    attempt: int | None
    size: int
    records: Callable[[Callable[[int, Sequence[bytes]], object]], None]
    written: DeclaredType | None = None

    def apply(self, txn: LogTransaction, /) -> bool:
        """Check the fence, then the mark, then write records and mark.

        Raises:
            FencedError: A newer attempt has taken over.
            StoreError: The records are not what was staged, or of a type that the log does not know (any more).
        """
        mark = self.mark
        if self.attempt is not None:
            txn.refuse_older(mark.job, self.attempt)
        key = name_key(COMMITTED, mark.job, mark.operator, mark.subtask)
        last = txn.document(key, Committed)
        if last is not None and last.checkpoint >= mark.checkpoint:
            return False
        self.records(self._appending(txn))
        txn.put_document(key, mark)
        return True

    def _appending(self, txn: LogTransaction) -> Callable[[int, Sequence[bytes]], object]:
        """Give what appends the records under the number that their type has here.

        It is another one if other records have taken the log's place since: what stands before the staged ones would
        make them records of another type, or of none.
        """
        written = self.written
        if written is None:
            return txn.append
        name = (written.fingerprint, written.version)
        known = txn.each_document(TYPES, DeclaredType)
        number = next((each.number for each in known if (each.fingerprint, each.version) == name), None)
        if number is None:
            raise StoreError(
                f"{txn.path}: what operator {self.mark.operator!r} staged for checkpoint {self.mark.checkpoint} is of "
                "a type that this log does not know: it was promoted since. Nothing was written, and the staged "
                "file is kept: start the program that took that checkpoint once more, so that its type is declared "
                "here; or go on from an older checkpoint (accept_duplicates=True), whose output after it is not in "
                "this log"
            )
        if number == written.number:
            return txn.append
        header, before = header_of(number), TIME_BYTES + len(header_of(written.number))

        def append(partition: int, bodies: Sequence[bytes]) -> int:
            return txn.append(partition, [body[:TIME_BYTES] + header + body[before:] for body in bodies])

        return append


@dataclass(frozen=True)
class AddOnce:
    """Records that come from a row of places, each added once, however often and in whatever pieces they are given.

    `mark.checkpoint` is one behind the last place; a record whose place lies before the mark that is there was added
    before. `records` are (place, partition, body), by place. Gives how many were added.
    """

    mark: Committed
    records: Sequence[tuple[int, int, bytes]]
    size: int

    def apply(self, txn: LogTransaction, /) -> int:
        """Write what is new, and the mark, together."""
        key = name_key(COMMITTED, self.mark.job, self.mark.operator, self.mark.subtask)
        last = txn.document(key, Committed)
        start = 0 if last is None else last.checkpoint
        if self.mark.checkpoint <= start:
            return 0
        new = [(partition, body) for place, partition, body in self.records if place >= start]
        for partition, body in new:
            txn.append(partition, [body])
        txn.put_document(key, self.mark)
        return len(new)


@dataclass(frozen=True)
class DeclareType:
    """Records of this type will be written, unless `check` refuses one that was declared before.

    Gives it with the number that stands before its records.
    """

    declared: DeclaredType
    check: Callable[[Sequence[DeclaredType]], None]
    size: int = 0

    def apply(self, txn: LogTransaction, /) -> DeclaredType:
        """Compare with every declared type, then store it under the next number; one that is there keeps its own."""
        earlier = txn.documents(TYPES, DeclaredType)
        self.check(earlier)
        version = self.declared.version
        key = name_key(TYPES, self.declared.fingerprint, *([version] if version > 1 else []))
        found = txn.document(key, DeclaredType)
        if found is None:
            number = max([each.number + 1 for each in earlier], default=0)
            if number >= SCHEMAS_MAX:
                raise StoreError(f"{txn.path}: no type can be declared any more, {SCHEMAS_MAX} were: begin another log")
            found = replace(self.declared, number=number)
            txn.put_document(key, found)
        return found


@dataclass(frozen=True)
class Register:
    """A consumer and what it has read."""

    consumer: Consumer
    size: int = 0

    def apply(self, txn: LogTransaction, /) -> None:
        """Store it, in place of what it said before."""
        txn.put_document(name_key(CONSUMERS, self.consumer.name), self.consumer)


@dataclass(frozen=True)
class Drop:
    """A consumer that will not come back. `store`: only if that one had told of it."""

    name: str
    store: str | None = None
    size: int = 0

    def apply(self, txn: LogTransaction, /) -> bool:
        """Remove it; False if there is none of that name and store."""
        found = txn.document(name_key(CONSUMERS, self.name), Consumer)
        if found is None or self.store not in {None, found.store}:
            return False
        return bool(txn.txn.delete(name_key(CONSUMERS, self.name)))


@dataclass(frozen=True)
class Retire:
    """Take the segments that may go out of the ledger; gives them, to be unlinked."""

    sealed_before_us: int
    size: int = 0

    def apply(self, txn: LogTransaction, /) -> list[Sealed]:
        """Decide and note in one transaction, so that no consumer registers in between."""
        consumers = txn.documents(CONSUMERS, Consumer)
        gone = removable(txn.each_document(SEALED, Sealed), consumers, sealed_before_us=self.sealed_before_us)
        for entry in gone:
            txn.txn.delete(number_key(SEALED, entry.segment))
        if gone:
            txn.txn.put(*row(OLDEST, (gone[-1].segment + 1).to_bytes(4, "big")))
        return gone
