"""`actorstream log`: JSON lines in and out of an event log."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import pytest

from actorstream import Failure
from actorstream.eventlog.log import EventLog
from tests.cli.conftest import Outcome

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

TYPES = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Click:
    user: str
    page: str
"""


def pipe(shell: Shell, text: str, *arguments: str) -> Outcome:
    """Run a command with `text` as its input."""
    process = shell.process(*arguments)
    out, err = process.communicate(text, timeout=20)
    return Outcome(process.returncode, out, err)


def test_what_was_appended_comes_out_again(shell: Shell) -> None:
    """Line for line: so `cat a | append b` copies a log."""
    outcome = pipe(shell, '{"a":1}\n[2,"x"]\nnull', "log", "append", "l")
    assert (outcome.status, outcome.err) == (0, "3 records appended to l\n")
    assert shell("log", "cat", "l").out == '{"a":1}\n[2,"x"]\nnull\n'


def test_a_bad_line_stops_the_append_and_keeps_what_came_before(shell: Shell) -> None:
    outcome = pipe(shell, "1\n2\n{bad\n4\n", "log", "append", "l")
    assert outcome.status == 1
    assert outcome.err.startswith("actorstream: CodecError: line 3 is no JSON")
    assert shell("log", "cat", "l").out == "1\n2\n"


def test_records_of_a_key_go_to_one_partition(shell: Shell) -> None:
    text = "".join(f'{{"user":"{user}","n":{n}}}\n' for n in range(10) for user in "abcdefgh")
    assert pipe(shell, text, "log", "append", "l", "--partitions", "4", "--key", "user").status == 0
    rows = [json.loads(line) for line in shell("log", "cat", "l", "--positions").out.splitlines()]
    places = {(row["value"]["user"], row["partition"]) for row in rows}
    assert len(places) == 8
    assert len({partition for _, partition in places}) > 1


def test_a_typed_log_takes_lines_of_its_type_only(shell: Shell) -> None:
    """Bytes of another shape would be found by the job that reads them, too late."""
    shell.write("clicks_types.py", TYPES)
    typed = pipe(shell, '{"page":"/","user":"ann"}\n', "log", "append", "clicks", "--type", "clicks_types:Click")
    assert typed.status == 0
    assert shell("log", "cat", "clicks").out == '{"user":"ann","page":"/"}\n'
    untyped = pipe(shell, '{"user":"bob","page":"/"}\n', "log", "append", "clicks")
    assert untyped.status == 1
    assert "the log holds records of another type" in untyped.err


def test_tail_gives_the_last_records_of_each_partition(shell: Shell) -> None:
    append(shell, list(range(20)))
    assert shell("log", "tail", "l", "-n", "3").out == "17\n18\n19\n"
    assert shell("log", "tail", "l", "-n", "100").out.count("\n") == 20
    assert shell("log", "tail", "l", "-n", "0").out == ""


def test_tail_follows_until_interrupted(shell: Shell) -> None:
    """Records of another process appear as they are committed."""
    append(shell, [1, 2])
    process = shell.process("log", "tail", "l", "-n", "1", "--follow")
    assert process.stdout is not None
    assert process.stdout.readline() == "2\n"
    append(shell, [3])
    assert process.stdout.readline() == "3\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_positions_say_where_and_when(shell: Shell) -> None:
    append(shell, ["x"])
    row = json.loads(shell("log", "cat", "l", "--positions").out)
    assert (row["partition"], row["offset"], row["value"]) == (0, 0, "x")
    assert row["timestamp"].endswith("+00:00")


def test_info_counts_records_by_partition(shell: Shell) -> None:
    append(shell, [1, 2, 3])
    outcome = shell("log", "info", "l")
    assert "3 records, " in outcome.out
    assert outcome.out.splitlines()[-1].split() == ["0", "0", "3", "3"]


def test_consumers_are_listed_and_dropped(shell: Shell) -> None:
    """A job that never comes back holds retention up: somebody must be able to see and say so."""

    async def register() -> None:
        async with EventLog(object, shell.folder / "l") as log:
            await log.extend([1, 2])
            await log.register_consumer("job-1", "/stores/one", {0: 1})

    asyncio.run(register())
    listed = shell("log", "consumers", "l").out.splitlines()
    assert listed[1].split()[0] == "job-1"
    assert listed[1].split()[-1] == "/stores/one"
    assert shell("log", "consumers", "l", "--drop", "job-1").status == 0
    assert len(shell("log", "consumers", "l").out.splitlines()) == 1
    gone = shell("log", "consumers", "l", "--drop", "job-1")
    assert gone.status == 1
    assert "has no consumer 'job-1'" in gone.err


@pytest.mark.parametrize("command", ["cat", "tail", "info", "consumers"])
def test_reading_never_makes_a_log(shell: Shell, command: str) -> None:
    """A misspelt path is an error, not an empty log."""
    outcome = shell("log", command, "nowhere")
    assert outcome.status == 1
    assert "holds no event log" in outcome.err
    assert not (shell.folder / "nowhere").exists()


def append(shell: Shell, values: list[object]) -> None:
    async def extend() -> None:
        async with EventLog(object, shell.folder / "l") as log:
            await log.extend(values)

    asyncio.run(extend())


def test_records_of_failures_are_sent_again_once(shell: Shell) -> None:
    """`actorstream log resend`: the second call sends nothing."""

    async def write() -> None:
        async with EventLog(Failure[object], shell.folder / "dead") as dead:
            await dead.extend([Failure({"n": n}, ("even", "odd")[n % 2], "ValueError: n", "") for n in range(4)])

    asyncio.run(write())
    first = shell("log", "resend", "dead", "l", "--operator", "odd")
    assert (first.status, first.out) == (0, "2 records sent again, 0 had been before, 0 letters have none\n")
    assert shell("log", "resend", "dead", "l").out.startswith("2 records sent again, 2 had been before")
    assert sorted(shell("log", "cat", "l").out.split()) == [f'{{"n":{n}}}' for n in range(4)]
