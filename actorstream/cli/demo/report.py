"""What the demo has to say in the end: facts of the run, then the verdict."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.cli.demo.comparison import Difference
    from actorstream.cli.demo.drill import Drill
    from actorstream.cli.demo.verdict import Verdict

_SHOWN = 3


def facts(drill: Drill) -> Iterator[str]:
    """Give a line for each thing that was measured."""
    appended, fed = drill.feeder.appended, drill.fed_seconds or drill.elapsed
    yield _line("records", f"{appended:,} payments appended in {fed:.1f} s, {appended / fed:,.0f} a second")
    tail = drill.elapsed - fed
    speed = drill.committed / drill.elapsed
    yield _line(
        "throughput", f"{speed:,.0f} a second until all output was committed, {tail:.1f} s after the last payment"
    )
    yield _line("checkpoints", _checkpoints(drill))
    behind = " and ".join(f"{kill.behind:,}" for kill in drill.kills)
    yield _line("kills", f"{len(drill.kills)} times SIGKILL" + (f", with {behind} payments behind" if behind else ""))
    back = [f"{kill.recovery_seconds:.2f} s" for kill in drill.kills if kill.recovery_seconds is not None]
    if back:
        yield _line("recovery", f"{', '.join(back)} from the start of the process to its first new record")


def findings(verdict: Verdict) -> Iterator[str]:
    """Give the verdict."""
    yield _line("lost", f"{verdict.lost:,}")
    yield _line("doubled", f"{verdict.doubled:,}")
    if verdict.wrong:
        yield _line("wrong", f"{verdict.wrong:,}")
    for name, difference in verdict.differences.items():
        yield from _examples(name, difference)
    counted = " and ".join(f"{count:,} {name}" for name, count in verdict.expected.items())
    if verdict.right:
        yield f"exactly once: {counted}, each the one that a plain loop gives"
    else:
        yield f"NOT exactly once: expected {counted}, each once and in its card's order"


def _checkpoints(drill: Drill) -> str:
    seen = list(drill.checkpoints.seen.values())
    if not seen:
        return "0"
    seconds = [checkpoint.seconds for checkpoint in seen]
    sizes = [checkpoint.new_bytes for checkpoint in seen]
    return (
        f"{len(seen)}: {median(seconds) * 1000:.0f} ms at the median, {max(seconds) * 1000:.0f} ms at most; "
        f"{median(sizes) / 1024:,.0f} KiB of changed state at the median, {sum(sizes) / 1024:,.0f} KiB in all"
    )


def _examples(name: str, difference: Difference) -> Iterator[str]:
    for what, found in (
        ("lost", difference.lost),
        ("doubled", difference.doubled),
        ("wrong", difference.wrong),
        ("out of order", difference.disordered),
    ):
        if found:
            more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
            yield f"  {name}, {what}: {', '.join(map(repr, found[:_SHOWN]))}{more}"


def _line(name: str, text: str) -> str:
    return f"{name:<13}{text}"
