"""What is fuzzed, and what must hold of it: errors of ours or a value, in little time, in little memory."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from actorstream.errors import ActorstreamError, CodecError, InvariantError, PlanError, RestoreError, StoreError
from tests.fuzz.mutation import document, hostile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hypothesis import strategies as st

SECONDS_MAX: Final = 2.0
"""Of the processor. What grows faster than its input takes minutes."""
MESSAGE_CHARS_MAX: Final = 50_000
PEAK_BYTES_MAX: Final = 4 << 20
ALLOWED: Final = (CodecError, StoreError, RestoreError, PlanError)
"""What bytes may be answered with: no InvariantError, which says that we are wrong."""
PEAK_FOR_A_BYTE: Final = 200
"""A decoded value is larger than its bytes: an empty list of one byte takes 56, and its place 8."""


@dataclass(frozen=True)
class Decoder:
    """One decoder.

    Attributes:
        name: What it reads.
        decode: Reads bytes, to the end of what is read of them later.
        valid: Some of its encodings, whole.
        inside: Contents that `seal` makes valid.
        seal: Puts a right head and digest around a content, so that the fuzzer gets behind them.
        json: The contents are JSON.
        path: What an error must name, if not "".
        errors: What it may raise.
        examples: How many inputs of each kind in every run.
    """

    name: str
    decode: Callable[[bytes], object]
    valid: Sequence[bytes]
    inside: Sequence[bytes] = ()
    seal: Callable[[bytes], bytes] = field(default=lambda content: content)
    json: bool = False
    path: str = ""
    errors: tuple[type[Exception], ...] = ALLOWED
    examples: int = 60

    def inputs(self) -> dict[str, st.SearchStrategy[bytes]]:
        """Give the kinds of inputs."""
        found = {"outside": hostile(self.valid)}
        contents = self.inside or (self.valid if self.json else ())
        if self.inside:
            found["inside"] = hostile(self.inside).map(self.seal)
        if self.json:
            found["parts"] = document(contents).map(self.seal)
        return found

    def survive(self, data: bytes) -> None:
        """Give it to the decoder, which must say what is wrong, if something is, in few words and soon."""
        begun = time.thread_time()
        try:
            self.decode(data)
        except self.errors as error:
            text = str(error)
            assert self.path in text, f"{text[:500]!r} does not name {self.path}"
            assert len(text) < MESSAGE_CHARS_MAX, f"{len(text)} characters: {text[:500]!r}"
        taken = time.thread_time() - begun
        assert taken < SECONDS_MAX, f"{len(data)} bytes took {taken:.1f} s"

    def stay_small(self, data: bytes) -> None:
        """Give it to the decoder, which must not take much more memory than the bytes."""
        tracemalloc.start()
        try:
            self.survive(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < PEAK_BYTES_MAX + PEAK_FOR_A_BYTE * len(data), f"{len(data)} bytes took {peak:,}"


def each_of(*calls: Callable[[], object]) -> None:
    """Make every call, whatever those before it have raised of ours; then raise the first error again."""
    errors: list[ActorstreamError] = []
    for call in calls:
        try:
            call()
        except ActorstreamError as error:
            errors.append(error)
    if errors:
        raise next((each for each in errors if isinstance(each, InvariantError)), errors[0])
