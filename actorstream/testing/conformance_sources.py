"""What a source is put through: each reading must give the records that follow its position, all and once.

whole      a b c d e f        positions 1 3 5
behind 1       c d e f        by the same source, and by a new one, as after a restart and in a new process
broken     a b | x            cancelled at an await, or closed between two; then from the last position on
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.errors import CodecError, PlanError
from actorstream.model.connect import Fetched, InMemorySource
from actorstream.testing.conformance_calls import Calls, ConformanceError, Cut, resolved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from actorstream.model.connect import Source

T = TypeVar("T")
_POSITIONS_MAX: Final = 100
_CUTS_MAX: Final = 200
_NOTHING: Final = object()


class _Read(NamedTuple):
    """What one `Fetched` held when it was given; its position encoded, as a checkpoint has it."""

    values: list[Any]
    position: bytes
    given: Fetched[Any, Any]


class SourceTrial(Generic[T]):
    """A source and its scenarios. Attributes: how many readings each has taken."""

    def __init__(
        self,
        make: Callable[[], Source[T, Any] | Awaitable[Source[T, Any]]],
        expected: Sequence[T] | Mapping[str, Sequence[T]],
        *,
        endless: bool,
    ) -> None:
        """Check what is given.

        Raises:
            PlanError: An endless source needs its records by split.
        """
        if endless and not isinstance(expected, Mapping):
            raise PlanError("check_source: of an endless source, give the records by split: {'0': [...]}")
        self.readings: Counter[str] = Counter()
        self._make = make
        self._expected = expected
        self._endless = endless
        self._calls = Calls("")
        self._whole: dict[str, list[_Read]] = {}

    async def run(self) -> None:
        """Run all scenarios.

        Raises:
            ConformanceError: The source breaks its contract.
        """
        async with self._scenario("splits") as source:
            splits = await self._splits(source)
        async with self._scenario("whole") as source:
            for split in splits:
                self._whole[split] = await self._read(source, split, None)
            self._check_whole()
        async with self._scenario("again") as source:
            for split in reversed(splits):
                await self._rest(source, split, 0)
            await self._together(source, splits)
        async with self._scenario("from every position") as source:
            for split in splits:
                for number in _spread(len(self._whole[split]), _POSITIONS_MAX):
                    await self._rest(source, split, number + 1)
                    async with self._opened() as other:
                        await self._rest(other, split, number + 1)
        async with self._scenario("closed at every position") as source:
            for split in splits:
                for number in _spread(len(self._whole[split]), _POSITIONS_MAX):
                    await self._closed(source, split, number + 1)
        async with self._scenario("cancelled at every await") as source:
            for split in splits:
                await self._cancelled(source, split)
        async with self._scenario("in memory") as source:
            if isinstance(source, InMemorySource):
                for split in splits:
                    self._in_memory(source, split)

    @asynccontextmanager
    async def _scenario(self, name: str) -> AsyncIterator[Source[T, Any]]:
        self._calls = Calls(name)
        self._name = name
        try:
            async with self._opened() as source:
                yield source
        except ConformanceError:
            raise
        except Exception as error:
            raise self._calls.broken(f"{type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Source[T, Any]]:
        source = await resolved(self._make())
        self._calls.connector = type(source).__name__
        self._calls.note("a new source")
        try:
            yield source
        finally:
            aclose = getattr(source, "aclose", None)
            if aclose is not None:
                await aclose()

    # ---- scenarios

    async def _splits(self, source: Source[T, Any]) -> list[str]:
        found = list(await self._calls.call("splits()", source.splits))
        if any(not isinstance(split, str) for split in found) or len(set(found)) < len(found):
            raise self._calls.broken(f"splits() gave {found!r:.200}, expected names that differ")
        async with self._opened() as other:
            again = list(await self._calls.call("splits()", other.splits))
        if sorted(again) != sorted(found):
            raise self._calls.broken(f"splits() gave {found!r:.200}, and of a new source {again!r:.200}")
        if isinstance(self._expected, Mapping) and sorted(self._expected) != sorted(found):
            raise self._calls.broken(f"splits() gave {found!r:.200}, expected {sorted(self._expected)!r:.200}")
        return found

    def _check_whole(self) -> None:
        if isinstance(self._expected, Mapping):
            for split, reads in self._whole.items():
                self._compare(_values(reads), list(self._expected[split]), f"split {split!r}")
            return
        left = list(self._expected)
        for value in [value for reads in self._whole.values() for value in _values(reads)]:
            if value not in left:
                raise self._calls.broken(f"{value!r:.200} was read, which is not expected, or is read twice")
            left.remove(value)
        if left:
            raise self._calls.broken(f"{left[0]!r:.200} is missing, and {len(left) - 1} more")

    async def _rest(self, source: Source[T, Any], split: str, reads: int) -> None:
        """Read what follows the first `reads` fetches."""
        known = self._whole[split]
        after = known[reads - 1].position if reads else None
        rest = await self._read(source, split, after)
        self._compare(_values(rest), _values(known[reads:]), f"split {split!r} behind {_decoded(after)!r:.100}")

    async def _together(self, source: Source[T, Any], splits: list[str]) -> None:
        """Read all splits in turn, as their pumps do."""
        readings = {split: aiter(self._reading(source, split, None)) for split in splits}
        values: dict[str, list[Any]] = {split: [] for split in splits}
        self._calls.note("all splits, in turn")
        while readings:
            for split, reading in list(readings.items()):
                if self._all_read(split, len(values[split])):
                    fetched: Any = _NOTHING
                else:
                    fetched = await self._calls.call(f"read({split!r}): next", lambda r=reading: _next(r))  # type: ignore[misc]
                if fetched is _NOTHING:
                    await _close(readings.pop(split))
                else:
                    values[split] += fetched.values
        for split in splits:
            self._compare(values[split], _values(self._whole[split]), f"split {split!r}, beside the others,")

    async def _closed(self, source: Source[T, Any], split: str, reads: int) -> None:
        """Stop between two fetches and go on from there with the same source: a restart."""
        reading = aiter(self._reading(source, split, None))
        for _ in range(reads):
            await self._calls.call(f"read({split!r}): next", lambda: _next(reading))
        await self._calls.call(f"read({split!r}): aclose", lambda: _close(reading))
        await self._rest(source, split, reads)

    async def _cancelled(self, source: Source[T, Any], split: str) -> None:
        """Cancel a reading at each of its awaits, and go on from the last position that it gave."""
        for reads in _spread(len(self._whole[split]) + (not self._endless), _POSITIONS_MAX):
            for cut_at in range(1, _CUTS_MAX):
                reading = aiter(self._reading(source, split, None))
                for _ in range(reads):
                    await _next(reading)
                self._calls.note(f"read({split!r}): {reads} times next")
                try:
                    await self._calls.call("next", lambda r=reading: _next(r), cut_at=cut_at)  # type: ignore[misc]
                    await _close(reading)
                    break
                except Cut:
                    await self._calls.call("aclose", lambda r=reading: _close(r))  # type: ignore[misc]
                await self._rest(source, split, reads)

    def _in_memory(self, source: InMemorySource[T, Any], split: str) -> None:
        """Take pieces of several sizes, which hold the same records in the same order."""
        for count in (1, 2, 3, 1_000):
            self.readings[self._name] += 1
            values: list[Any] = []
            after = None
            while (taken := source.take_in_memory(split, after, count)) is not None:
                self._calls.note(f"take_in_memory({split!r}, {after!r}, {count})")
                if not 0 < taken.length <= count:
                    raise self._calls.broken(f"{taken.length} records were given, expected 1 to {count}")
                values += [taken.values[taken.start + index] for index in range(taken.length)]
                after = taken.position
            self._compare(values, _values(self._whole[split]), f"split {split!r}, taken by {count},")

    # ---- reading

    def _reading(self, source: Source[T, Any], split: str, after: object) -> AsyncIterable[Any]:
        self.readings[self._name] += 1
        reading: object = source.read(split, after)
        if not isinstance(reading, AsyncIterable):
            close = getattr(reading, "close", lambda: None)
            close()
            raise self._calls.broken(
                f"read gave a {type(reading).__name__}, expected an async generator: `async def` with a `yield`"
            )
        return reading

    async def _read(self, source: Source[T, Any], split: str, after: bytes | None) -> list[_Read]:
        """Read a split to its end, or to its last expected record; check each fetch."""
        position = _decoded(after)
        reading = aiter(self._reading(source, split, position))
        reads: list[_Read] = []
        before = len(_values(self._whole.get(split, []))) - self._left(split, after)
        self._calls.note(f"read({split!r}, {position!r:.100})")
        while not self._all_read(split, before + sum(len(read.values) for read in reads)):
            fetched = await self._calls.call(f"read({split!r}): next", lambda: _next(reading))
            if fetched is _NOTHING:
                break
            reads.append(self._checked(fetched))
        await self._calls.call(f"read({split!r}): aclose", lambda: _close(reading))
        for read in reads:
            if list(read.given.values) != read.values or _encoded(read.given.position) != read.position:
                raise self._calls.broken(
                    f"what was given with position {_decoded(read.position)!r:.100} was changed afterwards: "
                    "give new objects each time"
                )
        return reads

    def _checked(self, fetched: object) -> _Read:
        if not isinstance(fetched, Fetched):
            raise self._calls.broken(f"read gave a {type(fetched).__name__}, expected a Fetched")
        values, position, stamps, _ = fetched
        given: object = values
        if not isinstance(given, Sequence) or isinstance(given, str | bytes):
            raise self._calls.broken(f"Fetched.values is a {type(given).__name__}, expected a list")
        if stamps is not None and len(stamps) != len(values):
            raise self._calls.broken(f"{len(stamps)} timestamps came with {len(values)} values")
        try:
            encoded = _encoded(position)
        except CodecError as error:
            raise self._calls.broken(f"position {position!r:.100} cannot be stored: {error}") from error
        if _decoded(encoded) != position:
            raise self._calls.broken(f"position {position!r:.100} comes back from a checkpoint as another value")
        return _Read(list(values), encoded, fetched)

    def _all_read(self, split: str, count: int) -> bool:
        """Tell whether an endless split has given all that it has."""
        return self._endless and isinstance(self._expected, Mapping) and count >= len(self._expected[split])

    def _left(self, split: str, after: bytes | None) -> int:
        """Give how many records follow a position, as the whole reading had them."""
        reads = self._whole.get(split, [])
        for number, read in enumerate(reads):
            if after is not None and read.position == after:
                return len(_values(reads[number + 1 :]))
        return len(_values(reads))

    def _compare(self, found: list[Any], expected: list[Any], what: str) -> None:
        if found == expected:
            return
        same = next((n for n, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), None)
        if same is None:
            same = min(len(found), len(expected))
        shown = repr(found[same])[:100] if same < len(found) else "its end"
        wanted = repr(expected[same])[:100] if same < len(expected) else "its end"
        raise self._calls.broken(
            f"{what} gave {len(found)} records, expected {len(expected)}; the first difference is record {same}: "
            f"{shown}, expected {wanted}"
        )


async def _next(reading: AsyncIterator[Any]) -> Any:  # noqa: ANN401  (a Fetched, unless it breaks its contract)
    return await anext(reading, _NOTHING)


async def _close(reading: AsyncIterator[Any]) -> None:
    if isinstance(reading, AsyncGenerator):
        await reading.aclose()


def _values(reads: Sequence[_Read]) -> list[Any]:
    return [value for read in reads for value in read.values]


def _encoded(position: object) -> bytes:
    return SELF_DESCRIBING.encode(position)


def _decoded(position: bytes | None) -> object:
    return None if position is None else SELF_DESCRIBING.decode(position)


def _spread(length: int, most: int) -> Sequence[int]:
    """Give all numbers below `length`, or so many of them, the first and last among them."""
    if length <= most:
        return range(length)
    return sorted({number * (length - 1) // (most - 1) for number in range(most)})
