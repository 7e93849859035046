"""Contacts of a customer through the API: fields, passwords by hand and by mail, what takes a login away."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from control.services.mail import Mailer
from control.store.contact_tables import contacts
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.mailbox import running_mailbox
from tests.fakes.portal import EMAIL, PASSWORD, log_in, make_contact, session


@with_control
async def test_a_contact_is_made_with_name_login_phone_and_notes(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    body = {
        "name": "Ann",
        "email": EMAIL,
        "phone": "+44 20 7183-8750",
        "password": PASSWORD,
        "ip_allow_list": ["192.0.2.0/24", "::1/128"],
        "notes_public": "Call before noon.",
        "notes_private": "Pays late.",
    }
    made = await plane.post(f"/customers/{customer}/contacts", body)
    assert made["phone"] == "+442071838750"
    assert made["ip_allow_list"] == ["192.0.2.0/24", "::1"]
    assert (made["has_password"], made["has_second_factor"], made["last_login_at"]) == (True, False, None)
    assert (await plane.get(f"/customers/{customer}/contacts"))["items"] == [made]
    async with plane.store.read() as tx:
        stored = (await tx.execute(select(contacts.c.password_hash))).scalar_one()
    assert stored.startswith("$argon2id$")


@with_control
async def test_no_password_is_ever_answered_or_audited(plane: ControlPlane) -> None:
    contact = await make_contact(plane, await plane.make_customer())
    await plane.patch(f"/contacts/{contact['id']}", {"password": "another good one"})
    for path in ("/contacts", f"/contacts/{contact['id']}", "/audit?limit=100"):
        text = (await plane.request("GET", path, status=200)).text
        assert PASSWORD not in text
        assert "another good one" not in text
        assert "argon2" not in text
        assert "password_hash" not in text


@with_control
async def test_one_contact_of_all_logs_in_by_an_address(plane: ControlPlane) -> None:
    one, other = await plane.make_customer(name="One"), await plane.make_customer(name="Other")
    contact = await make_contact(plane, one)
    problem = await plane.post("/contacts", {"customer_id": other, "name": "X", "email": "ANN@example.COM"}, status=409)
    assert problem["errors"][0]["path"] == "email"
    await plane.delete(f"/contacts/{contact['id']}")
    await plane.post("/contacts", {"customer_id": other, "name": "X", "email": "ANN@example.COM"})


@with_control
async def test_a_bad_field_of_a_contact_is_named(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    for fields, path in (
        ({"email": "no mail"}, "email"),
        ({"name": "\u3000"}, "name"),
        ({"phone": "020 7183"}, "phone"),
        ({"password": "short"}, "password"),
        ({"ip_allow_list": ["192.0.2.1/24"]}, "ip_allow_list[0]"),
        ({"customer_id": 999}, "customer_id"),
        ({"password": PASSWORD, "generate_password": True}, "generate_password"),
        ({"bogus": 1}, "bogus"),
    ):
        status = 409 if fields.get("generate_password") else 400
        body = {"customer_id": customer, "name": "Ann", "email": EMAIL, **fields}
        problem = await plane.post("/contacts", body, status=status)
        assert [each["path"] for each in problem["errors"]] == [path], fields


@with_control
async def test_a_generated_password_is_mailed_once_and_opens_the_portal(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    body: dict[str, Any] = {"customer_id": customer, "name": "Ann", "email": EMAIL, "generate_password": True}
    problem = await plane.post("/contacts", body, status=409)
    assert problem["errors"][0]["path"] == "generate_password", "no mail server is set"
    async with running_mailbox() as mailbox:
        plane.ctx.mail = Mailer(mailbox.settings)
        made = await plane.post("/contacts", body)
        assert (made["password_mail"], made["has_password"]) == ("sent", True)
        assert [message["To"] for message in mailbox.messages] == [EMAIL]
        found = re.search(r"password is: (\S+)", mailbox.text())
        assert found is not None
        answer = await log_in(plane, password=found[1])
        assert answer.status_code == 200
        assert found[1] not in (await plane.request("GET", "/audit?limit=100")).text
        mailbox.is_full = True
        again = await plane.patch(f"/contacts/{made['id']}", {"generate_password": True})
        assert again["password_mail"] == "failed"
        assert (await log_in(plane, password=found[1])).status_code == 401
        rows = (await plane.get("/audit?action=mail_password"))["items"]
        assert [row["after"]["result"] for row in rows] == ["failed", "sent"]


@with_control
async def test_what_takes_a_login_away_ends_its_sessions(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    contact = (await make_contact(plane, customer))["id"]
    changes: list[tuple[str, str, Any, Any]] = [
        ("PATCH", f"/contacts/{contact}", {"enabled": False}, {"enabled": True}),
        ("PATCH", f"/contacts/{contact}", {"password": PASSWORD}, None),
        ("PATCH", f"/contacts/{contact}", {"ip_allow_list": ["198.51.100.1"]}, {"ip_allow_list": []}),
        ("PATCH", f"/customers/{customer}", {"portal_access": False}, {"portal_access": True}),
        ("POST", f"/contacts/{contact}/end-sessions", None, None),
        ("DELETE", f"/contacts/{contact}", None, None),
    ]
    for method, path, body, back in changes:
        async with await session(plane) as client:
            assert (await client.get("/me")).status_code == 200
            await plane.request(method, path, body)
            assert (await client.get("/me")).status_code == 401, (path, body)
            if back is not None:
                await plane.request(method, path, back)
                is_ended = "ip_allow_list" not in body
                assert (await client.get("/me")).status_code == (401 if is_ended else 200), (path, body)
    problem = await plane.request("POST", f"/contacts/{contact}/end-sessions")
    assert problem.status_code == 404


@with_control
async def test_a_customer_that_goes_takes_its_contacts_along(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    contact = await make_contact(plane, customer)
    async with await session(plane) as client:
        await plane.delete(f"/customers/{customer}")
        assert (await client.get("/me")).status_code == 401
    assert (await log_in(plane)).status_code == 401
    await plane.get(f"/contacts/{contact['id']}", status=404)


@with_control
async def test_a_search_for_customers_finds_them_by_their_contacts(plane: ControlPlane) -> None:
    customer = await plane.make_customer(name="One")
    await plane.make_customer(name="Two")
    contact = await make_contact(plane, customer, phone="+442071838750")
    for text in ("ann", "@EXAMPLE", "2071838750"):
        assert [row["id"] for row in (await plane.get(f"/customers?search={text}"))["items"]] == [customer]
    await plane.delete(f"/contacts/{contact['id']}")
    assert (await plane.get("/customers?search=ann"))["items"] == []
