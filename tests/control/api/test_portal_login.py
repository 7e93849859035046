"""Logging in to the portal: who is let in, who is not, and who is slowed down."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pyotp

from control.services.mail import Mailer
from control.services.portal_gate import PAIR_FAILURES_MAX, STRANGERS_FAILURES_MAX, WINDOW_MS
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.mailbox import running_mailbox
from tests.fakes.portal import EMAIL, PASSWORD, browser, log_in, make_contact, session


async def audited(plane: ControlPlane, action: str) -> list[Any]:
    return (await plane.get(f"/audit?action={action}&limit=100"))["items"]  # type: ignore[no-any-return]


@with_control
async def test_a_login_lasts_as_long_as_it_says_and_ends_by_logging_out(plane: ControlPlane) -> None:
    await make_contact(plane, await plane.make_customer(portal_access=True))
    async with await session(plane, email="ANN@EXAMPLE.COM") as client, await session(plane) as other:
        assert (await client.get("/me")).json()["name"] == "Ann"
        assert (await client.post("/logout")).status_code == 204
        assert (await client.get("/me")).status_code == 401
        plane.clock.ms += plane.ctx.portal.settings.session_s * 1000 - 1
        assert (await other.get("/me")).status_code == 200
        plane.clock.ms += 1
        assert (await other.get("/me")).status_code == 401
    assert [row["actor_kind"] for row in await audited(plane, "login")] == ["contact", "contact"]
    assert len(await audited(plane, "logout")) == 1


@with_control
async def test_whatever_is_wrong_the_answer_is_the_same_and_the_audit_knows(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    contact = (await make_contact(plane, customer))["id"]
    reasons: list[tuple[str, Any, Any, str]] = [
        ("unknown", None, None, "nobody@example.com"),
        ("password", f"/contacts/{contact}", {}, EMAIL),
        ("disabled", f"/contacts/{contact}", {"enabled": False}, EMAIL),
        ("address", f"/contacts/{contact}", {"enabled": True, "ip_allow_list": ["198.51.100.0/24"]}, EMAIL),
        ("portal_access", f"/customers/{customer}", {"portal_access": False}, EMAIL),
    ]
    answers = []
    for reason, path, change, email in reasons:
        if path is not None:
            await plane.patch(path, change)
        if reason == "portal_access":
            await plane.patch(f"/contacts/{contact}", {"ip_allow_list": []})
        password = "wrong password" if reason == "password" else PASSWORD
        answers.append(await log_in(plane, email=email, password=password))
        # Each is a try of its own here.
        plane.clock.ms += WINDOW_MS
    assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
    rows = await audited(plane, "login_failed")
    assert [row["after"]["reason"] for row in reversed(rows)] == [reason for reason, *_ in reasons]
    assert rows[0]["after"]["address"] == "192.0.2.7"
    assert PASSWORD not in str(rows)


@with_control
async def test_wrong_tries_close_the_door_for_their_address_and_for_nobody_else(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    await make_contact(plane, customer)
    await make_contact(plane, customer, name="Bob", email="bob@example.com")
    for _ in range(PAIR_FAILURES_MAX):
        assert (await log_in(plane, password="wrong password", address="203.0.113.9")).status_code == 401
    answer = await log_in(plane, address="203.0.113.9")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= WINDOW_MS // 1000
    assert (await log_in(plane, address="192.0.2.7")).status_code == 200, "the owner elsewhere"
    assert (await log_in(plane, email="bob@example.com", address="203.0.113.9")).status_code == 200, "another account"
    rows = await audited(plane, "login_failed")
    assert len(rows) == PAIR_FAILURES_MAX
    assert [row["after"]["throttled_from_now"] for row in rows] == [True] + [False] * (PAIR_FAILURES_MAX - 1)
    plane.clock.ms += WINDOW_MS
    assert (await log_in(plane, address="203.0.113.9")).status_code == 200


@with_control
async def test_a_crowd_that_guesses_at_one_account_does_not_lock_its_owner_out(plane: ControlPlane) -> None:
    await make_contact(plane, await plane.make_customer(portal_access=True))
    assert (await log_in(plane, address="192.0.2.7")).status_code == 200
    for _ in range(STRANGERS_FAILURES_MAX):
        plane.ctx.portal.strangers.note("ann@example.com")
    assert (await log_in(plane, address="203.0.113.77")).status_code == 429, "a stranger"
    assert (await log_in(plane, address="192.0.2.7")).status_code == 200, "who was here before"


@with_control
async def test_tries_that_come_together_do_not_slip_through(plane: ControlPlane) -> None:
    await make_contact(plane, await plane.make_customer(portal_access=True))
    tries = (log_in(plane, password=f"wrong password {n}") for n in range(20))
    statuses = [answer.status_code for answer in await asyncio.gather(*tries)]
    assert statuses.count(401) == PAIR_FAILURES_MAX
    assert statuses.count(429) == 20 - PAIR_FAILURES_MAX


@with_control
async def test_a_mailed_link_sets_a_password_once_and_not_for_ever(plane: ControlPlane) -> None:
    await make_contact(plane, await plane.make_customer(portal_access=True))
    async with browser(plane) as client, running_mailbox() as mailbox:
        wanted = {"email": EMAIL.upper()}
        assert (await client.post("/password/link", json=wanted)).status_code == 409, "no mail server is set"
        plane.ctx.mail = Mailer(mailbox.settings)
        for email in ("nobody@example.com", EMAIL, EMAIL):
            answer = await client.post("/password/link", json={"email": email})
            assert (answer.status_code, answer.content) == (204, b"")
            await plane.ctx.portal.settle()
        assert [message["To"] for message in mailbox.messages] == [EMAIL], "one, and none while it is fresh"
        found = re.search(r"tandem_portal_\S+", mailbox.text())
        assert found is not None
        reset = {"token": found[0], "password": "a brand new one"}
        async with await session(plane) as old:
            assert (await client.post("/password/reset", json=reset)).status_code == 204
            assert (await old.get("/me")).status_code == 401
        assert (await client.post("/password/reset", json=reset)).status_code == 400
        assert (await log_in(plane)).status_code == 401
        assert (await log_in(plane, password="a brand new one")).status_code == 200
        plane.clock.ms += 3_600_000
        await client.post("/password/link", json=wanted)
        await plane.ctx.portal.settle()
        late = re.search(r"tandem_portal_\S+", mailbox.text())
        assert late is not None
        plane.clock.ms += 3_600_000
        answer = await client.post("/password/reset", json={"token": late[0], "password": "a brand new one"})
        assert answer.json()["errors"][0]["path"] == "token"
    (row,) = await audited(plane, "set_password")
    assert row["actor_name"] == EMAIL


@with_control
async def test_a_link_is_no_session_and_a_session_no_link(plane: ControlPlane) -> None:
    contact = await make_contact(plane, await plane.make_customer(portal_access=True))
    async with running_mailbox() as mailbox:
        plane.ctx.mail = Mailer(mailbox.settings)
        await plane.request("POST", f"/contacts/{contact['id']}/password-link", status=204)
        found = re.search(r"tandem_portal_\S+", mailbox.text())
        assert found is not None
    async with await session(plane) as client:
        token = client.headers["authorization"].removeprefix("Bearer ")
        answer = await client.post("/password/reset", json={"token": token, "password": PASSWORD})
        assert answer.status_code == 400
        answer = await client.get("/me", headers={"Authorization": f"Bearer {found[0]}"})
        assert answer.status_code == 401


@with_control
async def test_a_second_factor_is_asked_for_once_it_is_confirmed_and_no_code_works_twice(plane: ControlPlane) -> None:
    contact = await make_contact(plane, await plane.make_customer(portal_access=True))
    async with await session(plane) as client:
        made = (await client.post("/me/second-factor")).json()
        totp = pyotp.TOTP(made["secret"])
        assert made["uri"].startswith("otpauth://totp/")
        assert (await log_in(plane)).status_code == 200, "not before it is confirmed"
        assert (await client.post("/me/second-factor/confirm", json={"code": "000000"})).status_code == 400
        code = totp.at(plane.clock.ms // 1000)
        assert (await client.post("/me/second-factor/confirm", json={"code": code})).status_code == 204
        assert (await client.post("/me/second-factor")).status_code == 409
    answer = await log_in(plane)
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:tandem:problem:code-needed")
    assert (await log_in(plane, password="wrong password")).json()["type"] == "urn:tandem:problem:login-refused"
    assert (await log_in(plane, code=code)).status_code == 401, "it was used to confirm"
    plane.clock.ms += 30_000
    code = totp.at(plane.clock.ms // 1000)
    assert (await log_in(plane, code=f"{code[:3]} {code[3:]}")).status_code == 200
    assert (await log_in(plane, code=code)).status_code == 401
    assert made["secret"] not in (await plane.request("GET", "/audit?limit=200")).text
    plane.clock.ms += WINDOW_MS
    await plane.request("POST", f"/contacts/{contact['id']}/remove-second-factor", status=204)
    assert (await log_in(plane)).status_code == 200


@with_control
async def test_a_contact_changes_its_own_password_and_every_other_session_ends(plane: ControlPlane) -> None:
    await make_contact(plane, await plane.make_customer(portal_access=True))
    async with await session(plane) as client, await session(plane) as other:
        asked = {"current": "wrong password", "new": "a brand new one"}
        assert (await client.post("/me/password", json=asked)).status_code == 400
        answer = await client.post("/me/password", json={**asked, "current": PASSWORD})
        assert answer.status_code == 200
        assert (await other.get("/me")).status_code == 401
        assert (await client.get("/me")).status_code == 401
        client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        assert (await client.get("/me")).status_code == 200
    assert (await log_in(plane, password="a brand new one")).status_code == 200


@with_control
async def test_an_open_session_is_no_way_to_guess_the_password(plane: ControlPlane) -> None:
    await make_contact(plane, await plane.make_customer(portal_access=True))
    async with await session(plane) as client:
        asked = {"current": "wrong password", "new": "a brand new one"}
        for _ in range(PAIR_FAILURES_MAX):
            assert (await client.post("/me/password", json=asked)).status_code == 400
        assert (await client.post("/me/password", json={**asked, "current": PASSWORD})).status_code == 429
