"""Money in two steps: nothing is spent twice, nothing passes the limit, nothing counts again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from rating.ledger import Ledger, LedgerError


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger()
    ledger.open(1, balance_nanos=100)
    return ledger


def test_a_hold_takes_what_is_wanted_and_a_settlement_gives_the_rest_back(ledger: Ledger) -> None:
    assert ledger.hold(1, "a", 60, 10) == 60
    assert ledger.accounts[1].available_nanos() == 40
    assert ledger.settle("a", 25) == 25
    account = ledger.accounts[1]
    assert (account.balance_nanos, account.held_nanos, account.available_nanos()) == (75, 0, 75)


def test_near_zero_a_hold_shrinks_down_to_its_least_and_no_further(ledger: Ledger) -> None:
    assert ledger.hold(1, "a", 80, 10) == 80
    assert ledger.hold(1, "b", 80, 10) == 20
    assert ledger.hold(1, "c", 80, 10) == -1
    assert ledger.held("c") == 0


def test_a_debit_limit_lets_go_below_zero_and_a_negative_one_keeps_a_buffer() -> None:
    ledger = Ledger()
    ledger.open(1, balance_nanos=0, debit_limit_nanos=50)
    ledger.open(2, balance_nanos=50, debit_limit_nanos=-50)
    assert ledger.hold(1, "a", 50, 50) == 50
    assert ledger.hold(2, "b", 1, 1) == -1


def test_an_extension_brings_the_whole_hold_up_and_repeats_change_nothing(ledger: Ledger) -> None:
    ledger.hold(1, "a", 30, 1)
    assert ledger.extend("a", 60, 40) == 60
    assert ledger.extend("a", 60, 40) == 60
    assert ledger.extend("a", 500, 90) == 100
    assert ledger.extend("a", 500, 110) == -1
    assert ledger.held("a") == 100


def test_every_operation_counts_once(ledger: Ledger) -> None:
    assert ledger.credit(1, 1, 50)
    assert not ledger.credit(1, 1, 50)
    assert ledger.hold(1, "a", 30, 1) == ledger.hold(1, "a", 99, 1) == 30
    assert ledger.settle("a", 20) == ledger.settle("a", 30) == 20
    ledger.release("a")
    assert ledger.accounts[1].balance_nanos == 130


def test_our_own_mistakes_are_found_out(ledger: Ledger) -> None:
    ledger.hold(1, "a", 10, 1)
    mistakes: list[Callable[[], object]] = [
        lambda: ledger.settle("a", 11),
        lambda: ledger.settle("a", -1),
        lambda: ledger.settle("never", 1),
        lambda: ledger.hold(9, "b", 1, 1),
        lambda: ledger.hold(1, "b", 1, 2),
        lambda: ledger.extend("never", 5, 1),
    ]
    for mistake in mistakes:
        with pytest.raises(LedgerError):
            mistake()
    ledger.settle("a", 0)
    with pytest.raises(LedgerError):
        ledger.hold(1, "a", 5, 1)


def test_a_free_call_needs_no_money_but_no_debt_either(ledger: Ledger) -> None:
    ledger.open(2, balance_nanos=0)
    assert ledger.hold(2, "free", 0, 0) == 0
    ledger.credit(2, 1, -5)
    assert ledger.hold(2, "late", 0, 0) == -1


AMOUNTS = st.integers(0, 1_000)


class Books(RuleBasedStateMachine):
    """Any order of operations, checked against sums kept beside it."""

    live = Bundle("live")

    @initialize(limit=st.integers(-100, 500), balance=st.integers(-50, 2_000))
    def begin(self, limit: int, balance: int) -> None:
        self.ledger = Ledger()
        self.ledger.open(1, balance, limit)
        self.limit = limit
        self.expected = balance
        self.serial = 0

    @rule(target=live, wanted=AMOUNTS, least=AMOUNTS)
    def hold(self, wanted: int, least: int) -> str:
        self.serial += 1
        name = f"h{self.serial}"
        before = self.ledger.accounts[1].available_nanos()
        held = self.ledger.hold(1, name, wanted, min(wanted, least))
        assert held == -1 or (min(wanted, least) <= held <= wanted and held <= max(0, before))
        return name

    @rule(name=live, total=AMOUNTS, least=AMOUNTS)
    def extend(self, name: str, total: int, least: int) -> None:
        if name not in self.ledger.accounts[1].holds:
            return
        before = self.ledger.held(name)
        available = self.ledger.accounts[1].available_nanos()
        after = self.ledger.extend(name, total, least)
        if after >= 0:
            assert after == self.ledger.held(name) >= before
            assert after - before <= max(0, available)

    @rule(name=live, share=st.floats(0, 1))
    def settle(self, name: str, share: float) -> None:
        if name not in self.ledger.accounts[1].holds:
            return
        charge = int(self.ledger.held(name) * share)
        self.expected -= self.ledger.settle(name, charge)

    @rule(name=live)
    def release(self, name: str) -> None:
        self.ledger.release(name)

    @rule(entry=st.integers(0, 9), amount=st.integers(0, 500))
    def credit(self, entry: int, amount: int) -> None:
        if self.ledger.credit(1, entry, amount):
            self.expected += amount

    @invariant()
    def holds_add_up_and_nothing_is_overdrawn(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.ledger.check()
        account = self.ledger.accounts[1]
        assert account.balance_nanos == self.expected
        if account.held_nanos:
            assert account.balance_nanos - account.held_nanos >= -self.limit


TestBooks = Books.TestCase
