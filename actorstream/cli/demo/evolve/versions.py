"""The program in two versions: the first tells refunds as payments.

bookings ──key_by account──> accounts ──> statements       version 1
bookings ──key_by account──> ledger x 3 ──> statements     version 2: mended, renamed, with one more field of state
"""

from __future__ import annotations

from dataclasses import dataclass
from os.path import join
from typing import TYPE_CHECKING

from actorstream.api.pipeline import Pipeline
from actorstream.cli.demo.evolve.bookings import Booking, Statement
from actorstream.eventlog.log import EventLog
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ValueState

if TYPE_CHECKING:
    from actorstream.operators.contexts import Context

PARALLELISM = {1: 1, 2: 3}


def bookings_log(folder: str) -> EventLog[Booking]:
    """Give the input."""
    return EventLog(Booking, join(folder, "bookings"), partitions=3, key=lambda booking: booking.account)


def statements_log(folder: str, name: str = "statements") -> EventLog[Statement]:
    """Give the output, or another one like it."""
    return EventLog(Statement, join(folder, name), partitions=3, key=lambda statement: statement.account)


@dataclass(frozen=True)
class Account:
    """What version 1 remembers of an account."""

    bookings: int = 0
    cents: int = 0


class Accounts(KeyedProcess[str, Booking, Statement]):
    """Version 1. Balances are right; what is told of a refund is not."""

    account: ValueState[Account] = ValueState(Account())

    def on_element(self, booking: Booking, ctx: Context[str], /) -> list[Statement]:
        """Tell of a booking."""
        balance = self.account.cents + booking.cents
        self.account = Account(self.account.bookings + 1, balance)
        return [Statement(booking.number, ctx.key, "payment", abs(booking.cents), balance)]


@dataclass(frozen=True)
class LedgerAccount:
    """What version 2 remembers: a field more, with a default for accounts from before."""

    bookings: int = 0
    cents: int = 0
    refunds: int = 0


class Ledger(KeyedProcess[str, Booking, Statement]):
    """Version 2."""

    account: ValueState[LedgerAccount] = ValueState(LedgerAccount())

    def on_element(self, booking: Booking, ctx: Context[str], /) -> list[Statement]:
        """Tell of a booking."""
        before, refund = self.account, booking.cents < 0
        balance = before.cents + booking.cents
        self.account = LedgerAccount(before.bookings + 1, balance, before.refunds + refund)
        return [Statement(booking.number, ctx.key, "refund" if refund else "payment", abs(booking.cents), balance)]


def version_1(folder: str) -> Pipeline:
    """Build the program with the bug."""
    pipeline = Pipeline("accounts")
    keyed = pipeline.source(bookings_log(folder), name="bookings").key_by(lambda booking: booking.account)
    keyed.process(Accounts, name="accounts").sink(statements_log(folder), name="statements")
    return pipeline


def version_2(folder: str) -> Pipeline:
    """Build it without."""
    pipeline = Pipeline("accounts")
    keyed = pipeline.source(bookings_log(folder), name="bookings").key_by(lambda booking: booking.account)
    keyed.process(Ledger, name="ledger").sink(statements_log(folder), name="statements")
    return pipeline
