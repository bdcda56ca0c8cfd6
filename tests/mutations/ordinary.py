"""Every small change of a room is tried: a plugin of pytest for mutmut's mutants, collected once, forked for each.

    .ci/mutmut ──> mutmut writes all mutants of each function beside it, to be chosen by an environment variable
                     │
    collect ─────────┤  which functions run already now? (a test module that makes an object when imported)
    one clean run ───┤  in a fork: how long is each test, and which functions does it reach?
    a fork each ─────┤  the tests that reach the function, quickest first, until one fails
    one more ────────┤  for what the quick ones let live: the slow ones
    a process each ──┘  only what survived in functions that run while tests are collected: there with the mutant
                        on from the very start, as one that is switched on later comes too late for such objects

mutmut's own runner collects the tests again for every mutant, and cannot try what runs at import: this takes a tenth of
a second where that took one or two, and leaves no false survivor. Hypothesis does not shrink here: all that is asked is
whether a test fails.

Environment: MUTANTS, a file of names; TRIED, the file that gets a line `verdict name seconds test` for each (a name
that is in it is not tried again); MUTANT_UNDER_TEST, which we set for a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

SURVIVED, KILLED, BROKEN = 0, 1, 3
MEMORY_BYTES_MAX = 1_500_000_000
SECONDS_MORE, TIMES_AS_SLOW = 4, 4
"""A test may take so much more processor time than without a mutant."""
QUICK_SECONDS_MAX = 0.1
ALONE_SECONDS_MAX = 600
SECONDS = Path("seconds.json")  # of each test, in the clean run

STARTED_WITH = os.environ.setdefault("MUTANT_UNDER_TEST", "stats")


def pytest_configure() -> None:
    settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    settings.load_profile("mutants")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With a mutant on from the start, quickest first: `-x` ends it soon."""
    if STARTED_WITH != "stats":
        seconds = json.loads(SECONDS.read_text())
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    if STARTED_WITH != "stats" or session.testsfailed:
        return None
    at_import = frozenset(_reached())
    seconds, tests_of = _clean_run(session.items)
    unchanged = _forked("nothing.x__mutmut_0", _quickest_first(session.items, seconds), seconds)
    if unchanged[0] != "survived":
        raise RuntimeError(f"with nothing changed, quickest first: {unchanged}")
    _say(f"{len(session.items)} tests of {sum(seconds.values()):.1f} s; at import {len(at_import)} functions run")
    tried = Path(os.environ["TRIED"])
    done = {line.split()[1] for line in tried.read_text().splitlines()} if tried.exists() else set()
    names = [name for name in Path(os.environ["MUTANTS"]).read_text().split() if name not in done]
    with tried.open("a", buffering=1) as out:
        rounds: dict[str, Callable[[str], tuple[str, str]]] = {
            "the quick tests": lambda name: _by_tests(name, seconds, tests_of, slow=False),
            "the slow ones": lambda name: _by_tests(name, seconds, tests_of, slow=True),
            "what is on from the start": lambda name: _from_the_start(name, session.config.args, at_import),
        }
        for what, attempt in rounds.items():
            _say(f"{len(names)} mutants for {what}")
            survivors = []
            for name in names:
                began = time.perf_counter()
                verdict, by = attempt(name)
                if verdict == "survived":
                    survivors.append(name)
                else:
                    out.write(f"{verdict} {name} {time.perf_counter() - began:.2f} {by}\n")
            names = survivors
            Path("left").write_text("\n".join(names))
        for name in names:
            reached = name.partition("__mutmut_")[0] in tests_of.keys() | at_import
            out.write(f"{'survived' if reached else 'no_test'} {name} 0 -\n")
    return True


def _say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _quickest_first(items: Sequence[pytest.Item], seconds: Mapping[str, float]) -> list[pytest.Item]:
    return sorted(items, key=lambda item: seconds[item.nodeid])


def _reached() -> set[str]:
    """What was called since this was asked last, by mutmut's names."""
    reached: set[str] = import_module("mutmut.state").state()._stats  # only the environment of .ci/mutmut has it
    since = set(reached)
    reached.clear()
    return since


