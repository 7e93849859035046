"""The customers' portal: its own invoices, credit notes and packages, and nobody else's."""

from __future__ import annotations

from tests.fakes.billing import UNIT, assign, at, call_at, invoice, make, make_package, pass_time, store_calls
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.portal import make_contact, session


async def fill(plane: ControlPlane, number: int) -> None:
    name = f"c{number}"
    await make(plane, name=name, portal_access=True)
    await make_contact(plane, number, email=f"{name}@example.com")
    package = await make_package(plane, name=f"Gold {number}", cost="4", free_minutes=31, notes="pays late")
    await assign(plane, package, number, start="2027-01-01", notes_public="hello", notes_private="pays late")
    call = call_at("2027-01-15T07:00:00+00:00", net=8 * UNIT, tax=1_600_000_000, customer_id=number)
    await store_calls(plane, call)


@with_control
async def test_contacts_see_their_own_bills_without_costs_and_no_drafts(plane: ControlPlane) -> None:
    for number in (1, 2):
        await fill(plane, number)
    await pass_time(plane, "2027-01-15T10:00:00+00:00")
    plane.clock.ms = at("2027-02-01T12:00:00+00:00")
    for number in (1, 2):
        made = await invoice(plane, number, **{"from": "2027-01-01", "issue": True})
        assert made["id"] == number
        body = {"net": "1", "reason": "Wrong rate", "note": "pays late"}
        await plane.post(f"/invoices/{number}/credit-notes", body)
        await plane.post(f"/customers/{number}/payments", {"total": "5"})
    await pass_time(plane, "2027-02-03T00:00:00+00:00")
    draft = await invoice(plane, 1)
    async with await session(plane, email="c1@example.com") as client:
        page = (await client.get("/invoices")).json()
        (mine,) = page["items"]
        assert (mine["number"], mine["gross"], mine["open"]) == ("INV-000001", "37.2", "31")
        found = (await client.get("/invoices/1")).json()
        assert [line["description"] for line in found["lines"]] == [
            "United Kingdom, London",
            "Gold 1: 2027-01-01 to 2027-01-31",
            "Gold 1: free minutes",
        ]
        assert [each["amount"] for each in found["paid_by"]] == ["5"]
        pdf = await client.get("/invoices/1/pdf")
        assert pdf.content.startswith(b"%PDF-")
        assert pdf.content == (await plane.request("GET", "/invoices/1/pdf")).content
        (note,) = (await client.get("/credit-notes")).json()["items"]
        assert (note["number"], note["description"], note["gross"]) == ("CN-000001", "Wrong rate", "1.2")
        assert (await client.get("/credit-notes/1/pdf")).content.startswith(b"%PDF-")
        (package,) = (await client.get("/packages")).json()["items"]
        assert (package["name"], package["price"], package["notes"]) == ("Gold 1", "31", "hello")
        assert package["free_left_s"] == 31 * 60
        (payment,) = (await client.get("/payments")).json()["items"]
        assert payment["allocated"] == "5"
        for path in (
            "invoices/2",
            "invoices/2/pdf",
            "credit-notes/2/pdf",
            f"invoices/{draft['id']}/pdf",
            "invoices/99",
        ):
            assert (await client.get(f"/{path}")).status_code == 404, path
        assert (await client.get(f"/invoices/{draft['id']}")).status_code == 404
        for path in ("invoices", "invoices/1", "credit-notes", "packages"):
            assert "pays late" not in (await client.get(f"/{path}")).text
