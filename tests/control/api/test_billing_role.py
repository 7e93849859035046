"""The billing role: reads all, writes money, and leaves alone what calls go by."""

from __future__ import annotations

from tests.fakes.control import ControlPlane, with_control


@with_control
async def test_a_billing_key_takes_payments_and_corrects_balances(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await plane.post(f"/customers/{customer}/payments", {"total": "25"}, role="billing")
    await plane.post(f"/customers/{customer}/adjustments", {"amount": "-5", "reason": "agreed"}, role="billing")
    assert (await plane.get(f"/customers/{customer}", role="billing"))["balance"] == "20"


@with_control
async def test_a_billing_key_changes_credit_and_no_other_field_of_a_customer(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    credit = f"/customers/{customer}/credit"
    changed = await plane.patch(credit, {"debit_limit": "100", "daily_spend_limit": "50"}, role="billing")
    assert (changed["debit_limit"], changed["daily_spend_limit"], changed["name"]) == ("100", "50", "Acme Voice")
    refused = await plane.patch(credit, {"status": "inactive"}, status=400, role="billing")
    assert refused["errors"][0]["path"] == "status"
    await plane.patch(f"/customers/{customer}", {"status": "inactive"}, status=403, role="billing")
    stale = {"If-Match": '"1"'}
    await plane.request("PATCH", credit, {"debit_limit": "1"}, role="billing", headers=stale, status=412)


@with_control
async def test_a_billing_key_makes_no_keys_and_reads_no_audit(plane: ControlPlane) -> None:
    await plane.post("/admin-keys", {"name": "Mine", "role": "admin"}, status=403, role="billing")
    await plane.get("/audit", status=403, role="billing")


@with_control
async def test_keys_are_made_with_the_billing_role(plane: ControlPlane) -> None:
    made = await plane.post("/admin-keys", {"name": "Accounts", "role": "billing"})
    plane.keys["billing"] = made["key"]
    customer = await plane.make_customer()
    await plane.post(f"/customers/{customer}/payments", {"total": "1"}, role="billing")
    refused = await plane.post("/admin-keys", {"name": "Other", "role": "customer"}, status=400)
    assert refused["errors"][0]["path"] == "role"
