"""The catalogue, purchases and bills through the API, month by month under a clock that the test sets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from control.services import client_bills as billing
from control.services import clients, ledger
from control.services.client_bills import run_due
from control.store import tables
from control.store.client_bill_tables import client_bills
from rating.money import format_amount
from tests.fakes.control import ControlPlane, with_control


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


async def product(plane: ControlPlane, name: str = "Desk", **fields: Any) -> int:
    made = await plane.post("/products", {"name": name, "monthly_price": "31.00", **fields}, role="billing")
    return int(made["id"])


async def make_client(plane: ControlPlane, name: str = "Tenant", **fields: Any) -> int:
    return int((await plane.post("/clients", {"name": name, "status": "active", **fields}))["id"])


async def buy(plane: ControlPlane, client: int, item: int, *, status: int = 201, **fields: Any) -> dict[str, Any]:
    body = {"product_id": item, **fields}
    return dict(await plane.post(f"/clients/{client}/purchases", body, status=status, role="billing"))


async def bills(plane: ControlPlane, at: str, client: int | None = None) -> list[tuple[str, str]]:
    """Draw up what is due at that time; month and total of each bill, the oldest first."""
    plane.clock.ms = ms(at)
    await run_due(plane.ctx)
    query = "?sort=number" if client is None else f"?sort=number&client_id={client}"
    return [(bill["month"], bill["total"]) for bill in (await plane.get(f"/bills{query}"))["items"]]


@with_control
async def test_the_catalogue_has_prices_in_whole_coins(plane: ControlPlane) -> None:
    made = await plane.post("/products", {"name": "Fibre", "kind": "service", "monthly_price": "99.90"}, role="billing")
    assert (made["kind"], made["monthly_price"], made["setup_price"]) == ("service", "99.9", "0")
    for fields, path in (
        ({"monthly_price": "1.001"}, "monthly_price"),
        ({"monthly_price": "-1"}, "monthly_price"),
        ({"setup_price": "1.5", "currency": "JPY"}, "setup_price"),
        ({"monthly_price": "1000001"}, "monthly_price"),
        ({"kind": "thing"}, "kind"),
        ({"notice_days": -1}, "notice_days"),
    ):
        problem = await plane.post("/products", {"name": "Other", **fields}, status=400)
        assert problem["errors"][0]["path"] == path, fields
    assert (await plane.post("/products", {"name": "FIBRE"}, status=409))["errors"][0]["path"] == "name"
    await plane.post("/products", {"name": "Third"}, status=403, role="read-only")
    await product(plane)
    assert [each["name"] for each in (await plane.get("/products?kind=service"))["items"]] == ["Fibre"]


@with_control
async def test_a_price_change_does_not_touch_what_is_bought(plane: ControlPlane) -> None:
    client, item = await make_client(plane), await product(plane, setup_price="5")
    bought = await buy(plane, client, item, quantity=2, start_date="2027-01-01")
    await plane.patch(f"/products/{item}", {"monthly_price": "62.00", "name": "Large desk", "setup_price": "9"})
    again = await plane.get(f"/clients/{client}/purchases/{bought['id']}")
    assert (again["name"], again["monthly_price"], again["setup_price"]) == ("Desk", "31", "5")
    new = await buy(plane, client, item)
    assert (new["name"], new["monthly_price"], new["start_date"]) == ("Large desk", "62", "2027-01-15")
    await plane.patch(f"/products/{item}", {"enabled": False})
    assert (await buy(plane, client, item, status=409))["errors"][0]["path"] == "product_id"
    await plane.delete(f"/products/{item}")
    # From the day that it was active, 17 of 31 days: 2 * 31 and 62, and both set-ups.
    assert await bills(plane, "2027-02-01T01:00:00") == [("2027-01", str(34 + 10 + 34 + 9))]


@with_control
async def test_a_month_is_billed_once_and_what_was_missed_is_caught_up(plane: ControlPlane) -> None:
    client, item = await make_client(plane), await product(plane)
    await buy(plane, client, item)
    assert await bills(plane, "2027-02-01T00:59:59") == []
    assert await bills(plane, "2027-02-01T01:00:00") == [("2027-01", "17")]
    assert await bills(plane, "2027-02-01T01:00:00") == [("2027-01", "17")]
    whole = [("2027-01", "17"), ("2027-02", "31"), ("2027-03", "31"), ("2027-04", "31")]
    assert await bills(plane, "2027-05-20T00:00:00") == whole
    numbers = [bill["number"] for bill in (await plane.get("/bills"))["items"]]
    assert numbers == [4, 3, 2, 1]


@with_control
async def test_numbers_have_no_gap_and_a_bill_is_found_by_its_billing_ref(plane: ControlPlane) -> None:
    item = await product(plane)
    for name in ("One", "Two", "Idle"):
        client = await make_client(plane, name, billing_ref=f"REF-{name}")
        if name != "Idle":
            await buy(plane, client, item)
    await bills(plane, "2027-04-01T02:00:00")
    rows = (await plane.get("/bills?sort=number"))["items"]
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5, 6], "a month with nothing on it takes no number"
    two = (await plane.get("/bills?billing_ref=ref-two&limit=2"))["items"]
    assert [row["client_name"] for row in two] == ["Two", "Two"]
    await plane.patch(f"/clients/{two[0]['client_id']}", {"billing_ref": "NEW"})
    for reference in ("REF-two", "new"):
        assert len((await plane.get(f"/bills?billing_ref={reference}"))["items"]) == 3
    assert len((await plane.get("/bills?search=one"))["items"]) == 3
    assert [row["month"] for row in (await plane.get("/bills?month=2027-02"))["items"]] == ["2027-02"] * 2
    await plane.get("/bills?month=2027-13", status=400)


@with_control
async def test_a_suspended_client_is_billed_for_all_of_it(plane: ControlPlane) -> None:
    client, item = await make_client(plane), await product(plane)
    await buy(plane, client, item)
    await plane.post(f"/clients/{client}/suspend", {"at": "2027-01-20T00:00:00Z", "until": "2027-03-10T00:00:00Z"}, 200)
    whole = [("2027-01", "17"), ("2027-02", "31"), ("2027-03", "31")]
    assert await bills(plane, "2027-04-01T01:00:00") == whole


@with_control
async def test_new_and_scheduled_clients_are_not_billed_and_an_ended_one_no_more(plane: ControlPlane) -> None:
    item = await product(plane)
    new = await make_client(plane, "New", status="new", start_date="2027-01-01")
    later = await make_client(plane, "Later", status="scheduled", start_date="2027-02-15", contract_end="2027-04-10")
    for client in (new, later):
        await buy(plane, client, item, start_date="2027-01-01")
    # Nobody looked for months: the contract's days count, as the switch kept them.
    whole = [("2027-02", "15.5"), ("2027-03", "31"), ("2027-04", "10.33")]
    assert await bills(plane, "2027-08-01T01:00:00") == whole
    ended = (await plane.get(f"/clients/{later}/purchases"))["items"][0]
    assert (ended["end_date"], ended["cancelled_at"] is not None) == ("2027-04-10", True)
    await buy(plane, later, item, status=409)
    problem = (await plane.delete(f"/clients/{later}", status=409)).json()
    assert {each["noun"] for each in problem["references"]} == {"client_bill"}
    await plane.delete(f"/clients/{new}")


@with_control
async def test_a_purchase_ends_after_its_notice(plane: ControlPlane) -> None:
    client, item = await make_client(plane), await product(plane, notice_days=30)
    bought = await buy(plane, client, item)
    path = f"/clients/{client}/purchases/{bought['id']}/cancel"
    problem = await plane.post(path, {"at": "2027-02-13"}, status=400, role="billing")
    assert problem["errors"][0]["path"] == "at"
    ended = await plane.post(path, {}, status=200, role="billing")
    assert (ended["end_date"], ended["cancelled_at"]) == ("2027-02-14", "2027-01-15T08:00:00Z")
    assert (await plane.post(path, {}, status=200))["end_date"] == "2027-02-14"
    assert (await plane.post(path, {"at": "2027-02-15"}, status=400))["errors"][0]["path"] == "at"
    assert await bills(plane, "2027-04-01T01:00:00") == [("2027-01", "17"), ("2027-02", "15.5")]
    await plane.post(path, {}, status=409)
    other = await buy(plane, client, item)
    now = await plane.post(f"/clients/{client}/purchases/{other['id']}/cancel", {"waive_notice": True}, status=200)
    assert now["end_date"] == "2027-04-01"
    soon = await buy(plane, client, item, start_date="2027-06-01")
    await plane.post(f"/clients/{client}/purchases/{soon['id']}/cancel", {}, status=200)
    await plane.get(f"/purchases/{soon['id']}", status=404)


@with_control
async def test_a_purchase_is_fixed_and_never_reaches_into_billed_months(plane: ControlPlane) -> None:
    client, item = await make_client(plane), await product(plane)
    bought = await buy(plane, client, item, end_date="2027-01-20")
    for fields in ({"quantity": 2}, {"start_date": "2027-02-01"}, {"end_date": None}, {"product_id": 99}):
        await plane.patch(f"/purchases/{bought['id']}", fields, status=409)
    await plane.patch(f"/purchases/{bought['id']}", {"notes": "by the window"})
    await plane.delete(f"/purchases/{bought['id']}", status=409)
    assert await bills(plane, "2027-02-01T01:00:00") == [("2027-01", "6")]
    for fields, path in (
        ({"start_date": "2027-01-31"}, "start_date"),
        ({"start_date": "2027-02-30"}, "start_date"),
        ({"end_date": "2027-01-31"}, "end_date"),
        ({"quantity": 0}, "quantity"),
        ({"product_id": 99}, "product_id"),
    ):
        problem = await plane.post(f"/clients/{client}/purchases", {"product_id": item, **fields}, status=400)
        assert problem["errors"][0]["path"] == path
    euro = await product(plane, "Euro desk", currency="EUR")
    assert (await buy(plane, client, euro, status=409))["errors"][0]["path"] == "product_id"
    problem = await plane.patch(f"/clients/{client}", {"currency": "EUR"}, status=409)
    assert problem["errors"][0]["path"] == "currency"


@with_control
async def test_an_issued_bill_never_changes(plane: ControlPlane) -> None:
    client, item = await make_client(plane, tax_percent="20"), await product(plane, "Desk #1 *bold*")
    await buy(plane, client, item, quantity=3)
    await bills(plane, "2027-02-01T01:00:00")
    bill = await plane.get("/bills/1")
    assert (bill["net"], bill["tax"], bill["total"]) == ("51", "10.2", "61.2")
    pdf = await plane.request("GET", "/bills/1/pdf", status=200)
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    await plane.patch(f"/clients/{client}", {"name": "Other", "tax_percent": "0", "billing_ref": "X1"})
    await plane.patch(f"/products/{item}", {"monthly_price": "1", "name": "Chair"})
    assert await plane.get("/bills/1") == bill
    assert (await plane.request("GET", "/bills/1/pdf")).content == pdf.content
    for statement in (update(client_bills).values(total_nanos=0), delete(client_bills)):
        with pytest.raises(DBAPIError):
            async with plane.store.begin() as tx:
                await tx.execute(statement)
    for method in ("PATCH", "DELETE", "PUT"):
        await plane.request(method, "/bills/1", {}, status=405)
    await plane.get("/bills/2", status=404)
    audit = (await plane.get("/audit?noun=client_bill"))["items"]
    assert [(row["action"], row["actor_kind"], row["after"]["total"]) for row in audit] == [("issue", "system", "61.2")]


@with_control
async def test_a_bill_shows_what_the_clients_account_moved_by_and_does_not_charge_it_again(plane: ControlPlane) -> None:
    client, item = await make_client(plane), await product(plane)
    await buy(plane, client, item)
    customer = await plane.make_customer(client_id=client)
    await plane.post(f"/customers/{customer}/payments", {"total": "100"})
    for amount in ("-2.5", "-0.000000001"):
        await plane.post(f"/customers/{customer}/adjustments", {"amount": amount, "reason": "r", "kind": "fee"})
    seen = await plane.get(f"/clients/{client}/bill-preview")
    plane.clock.ms = ms("2027-02-01T00:30:00")
    await plane.post(f"/customers/{customer}/adjustments", {"amount": "-7", "reason": "later", "kind": "fee"})
    await bills(plane, "2027-02-01T01:00:00")
    bill = await plane.get("/bills/1")
    assert bill["total"] == seen["total"] == "17"
    assert bill["account"]["sums"] == [
        {"kind": "fee", "count": 2, "amount": "-2.500000001"},
        {"kind": "payment", "count": 1, "amount": "100"},
    ]
    assert seen["account"] == bill["account"]
    assert (await plane.request("GET", "/bills/1/pdf", status=200)).content.startswith(b"%PDF-")
    await plane.get("/clients/999/bill-preview", status=404)
    for month in ("0001-01", "9999-12", "2027-13", "2027-1"):
        await plane.get(f"/clients/{client}/bill-preview?month={month}", status=400)


@pytest.mark.parametrize(
    ("zone", "due", "total"),
    [
        # Clocks go forward on 28 March there, so that the month ends at 22:00 UTC.
        ("Europe/Berlin", "2027-03-31T23:00:00", "22"),
        ("America/Los_Angeles", "2027-04-01T08:00:00", "22"),
        # It is the 11th there already.
        ("Pacific/Auckland", "2027-03-31T12:00:00", "21"),
    ],
)
def test_a_month_ends_by_the_clients_own_clocks(tmp_path: Any, database: Any, zone: str, due: str, total: str) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        plane.clock.ms = ms("2027-03-10T12:00:00")
        client, item = await make_client(plane, time_zone=zone), await product(plane)
        await buy(plane, client, item, start_date="2027-03-01")
        before = datetime.fromtimestamp(ms(due) / 1000 - 1, UTC).isoformat()[:19]
        assert await bills(plane, before) == []
        assert await bills(plane, due) == [("2027-03", total)]

    inside(tmp_path, database)


@with_control
async def test_the_management_client_is_never_billed(plane: ControlPlane) -> None:
    manager = (await plane.get("/clients"))["items"][0]["id"]
    await buy(plane, manager, await product(plane))
    assert await bills(plane, "2027-06-01T01:00:00") == []


@with_control
async def test_a_suspension_that_was_missed_and_a_bill_go_in_order(plane: ControlPlane) -> None:
    client, item = await make_client(plane), await product(plane)
    await buy(plane, client, item)
    await plane.post(f"/clients/{client}/decommission", {"at": "2027-01-20T12:00:00Z"}, status=200)
    # The bills look first: the client's own dates are brought about all the same.
    assert await bills(plane, "2027-05-01T01:00:00") == [("2027-01", "6")]
    assert (await plane.get(f"/clients/{client}"))["status"] == "inactive"
    assert await clients.run_due(plane.ctx) == 0
    async with plane.store.read() as tx:
        c = tables.clients.c
        assert (await tx.execute(select(c.bill_month).where(c.id == client))).scalar_one() is None, "it was the last"


@with_control
async def test_a_client_whose_start_was_missed_is_billed_from_it(plane: ControlPlane) -> None:
    client = await make_client(plane, status="scheduled", start_date="2027-02-15")
    await buy(plane, client, await product(plane), start_date="2027-01-01")
    # Nobody looked until March; the switch let it call from its start on.
    assert await bills(plane, "2027-03-20T00:00:00") == [("2027-02", "15.5")]
    assert (await plane.get(f"/clients/{client}"))["activated_at"] == "2027-02-15T00:00:00Z"


@with_control
async def test_an_accounts_calls_are_added_up_while_others_can_write(plane: ControlPlane) -> None:
    client = await make_client(plane)
    await plane.make_customer(client_id=client)
    await buy(plane, client, await product(plane))
    is_held: list[bool] = []

    async def account(tx: Any, row: Any, month: Any) -> Any:
        lock: Any = plane.store.turn()
        is_held.append(lock.locked())
        return await added_up(tx, row, month)

    added_up = billing._account
    with patch.object(billing, "_account", account):
        assert len(await bills(plane, "2027-02-02T00:00:00")) == 1
    assert is_held == [False]


@with_control
async def test_setup_is_charged_once_whatever_clocks_the_client_is_moved_to(plane: ControlPlane) -> None:
    """Half past eleven at night of the 31st in UTC is the 1st of February in Auckland."""
    plane.clock.ms = ms("2027-01-31T23:30:00")
    late, moved = await make_client(plane, "Late"), await make_client(plane, "Moved")
    item = await product(plane, setup_price="50")
    for client in (late, moved):
        await buy(plane, client, item)
    # Before the first bill the first month is that of the new clocks.
    await plane.patch(f"/clients/{moved}", {"time_zone": "Pacific/Auckland"})
    assert await bills(plane, "2027-02-05T00:00:00") == [("2027-01", "51")]
    # After it another first month would charge the setup again.
    problem = await plane.patch(f"/clients/{late}", {"time_zone": "Pacific/Auckland"}, status=409)
    assert problem["errors"][0]["path"] == "time_zone"
    await plane.patch(f"/clients/{late}", {"time_zone": "Europe/London"})
    assert await bills(plane, "2027-03-05T00:00:00", late) == [("2027-01", "51"), ("2027-02", "31")]
    assert await bills(plane, "2027-03-05T00:00:00", moved) == [("2027-02", "81")]


@with_control
async def test_no_bill_grows_beyond_what_can_be_added_up(plane: ControlPlane) -> None:
    dear = await product(plane, "Tower", monthly_price="1000000")
    rich, other = await make_client(plane, "Rich"), await make_client(plane, "Other")
    for _ in range(10):
        await buy(plane, rich, dear, quantity=100)
    problem = await buy(plane, rich, dear, status=400)
    assert problem["errors"][0]["path"] == "quantity"
    # What ends before the month of another does not count against it.
    brief = await make_client(plane, "Brief")
    for month in ("01", "02"):
        for _ in range(10):
            days: dict[str, Any] = {"start_date": f"2027-{month}-20", "end_date": f"2027-{month}-21"}
            await buy(plane, brief, dear, quantity=100, **days)
    await buy(plane, other, await product(plane))
    assert len(await bills(plane, "2027-02-01T01:00:00")) == 3


@with_control
async def test_an_account_that_moved_by_more_than_64_bits_is_added_up_and_holds_up_no_bill(plane: ControlPlane) -> None:
    """What came and went in a month is no balance: the sum of one kind of entry may pass what a balance may be."""
    vast, other, item = await make_client(plane, "Vast"), await make_client(plane), await product(plane)
    customer = await plane.make_customer(client_id=vast)
    async with plane.ctx.change() as change:
        for _ in range(3):
            much = ledger.BALANCE_NANOS_MAX - 1
            await ledger.append(change, customer_id=customer, kind="payment", amount_nanos=much)
            await ledger.append(change, customer_id=customer, kind="fee", amount_nanos=-much)
    for client in (vast, other):
        await buy(plane, client, item)
    assert await bills(plane, "2027-02-01T01:00:00") == [("2027-01", "17")] * 2
    sums = (await plane.get("/bills/1"))["account"]["sums"]
    whole = format_amount(3 * (ledger.BALANCE_NANOS_MAX - 1))
    assert [(each["kind"], each["count"], each["amount"]) for each in sums] == [
        ("fee", 3, f"-{whole}"),
        ("payment", 3, whole),
    ]
