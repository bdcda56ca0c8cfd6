"""Runs of entries: what arrives is what was sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.entry_runs import decode_run, encode_run
from actorstream.errors import CodecError


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=40))
def test_run_comes_back_as_it_was(run: list[tuple[bytes, bytes]]) -> None:
    assert decode_run(encode_run(run)) == run


@pytest.mark.parametrize("data", [b"", b"\x93\x01\x02", encode_run([(b"k", b"v")])[:-1], b"\x91\xc4\x01a"])
def test_what_is_no_run_is_refused(data: bytes) -> None:
    """A writer that read something else out of it would make a layer of nonsense."""
    with pytest.raises(CodecError, match="not a run of entries"):
        decode_run(data)
