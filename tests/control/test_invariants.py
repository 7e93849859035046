"""The checks of money: silent while all is well, and each red when its own rule is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from control.services import invariants
from control.sinks import StoreSink
from switch.frames import Account
from tests.fakes.control import ControlPlane, account, live_call, with_control
from tests.fakes.databases import Database
from tests.fakes.ended_calls import ended_call

UNIT = 10**9
DROP = {
    "sqlite": ("DROP TRIGGER ledger_refuses_update", "DROP TRIGGER ledger_refuses_delete"),
    "postgresql": ("DROP TRIGGER ledger_refuses_edits ON ledger_entries",),
}


async def break_store(plane: ControlPlane, statement: str) -> None:
    """What no program of ours would do: the ledger's own guards are taken away first."""
    async with plane.store.begin() as tx:
        for drop in DROP["sqlite" if plane.store.is_sqlite else "postgresql"]:
            await tx.execute(text(drop))
        await tx.execute(text(statement))


async def fill(plane: ControlPlane) -> None:
    """Two calls, one of them charged; payments in every state; a fee; and a switch that agrees."""
    await plane.make_customer()
    await plane.post("/customers/1/payments", {"total": "10"})
    taken = await plane.post("/customers/1/payments", {"total": "4"})
    await plane.post(f"/customers/1/payments/{taken['id']}/reverse", {"reason": "x"}, status=200)
    await plane.post("/customers/1/payments", {"total": "7", "status": "pending"})
    await plane.post("/customers/1/adjustments", {"amount": "-1", "kind": "fee", "reason": "x"})
    calls = [ended_call(1, gross_nanos=UNIT, tax_nanos=100), ended_call(2, gross_nanos=0, answered_ms=None)]
    await StoreSink(plane.store).write(list(enumerate(calls, 1)), 2)
    plane.switch.accounts = {1: account(1, 8 * UNIT)}


async def violated(plane: ControlPlane) -> dict[str, list[str]]:
    """Names of the checks that are violated, with the rows that they name."""
    report = await plane.get("/invariants", role="read-only")
    found = {
        check["name"]: [f"{each['noun']} {each['id']}" for each in check["violations"]]
        for check in report["checks"]
        if check["state"] == "violated"
    }
    assert report["is_sound"] == (not found)
    return found


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invariants, "LOOK_DELAY_S", 0.0)


@with_control
async def test_a_sound_installation_has_no_violation(plane: ControlPlane) -> None:
    await fill(plane)
    assert await violated(plane) == {}
    states = {check["state"] for check in (await plane.get("/invariants"))["checks"]}
    assert states == {"holds"}


CALL = f"cdr {1:032x}"
FAILED_CALL = f"cdr {2:032x}"


def _sums(*customers: str) -> dict[str, list[str]]:
    """What stats read is not what the calls say any more."""
    names = ("sums_are_those_of_calls", "sums_by_prefix_are_those_of_calls")
    return {name: list(customers) for name in names}


BREAKS: list[tuple[str, dict[str, list[str]]]] = [
    ("UPDATE accounts SET balance_nanos = balance_nanos + 1", {"balance_is_sum_of_entries": ["customer 1"]}),
    (
        "DELETE FROM ledger_entries WHERE kind = 'call'",
        {"balance_is_sum_of_entries": ["customer 1"], "charged_calls_have_one_entry": [CALL]},
    ),
    (
        "UPDATE cdrs SET gross_nanos = 5, net_nanos = 5, tax_nanos = 0 WHERE number = 1",
        {"charged_calls_have_one_entry": [CALL], **_sums("customer 1")},
    ),
    (
        "UPDATE cdrs SET customer_id = 2 WHERE number = 1",
        {"charged_calls_have_one_entry": [CALL], **_sums("customer 1", "customer 2")},
    ),
    (
        "DELETE FROM cdrs WHERE number = 1",
        {"call_entries_have_their_cdr": ["ledger_entry 5"], **_sums("customer 1")},
    ),
    ("UPDATE prefix_rollups SET attempts = attempts + 1", {"sums_by_prefix_are_those_of_calls": ["customer 1"]}),
    (
        "UPDATE cdrs SET ended_ms = invited_ms - 1, answered_ms = NULL WHERE number = 2",
        {"calls_end_after_they_begin": [FAILED_CALL]},
    ),
    ("UPDATE cdrs SET answered_ms = NULL WHERE number = 1", {"only_answered_calls_cost": [CALL]}),
    ("UPDATE cdrs SET tax_nanos = tax_nanos + 1 WHERE number = 1", {"gross_is_net_and_tax": [CALL]}),
    ("UPDATE payments SET status = 'completed' WHERE id = 3", {"payments_have_their_entries": ["payment 3"]}),
    ("UPDATE payments SET total_nanos = 11 WHERE id = 1", {"payments_have_their_entries": ["payment 1"]}),
    ("UPDATE payments SET reversal_id = 1 WHERE id = 2", {"payments_have_their_entries": ["payment 2"]}),
    (
        "UPDATE payments SET status = 'pending', entry_id = NULL WHERE id = 1",
        {"payment_entries_have_their_payment": ["ledger_entry 1"]},
    ),
    (
        "UPDATE ledger_entries SET reversed_id = 1 WHERE id = 3",
        {"payments_have_their_entries": ["payment 2"], "reversals_cancel_their_entries": ["ledger_entry 3"]},
    ),
    (
        "UPDATE ledger_entries SET kind = 'reversal' WHERE id = 4",
        {"reversals_cancel_their_entries": ["ledger_entry 4"]},
    ),
]


