"""What a contact reads in the portal: money, calls, payments, what calls come from, its own profile."""

from __future__ import annotations

import csv
import io

import msgspec

from tests.fakes.control import START_MS, ControlPlane, account, live_call, with_control
from tests.fakes.portal import make_contact, session
from tests.fakes.priced_calls import Exchange
from tests.fakes.stored_calls import store_calls, stored_call


async def make(plane: ControlPlane) -> int:
    customer = await plane.make_customer(portal_access=True, notes_public="Office hours 9 to 5", debit_limit="10")
    await make_contact(plane, customer, notes_public="Ask for Ann")
    return customer


@with_control
async def test_the_profile_shows_both_public_notes_and_changes_name_and_phone(plane: ControlPlane) -> None:
    customer = await make(plane)
    async with await session(plane) as client:
        me = (await client.get("/me")).json()
        assert (me["notes"], me["customer_notes"]) == ("Ask for Ann", "Office hours 9 to 5")
        assert (me["customer_id"], me["customer"], me["currency"]) == (customer, "Acme Voice", "USD")
        tag = {"If-Match": f'"{me["row_version"]}"'}
        changed = await client.patch("/me", json={"name": "Anna", "phone": "+44 20 7183 8750"}, headers=tag)
        assert (changed.json()["name"], changed.json()["phone"]) == ("Anna", "+442071838750")
        assert (await client.patch("/me", json={"name": "X"}, headers=tag)).status_code == 412
        assert (await client.patch("/me", json={"name": ""})).status_code == 400
    (row, *_) = (await plane.get("/audit?noun=contact&action=update"))["items"]
    assert (row["actor_kind"], row["before"]["name"], row["after"]["name"]) == ("contact", "Ann", "Anna")


@with_control
async def test_the_balance_is_the_switchs_and_says_so_where_it_is_not(plane: ControlPlane) -> None:
    customer = await make(plane)
    plane.switch.accounts[customer] = account(customer, 5_000_000_000, 1_000_000_000)
    async with await session(plane) as client:
        money = (await client.get("/balance")).json()
        assert (money["balance"], money["held"], money["available"], money["debit_limit"]) == ("5", "1", "4", "10")
        assert money["is_balance_live"] is True
        plane.switch.is_connected = False
        money = (await client.get("/balance")).json()
        assert (money["balance"], money["available"], money["is_balance_live"]) == ("0", "10", False)


@with_control
async def test_calls_are_listed_filtered_paged_and_downloaded(plane: ControlPlane) -> None:
    customer = await make(plane)
    calls = [
        stored_call(n, customer_id=customer, invited_ms=START_MS + n * 1000, is_answered=n != 2, gross_nanos=n * 10**9)
        for n in (1, 2, 3)
    ]
    await store_calls(plane.ctx, [*calls, stored_call(4, customer_id=customer + 1)])
    async with await session(plane) as client:
        page = (await client.get("/cdrs?limit=2")).json()
        assert [row["gross"] for row in page["items"]] == ["3", "2"]
        page = (await client.get(f"/cdrs?limit=2&cursor={page['next_cursor']}")).json()
        assert [row["gross"] for row in page["items"]] == ["1"]
        assert page["next_cursor"] is None
        assert [row["gross"] for row in (await client.get("/cdrs?answered=false")).json()["items"]] == ["2"]
        since = "2027-01-15T08:00:03Z"
        assert [row["gross"] for row in (await client.get(f"/cdrs?from={since}")).json()["items"]] == ["3"]
        assert (await client.get(f"/cdrs/{3:032x}")).json()["dialled"] == "442079460000"
        rows = list(csv.DictReader(io.StringIO((await client.get("/cdrs.csv")).text)))
        assert [row["gross"] for row in rows] == ["1", "2", "3"]
        assert rows[0]["invited"] == "2027-01-15T08:00:01Z"
        lines = (await client.get("/cdrs.jsonl?answered=true")).text.splitlines()
        assert [msgspec.json.decode(line)["gross"] for line in lines] == ["1", "3"]


@with_control
async def test_live_calls_are_those_of_the_customer(plane: ControlPlane) -> None:
    customer = await make(plane)
    plane.switch.calls = [live_call(customer), live_call(customer + 1, "f" * 32)]
    async with await session(plane) as client:
        (call,) = (await client.get("/calls")).json()["items"]
        assert (call["dialled"], call["held"]) == ("442071838750", "1.5")
        plane.switch.is_connected = False
        assert (await client.get("/calls")).status_code == 503


@with_control
async def test_payments_show_what_stands_before_the_hash(plane: ControlPlane) -> None:
    customer = await make(plane)
    for n in (1, 2, 3):
        await plane.post(f"/customers/{customer}/payments", {"total": str(n), "description": f"No. {n} # from Bob"})
    async with await session(plane) as client:
        page = (await client.get("/payments?limit=2")).json()
        assert [(row["total"], row["description"]) for row in page["items"]] == [("3", "No. 3"), ("2", "No. 2")]
        page = (await client.get(f"/payments?limit=2&cursor={page['next_cursor']}")).json()
        assert [row["total"] for row in page["items"]] == ["1"]


@with_control
async def test_endpoints_and_sip_users_can_be_read(plane: ControlPlane) -> None:
    customer = await make(plane)
    await plane.post(f"/customers/{customer}/endpoints", {"host": "198.51.100.1", "direction": "egress", "channels": 5})
    await plane.post(f"/customers/{customer}/sip-users", {"username": "desk", "password": "secret word"})
    async with await session(plane) as client:
        (endpoint,) = (await client.get("/endpoints")).json()["items"]
        assert (endpoint["host"], endpoint["channels"]) == ("198.51.100.1", 5)
        (user,) = (await client.get("/sip-users")).json()["items"]
        assert (user["username"], user["enabled"]) == ("desk", True)
        assert (await client.post("/endpoints", json={})).status_code == 405


@with_control
async def test_a_call_that_was_corrected_shows_what_it_costs_by_now_and_not_why(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    cdr_id = await exchange.call(7_200_000, cause="lost_in_restart")
    await plane.patch(f"/customers/{exchange.customer}", {"portal_access": True})
    await make_contact(plane, exchange.customer)
    asked = {"filters": {"day": "2027-01-15"}, "rule": {"max_duration_s": 3600}, "reason": "the vendor lost its BYE"}
    run = await plane.post("/recalculations", asked)
    await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    async with await session(plane) as client:
        answer = await client.get(f"/cdrs/{cdr_id}")
    call = answer.json()
    assert (call["gross"], call["effective"]["gross"], call["effective"]["billed_s"]) == ("2.16", "1.08", 3600)
    [correction] = call["corrections"]
    assert (correction["before"], correction["after"], correction["difference"]) == ("2.16", "1.08", "-1.08")
    assert "vendor lost" not in answer.text
