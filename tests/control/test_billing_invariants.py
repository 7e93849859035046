"""The checks of what is billed: silent while all is well, and each red when its own rule is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.services.billing_checks import BILLING_CHECKS
from control.services.store_checks import run_check
from tests.control.test_invariants import break_store
from tests.fakes.billing import assign, call_at, invoice, make, make_package, march, pass_time, store_calls
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.databases import Database


async def fill(plane: ControlPlane) -> None:
    """Packages with free minutes, two invoices, one of them paid in part, and a credit note."""
    await make(plane)
    await march(plane)
    free = await make_package(plane, name="Free", retail="0", free_minutes=1)
    await assign(plane, free, start="2027-04-01")
    await store_calls(plane, call_at("2027-04-02T00:00:00+00:00"))
    await pass_time(plane, "2027-04-02T00:01:00+00:00")
    made = await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31", "issue": True})
    await plane.post(f"/invoices/{made['id']}/credit-notes", {"net": "1", "tax_percent": "20", "reason": "x"})
    await pass_time(plane, "2027-05-02T00:00:00+00:00")
    await invoice(plane, to="2027-04-30", issue=True)


async def violated(plane: ControlPlane) -> dict[str, list[str]]:
    async with plane.store.read() as tx:
        found = {
            check.name: [f"{each.noun} {each.id}" for each in await run_check(tx, check)] for check in BILLING_CHECKS
        }
    return {name: rows for name, rows in found.items() if rows}


BREAKS: list[tuple[str, dict[str, list[str]]]] = [
    (
        "UPDATE package_charges SET net_nanos = net_nanos + 1 WHERE net_nanos > 0",
        {"package_charges_have_their_entries": ["customer_package 1"]},
    ),
    (
        "DELETE FROM package_credits",
        {"package_entries_have_their_origin": ["ledger_entry 11"]},
    ),
    (
        "UPDATE ledger_entries SET at_ms = at_ms - 86400000 WHERE cdr_number = 2 AND kind = 'call'",
        {"invoices_are_what_the_ledger_says": ["invoice 1"]},
    ),
    (
        "UPDATE invoice_lines SET net_nanos = net_nanos + 1 WHERE id = 1",
        {"invoices_are_sums_of_their_lines": ["invoice 1"]},
    ),
    ("UPDATE invoices SET after_entry_id = 0 WHERE id = 2", {"invoices_follow_each_other": ["invoice 2"]}),
    ("UPDATE invoices SET serial = 3, number = 'x' WHERE id = 2", {"numbers_have_no_gaps": ["invoice 3"]}),
    ("UPDATE number_series SET next = 5 WHERE name = 'credit_note'", {"numbers_have_no_gaps": ["credit_note 1"]}),
    (
        "UPDATE invoices SET paid_nanos = paid_nanos - 1 WHERE id = 1",
        {"invoices_are_paid_by_what_is_allocated": ["invoice 1"]},
    ),
    (
        "UPDATE payments SET total_nanos = 1 WHERE id = 1",
        {"payments_are_allocated_within_their_total": ["payment 1"]},
    ),
    (
        "UPDATE credit_notes SET entry_id = 1",
        {"credit_notes_have_their_entries": ["credit_note 1"]},
    ),
]


@with_control
async def test_what_is_billed_is_sound(plane: ControlPlane) -> None:
    await fill(plane)
    assert await violated(plane) == {}


@pytest.mark.parametrize(("statement", "found"), BREAKS)
def test_each_broken_rule_is_found_with_its_rows(
    statement: str, found: dict[str, list[str]], tmp_path: Path, database: Database
) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await fill(plane)
        await break_store(plane, statement)
        seen = await violated(plane)
        assert {name: seen.get(name) for name in found} == found

    run(tmp_path, database)