@pytest.mark.parametrize(("statement", "found"), BREAKS)
def test_each_broken_rule_is_found_with_its_rows(
    statement: str, found: dict[str, list[str]], tmp_path: Path, database: Database
) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await fill(plane)
        await break_store(plane, statement)
        async with plane.store.read() as tx:
            row = (await tx.execute(text("SELECT balance_nanos FROM accounts"))).scalar_one()
        plane.switch.accounts = {1: account(1, row)}
        assert await violated(plane) == found

    run(tmp_path, database)


@with_control
async def test_a_switch_whose_balance_is_another_is_found(plane: ControlPlane) -> None:
    await fill(plane)
    plane.switch.accounts = {1: account(1, 8 * UNIT + 1)}
    assert await violated(plane) == {"switch_has_the_balances": ["customer 1"]}
    plane.switch.accounts = {}
    assert await violated(plane) == {"switch_has_the_balances": ["customer 1"]}
    plane.switch.accounts = {1: account(1, 8 * UNIT), 7: account(7, 1)}
    assert await violated(plane) == {"switch_has_the_balances": ["customer 7"]}


@with_control
async def test_calls_that_end_while_balances_are_compared_are_no_violation(plane: ControlPlane) -> None:
    """The switch has settled one more call than the store had, which reads it a moment later."""
    await fill(plane)
    sequence = 2

    async def wait_read(_timeout_s: float) -> bool:
        nonlocal sequence
        sequence += 1
        await StoreSink(plane.store).write([(sequence, ended_call(sequence, gross_nanos=3))], sequence)
        # As the switch is asked between this wait and the next, it is one call ahead each time.
        plane.switch.accounts = {1: account(1, 8 * UNIT - 3 * (sequence - 1))}
        return True

    plane.ctx.wait_read = wait_read
    report = await invariants.check(plane.ctx)
    assert report.is_sound, report


@with_control
async def test_a_difference_that_passes_is_no_violation(plane: ControlPlane) -> None:
    await fill(plane)
    looks = 0

    async def read_accounts(customer_ids: Any = None) -> list[Account]:
        nonlocal looks
        looks += 1
        return [account(1, 8 * UNIT + (1 if looks == 1 else 0))]

    plane.switch.read_accounts = read_accounts  # type: ignore[method-assign]
    assert await violated(plane) == {}
    assert looks == 2


@pytest.mark.parametrize(
    ("held", "calls", "is_sound"),
    [
        (1_500_000_000, 1, True),
        (0, 0, True),
        (1_500_000_000, 0, False),
        (1_400_000_000, 1, False),
        (0, 1, False),
        (-1, 0, False),
    ],
)
def test_what_is_held_is_held_by_calls(held: int, calls: int, is_sound: bool, tmp_path: Path) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await fill(plane)
        plane.switch.accounts = {1: account(1, 8 * UNIT, held)}
        plane.switch.calls = [live_call(1)] * calls
        assert await violated(plane) == ({} if is_sound else {"holds_have_their_calls": ["customer 1"]})

    run(tmp_path)


@with_control
async def test_what_cannot_be_asked_is_skipped_and_says_why(plane: ControlPlane) -> None:
    await fill(plane)
    plane.switch.is_connected = False
    report = await plane.get("/invariants")
    skipped = [check for check in report["checks"] if check["state"] == "skipped"]
    assert [check["name"] for check in skipped] == ["switch_has_the_balances", "holds_have_their_calls"]
    assert all("switch" in check["detail"] for check in skipped)
    assert report["is_sound"]


@with_control
async def test_balances_are_not_compared_while_the_journal_is_not_read(plane: ControlPlane) -> None:
    await fill(plane)

    async def wait_read(_timeout_s: float) -> bool:
        return False

    plane.ctx.wait_read = wait_read
    plane.switch.accounts = {1: account(1, 0)}
    report = await invariants.check(plane.ctx)
    states = {check.name: check.state for check in report.checks}
    assert (states["switch_has_the_balances"], states["holds_have_their_calls"]) == ("skipped", "holds")