def _fails(item: pytest.Item, after: pytest.Item | None) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=after))


def _clean_run(items: Sequence[pytest.Item]) -> tuple[dict[str, float], dict[str, list[pytest.Item]]]:
    """Give the seconds of each test and the tests of each function; without a mutant all must pass."""
    failed, measured = Path("failed"), Path("measured.json")

    def measure() -> int:
        told: list[tuple[float, list[str]]] = []
        for item, after in zip(items, [*items[1:], None], strict=True):
            failed.write_text(item.nodeid)
            _reached()
            began = time.process_time()
            if _fails(item, after):
                return KILLED
            told.append((time.process_time() - began, sorted(_reached())))
        measured.write_text(json.dumps(told))
        return SURVIVED

    if status := _fork("stats", measure):
        raise RuntimeError(f"without a mutant, {status}: {failed.read_text()}")
    seconds: dict[str, float] = {}
    tests_of: dict[str, list[pytest.Item]] = {}
    for item, (took, functions) in zip(items, json.loads(measured.read_text()), strict=True):
        seconds[item.nodeid] = took
        for function in functions:
            tests_of.setdefault(function, []).append(item)
    SECONDS.write_text(json.dumps(seconds))
    return seconds, tests_of


def _by_tests(
    name: str, seconds: Mapping[str, float], tests_of: Mapping[str, Sequence[pytest.Item]], *, slow: bool
) -> tuple[str, str]:
    """Try the quick or the slow ones of the tests that reach the function."""
    tests = tests_of.get(name.partition("__mutmut_")[0], ())
    chosen = [item for item in tests if (seconds[item.nodeid] > QUICK_SECONDS_MAX) == slow]
    return _forked(name, _quickest_first(chosen, seconds), seconds)


def _forked(name: str, tests: Sequence[pytest.Item], seconds: Mapping[str, float]) -> tuple[str, str]:
    """Give the verdict, and the test that failed."""
    if not tests:
        return "survived", "-"
    current = Path("current")

    def run() -> int:
        for item, after in zip(tests, [*tests[1:], None], strict=True):
            current.write_text(item.nodeid)
            _allow(SECONDS_MORE + round(TIMES_AS_SLOW * seconds[item.nodeid]))
            if _fails(item, after):
                return KILLED
        return SURVIVED

    status = _fork(name, run)
    return (status, current.read_text().replace(" ", "_")) if status else ("survived", "-")


def _allow(seconds: int) -> None:
    """Have this process killed when it has used so many seconds of processor time more, or waited far longer."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (round(usage.ru_utime + usage.ru_stime) + seconds, resource.RLIM_INFINITY))
    signal.alarm(60 + 10 * seconds)


def _fork(mutant: str, run: Callable[[], int]) -> str:
    """Give "" where `run` gave SURVIVED, else "killed", "too_slow", or "broken" where it was no test that failed.

    What it takes of memory is bounded.
    """
    child = os.fork()
    if not child:
        status = BROKEN
        with suppress(BaseException):
            os.environ["MUTANT_UNDER_TEST"] = mutant
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
            status = run()
        os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code in {-signal.SIGXCPU, -signal.SIGALRM}:
        return "too_slow"
    return {SURVIVED: "", KILLED: "killed"}.get(code, "broken")


def _from_the_start(name: str, tests: Sequence[str], at_import: frozenset[str]) -> tuple[str, str]:
    """Try one of a function that runs while tests are collected in a process of its own."""
    if name.partition("__mutmut_")[0] not in at_import:
        return "survived", "-"
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", __name__, "-p", "no:cacheprovider", "-W", "default"]
    try:
        ended = subprocess.run(
            [*command, *tests],
            env=os.environ | {"MUTANT_UNDER_TEST": name},
            capture_output=True,
            text=True,
            check=False,
            timeout=ALONE_SECONDS_MAX,
        )
    except subprocess.TimeoutExpired:
        return "too_slow", "from_the_start"
    failed = [line.split(" - ")[0] for line in ended.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    by = failed[0].partition(" ")[2].replace(" ", "_") if failed else f"exit_{ended.returncode}"
    return ("killed", f"{by},_from_the_start") if ended.returncode else ("survived", "-")
