"""Customers' money in the switch: balances, what live calls hold of them, and today's spending.

The rules are `rating`'s; here they meet customers' records. Amounts are nano-units, tax in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rating.ledger import Ledger
from rating.spending import DaySpend
from switch.frames import Account as AccountFrame
from switch.records import AccountState
from switch.snapshot import Customer


class Accounts:
    """All accounts of one switch; it has none that can be used before balances came."""

    def __init__(self) -> None:
        self.ledger: Ledger = Ledger()
        self.has_balances: bool = False
        """Whether balances are known: from the journal, from the control plane, or from a file."""
        self._days: dict[int, DaySpend] = {}
        """By customer, those with a limit on a day's spending, or that spent something."""

    def follow(self, customers: Iterable[Customer]) -> None:
        """Take limits and time zones of records that are new or changed."""
        for customer in customers:
            self.ledger.open(customer.id, 0, customer.debit_limit_nanos)
            day = self._days.get(customer.id)
            if day is None:
                self._days[customer.id] = DaySpend(customer.time_zone)
            else:
                day.move(customer.time_zone)

    def put(self, entry_id: int, states: Iterable[AccountState]) -> None:
        """Take balances as they are written, in place of what is here; holds and limits stay."""
        ledger = self.ledger
        ledger.entry_id = entry_id
        for account in ledger.accounts.values():
            account.balance_nanos = 0
        for state in states:
            ledger.open(state.customer_id).balance_nanos = state.balance_nanos
            day = self._days.get(state.customer_id)
            time_zone = "UTC" if day is None else day.time_zone
            self._days[state.customer_id] = DaySpend(time_zone, state.spent_day, state.spent_nanos)
        self.has_balances = True

    def states(self) -> tuple[AccountState, ...]:
        """All that a checkpoint keeps."""
        found: list[AccountState] = []
        for account in self.ledger.accounts.values():
            day = self._days.get(account.id)
            if day is None:
                found.append(AccountState(account.id, account.balance_nanos))
            else:
                found.append(AccountState(account.id, account.balance_nanos, day.day, day.spent_nanos))
        return tuple(found)

    def spent_today(self, customer_id: int, now_ms: int) -> int:
        day = self._days.get(customer_id)
        return 0 if day is None else day.spent(now_ms)

    def note_spent(self, customer_id: int, amount_nanos: int, now_ms: int) -> None:
        day = self._days.get(customer_id)
        if day is not None:
            day.add(amount_nanos, now_ms)

    def read(self, customer_ids: Sequence[int] | None, now_ms: int) -> list[AccountFrame]:
        """As the control plane shows them."""
        accounts = self.ledger.accounts
        found: list[AccountFrame] = []
        for customer_id in list(accounts) if customer_ids is None else customer_ids:
            account = accounts.get(customer_id)
            if account is not None:
                found.append(
                    AccountFrame(
                        customer_id=customer_id,
                        balance_nanos=account.balance_nanos,
                        held_nanos=account.held_nanos,
                        available_nanos=account.available_nanos(),
                        spent_today_nanos=self.spent_today(customer_id, now_ms),
                        holds=len(account.holds),
                    )
                )
        return found
