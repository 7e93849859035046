"""Latest calls and their messages through HTTP: live and ended ones in one list, each with what was said."""

from __future__ import annotations

from typing import Any

import msgspec

from switch.frames import CallDecision
from switch.records import Attempt, Candidate
from switch.ring import Ring
from switch.ring_format import RECEIVED, RING_FILE, SENT
from tests.fakes.control import START_MS, ControlPlane, live_call, with_control
from tests.fakes.portal import make_contact, session
from tests.fakes.stored_calls import store_calls, stored_call

CALLER = ("192.0.2.10", 5060)
VENDOR = ("198.51.100.1", 5060)


def sip(start: str, call_id: str, extra: str = "") -> bytes:
    lines = [start, "Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1", "From: <sip:a@b>;tag=1", "To: <sip:1@b>", extra]
    return "\r\n".join(
        [*filter(None, lines), f"Call-ID: {call_id}", "CSeq: 1 INVITE", "Max-Forwards: 70", "", ""]
    ).encode()


def attempt(**fields: Any) -> Attempt:
    facts: dict[str, Any] = {
        "provider_id": 1,
        "provider_name": "Vendor One",
        "gateway_id": 2,
        "card_id": 1,
        "revision_id": 1,
        "prefix": "44",
        "rate_nanos": 10_000_000,
        "dialled_out": "442079460000",
        "started_ms": START_MS,
        "ended_ms": START_MS + 100,
        "status": 503,
        "cause": "rejected",
    }
    return Attempt(**{**facts, **fields})


async def ids(plane: ControlPlane, path: str) -> list[int]:
    return [int(call["id"], 16) for call in (await plane.get(path))["items"]]


