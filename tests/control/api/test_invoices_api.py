"""Invoices through the API: what stands on them, their numbers, and that they charge nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from sqlalchemy import select, update

from config.settings import Billing
from control.services import document_mail, overdue_invoices
from control.services.ledger import append
from control.store.invoice_tables import documents, number_series
from control.store.outbox_tables import outbox
from tests.fakes.billing import (
    BILLING,
    LONDON,
    PARIS,
    UNIT,
    at,
    balance,
    call_at,
    invoice,
    make,
    march,
    pass_time,
    store_calls,
)
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.databases import Database


@with_control
async def test_an_invoice_adds_up_the_ledger_by_destination_package_and_fee_with_tax_by_rate(
    plane: ControlPlane,
) -> None:
    await make(plane)
    await march(plane)
    before = await balance(plane)
    made = await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31"})
    found = await plane.get(f"/invoices/{made['id']}")
    lines = [
        (each["section"], each["description"], each["prefix"], each["count"], each["net"]) for each in found["lines"]
    ]
    assert lines == [
        ("call", "France, Paris", "331", 1, "0.0123456"),
        ("call", "United Kingdom, London", "4420", 2, "3"),
        ("package", "Gold: 2027-03-01 to 2027-03-31", "", 1, "31"),
        ("fee", "Porting", "", 1, "5"),
        ("payment", "Second transfer", "", 1, "40"),
    ]
    assert found["taxes"] == [
        {"tax_percent": "0", "net": "5", "tax": "0"},
        {"tax_percent": "20", "net": "34.0123456", "tax": "6.8024692"},
    ]
    assert (found["net"], found["tax"], found["gross"], found["total"]) == (
        "39.0123456",
        "6.8024692",
        "45.8148148",
        "45.81",
    )
    assert (found["opening_balance"], found["payments"], found["closing_balance"]) == ("91.6", "40", "85.7851852")
    assert (found["state"], found["number"], found["seller"]) == ("draft", None, None)
    # It lists what was charged and charges nothing.
    assert await balance(plane) == before
    issued = await plane.post(f"/invoices/{made['id']}/issue", {}, status=200)
    assert (issued["number"], issued["issued_on"], issued["due_on"]) == ("INV-000001", "2027-04-02", "2027-04-16")
    assert await balance(plane) == before
    again = await plane.request("POST", f"/invoices/{made['id']}/issue", status=200)
    assert again.json() == issued, "a body of which nothing is needed may be left out"


@with_control
async def test_a_period_whose_sums_cannot_be_counted_is_refused_and_holds_up_nobody_else(plane: ControlPlane) -> None:
    for number in (1, 2):
        await plane.make_customer(name=f"Customer {number}")
        await plane.patch(f"/customers/{number}/invoicing", {"frequency": "monthly", "send_mail": False})
    plane.ctx.billing = BILLING
    for _ in range(10):
        await plane.post("/customers/1/payments", {"total": "1000000000"})
        await plane.post("/customers/1/adjustments", {"amount": "-1000000000", "kind": "fee", "reason": "month"})
    await plane.post("/customers/2/payments", {"total": "10"})
    assert await pass_time(plane, "2027-02-01T00:05:00+00:00") == {"invoices": 1}
    assert [each["customer_id"] for each in (await plane.get("/invoices"))["items"]] == [2]
    problem = await invoice(plane, status=409, **{"from": "2027-01-15", "to": "2027-01-31"})
    assert "10000000000 USD" in problem["detail"]


@with_control
async def test_what_counts_late_is_on_the_next_invoice_and_nothing_on_two(plane: ControlPlane) -> None:
    await make(plane, tax_percent="0")
    await store_calls(plane, call_at("2027-03-15T00:00:00+00:00", **LONDON))
    plane.clock.ms = at("2027-04-01T00:00:10+00:00")
    first = await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31", "issue": True})
    assert first["gross"] == "1"
    # A call of March that a restart has kept in the journal, and one of April.
    await store_calls(
        plane,
        call_at("2027-03-31T23:00:00+00:00", net=2 * UNIT, **PARIS),
        call_at("2027-04-05T00:00:00+00:00", net=4 * UNIT, **LONDON),
    )
    plane.clock.ms = at("2027-05-03T00:00:00+00:00")
    await store_calls(plane, call_at("2027-05-02T00:00:00+00:00", net=8 * UNIT, **LONDON))
    second = await invoice(plane, to="2027-04-30", issue=True)
    assert (second["from"], second["to"], second["gross"]) == ("2027-04-01", "2027-04-30", "6")
    assert second["opening_balance"] == first["closing_balance"] == "-1"
    third = await invoice(plane, issue=True)
    assert (third["from"], third["to"], third["gross"], third["closing_balance"]) == (
        "2027-05-01",
        "2027-05-02",
        "8",
        "-15",
    )
    assert await balance(plane) == -15 * UNIT


@with_control
async def test_a_change_of_tax_is_told_apart_by_the_time_of_each_call(plane: ControlPlane) -> None:
    await make(plane)
    plane.clock.ms = at("2027-03-10T12:00:00+00:00")
    await plane.patch("/customers/1", {"tax_percent": "10"})
    await plane.patch("/customers/1", {"notes_public": "x"})
    await store_calls(
        plane,
        call_at("2027-03-10T11:59:00+00:00", net=UNIT, tax=200_000_000, **LONDON),
        call_at("2027-03-10T13:00:00+00:00", net=UNIT, tax=100_000_000, **LONDON),
    )
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
    made = await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31"})
    taxes = (await plane.get(f"/invoices/{made['id']}"))["taxes"]
    assert taxes == [
        {"tax_percent": "10", "net": "1", "tax": "0.1"},
        {"tax_percent": "20", "net": "1", "tax": "0.2"},
    ]


@with_control
async def test_numbers_have_no_gaps_however_many_issue_at_once_and_whatever_fails(plane: ControlPlane) -> None:
    count = 6
    for number in range(1, count + 1):
        await make(plane, name=f"Customer {number}")
        await store_calls(plane, call_at("2027-03-15T00:00:00+00:00", customer_id=number, **LONDON))
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
    period = {"from": "2027-03-01", "to": "2027-03-31"}
    made = [await invoice(plane, number, **period) for number in range(1, count + 1)]

    async def killed(*_given: Any, **_more: Any) -> None:
        raise OSError("killed")

    with patch.object(document_mail, "queue", killed):
        # The number was drawn, and goes back with the transaction.
        assert (await plane.request("POST", f"/invoices/{made[0]['id']}/issue", {})).status_code == 500
    async with plane.store.read() as tx:
        assert (await tx.execute(select(number_series))).all() == []
    issued = await asyncio.gather(
        *(plane.post(f"/invoices/{each['id']}/issue", {}, status=200) for each in made for _ in range(2))
    )
    assert {each["number"] for each in issued} == {f"INV-{number:06d}" for number in range(1, count + 1)}
    assert len({(each["id"], each["number"]) for each in issued}) == count


@with_control
async def test_a_draft_can_be_dropped_and_an_issued_invoice_stays_as_it_is(plane: ControlPlane) -> None:
    await make(plane)
    await march(plane)
    period = {"from": "2027-03-01", "to": "2027-03-31"}
    draft = await invoice(plane, **period)
    refused = await invoice(plane, status=409, **period)
    assert refused["references"] == [{"noun": "invoice", "id": str(draft["id"]), "name": ""}]
    await plane.delete(f"/invoices/{draft['id']}", headers={"If-Match": '"9"'}, status=412)
    await plane.delete(f"/invoices/{draft['id']}", role="billing")
    await plane.get(f"/invoices/{draft['id']}", status=404)
    made = await invoice(plane, **period, issue=True)
    await plane.delete(f"/invoices/{made['id']}", status=409)
    for method in ("PATCH", "PUT"):
        assert (await plane.request(method, f"/invoices/{made['id']}", {"total": "1"})).status_code == 405
    before = await plane.get(f"/invoices/{made['id']}")
    await plane.patch("/customers/1", {"name": "Renamed", "tax_percent": "5"})
    plane.ctx.billing = msgspec.structs.replace(BILLING, seller_name="Other")
    after = await plane.get(f"/invoices/{made['id']}")
    assert after == before
    actions = [row["action"] for row in (await plane.get("/audit?noun=invoice&sort=id"))["items"]]
    assert actions == ["create", "archive", "create", "issue"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"from": "2027-03-01", "to": "2027-02-28"}, "to"),
    ({"from": "2027-03-01", "to": "2027-04-03"}, "to"),
    ({"from": "1970-01-01"}, "from"),
    ({"from": "yesterday"}, "from"),
    ({"until": "2027-03-01"}, "until"),
]


@with_control
async def test_periods_that_are_none_are_refused_by_name(plane: ControlPlane) -> None:
    await make(plane)
    plane.clock.ms = at("2027-04-02T12:00:00+00:00")
    for body, path in BAD:
        problem = await invoice(plane, status=400, **body)
        assert problem["errors"][0]["path"] == path, body
    await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31", "issue": True})
    problem = await invoice(plane, status=400, **{"from": "2027-03-15"})
    assert problem["errors"][0]["path"] == "from"
    await plane.post("/customers/9/invoices", {}, status=404)
    await plane.post("/customers/1/invoices", {}, status=403, role="read-only")


@with_control
async def test_nothing_is_issued_while_nobody_is_said_to_send_it(plane: ControlPlane) -> None:
    await make(plane)
    plane.ctx.billing = Billing()
    made = await invoice(plane, **{"from": "2027-01-01"})
    problem = await plane.post(f"/invoices/{made['id']}/issue", {}, status=409)
    assert problem["errors"][0]["path"] == "seller_name"
    assert (await plane.get(f"/invoices/{made['id']}"))["state"] == "draft"


@pytest.mark.parametrize(
    ("zone", "frequency", "day", "set_at", "looks", "ends", "periods"),
    [
        (
            "UTC",
            "monthly",
            1,
            "2027-01-20T00:00:00+00:00",
            "2027-04-05T00:00:00+00:00",
            "2027-04-01T00:00:00+00:00",
            ["2027-01-01/2027-01-31", "2027-02-01/2027-02-28", "2027-03-01/2027-03-31"],
        ),
        (
            "UTC",
            "monthly",
            31,
            "2028-01-31T00:00:00+00:00",
            "2028-05-05T00:00:00+00:00",
            "2028-04-30T00:00:00+00:00",
            ["2028-01-31/2028-02-28", "2028-02-29/2028-03-30", "2028-03-31/2028-04-29"],
        ),
        (
            "Europe/London",
            "weekly",
            1,
            "2027-03-22T12:00:00+00:00",
            "2027-04-05T00:00:00+00:00",
            "2027-04-04T23:00:00+00:00",
            ["2027-03-22/2027-03-28", "2027-03-29/2027-04-04"],
        ),
        (
            "Europe/London",
            "daily",
            1,
            "2027-03-27T12:00:00+00:00",
            "2027-03-29T00:00:00+00:00",
            "2027-03-28T23:00:00+00:00",
            ["2027-03-27/2027-03-27", "2027-03-28/2027-03-28"],
        ),
    ],
)
def test_periods_are_invoiced_by_themselves_once_and_after_any_time_away(
    zone: str,
    frequency: str,
    day: int,
    set_at: str,
    looks: str,
    ends: str,
    periods: list[str],
    tmp_path: Path,
    database: Database,
) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await make(plane, time_zone=zone, tax_percent="0")
        plane.clock.ms = at(set_at)
        await plane.patch("/customers/1/invoicing", {"frequency": frequency, "day": day})
        # A call in the middle of each hour, so that no period is empty and each border counts.
        since, until = at(set_at) // 3_600_000, at(looks) // 3_600_000
        ended = [hour * 3_600_000 + 1_800_000 for hour in range(since, until)]
        calls = [
            call_at("2027-01-01T00:00:00+00:00") | {"invited_ms": ms - 9, "answered_ms": ms - 8, "ended_ms": ms}
            for ms in ended
        ]
        await store_calls(plane, *calls)
        await asyncio.gather(*(pass_time(plane, looks) for _ in range(3)))
        await pass_time(plane, looks.replace("00:00:00+", "00:02:00+"))
        await pass_time(plane, looks.replace("00:00:00+", "00:02:01+"))
        made = (await plane.get("/customers/1/invoices?sort=id"))["items"]
        assert [f"{each['from']}/{each['to']}" for each in made] == periods
        assert [each["number"] for each in made] == [f"INV-{n:06d}" for n in range(1, len(periods) + 1)]
        total = sum(float(each["gross"]) for each in made)
        assert total == sum(1 for ms in ended if ms < at(ends))

    run(tmp_path, database)


@with_control
async def test_a_period_without_entries_makes_no_invoice_and_is_not_lost(plane: ControlPlane) -> None:
    await make(plane, tax_percent="0")
    await plane.patch("/customers/1/invoicing", {"frequency": "monthly", "auto_issue": False})
    await pass_time(plane, "2027-03-02T00:00:00+00:00")
    assert (await plane.get("/invoices"))["items"] == []
    assert (await plane.get("/customers/1/invoicing"))["next_from"] == "2027-03-01"
    await store_calls(
        plane,
        # Of February, which was empty when it was looked at.
        call_at("2027-02-20T00:00:00+00:00", net=2 * UNIT),
        call_at("2027-03-20T00:00:00+00:00", net=4 * UNIT),
        call_at("2027-04-20T00:00:00+00:00", net=8 * UNIT),
    )
    await pass_time(plane, "2027-05-02T00:00:00+00:00")
    (draft,) = (await plane.get("/invoices"))["items"]
    assert (draft["state"], draft["from"], draft["gross"]) == ("draft", "2027-03-01", "4")
    assert draft["opening_balance"] == "-2"
    await plane.post(f"/invoices/{draft['id']}/issue", {}, status=200)
    await pass_time(plane, "2027-05-02T00:01:00+00:00")
    assert [each["gross"] for each in (await plane.get("/invoices"))["items"]] == ["8", "4"]


@with_control
async def test_the_events_of_an_invoice_are_told_once(plane: ControlPlane) -> None:
    await make(plane, tax_percent="0")
    await store_calls(plane, call_at("2027-03-20T00:00:00+00:00", net=4 * UNIT))
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
    made = await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31", "issue": True})
    for moment in ("2027-04-16T23:59:59+00:00", "2027-04-17T00:00:00+00:00", "2027-04-18T00:00:00+00:00"):
        await pass_time(plane, moment)
    assert (await plane.get(f"/invoices/{made['id']}"))["state"] == "overdue"
    assert [each["id"] for each in (await plane.get("/invoices?state=overdue"))["items"]] == [made["id"]]
    await plane.post("/customers/1/payments", {"total": "4"})
    async with plane.store.read() as tx:
        events = list((await tx.execute(select(outbox.c.event).order_by(outbox.c.id))).scalars())
    assert [each for each in events if each.startswith("invoice.")] == [
        "invoice.issued",
        "invoice.overdue",
        "invoice.paid",
    ]


@with_control
async def test_that_many_are_overdue_at_one_midnight_is_told_in_several_transactions(plane: ControlPlane) -> None:
    for number in (1, 2, 3):
        await make(plane, name=f"Customer {number}", tax_percent="0")
        await store_calls(plane, call_at("2027-03-20T00:00:00+00:00", customer_id=number))
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
    for number in (1, 2, 3):
        await invoice(plane, number, **{"from": "2027-03-01", "to": "2027-03-31", "issue": True})
    changes: list[int] = []

    async def tell(change: Any, row: Any) -> None:
        changes.append(id(change))
        held.append(change)
        await tell_one(change, row)

    held: list[Any] = []
    tell_one = overdue_invoices._tell_overdue
    with patch.object(overdue_invoices, "INVOICES_A_STEP", 2), patch.object(overdue_invoices, "_tell_overdue", tell):
        assert (await pass_time(plane, "2027-05-01T00:00:00+00:00"))["invoices overdue"] == 3
    assert changes[0] == changes[1] != changes[2]


@with_control
async def test_invoices_are_found_by_customer_state_number_and_day(plane: ControlPlane) -> None:
    for number, name in enumerate(("One", "Two"), 1):
        await make(plane, name=name)
        await store_calls(plane, call_at("2027-03-15T00:00:00+00:00", customer_id=number, net=UNIT, tax=200_000_000))
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
    await invoice(plane, 1, **{"from": "2027-03-01", "issue": True})
    await invoice(plane, 2, **{"from": "2027-03-01"})

    async def found(query: str) -> list[int]:
        return [each["customer_id"] for each in (await plane.get(f"/invoices?{query}", role="read-only"))["items"]]

    assert await found("") == [2, 1]
    assert await found("state=draft") == [2]
    assert await found("state=issued") == [1]
    assert await found("state=paid") == await found("state=partially_paid") == await found("state=overdue") == []
    assert await found("number=INV-000001") == await found("search=0001") == [1]
    assert await found("issued_from=2027-04-02") == await found("issued_to=2027-04-02") == [1]
    assert await found("issued_from=2027-04-03") == []
    assert [each["id"] for each in (await plane.get("/customers/2/invoices"))["items"]] == [2]


@with_control
async def test_how_a_customer_is_invoiced_is_changed_field_by_field(plane: ControlPlane) -> None:
    await make(plane)
    path = "/customers/1/invoicing"
    assert (await plane.get(path))["frequency"] == "never"
    changed = await plane.patch(path, {"due_days": 30, "recipients": ["a@example.com"]}, role="billing")
    assert (changed["due_days"], changed["row_version"], changed["next_from"]) == (30, 1, None)
    changed = await plane.patch(path, {"frequency": "weekly", "day": 5}, headers={"If-Match": '"1"'})
    assert (changed["due_days"], changed["next_from"]) == (30, "2027-01-15")
    await plane.patch(path, {"due_days": 1}, headers={"If-Match": '"1"'}, status=412)
    for body, field in (
        ({"day": 9}, "day"),
        ({"recipients": ["nobody"]}, "recipients[0]"),
        ({"frequency": "once"}, "frequency"),
        ({"colour": 1}, "colour"),
    ):
        assert (await plane.patch(path, body, status=400))["errors"][0]["path"] == field


@with_control
async def test_a_customer_that_moves_to_another_zone_has_no_gap_and_no_overlap(plane: ControlPlane) -> None:
    await make(plane, time_zone="Asia/Tokyo", tax_percent="0")
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
    first = await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31", "issue": True})
    await plane.patch("/customers/1", {"time_zone": "America/New_York"})
    # After the end in Tokyo, before the first of April in New York.
    async with plane.ctx.change() as change:
        await append(change, customer_id=1, kind="fee", amount_nanos=-UNIT, at_ms=at("2027-03-31T20:00:00+00:00"))
    second = await invoice(plane, to="2027-04-01", issue=True)
    assert (first["gross"], second["gross"], second["from"]) == ("0", "1", "2027-04-01")


@with_control
async def test_the_pdf_is_rendered_once_and_the_same_for_ever(plane: ControlPlane) -> None:
    await make(plane, name='Ann #panic("x") $ \\ <b> \u202eevil', address='#include "/etc/passwd"\n' + "W" * 300)
    await march(plane)
    made = await invoice(plane, **{"from": "2027-03-01", "to": "2027-03-31"})
    await plane.get(f"/invoices/{made['id']}/pdf", status=409)
    await plane.post(f"/invoices/{made['id']}/issue", {}, status=200)
    answers = await asyncio.gather(*(plane.request("GET", f"/invoices/{made['id']}/pdf") for _ in range(3)))
    first = answers[0]
    assert first.headers["content-type"] == "application/pdf"
    assert first.headers["content-disposition"] == 'attachment; filename="INV-000001.pdf"'
    assert first.content.startswith(b"%PDF-")
    assert {each.content for each in answers} == {first.content}
    plane.ctx.billing = msgspec.structs.replace(BILLING, seller_name="Other")
    await plane.patch("/customers/1", {"name": "Renamed"})
    assert (await plane.request("GET", f"/invoices/{made['id']}/pdf")).content == first.content
    async with plane.store.begin() as tx:
        assert len((await tx.execute(select(documents.c.sha256))).all()) == 1
        await tx.execute(update(documents).values(content=b"kept"))
    assert (await plane.request("GET", f"/invoices/{made['id']}/pdf")).content == b"kept"


@with_control
async def test_a_customer_that_moves_a_day_east_is_invoiced_on_and_keeps_nobody_from_it(plane: ControlPlane) -> None:
    for name in ("Mover", "Other"):
        await make(plane, name=name, tax_percent="0", time_zone="Pacific/Pago_Pago")
    plane.clock.ms = at("2027-03-01T12:00:00+00:00")
    for number in (1, 2):
        await plane.patch(f"/customers/{number}/invoicing", {"frequency": "daily"})
        await store_calls(plane, call_at("2027-03-01T15:00:00+00:00", customer_id=number))
    await pass_time(plane, "2027-03-02T11:30:00+00:00")
    await plane.patch("/customers/1", {"time_zone": "Pacific/Kiritimati"})
    fee = {"amount": "-5", "kind": "fee", "reason": "x", "description": "Porting"}
    for number in (1, 2):
        await store_calls(
            plane,
            call_at("2027-03-01T16:00:00+00:00", net=2 * UNIT, customer_id=number),
            call_at("2027-03-02T12:00:00+00:00", net=4 * UNIT, customer_id=number),
        )
        await plane.post(f"/customers/{number}/adjustments", fee)
    for moment in ("2027-03-02T12:00:00+00:00", "2027-03-04T12:00:00+00:00", "2027-03-05T12:00:00+00:00"):
        await pass_time(plane, moment)
    for number in (1, 2):
        made = (await plane.get(f"/invoices?customer_id={number}&sort=id"))["items"]
        assert [each["gross"] for each in made] == ["1", "11"], number
        assert made[0]["closing_balance"] == made[1]["opening_balance"]
