"""What becomes of an error: a Failure that can be stored, or the end of the job."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import EventLog, Failure
from actorstream.errors import (
    CodecError,
    InvariantError,
    MissingTimestampError,
    StateAccessError,
    StoreError,
    TimestampError,
)
from actorstream.operators.failures import DeadLetters, is_of_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Order:
    """A record of a user's."""

    id: str
    amount: int


class OddError(Exception):
    """An error of the user's own."""

    def __str__(self) -> str:
        """Fail, too."""
        raise ValueError("no text")


def letters(position: tuple[str, object] | None = ("orders-0", 41)) -> DeadLetters:
    """Give what writes the failures of an operator."""
    return DeadLetters("price", 2, lambda: position)


def raised(fn: Callable[[], object]) -> Exception:
    """Give the error of a call, with its traceback."""
    try:
        fn()
    except Exception as error:  # noqa: BLE001  (whatever it is)
        return error
    raise AssertionError("it did not raise")


def failure_of(fn: Callable[[], object], value: object = None) -> Failure[Any]:
    """Give what is written of a call that raises."""
    return letters().write(raised(fn), value)


def test_a_failure_says_what_failed_where_and_why() -> None:
    """What one needs to look for the cause, and to send the record again."""
    order = Order("a", 1)
    at = datetime(2026, 11, 23, tzinfo=UTC)

    found = letters().write(raised(lambda: int("x")), order, int(at.timestamp()) * 1_000_000, "customer")

    assert found._replace(traceback="") == Failure(
        value=order,
        operator="price",
        error="ValueError: invalid literal for int() with base 10: 'x'",
        traceback="",
        attempts=1,
        subtask=2,
        position=("orders-0", 41),
        key="customer",
        timestamp=at,
        timer=None,
    )
    assert found.error_type == "ValueError"
    assert found.traceback.startswith("Traceback (most recent call last):\n")
    assert found.traceback.endswith(f"{found.error}\n")
    assert "test_failures.py" in found.traceback


def test_dead_letters_are_counted() -> None:
    """Metrics show it; those that failed the job are none."""
    writer = letters(None)

    writer.write(ValueError("bad"), 1)
    with pytest.raises(InvariantError):
        writer.write(InvariantError("ours"), 1)

    assert writer.written == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("bad"), True),
        (KeyError("bad"), True),
        (StopIteration(), True),
        (RecursionError("deep"), True),
        (TimeoutError(), True),
        (ExceptionGroup("several", [ValueError("bad")]), True),
        (MissingTimestampError("its source gives none"), True),
        (TimestampError("it is None"), True),
        (StateAccessError("there is no key"), False),
        (InvariantError("ours"), False),
        (StoreError("the disk"), False),
        (CodecError("damaged"), False),
        (MemoryError(), False),
        (asyncio.CancelledError(), False),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
    ],
)
def test_which_errors_are_a_record_s(error: BaseException, expected: bool) -> None:
    """A dead letter hides what it is made of: where the program or the disk is at fault, the job has to fail."""
    assert is_of_record(error) is expected


def test_an_error_that_is_no_record_s_is_raised_again() -> None:
    """It is the same error: who looks for its kind finds it."""
    error = StateAccessError("there is no key")

    with pytest.raises(StateAccessError) as caught:
        letters().write(error, 1)

    assert caught.value is error


def test_type_and_message_are_told_whatever_they_are() -> None:
    """Whoever made the error, its letter is written: a broken message, none, a SyntaxError's own form, notes."""
    odd = failure_of(lambda: (_ for _ in ()).throw(OddError()))
    assert odd.error_type == f"{__name__}.OddError"
    assert failure_of(lambda: (_ for _ in ()).throw(ValueError())).error == "ValueError"
    syntax = failure_of(lambda: compile("1 +", "<record>", "eval"))
    assert syntax.error == "SyntaxError: invalid syntax"
    noted = ValueError("bad")
    noted.add_note("of the user's")
    assert letters().write(noted, 1).error == "ValueError: bad\nof the user's"


def test_long_texts_are_cut_and_halves_of_characters_are_spelt_out() -> None:
    """A letter must not be too large for a log, nor text that cannot be encoded."""
    long = failure_of(lambda: (_ for _ in ()).throw(ValueError("x" * 1_000_000)))
    assert len(long.error) < 2_100
    assert len(long.traceback) < 8_100
    assert "characters are left out" in long.error
    half = failure_of(lambda: (_ for _ in ()).throw(ValueError("\ud800")))
    assert half.error == "ValueError: \\ud800"


async def test_a_log_of_failures_gives_the_record_back_typed(tmp_path: Path) -> None:
    """`EventLog(Failure[Order], path)`: what is read from it can be sent again."""
    order = failure_of(lambda: int("x"), Order("a", 7))._replace(key=("de", 7), timestamp=datetime.now(UTC))
    timer = failure_of(lambda: int("x"))._replace(timer="idle", position=None)
    async with EventLog(Failure[Order], tmp_path / "dead") as log:
        await log.extend([order, timer])

    async with EventLog(Failure[Order], tmp_path / "dead") as log:
        found = [each.value async for each in log.records(stop="now")]

    assert found == [order, timer]
    assert type(found[0].value) is Order


async def test_a_log_of_failures_takes_records_of_its_type_only(tmp_path: Path) -> None:
    """As every log does."""
    async with EventLog(Failure[Order], tmp_path / "dead") as log:
        with pytest.raises(CodecError, match=r"value.value is .* expected Order"):
            await log.append(failure_of(lambda: int("x"), "a text"))
