"""Statements of accounts, with a bug: a refund is told as a payment."""

from dataclasses import dataclass

from actorstream import Context, EventLog, KeyedProcess, Pipeline, ValueState


@dataclass(frozen=True)
class Booking:
    number: int
    account: str
    cents: int  # below 0: a refund


@dataclass(frozen=True)
class Statement:
    booking: int
    account: str
    kind: str
    balance: int


@dataclass(frozen=True)
class Account:
    bookings: int = 0
    cents: int = 0


class Accounts(KeyedProcess[str, Booking, Statement]):
    account: ValueState[Account] = ValueState(Account())

    def on_element(self, booking: Booking, ctx: Context[str]) -> list[Statement]:
        balance = self.account.cents + booking.cents
        self.account = Account(self.account.bookings + 1, balance)
        return [Statement(booking.number, ctx.key, "payment", balance)]


bookings = EventLog(Booking, "bookings", partitions=2, key=lambda booking: booking.account)
statements = EventLog(Statement, "statements", partitions=2, key=lambda statement: statement.account)

bank = Pipeline("bank")
by_account = bank.source(bookings, name="bookings").key_by(lambda booking: booking.account)
by_account.process(Accounts, name="accounts").sink(statements, name="statements")
