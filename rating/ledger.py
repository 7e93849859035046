"""Balances and holds: money moves in two steps, and never below its limit.

A call first holds what its next stretch of talk can cost, then settles what it did cost, or lets
the hold go. What is held cannot be held again, so the charges of any number of calls at once never
pass balance + debit limit. All amounts are nano-units, tax in. Every operation carries an id and
does nothing the second time, so that a replay may repeat it.
"""

from __future__ import annotations

from typing import Final

SETTLED_REMEMBERED_MAX: Final = 65_536
"""Ids of holds that are over, kept to recognise a repeated settlement; the oldest half goes first."""


class LedgerError(Exception):
    """An invariant would break: a bug of ours, never a peer's or customer's doing."""


class Hold:
    """What one call has put aside, from its account's balance."""

    __slots__ = ("account", "amount_nanos", "id")

    def __init__(self, hold_id: str, account: Account, amount_nanos: int) -> None:
        self.id: str = hold_id
        self.account: Account = account
        self.amount_nanos: int = amount_nanos


class Account:
    """One customer's money.

    `balance_nanos` is what entries add up to; `held_nanos` what its live calls hold of it.
    """

    __slots__ = ("balance_nanos", "debit_limit_nanos", "held_nanos", "holds", "id")

    def __init__(self, account_id: int, balance_nanos: int = 0, debit_limit_nanos: int = 0) -> None:
        self.id: int = account_id
        self.balance_nanos: int = balance_nanos
        self.debit_limit_nanos: int = debit_limit_nanos
        """How far below zero the balance may go; negative: a buffer that must stay above it."""
        self.held_nanos: int = 0
        self.holds: dict[str, Hold] = {}

    def available_nanos(self) -> int:
        """What calls may still hold; below zero where the limit was lowered, or a fee was debited."""
        return self.balance_nanos + self.debit_limit_nanos - self.held_nanos


