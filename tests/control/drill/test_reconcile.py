"""Books that are right are found right, and each thing that can be wrong with them is found wrong."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from control.drill.reconcile import changes
from control.drill.watch import faults_of
from control.drill.witness import Kill
from rating.money import parse_amount
from tests.fakes.drill_facts import Facts, T


def test_books_that_agree_with_the_peers_have_no_difference() -> None:
    verdict = Facts().verdict()
    assert verdict.differences == []
    assert verdict.cut == []
    assert verdict.checked == {
        "CDRs": 3,
        "balances": 1,
        "calls": 3,
        "looks at all accounts": 0,
        "payments": 1,
        "refusals": 1,
        "talk times": 2,
        "vendor legs": 3,
    }


def set_on(path: str, value: object) -> Callable[[Facts], None]:
    """`books.cdrs.0.net_nanos` and the like; a value that can be called is given the one before."""
    names = path.split(".")

    def change(facts: Facts) -> None:
        place: object = facts
        for name in names[:-1]:
            place = place[int(name)] if isinstance(place, list) else getattr(place, name)
        setattr(place, names[-1], value(getattr(place, names[-1])) if callable(value) else value)

    return change


def twice(facts: Facts) -> None:
    copy = msgspec.structs.replace(facts.books.cdrs[0], id="f" * 32)
    facts.books.cdrs.append(copy)
    facts.books.balances[0].balance_nanos -= copy.gross_nanos
    facts.books.balances[0].available_nanos -= copy.gross_nanos


def of_nobody(facts: Facts) -> None:
    facts.books.cdrs[0].call_id = "nobody's"


def unpaid(facts: Facts) -> None:
    del facts.witness.payments[0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param(lambda facts: facts.books.cdrs.pop(0), "ended with 200 and has no CDR", id="a lost CDR"),
        pytest.param(lambda facts: facts.books.cdrs.pop(2), "ended with 486 and has no CDR", id="a lost refusal"),
        pytest.param(twice, "has 2 CDRs", id="a call stored twice"),
        pytest.param(of_nobody, "a call that nobody made", id="a CDR of no call"),
        pytest.param(set_on("books.cdrs.0.ended_ms", T - 1), "ends before it begins", id="an end before the start"),
        pytest.param(set_on("books.cdrs.2.gross_nanos", 1), "was not answered and is charged", id="a charged refusal"),
        pytest.param(set_on("books.cdrs.0.gross_nanos", lambda was: was + 1), "not 0.0052", id="a nano too much"),
        pytest.param(set_on("books.cdrs.0.billed_s", 19), "for 19 s, not", id="an increment too few"),
        pytest.param(set_on("books.cdrs.0.cost_nanos", 0), "cost us 0", id="a cost that was forgotten"),
        pytest.param(set_on("books.cdrs.0.margin_nanos", 0), "has a margin of 0", id="a wrong margin"),
        pytest.param(lambda facts: facts.lasts(0, 6_000), "ended at", id="charged longer than it lasted"),
        pytest.param(lambda facts: facts.lasts(1, 50_000), "ended at", id="charged shorter than it lasted"),
        pytest.param(set_on("books.cdrs.1.answered_ms", T - 1_000), "answered at", id="answered before it was"),
        pytest.param(set_on("books.cdrs.1.answered_ms", None), "was answered and its CDR", id="an answer lost"),
        pytest.param(set_on("witness.legs.0.answered_ms", None), "no vendor answered", id="a charge without a call"),
        pytest.param(set_on("witness.legs.0.bye_received_ms", None), "still has a leg", id="a vendor's leg left up"),
        pytest.param(set_on("witness.calls.1.bye_received_ms", None), "its caller was not told", id="a caller up"),
        pytest.param(set_on("witness.calls.0.status", 0), "never answered", id="a caller who waits for ever"),
        pytest.param(set_on("witness.calls.0.status", 503), "is charged as answered", id="refused and charged"),
        pytest.param(unpaid, "and the balance is", id="a payment out of nothing"),
        pytest.param(set_on("witness.payments.0.amount", "20"), "and the balance is", id="a payment that was lost"),
        pytest.param(set_on("witness.payments.0.is_acknowledged", False), "never acknowledged", id="a silent payment"),
        pytest.param(set_on("books.balances.0.held_nanos", 5), "held for calls that are gone", id="credit held"),
        pytest.param(set_on("books.balances.0.available_nanos", 5), "are available", id="credit that is not there"),
        pytest.param(set_on("books.balances.0.balance_nanos", lambda was: was + 1), "the balance is", id="a nano more"),
        pytest.param(set_on("books.balances.0.is_live", False), "did not say", id="a balance that is not the switch's"),
        pytest.param(set_on("witness.overdrawn", ["x"]), "while calls ran, x", id="overdrawn for a moment"),
        pytest.param(set_on("books.live_calls", 1), "still live", id="a call that never ends"),
        pytest.param(set_on("books.broken_invariants", ["x"]), "own check: x", id="the API's own check"),
        pytest.param(set_on("books.health_faults", ["x"]), "health: x", id="a fault in health"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(change: Callable[[Facts], object], complaint: str) -> None:
    facts = Facts()
    change(facts)
    assert [line for line in facts.verdict().differences if complaint in line], facts.verdict().differences


def test_a_customer_who_spent_more_than_was_allowed_is_found() -> None:
    facts = Facts()
    spent = sum(cdr.gross_nanos for cdr in facts.books.cdrs)
    facts.witness.payments[0].amount = "0.01"
    account = facts.books.balances[0]
    account.balance_nanos = account.available_nanos = parse_amount("0.01") - spent
    assert ["overspent" in line for line in facts.verdict().differences] == [True]


def test_who_may_spend_more_than_there_is_is_found_at_any_moment() -> None:
    account = Facts().books.balances[0]
    assert faults_of([account]) == []
    account.held_nanos = account.balance_nanos
    assert faults_of([account]) == []
    account.held_nanos += 1
    assert len(faults_of([account])) == 1
    account.is_live = False  # what the store has may lag behind the holds
    assert faults_of([account]) == []


def test_a_bye_that_came_while_the_switch_was_dead_ends_the_call_when_it_was_answered() -> None:
    facts = Facts()
    facts.witness.calls[0].bye_done_ms = T + 8_000
    facts.witness.legs[0].bye_received_ms = T + 8_000
    facts.lasts(0, 7_300)
    assert facts.verdict().differences == []


def test_calls_that_a_kill_cut_are_listed_and_are_no_difference() -> None:
    facts = Facts()
    facts.witness.kills.append(Kill(victim="switch", how="at a random moment", at_ms=T + 100, recovered_s=1.0))
    facts.books.cdrs[2].cause = "lost_in_restart"
    facts.witness.calls[2].status = 0
    facts.books.cdrs[1].cause = "lost_in_restart"
    facts.lasts(1, 30_000)
    verdict = facts.verdict()
    assert verdict.differences == []
    assert len(verdict.cut) == 2


def test_a_refusal_that_died_with_the_switch_may_come_twice_and_a_charge_may_not() -> None:
    facts = Facts()
    busy = facts.books.cdrs[2]
    facts.books.cdrs.append(msgspec.structs.replace(busy, id="e" * 32, invited_ms=T + 5_000, ended_ms=T + 5_000))
    assert ["has 2 CDRs" in line for line in facts.verdict().differences] == [True]
    facts.witness.kills.append(
        Kill(victim="switch", how="at a random moment", at_ms=busy.ended_ms + 3, recovered_s=1.0)
    )
    verdict = facts.verdict()
    assert verdict.differences == []
    assert ["asked again" in line for line in verdict.cut] == [True]
    twice(facts)
    assert ["has 2 CDRs" in line for line in facts.verdict().differences] == [True]


def test_a_481_to_the_bye_that_ended_a_call_is_as_good_as_a_200_and_to_a_later_one_it_is_not() -> None:
    facts = Facts()
    facts.witness.calls[0].bye_status = 481
    assert facts.verdict().differences == []
    callee_hung_up = facts.witness.calls[1]
    callee_hung_up.bye_received_ms = None
    callee_hung_up.bye_sent_ms, callee_hung_up.bye_status = T + 90_000, 481
    assert ["its caller was not told" in line for line in facts.verdict().differences] == [True]


def test_calls_that_talked_on_through_a_kill_are_counted() -> None:
    facts = Facts()
    facts.witness.kills.append(Kill(victim="switch", how="at a random moment", at_ms=T + 2_000, recovered_s=1.0))
    assert facts.verdict().differences == []
    assert facts.verdict().checked["talks that went on through a kill of the switch"] == 2


def test_what_a_restart_changes_in_the_books_is_told() -> None:
    before, after = Facts().books, Facts().books
    assert changes(before, after) == []
    after.balances[0].balance_nanos -= 1
    after.live_calls = 2
    balances, live = changes(before, after)
    assert "changed balances" in balances
    assert live == "one more restart changed live_calls from 0 to 2"


def test_recovery_may_not_charge_a_call_for_longer_than_its_peers_had_it() -> None:
    facts = Facts()
    facts.books.cdrs[1].cause = "lost_in_restart"
    facts.lasts(1, 70_000)
    assert any("charged until" in line for line in facts.verdict().differences)
