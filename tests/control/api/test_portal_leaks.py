"""Nothing of others, of vendors, of costs or of staff's notes passes through the portal."""

from __future__ import annotations

import io
import re
from typing import Any

import httpx
import msgspec
import pyarrow.parquet as pq

from control.api.event_stream import EVENT_STREAM
from control.api.openapi import openapi_document
from control.api.portal_routes import PORTAL_ROUTES
from control.api.routes import ROUTES
from control.api.routing import Route
from control.services import client_bills
from control.services.cdr_parquet import MEDIA_TYPE as PARQUET
from control.services.contact_accounts import ProfilePatch
from switch.records import Candidate
from tests.fakes.billing import BILLING, assign, invoice, make_package
from tests.fakes.cdrs import make_attempt
from tests.fakes.control import START_MS, ControlPlane, live_call, with_control
from tests.fakes.portal import PASSWORD, browser, make_contact, session
from tests.fakes.stored_calls import store_calls, stored_call

DAY_MS = 86_400_000
OPEN = {"/portal/login", "/portal/password/link", "/portal/password/reset"}
FORBIDDEN = re.compile(
    r"vendor|provider|gateway|cost|margin|buy|private|attempt|explanation|candidate|card|revision|reason|hash|password"
)
"""What no field of an answer may be called, wherever it stands."""
SECRETS = ("Secret Carrier", "0.001234", "0.005678", "9988", "pays late", "only for staff", "no_margin")
"""Texts that stand beside what a contact may see."""


def own_routes() -> list[Route]:
    return [route for route in PORTAL_ROUTES if route.path not in OPEN]


async def fill(plane: ControlPlane, name: str, number: int) -> int:
    """A customer with something on every page of the portal, and with what must not be on any."""
    customer = await plane.make_customer(name=name, portal_access=True, notes_private="pays late", notes_public="hi")
    await make_contact(plane, customer, email=f"{name}@example.com", notes_private="pays late")
    await plane.post(f"/customers/{customer}/endpoints", {"host": f"198.51.100.{number}", "direction": "egress"})
    await plane.post(f"/customers/{customer}/sip-users", {"username": f"user{number}", "password": "secret word"})
    await make_number(plane, customer, number)
    await make_client(plane, customer, number)
    await make_bills(plane, customer)
    await plane.post(
        f"/customers/{customer}/payments", {"total": f"{number}.75", "description": "Wire # only for staff"}
    )
    attempt = make_attempt(
        provider_id=77,
        provider_name="Secret Carrier",
        gateway_id=78,
        card_id=79,
        revision_id=80,
        rate_nanos=1_234_000,
        cost_nanos=1_234_000,
        billed_s=60,
        dialled_out="9988442079460000",
        started_ms=START_MS,
        ended_ms=START_MS,
        status=503,
        cause="vendors_exhausted",
    )
    skipped = Candidate(card_id=79, provider_id=77, outcome="margin", rate_nanos=1_234_000, margin_nanos=-5, detail="")
    facts: dict[str, Any] = {"cost_nanos": 1_234_000, "margin_nanos": 5_678_000, "dialled_out": "9988442079460000"}
    calls = [
        stored_call(2 * number, customer_id=customer, attempts=[attempt], explanation=[skipped], **facts),
        stored_call(2 * number + 1, customer_id=customer, is_answered=False, status=503, cause="no_margin", **facts),
    ]
    await store_calls(plane.ctx, calls)
    plane.switch.calls.append(live_call(customer, f"{900 + number:032x}"))
    return customer


async def make_client(plane: ControlPlane, customer: int, number: int) -> None:
    """The building's client that the customer is the account of, with a network and some usage."""
    client = (await plane.post("/clients", {"name": f"Client {number}", "status": "active"}))["id"]
    await plane.patch(f"/customers/{customer}", {"client_id": client})
    site = (await plane.post("/sites", {"name": f"Site {number}", "notes": "pays late"}))["id"]
    block = f"10.0.{number}"
    network = {
        "site_id": site,
        "vlan": number,
        "subnet": f"{block}.0/24",
        "gateway": f"{block}.1",
        "notes": "pays late",
    }
    await plane.post(f"/clients/{client}/network-info", network)
    usage = {"client_id": client, "day": "2027-01-14", "bytes_up": number, "bytes_down": number}
    await plane.post("/broadband-usage", {"items": [usage]}, status=200)
    desk = (await plane.post("/products", {"name": f"Desk {number}", "monthly_price": "31"}))["id"]
    await plane.post(f"/clients/{client}/purchases", {"product_id": desk, "quantity": number, "notes": "pays late"})
    plane.clock.ms += 30 * DAY_MS
    assert await client_bills.run_due(plane.ctx) == 1
    plane.clock.ms -= 30 * DAY_MS


