"""`actorstream describe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

APP = """
from actorstream import Pipeline

pipeline = Pipeline("words")
pipeline.source(["a b"], name="lines").flat_map(str.split).key_by(lambda w: w).count(name="counts").sink(print)
"""


def test_text_names_chains_and_guarantees(shell: Shell) -> None:
    """What one asks before trusting a pipeline with data."""
    shell.write("drawn_a.py", APP)
    outcome = shell("describe", "drawn_a:pipeline")
    assert outcome.status == 0
    assert outcome.out.startswith("pipeline words")
    assert "at least once" in outcome.out
    assert "replayable" in outcome.out


def test_mermaid_is_a_flowchart(shell: Shell) -> None:
    shell.write("drawn_b.py", APP)
    outcome = shell("describe", "drawn_b:pipeline", "--format", "mermaid")
    assert outcome.status == 0
    assert "flowchart LR" in outcome.out


def test_another_format_is_refused(shell: Shell) -> None:
    shell.write("drawn_c.py", APP)
    outcome = shell("describe", "drawn_c:pipeline", "--format", "png")
    assert outcome.status == 2
    assert "mermaid" in outcome.err
