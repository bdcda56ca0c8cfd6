"""Filters: never wrong about what is there, seldom about what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from actorstream.state.filters import LOW, MASK_SHIFT, MASKS, PASS_ALL, FilterBuilder, probe_of

if TYPE_CHECKING:
    from collections.abc import Iterable


def table_of(keys: Iterable[bytes]) -> bytes:
    builder = FilterBuilder()
    builder.add([(key, b"") for key in keys])
    return bytes(builder.table())


def passes(table: bytes, key: bytes) -> bool:
    low, mask = probe_of(key)
    return not table[low % len(table)] & mask


@given(st.sets(st.binary(min_size=1, max_size=12), max_size=300))
def test_key_that_was_added_is_never_refused(keys: set[bytes]) -> None:
    """A refused key would read as deleted."""
    table = table_of(keys)
    assert all(passes(table, key) for key in keys)
    assert all(passes(PASS_ALL, key) for key in keys)


def test_few_absent_keys_pass_and_the_table_has_16_bits_a_key() -> None:
    """2.8 % are expected; keys that differ in their last bytes only, as neighbours do."""
    table = table_of(b"\x00\x05\x00\x07\x00\x01key-%d" % number for number in range(20_000))
    assert len(table) == 40_000
    passed = sum(passes(table, b"\x00\x05\x00\x07\x00\x01kez-%d" % number) for number in range(20_000))
    assert 0.02 < passed / 20_000 < 0.035


def test_layer_without_keys_refuses_them_all() -> None:
    table = table_of([])
    assert len(table) == 1
    assert not any(passes(table, b"%d" % number) for number in range(1_000))


def test_table_is_the_one_that_lies_in_files_already() -> None:
    """Another hash, mask or size would refuse keys of the layers that were written before."""
    table = table_of(b"key-%d" % number for number in range(16))
    assert table.hex() == "fcdbb4ffbeffffffffffffffffffe47e6ffffffffffaf9ff7b39fffffff6ffde"
    assert LOW == 2**30 - 1
    assert MASK_SHIFT == 56
    assert (MASKS[0], MASKS[27], MASKS[28], MASKS[255]) == (3, 192, 3, MASKS[3])
    assert all(mask.bit_count() == 2 for mask in MASKS)
