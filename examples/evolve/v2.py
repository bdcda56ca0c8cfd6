"""The same without the bug: the operator has a better name, and its state a field more."""

from dataclasses import dataclass

from v1 import Booking, Statement, bookings, statements

from actorstream import Context, KeyedProcess, Pipeline, ValueState


@dataclass(frozen=True)
class Account:
    bookings: int = 0
    cents: int = 0
    refunds: int = 0  # new: accounts from before have the default


class Ledger(KeyedProcess[str, Booking, Statement]):
    account: ValueState[Account] = ValueState(Account())

    def on_element(self, booking: Booking, ctx: Context[str]) -> list[Statement]:
        before, refund = self.account, booking.cents < 0
        balance = before.cents + booking.cents
        self.account = Account(before.bookings + 1, balance, before.refunds + refund)
        return [Statement(booking.number, ctx.key, "refund" if refund else "payment", balance)]


bank = Pipeline("bank")
by_account = bank.source(bookings, name="bookings").key_by(lambda booking: booking.account)
by_account.process(Ledger, name="ledger").sink(statements, name="statements")