@with_control
async def test_live_and_ended_calls_are_one_list_and_a_call_that_is_in_both_is_there_once(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    calls = [
        stored_call(1, customer_id=customer, invited_ms=START_MS - 3_000, attempts=[attempt()]),
        stored_call(2, customer_id=customer, invited_ms=START_MS - 2_000, is_answered=False, attempts=[attempt()]),
        stored_call(3, customer_id=customer, invited_ms=START_MS - 1_000, is_answered=False, cause="cps_exceeded"),
    ]
    await store_calls(plane.ctx, calls)
    live = live_call(customer, f"{4:032x}")
    plane.switch.calls = [live, live_call(customer, f"{1:032x}")]
    found = (await plane.get("/latest-calls"))["items"]
    states = [(int(call["id"], 16), call["state"], call["ended"] is None) for call in found]
    assert states == [(4, "answered", True), (3, "refused", False), (2, "failed", False), (1, "ended", False)]
    assert found[0]["held"] == "1.5"
    for state, wanted in (("answered", [4, 1]), ("refused", [3]), ("failed", [2]), ("ended", [1]), ("ringing", [])):
        assert await ids(plane, f"/latest-calls?state={state}") == wanted, state
    plane.switch.is_connected = False
    away = await plane.get("/latest-calls")
    assert (len(away["items"]), away["has_live"]) == (3, False)


@with_control
async def test_an_invite_that_waits_is_in_the_list_and_is_no_call_that_is_up(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    waiting = msgspec.structs.replace(live_call(customer, f"{1:032x}"), state="waiting", answered_ms=None)
    plane.switch.calls = [live_call(customer, f"{2:032x}"), waiting]
    assert await ids(plane, f"/customers/{customer}/latest-calls?state=waiting") == [1]
    assert len(await ids(plane, "/latest-calls")) == 2
    assert [int(call["cdr_id"], 16) for call in (await plane.get("/calls"))["items"]] == [2]


@with_control
async def test_a_search_finds_by_number_call_id_and_address_and_a_customer_sees_its_own(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(), await plane.make_customer(name="Other")
    await store_calls(
        plane.ctx,
        [
            stored_call(1, customer_id=one, dialled_in="1234442071110000", dialled_out="442071110000"),
            stored_call(2, customer_id=two, source="203.0.113.5:5062", cli_in="33199000000", cli_out="33199000000"),
        ],
    )
    plane.switch.calls = [msgspec.structs.replace(live_call(one, f"{3:032x}"), call_id="Live-7@x")]
    for search, wanted in (
        ("207111", [1]),
        ("1234442071", [1]),
        ("CALL-2@", [2]),
        ("203.0.113.5", [2]),
        ("3319900", [2]),
        ("live-7", [3]),
        ("%25", []),
        ("nothing", []),
    ):
        assert await ids(plane, f"/latest-calls?search={search}") == wanted, search
    assert await ids(plane, f"/customers/{one}/latest-calls") == [3, 1]
    assert await ids(plane, f"/customers/{two}/latest-calls") == [2]
    await plane.get("/customers/99/latest-calls", status=404)
    await plane.get("/latest-calls?customer_id=x", status=400)
    await plane.get("/latest-calls?cursor=nonsense", status=400)


@with_control
async def test_pages_of_the_list_meet_without_a_gap_or_a_double(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    # Several INVITEs of one millisecond: the id decides.
    calls = [stored_call(n, customer_id=customer, invited_ms=START_MS - n // 4) for n in range(1, 24)]
    await store_calls(plane.ctx, calls)
    plane.switch.calls = [live_call(customer, f"{900 + n:032x}") for n in range(3)]
    whole = await ids(plane, "/latest-calls?limit=500")
    assert len(whole) == 26
    paged: list[int] = []
    path = "/latest-calls?limit=5"
    while path:
        page = await plane.get(path)
        paged += [int(call["id"], 16) for call in page["items"]]
        path = f"/latest-calls?limit=5&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert paged == whole


@with_control
async def test_a_calls_messages_come_with_who_said_them_and_how_it_was_decided(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    ring = Ring(plane.ctx.data_folder / RING_FILE, 2 << 20)
    call_id = "call-7@192.0.2.10"
    at_us = (START_MS - 3_600_000) * 1_000
    ring.add(RECEIVED, 0, CALLER, sip("INVITE sip:1@x SIP/2.0", "before@x"), at_us - 60_000_000)
    ring.add(
        RECEIVED, 0, CALLER, sip("INVITE sip:1@x SIP/2.0", call_id, 'Authorization: Digest response="ab12"'), at_us
    )
    ring.add(SENT, 0, VENDOR, sip("INVITE sip:1@y SIP/2.0", call_id), at_us + 1_000)
    ring.add(RECEIVED, 0, VENDOR, sip("SIP/2.0 503 No", call_id), at_us + 2_000)
    ring.add(RECEIVED, 0, CALLER, sip("BYE sip:1@x SIP/2.0", call_id), at_us + 7_200_000_000)
    skipped = Candidate(
        card_id=1, provider_id=1, outcome="margin", detail="loses 0.01", rate_nanos=1, margin_nanos=-10_000_000
    )
    started = START_MS - 3_600_000 + 1
    call = stored_call(
        7,
        customer_id=customer,
        is_answered=False,
        attempts=[attempt(started_ms=started)],
        explanation=[skipped],
        cause="vendors_exhausted",
        status=503,
        release="switch",
    )
    await store_calls(plane.ctx, [call])
    found = await plane.get(f"/calls/{7:032x}/messages")
    seen = [(each["direction"], each["party"], each["peer"], each["name"]) for each in found["messages"]]
    assert seen == [
        ("received", "Acme Voice", "192.0.2.10:5060", "INVITE"),
        ("sent", "Vendor One", "198.51.100.1:5060", "INVITE"),
        ("received", "Vendor One", "198.51.100.1:5060", "503 No (INVITE)"),
    ]
    assert "ab12" not in found["messages"][0]["text"]
    assert found["messages"][1]["at"].startswith("2027-01-15T07:00:00.001")
    assert found["is_complete"]
    assert any("margin (loses 0.01)" in line for line in found["decision"])
    assert any(line.startswith("attempt 1: Vendor One") for line in found["decision"])
    assert found["candidates"][0]["outcome"] == "margin"
    text = (await plane.request("GET", f"/calls/{7:032x}/messages.txt", status=200)).text
    assert text.index("attempt 1") < text.index("INVITE sip:1@y")
    picture = (await plane.request("GET", f"/calls/{7:032x}/ladder.svg", status=200)).text
    assert picture.count("marker-end=") == 3


@with_control
async def test_a_live_call_has_a_decision_log_before_it_has_a_cdr(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    cdr_id = f"{5:032x}"
    plane.switch.decisions[cdr_id] = CallDecision(
        call=live_call(customer, cdr_id),
        client_id=None,
        cli_in="1",
        cli_out="2",
        dialled_in="00442071838750",
        dialled_out="442071838750",
        transport="udp",
        currency="USD",
        card_id=1,
        revision_id=1,
        prefix="44",
        destination="UK",
        rate_nanos=10_000_000,
        candidates=(Candidate(card_id=1, provider_id=1, outcome="taken"),),
        attempts=(attempt(status=0, cause=""),),
    )
    found = await plane.get(f"/calls/{cdr_id}/messages")
    assert found["is_live"]
    assert not found["is_complete"], "nothing is kept here"
    assert (found["messages"], found["kept_since"]) == ([], None)
    assert "CLI 1, becomes 2" in found["decision"]
    assert any("under way" in line for line in found["decision"])
    await plane.request("GET", f"/calls/{cdr_id}/ladder.svg", status=200)


@with_control
async def test_a_call_that_nobody_knows_is_not_found_and_an_unknowable_one_says_so(plane: ControlPlane) -> None:
    for path in ("messages", "messages.txt", "ladder.svg"):
        await plane.get(f"/calls/{'0' * 32}/{path}", status=404)
        await plane.get(f"/calls/nonsense/{path}", status=404)
    plane.switch.is_connected = False
    await plane.get(f"/calls/{'0' * 32}/messages", status=503)


@with_control
async def test_a_contact_sees_its_own_latest_calls_without_vendors(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(portal_access=True), await plane.make_customer(name="Other")
    await make_contact(plane, one)
    secret: dict[str, Any] = {"dialled_out": "9988442079460000", "cli_out": "777000"}
    await store_calls(
        plane.ctx,
        [
            stored_call(1, customer_id=one, attempts=[attempt()], **secret),
            stored_call(2, customer_id=one, is_answered=False, cause="no_margin", **secret),
            stored_call(3, customer_id=two),
        ],
    )
    plane.switch.calls = [live_call(one, f"{4:032x}"), live_call(two, f"{5:032x}")]
    async with await session(plane) as client:
        answer = await client.get("/latest-calls")
        assert [int(call["id"], 16) for call in answer.json()["items"]] == [4, 2, 1]
        assert answer.json()["items"][1]["cause"] == "no_route"
        assert "9988" not in answer.text
        assert not [name for name in answer.json()["items"][0] if "provider" in name or "gateway" in name]
        for search in ("9988", "777000", "Vendor"):
            assert (await client.get(f"/latest-calls?search={search}")).json()["items"] == [], search
        assert (await client.get(f"/latest-calls?customer_id={two}")).status_code == 400


@with_control
async def test_the_dialogs_of_a_customer_are_its_live_calls_and_ending_one_is_audited(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(), await plane.make_customer(name="Other")
    plane.switch.calls = [live_call(one, f"{1:032x}"), live_call(two, f"{2:032x}")]
    (call,) = (await plane.get(f"/customers/{one}/calls"))["items"]
    facts = (call["state"], call["duration_ms"], call["held"], call["spent"])
    assert facts == ("answered", 5_000, "1.5", "0")
    assert (await plane.get(f"/customers/{one}/calls?state=ringing"))["items"] == []
    await plane.get("/customers/99/calls", status=404)
    await plane.request("POST", f"/calls/{1:032x}/end", status=403, role="read-only")
    await plane.request("POST", f"/calls/{1:032x}/end", status=204)
    await plane.request("POST", f"/calls/{9:032x}/end", status=404)
    assert plane.switch.ended == [(f"{1:032x}", "test admin")]
    row = (await plane.get("/audit?noun=call"))["items"][0]
    assert (row["action"], row["noun_id"], row["actor_name"]) == ("end", f"{1:032x}", "test admin")
    assert (row["before"]["dialled"], row["before"]["held"]) == (call["dialled"], "1.5")


@with_control
async def test_simulations_are_listed_with_what_was_asked_and_what_came_out(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    asked = {"dialled": "442071838750", "cli": "15551230001", "source_ip": "192.0.2.1"}
    await plane.post("/simulate", asked, status=200, role="read-only")
    plane.switch.simulated = msgspec.structs.replace(plane.switch.simulated, customer_id=customer, cause="no_sell_rate")
    await plane.post("/simulate", {"dialled": "1", "username": "bob"}, status=200)
    await plane.post("/simulate", {"dialled": "1"}, status=400)
    latest, first = (await plane.get("/simulations"))["items"]
    assert (latest["by"], latest["asked"]["username"]) == ("test admin", "bob")
    assert latest["result"]["cause"] == "no_sell_rate"
    assert {name: first["asked"][name] for name in asked} == asked
    assert first["result"]["steps"] == ["nobody's address"]
    assert len((await plane.get(f"/simulations?customer_id={customer}"))["items"]) == 1
