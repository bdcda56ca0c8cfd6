"""What is printed in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actorstream.cli.demo.comparison import Difference
from actorstream.cli.demo.drill import Drill, Kill, Order
from actorstream.cli.demo.outside import Checkpoint
from actorstream.cli.demo.report import facts, findings
from actorstream.cli.demo.verdict import Verdict
from actorstream.model.ids import CheckpointId

if TYPE_CHECKING:
    from pathlib import Path


def test_facts_say_what_was_measured(tmp_path: Path) -> None:
    drill = Drill(Order(str(tmp_path), rate=1_000, seconds=2, kills=2, seed=1))
    drill.feeder.appended = drill.committed = 2_000
    drill.fed_seconds, drill.elapsed = 2.0, 2.5
    drill.kills = [Kill(0.7, 1_500, 0.4), Kill(1.4, 20, 0.5)]
    for number, seconds in ((1, 0.010), (2, 0.030), (3, 0.020)):
        drill.checkpoints.seen[CheckpointId(number)] = Checkpoint(number, seconds, 2_048)
    assert list(facts(drill)) == [
        "records      2,000 payments appended in 2.0 s, 1,000 a second",
        "throughput   800 a second until all output was committed, 0.5 s after the last payment",
        "checkpoints  3: 20 ms at the median, 30 ms at most; 2 KiB of changed state at the median, 6 KiB in all",
        "kills        2 times SIGKILL, with 1,500 and 20 payments behind",
        "recovery     0.40 s, 0.50 s from the start of the process to its first new record",
    ]


def test_a_right_output_is_said_in_one_sentence() -> None:
    verdict = Verdict({"totals": 5, "alerts": 2}, {"totals": Difference(), "alerts": Difference()})
    assert verdict.right
    assert list(findings(verdict)) == [
        "lost         0",
        "doubled      0",
        "exactly once: 5 totals and 2 alerts, each the one that a plain loop gives",
    ]


def test_what_is_wrong_is_counted_and_shown() -> None:
    """A number alone would not help to find the bug."""
    totals = Difference(lost=[("a", 1), ("a", 2), ("a", 3), ("a", 4)], doubled=[("b", 1)], disordered=["c"])
    verdict = Verdict({"totals": 5}, {"totals": totals})
    assert not verdict.right
    assert list(findings(verdict)) == [
        "lost         4",
        "doubled      1",
        "wrong        1",
        "  totals, lost: ('a', 1), ('a', 2), ('a', 3) and 1 more",
        "  totals, doubled: ('b', 1)",
        "  totals, out of order: 'c'",
        "NOT exactly once: expected 5 totals, each once and in its card's order",
    ]
