"""The answers that everything else is held against are themselves right about a story worked out by hand."""

from __future__ import annotations

import pytest

from tests.benchmarks.nexmark import by_definition, story


@pytest.mark.parametrize("query", story.ANSWERS)
def test_definition_agrees_with_the_story(query: str) -> None:
    """A mistake in a definition that all programs repeat would never be seen."""
    assert getattr(by_definition, query)(story.EVENTS) == story.ANSWERS[query]


def test_euros_and_chosen_auctions() -> None:
    """The two that are one expression each."""
    assert [bid.price for bid in by_definition.q1(story.EVENTS)] == [90, 181, 181, 272, 817, 817, 363]
    assert by_definition.q2(story.EVENTS) == []
    assert by_definition.q2([story.ONLY_ONE._replace(auction=1_230)]) == [(1_230, 400)]
