"""Laid-out JSON: the same document, whatever is in it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.layout import encode_laid_out

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def test_outer_levels_have_a_line_each_and_the_rest_is_packed() -> None:
    document = {"a": 1, "b": {"c": {"d": {"e": [1, 2]}}, "f": [], "g": {}}, "h": [[1], "x\ny"]}

    assert encode_laid_out(document, 2).decode().splitlines() == [
        "{",
        ' "a": 1,',
        ' "b": {',
        '  "c": {"d":{"e":[1,2]}},',
        '  "f": [],',
        '  "g": {}',
        " },",
        ' "h": [',
        "  [1],",
        r'  "x\ny"',
        " ]",
        "}",
    ]


@given(DOCUMENTS, st.integers(0, 5))
def test_layout_changes_nothing_but_white_space(document: Json, levels: int) -> None:
    text = encode_laid_out(document, levels)

    assert msgspec.json.decode(text) == document
    assert text.endswith(b"\n")
