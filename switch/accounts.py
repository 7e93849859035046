"""Customers' money in the switch: balances, what live calls hold of them, and today's spending.

The rules are `rating`'s; here they meet customers' records. Amounts are nano-units, tax in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rating.holding import hold_nanos, least_nanos
from rating.ledger import Ledger
from rating.quotes import Quote
from rating.spending import DaySpend
from switch.frames import Account as AccountFrame
from switch.records import AccountState
from switch.snapshot import Customer

SPEND_REACHED: Final = -2


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

    def hold(self, customer: Customer, call_id: str, sell: Quote, talk_s: int, now_ms: int) -> int:
        """Put money aside for a new call's first `talk_s`, or for as much of it as is left.

        Returns:
            The amount; -1 if not one increment is left, -2 if today's limit is reached.
        """
        if self.is_spent(customer, now_ms):
            return SPEND_REACHED
        wanted = hold_nanos(sell, talk_s)
        held = self.ledger.hold(customer.id, call_id, wanted, wanted)
        if held < 0:
            held = self.ledger.hold(customer.id, call_id, wanted, least_nanos(sell))
        return held

    def hold_inbound(self, customer: Customer, call_id: str, sell: Quote, talk_s: int, now_ms: int) -> int:
        """The same for a call to a customer's number: what costs nothing needs nothing, whatever is owed."""
        if hold_nanos(sell, talk_s) == 0:
            self.ledger.restore(customer.id, call_id, 0)
            return 0
        return self.hold(customer, call_id, sell, talk_s, now_ms)

    def would_hold(self, customer: Customer, sell: Quote, talk_s: int, now_ms: int) -> int:
        """What `hold` would answer, and nothing is put aside."""
        if self.is_spent(customer, now_ms):
            return SPEND_REACHED
        account = self.ledger.accounts.get(customer.id)
        left = 0 if account is None else account.available_nanos()
        wanted = hold_nanos(sell, talk_s)
        if wanted <= left:
            return wanted
        return left if left >= least_nanos(sell) and left > 0 else -1

    def would_hold_inbound(self, customer: Customer, sell: Quote, talk_s: int, now_ms: int) -> int:
        """What `hold_inbound` would answer, and nothing is put aside."""
        return 0 if hold_nanos(sell, talk_s) == 0 else self.would_hold(customer, sell, talk_s, now_ms)

    def settle(self, customer_id: int, call_id: str, charge_nanos: int, ended_ms: int) -> None:
        """A call is over: take what it cost, give back the rest of its hold."""
        self.ledger.settle(call_id, charge_nanos)
        if charge_nanos:
            day = self._days.get(customer_id)
            if day is not None:
                day.add(charge_nanos, ended_ms)

    def charge(self, customer_id: int, charge_nanos: int, ended_ms: int) -> None:
        """Take what a call cost whose hold was not brought back."""
        self.ledger.debit(customer_id, charge_nanos)
        day = self._days.get(customer_id)
        if day is not None and charge_nanos:
            day.add(charge_nanos, ended_ms)

    def is_spent(self, customer: Customer, now_ms: int) -> bool:
        """Whether today's limit is reached."""
        limit_nanos = customer.daily_spend_limit_nanos
        return limit_nanos is not None and self.spent_today(customer.id, now_ms) >= limit_nanos

    def spent_today(self, customer_id: int, now_ms: int) -> int:
        day = self._days.get(customer_id)
        return 0 if day is None else day.spent(now_ms)

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
