"""The pipe between host and writer child: whole frames, however the bytes are cut."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.errors import CodecError
from actorstream.state.writer_frames import Frame, FrameParser, Kind, frames_from, pack

FRAMES = st.lists(
    st.builds(Frame, st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=100)), max_size=8
)


@given(FRAMES, st.lists(st.integers(1, 60), min_size=1))
def test_frames_come_back_from_pieces_of_any_size(frames: list[Frame], sizes: list[int]) -> None:
    data = b"".join(pack(*frame) for frame in frames)
    parser = FrameParser()
    found: list[Frame] = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += parser.parse(data[at : at + size])
        at, turn = at + size, turn + 1

    assert found == frames
    assert list(frames_from(io.BytesIO(data).read)) == frames


@given(FRAMES.filter(bool), st.data())
def test_frame_that_the_end_cuts_off_is_none(frames: list[Frame], data: st.DataObject) -> None:
    """A host that dies in the middle of a frame must not have half a run written."""
    whole = b"".join(pack(*frame) for frame in frames)
    missing = data.draw(st.integers(1, len(pack(*frames[-1]))))

    assert list(frames_from(io.BytesIO(whole[:-missing]).read)) == frames[:-1]


def test_nonsense_is_noticed() -> None:
    """A program that is no writer may answer: an interpreter's stand-in that prints its help."""
    with pytest.raises(CodecError, match="has kind"):
        list(FrameParser().parse(b"usage: python [options]"))
