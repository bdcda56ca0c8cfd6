"""The text of a chain's function: small, readable, and the same every time."""

from __future__ import annotations

from itertools import dropwhile
from typing import TYPE_CHECKING

import pytest

from actorstream.api.pipeline import Pipeline
from actorstream.errors import InvariantError
from actorstream.operators.chain_writer import ChainWriter
from tests.operators.accept import GOLDEN, written
from tests.operators.chains import CHAINS, key
from tests.operators.rig import Rig

if TYPE_CHECKING:
    from actorstream.operators.step_text import StepPart


def test_chain_text_is_what_was_accepted() -> None:
    """Whoever changes what is generated reads it here first: `python -m tests.operators.accept` takes it over."""
    assert written() == GOLDEN.read_text()


@pytest.mark.parametrize("name", CHAINS)
def test_chain_is_written_the_same_way_twice(name: str) -> None:
    """A subscription has a step written anew: nothing but the new outlet may differ."""
    rig = CHAINS[name]()

    assert rig.part(rig.done).source == rig.step.source


@pytest.mark.parametrize("name", CHAINS)
def test_every_line_in_the_loop_belongs_to_an_operator(name: str) -> None:
    """Else an error there would have nobody to be blamed on."""
    rig = CHAINS[name]()
    lines = ChainWriter(rig.chain, rig.bindings, timed=rig.chain.needs_timestamps, part=rig.done).lines
    loop = list(dropwhile(lambda line: not line.text.startswith("for "), lines))
    inside = {line.operator for line in loop if line.depth > 1}
    direct = {line.operator for line in lines if "map(key" in line.text}

    assert inside | direct
    assert inside | direct <= {node.name for node in rig.chain.nodes}


def test_operator_with_keys_from_elsewhere_reads_like_its_part_of_a_chain() -> None:
    """One text for both: what holds for a keyed operator holds wherever its keys are made."""
    pipeline = Pipeline("t")
    pipeline.source([0], name="in").key_by(key).count(name="count").map(str, name="str").sink(print, name="out")
    alone, inside = Rig(pipeline, "count", parallelism=2), Rig(pipeline, "count")

    assert (alone.done, inside.done) == ("whole", "after key")
    assert alone.step.source == inside.step.source


def test_stateful_operator_without_state_is_our_bug() -> None:
    """The builder gives every keyed head its state."""
    rig = CHAINS["count"]()
    rig.bindings.state = None

    with pytest.raises(InvariantError, match="stateful operator head has no state in this chain"):
        ChainWriter(rig.chain, rig.bindings, timed=False, part="after key")


@pytest.mark.parametrize(
    ("chain", "part", "message"),
    [
        ("stateless chain", "after key", "chain in has nothing behind a key"),
        ("key inside", "whole", "count makes keys, but has no check for them"),
    ],
)
def test_part_that_the_chain_has_not_is_our_bug(chain: str, part: StepPart, message: str) -> None:
    """The runner asks for parts of a chain only that makes its keys itself, and gives it their check."""
    rig = CHAINS[chain]()
    rig.bindings.key_check = None

    with pytest.raises(InvariantError, match=message):
        rig.part(part)