async def make_bills(plane: ControlPlane, customer: int) -> None:
    """An invoice, a credit note on it and a package, with what staff alone may read of them."""
    plane.ctx.billing = BILLING
    package = await make_package(plane, name=f"Gold {customer}", cost="0.001234", notes="pays late", minimum_spend="1")
    await assign(plane, package, customer, notes_private="pays late")
    fee = {"amount": "-5", "kind": "fee", "reason": "only for staff", "description": "Porting"}
    await plane.post(f"/customers/{customer}/adjustments", fee)
    made = await invoice(plane, customer, to="2027-01-15", issue=True)
    body = {"net": "1", "reason": "Wrong rate", "note": "only for staff"}
    await plane.post(f"/invoices/{made['id']}/credit-notes", body)


async def make_number(plane: ControlPlane, customer: int, number: int) -> None:
    """A DID with a provider and a cost, which rings at the customer's SIP user."""
    provider = await plane.make_provider(name=f"Secret Carrier {number}")
    (user,) = (await plane.get(f"/customers/{customer}/sip-users"))["items"]
    facts = {"number": f"4420718387{number:02}", "description": "pays late", "cost": "0.001234"}
    destination = {"kind": "sip_user", "id": user["id"]}
    await plane.post(
        f"/customers/{customer}/dids", {**facts, "destination": destination, "provider_id": provider, "retail": "0"}
    )


def paths_of(route: Route, number: int) -> str:
    path = route.path.removeprefix("/portal").replace("{cdr_id:str}", f"{2 * number:032x}")
    return (
        path.replace("{invoice_id:int}", str(number))
        .replace("{note_id:int}", str(number))
        .replace("{bill_id:int}", str(number))
    )


async def ask(client: httpx.AsyncClient, route: Route, number: int) -> httpx.Response:
    json: Any = {"current": PASSWORD, "new": PASSWORD, "code": "1"} if route.method == "POST" and route.body else None
    if json is not None:
        json = {name: json[name] for name in route.body.__struct_fields__ if name in json}
    if route.patches is not None:
        json = {"name": "Ann"}
    return await client.request(route.method, paths_of(route, number), json=json)


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(names_in(each) for each in value.values()))
    if isinstance(value, list):
        return set().union(*(names_in(each) for each in value))
    return set()


@with_control
async def test_every_route_of_the_portal_needs_a_session_and_takes_no_key(plane: ControlPlane) -> None:
    async with browser(plane) as client:
        for route in own_routes():
            assert route.role == "customer", route.path
            for token in ("", "wrong", *plane.keys.values()):
                client.headers["Authorization"] = f"Bearer {token}"
                answer = await ask(client, route, 1)
                assert answer.status_code == 401, (route.method, route.path)
                assert answer.headers["content-type"] == "application/problem+json"


@with_control
async def test_a_session_opens_nothing_but_the_portal(plane: ControlPlane) -> None:
    await fill(plane, "one", 1)
    async with await session(plane, email="one@example.com") as client:
        token = client.headers["authorization"]
    for route in ROUTES:
        if route.role in (None, "customer"):
            continue
        path = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "f" * 32, route.whole_path))
        answer = await plane.client.request(route.method, path, headers={"Authorization": token})
        assert answer.status_code == 401, (route.method, route.path)