class Ledger:
    """All accounts. `hold`, `extend`, `settle`, `release` are a call's; `credit` is everybody else's."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self._holds: dict[str, Hold] = {}
        self._over: dict[str, int] = {}
        """Holds that are over and what they were settled for, oldest first."""
        self.entry_id: int = 0
        """The highest credit that is in the balances; they come in order of their ids."""

    def open(self, account_id: int, balance_nanos: int = 0, debit_limit_nanos: int | None = None) -> Account:
        """The account of that id, made with this balance if it is not there yet.

        Args:
            debit_limit_nanos: from now on; None leaves it as it is, 0 for a new account.
        """
        account = self.accounts.get(account_id)
        if account is None:
            account = self.accounts[account_id] = Account(account_id, balance_nanos)
        if debit_limit_nanos is not None:
            account.debit_limit_nanos = debit_limit_nanos
        return account

    def hold(self, account_id: int, hold_id: str, wanted_nanos: int, least_nanos: int) -> int:
        """Put aside `wanted_nanos`, or what is left of it, but not under `least_nanos`.

        Returns:
            The amount held; -1 if not even the least is there (nothing has changed then). A hold
            that exists already keeps its amount.
        Raises:
            LedgerError: no such account, negative amounts, or the hold is over already.
        """
        if wanted_nanos < 0 or least_nanos < 0 or least_nanos > wanted_nanos:
            raise LedgerError(f"hold {hold_id}: {least_nanos} to {wanted_nanos}")
        known = self._holds.get(hold_id)
        if known is not None:
            return known.amount_nanos
        if hold_id in self._over:
            raise LedgerError(f"hold {hold_id} is over")
        account = self._account(account_id)
        amount = self._affordable(account, wanted_nanos, least_nanos)
        if amount < 0:
            return -1
        hold = Hold(hold_id, account, amount)
        self._holds[hold_id] = hold
        account.holds[hold_id] = hold
        account.held_nanos += amount
        return amount

    def restore(self, account_id: int, hold_id: str, amount_nanos: int) -> None:
        """A hold from before a restart: it stands, whatever the account has by now.

        Raises:
            LedgerError: it is there already, or over.
        """
        if hold_id in self._holds or hold_id in self._over:
            raise LedgerError(f"hold {hold_id} is known")
        account = self.open(account_id)
        hold = Hold(hold_id, account, amount_nanos)
        self._holds[hold_id] = hold
        account.holds[hold_id] = hold
        account.held_nanos += amount_nanos

    def extend(self, hold_id: str, total_nanos: int, least_nanos: int) -> int:
        """Bring a hold up to `total_nanos`, or as near as the account allows.

        Args:
            total_nanos: the whole hold after it, not what is added: so a repeat changes nothing.
            least_nanos: a whole hold under this is not worth having.
        Returns:
            What the hold is now; -1 if it could not grow to the least (it stays as it was).
        Raises:
            LedgerError: no such hold.
        """
        hold = self._live(hold_id)
        if total_nanos <= hold.amount_nanos:
            return hold.amount_nanos
        account = hold.account
        missing = total_nanos - hold.amount_nanos
        added = self._affordable(account, missing, max(0, least_nanos - hold.amount_nanos))
        if added < 0:
            return -1
        hold.amount_nanos += added
        account.held_nanos += added
        return hold.amount_nanos

    def settle(self, hold_id: str, charge_nanos: int) -> int:
        """End a hold and debit what the call cost, which is never more than was held.

        Returns:
            What was debited: `charge_nanos`. The second time, what it was the first time.
        Raises:
            LedgerError: the charge passes the hold, is negative, or there never was such a hold.
        """
        settled = self._over.get(hold_id)
        if settled is not None:
            return settled
        hold = self._live(hold_id)
        if charge_nanos < 0 or charge_nanos > hold.amount_nanos:
            raise LedgerError(f"hold {hold_id}: a charge of {charge_nanos} on {hold.amount_nanos} held")
        account = hold.account
        account.held_nanos -= hold.amount_nanos
        account.balance_nanos -= charge_nanos
        del account.holds[hold_id]
        del self._holds[hold_id]
        self._remember(hold_id, charge_nanos)
        return charge_nanos

    def release(self, hold_id: str) -> None:
        """End a hold for nothing. A hold that is over already, or never was, changes nothing."""
        if hold_id in self._holds:
            self.settle(hold_id, 0)

    def credit(self, account_id: int, entry_id: int, amount_nanos: int) -> bool:
        """Book a payment (positive) or a fee, correction or reversal (negative), once.

        An account that is not there yet is opened with a debit limit of 0.

        Args:
            entry_id: above that of every entry before it.
        Returns:
            Whether it was booked now; False if it stood already.
        """
        if entry_id <= self.entry_id:
            return False
        self.entry_id = entry_id
        self.open(account_id).balance_nanos += amount_nanos
        return True

    def debit(self, account_id: int, amount_nanos: int) -> None:
        """Charge without a hold: what a replay finds settled whose hold it has not seen. Never idempotent."""
        self.open(account_id).balance_nanos -= amount_nanos

    def held(self, hold_id: str) -> int:
        """What a hold amounts to; 0 where there is none."""
        hold = self._holds.get(hold_id)
        return 0 if hold is None else hold.amount_nanos

    def check(self) -> None:
        """Prove what must always be so; for tests, `doctor` and simulations.

        Raises:
            LedgerError: it is not.
        """
        seen = 0
        for account in self.accounts.values():
            total = 0
            for hold in account.holds.values():
                if hold.amount_nanos < 0 or self._holds.get(hold.id) is not hold or hold.account is not account:
                    raise LedgerError(f"account {account.id}: hold {hold.id} is out of place")
                total += hold.amount_nanos
                seen += 1
            if total != account.held_nanos:
                raise LedgerError(f"account {account.id}: {account.held_nanos} held, its holds make {total}")
        if seen != len(self._holds):
            raise LedgerError(f"{len(self._holds)} holds, {seen} of them with an account")

    def _affordable(self, account: Account, wanted_nanos: int, least_nanos: int) -> int:
        left = account.available_nanos()
        if wanted_nanos <= left:
            return wanted_nanos
        # A call that costs nothing needs nothing left, but no debt beyond the limit either.
        return left if left >= least_nanos and left > 0 else -1

    def _account(self, account_id: int) -> Account:
        account = self.accounts.get(account_id)
        if account is None:
            raise LedgerError(f"no account {account_id}")
        return account

    def _live(self, hold_id: str) -> Hold:
        hold = self._holds.get(hold_id)
        if hold is None:
            raise LedgerError(f"no hold {hold_id}")
        return hold

    def _remember(self, hold_id: str, charge_nanos: int) -> None:
        over = self._over
        if len(over) >= SETTLED_REMEMBERED_MAX:
            for old in list(over)[: SETTLED_REMEMBERED_MAX // 2]:
                del over[old]
        over[hold_id] = charge_nanos
