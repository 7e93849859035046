"""Payments put against invoices, credit notes, and invoices by mail."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from unittest.mock import patch

import msgspec
import typst
from sqlalchemy import select

from control.services import document_mail, documents
from control.services.mail import Mailer
from control.store.outbox_tables import outbox
from tests.fakes.billing import BILLING, UNIT, at, balance, call_at, invoice, make, pass_time, store_calls
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.mailbox import running_mailbox
from tests.fakes.portal import make_contact


async def two_invoices(plane: ControlPlane, **fields: Any) -> tuple[int, int]:
    """Of 10 and of 20, for January and February; tax in."""
    await make(plane, **{"tax_percent": "25", **fields})
    await store_calls(
        plane,
        call_at("2027-01-15T07:00:00+00:00", net=8 * UNIT, tax=2 * UNIT),
        call_at("2027-02-15T07:00:00+00:00", net=16 * UNIT, tax=4 * UNIT),
    )
    plane.clock.ms = at("2027-03-01T12:00:00+00:00")
    first = await invoice(plane, **{"from": "2027-01-01", "to": "2027-01-31", "issue": True})
    second = await invoice(plane, to="2027-02-28", issue=True)
    return first["id"], second["id"]


async def pay(plane: ControlPlane, total: str, **fields: Any) -> int:
    return int((await plane.post("/customers/1/payments", {"total": total, **fields}))["id"])


async def states(plane: ControlPlane) -> list[tuple[str, str]]:
    items = (await plane.get("/customers/1/invoices?sort=id"))["items"]
    return [(each["state"], each["open"]) for each in items]


@with_control
async def test_payments_pay_the_oldest_invoice_first_by_themselves(plane: ControlPlane) -> None:
    first, second = await two_invoices(plane)
    assert await states(plane) == [("issued", "10"), ("issued", "20")]
    payment = await pay(plane, "4")
    assert await states(plane) == [("partially_paid", "6"), ("issued", "20")]
    await pay(plane, "7.5")
    assert await states(plane) == [("paid", "0"), ("partially_paid", "18.5")]
    # More than is open waits for the next invoice.
    await pay(plane, "100")
    assert await states(plane) == [("paid", "0"), ("paid", "0")]
    await store_calls(plane, call_at("2027-03-15T07:00:00+00:00", net=50 * UNIT))
    plane.clock.ms = at("2027-04-01T12:00:00+00:00")
    third = await invoice(plane, to="2027-03-31", issue=True)
    assert third["state"] == "paid"
    found = (await plane.get(f"/invoices/{first}"))["allocations"]
    assert [(each["payment_id"], each["amount"], each["is_automatic"]) for each in found] == [
        (payment, "4", True),
        (payment + 1, "6", True),
    ]
    assert len((await plane.get(f"/allocations?invoice_id={second}"))["items"]) == 2


@with_control
async def test_a_payment_that_is_taken_back_pays_nothing_any_more(plane: ControlPlane) -> None:
    await two_invoices(plane)
    payment = await pay(plane, "30")
    assert await states(plane) == [("paid", "0"), ("paid", "0")]
    await pay(plane, "5")
    await plane.post(f"/customers/1/payments/{payment}/reverse", {"reason": "bounced"}, status=200)
    # The other payment had nothing to pay; now it has.
    assert await states(plane) == [("partially_paid", "5"), ("issued", "20")]


@with_control
async def test_money_that_went_back_to_the_customer_pays_no_invoice(plane: ControlPlane) -> None:
    await make(plane)
    await pay(plane, "30")
    await pay(plane, "-25", reason="too much")
    await two_invoices_of_existing(plane)
    assert await states(plane) == [("partially_paid", "5"), ("issued", "20")]


async def two_invoices_of_existing(plane: ControlPlane) -> None:
    await store_calls(
        plane,
        call_at("2027-01-15T09:00:00+00:00", net=8 * UNIT, tax=2 * UNIT),
        call_at("2027-02-15T07:00:00+00:00", net=16 * UNIT, tax=4 * UNIT),
    )
    plane.clock.ms = at("2027-03-01T12:00:00+00:00")
    await invoice(plane, **{"from": "2027-01-01", "to": "2027-01-31", "issue": True})
    await invoice(plane, to="2027-02-28", issue=True)


@with_control
async def test_a_payment_is_allocated_by_hand_exactly_and_taken_off_again(plane: ControlPlane) -> None:
    first, second = await two_invoices(plane)
    await plane.patch("/customers/1/invoicing", {"auto_allocate": False})
    payment = await pay(plane, "12")
    assert await states(plane) == [("issued", "10"), ("issued", "20")]
    path = f"/invoices/{second}/allocations"
    made = await plane.post(path, {"payment_id": payment, "amount": "3.33"}, role="billing")
    assert (made["amount"], made["is_automatic"], made["created_by"]) == ("3.33", False, "test billing")
    assert await states(plane) == [("issued", "10"), ("partially_paid", "16.67")]
    await plane.post(path, {"payment_id": payment, "amount": "8.68"}, status=409)
    await plane.post(f"/invoices/{first}/allocations", {"payment_id": payment, "amount": "10.01"}, status=409)
    for body, status in (({"payment_id": 99}, 400), ({"payment_id": payment, "amount": "0"}, 400)):
        await plane.post(path, body, status=status)
    pending = await pay(plane, "5", status="pending")
    await plane.post(path, {"payment_id": pending}, status=400)
    rest = await plane.post(f"/invoices/{first}/allocations", {"payment_id": payment})
    assert rest["amount"] == "8.67"
    released = await plane.post(f"/allocations/{made['id']}/release", None, status=200)
    assert released["released_by"] == "test admin"
    assert await plane.post(f"/allocations/{made['id']}/release", None, status=200) == released
    assert await states(plane) == [("partially_paid", "1.33"), ("issued", "20")]
    assert [each["id"] for each in (await plane.get("/allocations?released=true"))["items"]] == [made["id"]]
    assert (await plane.post("/customers/1/allocate", None, status=200))["allocations"] == 2
    assert await states(plane) == [("paid", "0"), ("partially_paid", "18")]
    await plane.post("/allocations/99/release", None, status=404)
    assert await balance(plane) == -18 * UNIT


@with_control
async def test_payments_and_invoices_at_the_same_moment_are_allocated_exactly(plane: ControlPlane) -> None:
    first, second = await two_invoices(plane)
    await plane.patch("/customers/1/invoicing", {"auto_allocate": False})
    payment = await pay(plane, "15")
    body = {"payment_id": payment, "amount": "8"}
    path = "/invoices/{}/allocations"
    answers = await asyncio.gather(
        *(plane.request("POST", path.format(each), body) for each in (first, second, first, second))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert sorted(await states(plane)) in (
        [("issued", "10"), ("partially_paid", "12")],
        [("issued", "20"), ("partially_paid", "2")],
    )


@with_control
async def test_a_credit_note_has_its_own_numbers_goes_to_the_balance_and_frees_what_was_paid(
    plane: ControlPlane,
) -> None:
    first, second = await two_invoices(plane)
    payment = await pay(plane, "10")
    assert await states(plane) == [("paid", "0"), ("issued", "20")]
    before = await balance(plane)
    path = f"/invoices/{first}/credit-notes"
    body = {"net": "4", "tax_percent": "20", "reason": "Wrong rate", "note": "Ann"}
    assert (await plane.post(path, body, status=400))["errors"][0]["path"] == "tax_percent"
    made = await plane.post(path, {"net": "4", "reason": "Wrong rate"}, headers={"Idempotency-Key": "k"})
    assert (made["number"], made["invoice_id"], made["is_in_switch"]) == ("CN-000001", first, True)
    again = await plane.post(path, {"net": "4", "reason": "Wrong rate"}, headers={"Idempotency-Key": "k"})
    assert again == made
    assert await balance(plane) == before + 5 * UNIT
    # 5 of the 10 that were paid are free now, and pay the other.
    assert await states(plane) == [("paid", "0"), ("partially_paid", "15")]
    found = await plane.get(f"/invoices/{first}")
    assert (found["credited"], found["paid"], found["credit_notes"]) == ("5", "5", ["CN-000001"])
    assert found["total"] == "10"
    await plane.post(path, {"net": "4.01", "reason": "x"}, status=409)
    for net in ("0", "-1", "0.001"):
        await plane.post(path, {"net": net, "reason": "x"}, status=400)
    other = await plane.post(f"/invoices/{second}/credit-notes", {"net": "1", "reason": "x"})
    assert other["number"] == "CN-000002"
    assert [each["payment_id"] for each in (await plane.get("/allocations?released=false"))["items"]] == [payment] * 2
    entry = await plane.get(f"/customers/1/ledger/{made['entry_id']}")
    assert (entry["kind"], entry["amount"], entry["net"], entry["tax"]) == ("adjustment", "5", "-4", "-1")
    await plane.post(f"/customers/1/ledger/{made['entry_id']}/reverse", {"reason": "x"}, status=409)
    # The next invoice shows them and does not take them off a second time.
    plane.clock.ms = at("2027-04-01T12:00:00+00:00")
    third = await invoice(plane, to="2027-03-31", issue=True)
    assert (third["gross"], third["payments"], third["closing_balance"]) == ("0", "16.25", "-13.75")
    pdf = await plane.request("GET", f"/credit-notes/{made['id']}/pdf")
    assert pdf.content.startswith(b"%PDF-")
    assert (await plane.get(f"/credit-notes/{made['id']}"))["reason"] == "Wrong rate"
    assert len((await plane.get("/credit-notes?customer_id=1"))["items"]) == 2
    async with plane.store.read() as tx:
        events = list((await tx.execute(select(outbox.c.event))).scalars())
    assert events.count("credit_note.issued") == 2
    assert events.count("invoice.paid") == 2


@with_control
async def test_an_issued_invoice_is_mailed_once_to_each_recipient(plane: ControlPlane) -> None:
    async with running_mailbox() as mailbox:
        plane.ctx.mail = Mailer(mailbox.settings)
        await make(plane)
        await make_contact(plane, 1, email="ann@example.com")
        await make_contact(plane, 1, email="off@example.com", enabled=False)
        await store_calls(plane, call_at("2027-01-15T07:00:00+00:00", net=8 * UNIT, tax=2 * UNIT))
        plane.clock.ms = at("2027-02-01T12:00:00+00:00")
        made = await invoice(plane, **{"from": "2027-01-01", "issue": True})
        assert mailbox.messages == []
        await asyncio.gather(*(document_mail.run_due(plane.ctx) for _ in range(3)))
        await document_mail.run_due(plane.ctx)
        (message,) = mailbox.messages
        assert message["To"] == "ann@example.com"
        assert message["Subject"] == "Invoice INV-000001 from Tandem Ltd"
        text = message.get_body()
        assert text is not None
        assert "Total: 10.00 USD" in text.get_content()
        (part,) = message.iter_attachments()
        pdf = (await plane.request("GET", f"/invoices/{made['id']}/pdf")).content
        assert (part.get_filename(), part.get_content()) == ("INV-000001.pdf", pdf)
        assert [each["state"] for each in (await plane.get(f"/invoices/{made['id']}"))["mails"]] == ["sent"]
        # Somebody asks for it again, for another address.
        body = {"recipients": ["books@example.com"]}
        assert (await plane.post(f"/invoices/{made['id']}/send", body, status=200))["mails"] == 1
        await plane.post(f"/invoices/{made['id']}/send", {"recipients": ["x"]}, status=400)
        await document_mail.run_due(plane.ctx)
        assert [each["To"] for each in mailbox.messages] == ["ann@example.com", "books@example.com"]
        # And once more to whom the customer's invoices go, which by now is an address of its own.
        await plane.patch("/customers/1/invoicing", {"recipients": ["ledger@example.com"]})
        assert (await plane.post(f"/invoices/{made['id']}/send", None, status=200))["mails"] == 1
        await document_mail.run_due(plane.ctx)
        assert mailbox.messages[-1]["To"] == "ledger@example.com"


@with_control
async def test_a_mail_that_the_server_refuses_is_tried_again_and_one_that_may_have_gone_is_not(
    plane: ControlPlane,
) -> None:
    async with running_mailbox() as mailbox:
        plane.ctx.mail = Mailer(mailbox.settings)
        await make(plane)
        await plane.patch("/customers/1/invoicing", {"recipients": ["a@example.com"]})
        plane.clock.ms = at("2027-02-01T12:00:00+00:00")
        made = await invoice(plane, **{"from": "2027-01-01", "issue": True})
        path = f"/invoices/{made['id']}"
        mailbox.is_full = True
        await document_mail.run_due(plane.ctx)
        (mail,) = (await plane.get(path))["mails"]
        assert (mail["state"], mail["attempts"]) == ("pending", 1)
        assert "full" in mail["error"]
        mailbox.is_full = False
        await document_mail.run_due(plane.ctx)
        assert mailbox.messages == []
        plane.clock.ms += 60_000

        async def dies(*_given: Any, **_more: Any) -> None:
            raise asyncio.CancelledError

        # The server has it, and the process dies before it is written down.
        with patch.object(document_mail, "_write", dies), contextlib.suppress(asyncio.CancelledError):
            await document_mail.run_due(plane.ctx)
        assert len(mailbox.messages) == 1
        for _ in range(3):
            plane.clock.ms += 86_400_000
            await pass_time(plane, "2027-02-09T00:00:00+00:00")
        assert len(mailbox.messages) == 1
        assert [each["state"] for each in (await plane.get(path))["mails"]] == ["sending"]


@with_control
async def test_a_document_that_cannot_be_drawn_holds_up_no_other_mail(plane: ControlPlane) -> None:
    async with running_mailbox() as mailbox:
        plane.ctx.mail = Mailer(mailbox.settings)
        await make(plane)
        await plane.patch("/customers/1/invoicing", {"recipients": ["a@example.com"]})
        plane.clock.ms = at("2027-02-01T12:00:00+00:00")
        broken = await invoice(plane, **{"from": "2027-01-01", "to": "2027-01-10", "issue": True})
        await invoice(plane, **{"from": "2027-01-11", "to": "2027-01-31", "issue": True})
        real = documents.pdf

        async def pdf(ctx: Any, kind: Any, document_id: int, customer_id: int | None = None) -> Any:
            if document_id == broken["id"]:
                raise typst.TypstError("no such font", "here")
            return await real(ctx, kind, document_id, customer_id)

        with patch.object(documents, "pdf", pdf):
            assert await document_mail.run_due(plane.ctx) == 1
        assert [each["Subject"] for each in mailbox.messages] == ["Invoice INV-000002 from Tandem Ltd"]
        (mail,) = (await plane.get(f"/invoices/{broken['id']}"))["mails"]
        assert (mail["state"], mail["attempts"]) == ("pending", 1)
        assert "no such font" in mail["error"]
        plane.clock.ms += 60_000
        assert await document_mail.run_due(plane.ctx) == 1
        assert len(mailbox.messages) == 2


@with_control
async def test_without_a_mail_server_a_mail_waits_and_asking_for_one_is_refused(plane: ControlPlane) -> None:
    await make(plane)
    plane.ctx.billing = msgspec.structs.replace(BILLING, number_digits=3, invoice_prefix="T/")
    plane.clock.ms = at("2027-02-01T12:00:00+00:00")
    made = await invoice(plane, **{"from": "2027-01-01", "issue": True})
    assert made["number"] == "T/001"
    await plane.post(f"/invoices/{made['id']}/send", {}, status=409)
    pdf = await plane.request("GET", f"/invoices/{made['id']}/pdf")
    assert pdf.headers["content-disposition"] == 'attachment; filename="T-001.pdf"'
