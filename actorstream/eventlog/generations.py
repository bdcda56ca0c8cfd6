"""Which records a log's path stands for: those it was made with, or those that have taken their place.

    <log>/ LOG                       generation 1: what the log is
           segments/...              its records, until generation 2 begins
           LOG.2                     generation 2 begins with this name: one link decides
           generation-2/segments/... its records
           LOCK  staged/             the same for all generations, so a sink's staged files stay where tokens say

A position is an offset with its generation in front, 56 bits up: so one that a checkpoint holds, or a reader stands
at, says of which records it speaks. Those of generation 1 are plain offsets.

    position of generation 1:   0 1 2 3 4 5|            LOG.2 says: generation 2 differs from offset 3 on
    what it means in 2:         0 1 2 3 3 3             whoever has read past what differs reads that anew

Promotion documents are never removed: a checkpoint may be older than several promotions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream.codec.documents import Int64  # noqa: TC001  (documents are read by it)
from actorstream.errors import StoreError
from actorstream.eventlog.disk_errors import disk_errors
from actorstream.eventlog.documents import read_document
from actorstream.eventlog.folder import LogDocument, refuse_impossible
from actorstream.eventlog.ledger import FORMAT

if TYPE_CHECKING:
    from actorstream.model.world import FileSystem

_SHIFT = 56
_IN_NAMES = frozenset("/\0")


@dataclass(frozen=True)
class Promotion:
    """The LOG.<generation> file: written once. `digest` is over the rest.

    Attributes:
        format: Of this document.
        generation: The one that begins: 2 or more.
        id: What its segments say they belong to.
        partitions: As many as before.
        segment_bytes: Size at which a segment is sealed.
        differs: For each partition the first offset whose record is not the one of the generation before.
        before: The folder, beside this one, of the log as it was: its name alone, so that both can be moved.
        promoted_us: When.
    """

    format: Int64
    generation: Int64
    id: str
    partitions: Int64
    segment_bytes: Int64
    differs: list[Int64]
    before: str
    promoted_us: Int64
    digest: str = ""


@dataclass(frozen=True)
class Generation:
    """What the log's path stands for, as of a reading.

    Attributes:
        log: The log's folder.
        number: 1 if nothing was promoted.
        document: What the log is now.
        made: What it was when it was made.
        promotions: All so far, generation 2's first.
    """

    log: str
    number: int
    document: LogDocument
    made: LogDocument
    promotions: tuple[Promotion, ...]

    @property
    def folder(self) -> str:
        """Where `segments/` lies."""
        return generation_folder(self.log, self.number)

    @property
    def successor(self) -> str:
        """The name whose existence says that this generation is over."""
        return promotion_path(self.log, self.number + 1)

    def position(self, offset: int) -> int:
        """Give what a checkpoint keeps of the last offset read, -1 for none."""
        return offset + (self.number - 1 << _SHIFT)

    def next_offset(self, position: int, partition: int) -> int:
        """Give the offset to read behind a position of this generation or an earlier one.

        Raises:
            StoreError: The position is of a later one: the log was put back from an older copy. Or it is none.
        """
        if type(position) is not int or position < -1:
            raise StoreError(
                f"{self.log}: a position is a number from -1 on, and {position!r:.60} was asked for: it is of another"
                " source, or damaged; start from one of this log's"
            )
        since = (position + 1 >> _SHIFT) + 1
        if since > self.number:
            raise StoreError(
                f"{self.log} was promoted {self.number - 1} times, and a position after {since - 1} promotions was"
                " asked for: the log was replaced or restored from an older copy; put the right one back"
            )
        return self.carried(position + 1 - (since - 1 << _SHIFT), partition, since)

    def carried(self, offset: int, partition: int, since: int) -> int:
        """Give the offset to go on at for a reader that was in front of `offset` in generation `since`."""
        return min([offset, *(promotion.differs[partition] for promotion in self.promotions[since - 1 :])])


def find_generation(files: FileSystem, log: str, made: LogDocument) -> Generation:
    """Read which generation is the newest. Blocking.

    Raises:
        StoreError: A promotion's document is damaged, or of a newer version.
    """
    promotions: list[Promotion] = []
    while (promotion := read_document(files, promotion_path(log, len(promotions) + 2), Promotion)) is not None:
        _refuse_misplaced(promotion_path(log, len(promotions) + 2), promotion, len(promotions) + 2, made)
        promotions.append(promotion)
    if not promotions:
        return Generation(log, 1, made, made, ())
    with disk_errors(log):
        # Whoever promoted may have been killed before that, and from here on positions are kept that speak of it.
        files.sync_dir(log)
    last = promotions[-1]
    document = LogDocument(FORMAT, last.id, last.partitions, last.segment_bytes, made.created_us)
    return Generation(log, last.generation, document, made, tuple(promotions))


def generation_folder(log: str, number: int) -> str:
    """Give the folder in which a generation's `segments/` lies."""
    return log if number == 1 else f"{log}/generation-{number}"


def promotion_path(log: str, number: int) -> str:
    """Give the path of the document with which generation `number` begins."""
    return f"{log}/LOG.{number}"


def _refuse_misplaced(path: str, promotion: Promotion, number: int, made: LogDocument) -> None:
    """Refuse a document that is not of this log, or that would lead out of the folder that the log is in."""
    refuse_impossible(path, promotion.partitions, promotion.segment_bytes)
    if promotion.generation != number or promotion.partitions != made.partitions:
        raise StoreError(
            f"{path} is of generation {promotion.generation} of a log with {promotion.partitions} partitions, expected"
            f" {number} and {made.partitions}: put the right file back"
        )
    if len(promotion.differs) != made.partitions or not all(0 <= each < 1 << _SHIFT for each in promotion.differs):
        raise StoreError(
            f"{path} says {promotion.differs!r:.100} of {made.partitions} partitions: restore it from a copy of the log"
        )
    if promotion.before in {"", ".", ".."} or not _IN_NAMES.isdisjoint(promotion.before):
        raise StoreError(f"{path} names {promotion.before!r:.100} as a folder beside the log: restore it from a copy")
