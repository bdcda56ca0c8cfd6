"""A decoder that is added later is not forgotten."""

from __future__ import annotations

from pathlib import Path

import actorstream
from tests.fuzz.registry import DECODERS, MODULES, PRIMITIVES

ROOT = Path(actorstream.__file__).parent


def test_every_module_that_takes_bytes_or_text_apart_is_fuzzed_or_says_why_not() -> None:
    """Put a new one into MODULES, and the decoder that leads through it beside the others."""
    found = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if PRIMITIVES.search(path.read_text())}
    assert found == MODULES.keys()


def test_every_decoder_is_named_once_and_leads_through_some_module() -> None:
    names = [decoder.name for decoder in DECODERS]
    used = {name for given in MODULES.values() if isinstance(given, set) for name in given}
    assert sorted(names) == sorted(set(names))
    assert used - set(names) == set()
    assert set(names) - used <= {"positions", "schemas", "first entry of a layer"}