@with_control
async def test_no_answer_has_a_field_or_a_text_of_vendors_costs_or_staff(plane: ControlPlane) -> None:
    await fill(plane, "one", 1)
    async with await session(plane, email="one@example.com") as client:
        for route in own_routes():
            if route.method != "GET":
                continue
            answer = await ask(client, route, 1)
            assert answer.status_code == 200, (route.path, answer.text)
            if answer.headers["content-type"] == "application/pdf":
                continue  # made of what `test_portal_bills.py` reads; its streams are compressed
            text = answer.text
            kind = answer.headers["content-type"]
            if kind == PARQUET:
                rows = pq.read_table(io.BytesIO(answer.content)).to_pylist()
                text = "\n".join(msgspec.json.encode(row).decode() for row in rows)
            elif kind.startswith(EVENT_STREAM):
                text = "\n".join(line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))
            assert text, route.path
            for secret in SECRETS:
                assert secret not in text, (route.path, secret)
            if kind.startswith("text/csv"):
                assert not FORBIDDEN.search(text.splitlines()[0]), route.path
                assert len(text.splitlines()) == 3
                continue
            for line in text.splitlines():
                value = msgspec.json.decode(line)
                assert not [name for name in names_in(value) if FORBIDDEN.search(name)], (route.path, value)
                assert "items" not in value or value["items"], route.path


def test_no_field_that_the_document_describes_for_the_portal_is_of_vendors_or_costs() -> None:
    document = openapi_document([route for route in PORTAL_ROUTES if route.method == "GET"])
    schemas = document["components"]["schemas"]
    fields = [f"{name}.{field}" for name, each in schemas.items() for field in each.get("properties", {})]
    assert [each for each in fields if FORBIDDEN.search(each) and each != "FieldError.reason"] == []
    assert set(ProfilePatch.__struct_fields__) == {"name", "phone"}


@with_control
async def test_no_page_shows_what_another_customer_has(plane: ControlPlane) -> None:
    await fill(plane, "one", 1)
    await fill(plane, "two", 2)
    marks = {
        1: ("198.51.100.1", "user1", '"1.75"', "442071838701", "10.0.1.0/24", "Client 1", f"{2:032x}", f"{901:032x}"),
        2: ("198.51.100.2", "user2", '"2.75"', "442071838702", "10.0.2.0/24", "Client 2"),
    }
    async with await session(plane, email="two@example.com") as client:
        seen = ""
        for route in own_routes():
            if route.method != "GET":
                continue
            answer = await ask(client, route, 1)
            if "{" in route.path:
                assert answer.status_code == 404, (route.path, answer.text)
                assert (await ask(client, route, 2)).status_code == 200
            else:
                assert answer.status_code == 200, route.path
                seen += answer.text
        assert not [mark for mark in marks[1] if mark in seen]
        assert [mark for mark in marks[2] if mark not in seen] == []
        for query in ("customer_id=1", "provider_id=77", "skipped=margin", "search=staff"):
            for path in ("/cdrs", "/payments", "/calls", "/endpoints", "/cdrs.csv", "/dids", "/cli-numbers"):
                assert (await client.get(f"{path}?{query}")).status_code == 400, (path, query)


@with_control
async def test_what_is_not_shown_is_not_found_either(plane: ControlPlane) -> None:
    await fill(plane, "one", 1)
    async with await session(plane, email="one@example.com") as client:
        assert (await client.get("/cdrs?number=9988")).json()["items"] == [], "a vendor's own prefix"
        assert len((await client.get("/cdrs?number=2079")).json()["items"]) == 2


@with_control
async def test_every_change_that_a_contact_makes_is_of_itself(plane: ControlPlane) -> None:
    await fill(plane, "one", 1)
    two = await fill(plane, "two", 2)
    before = (await plane.get(f"/customers/{two}/contacts"))["items"]
    async with await session(plane, email="one@example.com") as client:
        for body in ({"customer_id": two}, {"enabled": True}, {"notes_private": "x"}, {"id": 2}, {"email": "x@y.zz"}):
            assert (await client.patch("/me", json=body)).status_code == 400, body
        for route in own_routes():
            if route.method != "GET" and route.path != "/portal/logout":
                answer = await ask(client, route, 2)
                assert answer.status_code < 500, route.path
                if "token" in answer.text:
                    client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    assert (await plane.get(f"/customers/{two}/contacts"))["items"] == before
