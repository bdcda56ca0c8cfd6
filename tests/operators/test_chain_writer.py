"""The text of a chain's function: small, readable, and the same every time."""

from __future__ import annotations

import pytest

from actorstream.errors import InvariantError
from actorstream.operators.chain_writer import ChainWriter
from tests.operators.accept import GOLDEN, written
from tests.operators.chains import CHAINS


def test_chain_text_is_what_was_accepted() -> None:
    """Whoever changes what is generated reads it here first: `python -m tests.operators.accept` takes it over."""
    assert written() == GOLDEN.read_text()


@pytest.mark.parametrize("name", CHAINS)
def test_chain_is_written_the_same_way_twice(name: str) -> None:
    """A subscription has a step written anew: nothing but the new outlet may differ."""
    rig = CHAINS[name]()

    assert (
        ChainWriter(rig.chain, rig.bindings, timed=rig.chain.needs_timestamps).lines
        == ChainWriter(rig.chain, rig.bindings, timed=rig.chain.needs_timestamps).lines
    )


@pytest.mark.parametrize("name", CHAINS)
def test_every_line_in_the_loop_belongs_to_an_operator(name: str) -> None:
    """Else an error there would have nobody to be blamed on."""
    rig = CHAINS[name]()
    lines = ChainWriter(rig.chain, rig.bindings, timed=rig.chain.needs_timestamps).lines

    assert {line.operator for line in lines if line.depth > 1} <= {node.name for node in rig.chain.nodes}


def test_stateful_operator_without_state_is_our_bug() -> None:
    """The builder gives every keyed head its state."""
    rig = CHAINS["count"]()
    rig.bindings.state = None

    with pytest.raises(InvariantError, match="head is not at the head of a keyed chain"):
        ChainWriter(rig.chain, rig.bindings, timed=rig.chain.needs_timestamps)
