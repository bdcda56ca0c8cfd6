"""A pipeline that counts words, to be run under a harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream import Pipeline

if TYPE_CHECKING:
    from actorstream import Stream, Table


class Words:
    """word -> count, with the source to feed and the streams to look at."""

    def __init__(self, *, parallelism: int | None = None) -> None:
        self.pipeline = Pipeline("words")
        self.source: list[str] = []
        self.lines: Stream[str] = self.pipeline.source(self.source)
        self.words: Stream[str] = self.lines.flat_map(str.split)
        keyed = self.words.key_by(lambda word: word)
        self.counts: Table[str, int] = (
            keyed.count(name="counts") if parallelism is None else keyed.count(name="counts", parallelism=parallelism)
        )
        self.sunk: list[tuple[str, int]] = []
        self.counts.sink(self.sunk.append)
