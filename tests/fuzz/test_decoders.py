"""Whatever stands in a file or comes through a pipe: an error that says what is wrong, or a value, and soon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fuzz.budget import SECONDS, fuzz
from tests.fuzz.mutation import DEEP, LIES
from tests.fuzz.registry import DECODERS

if TYPE_CHECKING:
    from tests.fuzz.decoder import Decoder

CASES = [(decoder, kind) for decoder in DECODERS for kind in decoder.inputs()]
NAMES = [f"{decoder.name}, {kind}" for decoder, kind in CASES]


@pytest.mark.timeout(0 if SECONDS else 90)
@pytest.mark.parametrize("number", range(len(CASES)), ids=NAMES)
def test_only_errors_of_ours_and_soon(number: int) -> None:
    """Bytes of all kinds; behind right digests, where there are any; documents with strange parts."""
    decoder, kind = CASES[number]
    for data in (*decoder.valid, *map(decoder.seal, decoder.inside)):
        decoder.survive(data)
    fuzz(decoder.inputs()[kind], decoder.survive, examples=decoder.examples, share=1 / len(CASES))


@pytest.mark.parametrize("decoder", DECODERS, ids=[decoder.name for decoder in DECODERS])
def test_memory_stays_near_the_size_of_the_input(decoder: Decoder) -> None:
    """Heads that promise gigabytes, deep nesting, valid inputs cut short."""
    given = [*LIES, *DEEP, *(valid[: len(valid) // 2] for valid in decoder.valid)]
    sealed = [decoder.seal(data) for data in (*LIES, *DEEP)] if decoder.inside else []
    for data in decoder.valid[:1]:
        decoder.survive(data)  # what is built once and kept is none of an input's
    for data in (*given, *sealed):
        decoder.stay_small(data)
