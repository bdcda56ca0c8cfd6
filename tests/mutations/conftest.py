"""A table at the end: which bug was found by what, after how many tries, in how many seconds of processor time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest import TerminalReporter  # noqa: PT013  (a type only)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print it, if bugs were hunted; under xdist the rows come with the reports."""
    rows = sorted(
        value
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "mutant"
    )
    if not rows:
        return
    areas = {area for area, *_ in rows}
    survivors = len(terminalreporter.getreports("failed"))
    terminalreporter.section(f"{len(rows)} bugs in {len(areas)} areas found, {survivors} not")
    for area, name, by, tries, seconds in rows:
        terminalreporter.write_line(f"{area:<12} {name:<88} {tries:>13} {seconds:7.2f} s   {by}")
    terminalreporter.write_line(f"{'in all':<115} {sum(row[-1] for row in rows):7.2f} s")
