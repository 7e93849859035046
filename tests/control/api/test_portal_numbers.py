"""The customer's own numbers in the portal, and those that it may call from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.fakes.control import ControlPlane, with_control
from tests.fakes.dids import NUMBER, make_did, make_parties, whole
from tests.fakes.portal import make_contact, session


@with_control
async def test_a_contact_sees_its_numbers_where_they_ring_and_what_they_cost(plane: ControlPlane) -> None:
    mine = await make_parties(plane, "Mine", portal_access=True)
    theirs = await make_parties(plane, "Theirs")
    await make_contact(plane, mine.customer)
    destinations: list[dict[str, Any]] = [
        {"kind": "endpoint", "id": mine.endpoint},
        {"kind": "sip_user", "id": mine.user},
        {"kind": "uri", "value": "sip:desk@example.com"},
    ]
    did = await make_did(plane, **whole(mine, destinations=destinations, description="for staff", channels=4))
    await make_did(plane, **whole(theirs, number="442071838760"))
    await make_did(plane, number="442071838770")
    async with await session(plane) as client:
        page = (await client.get("/dids")).json()
    assert page["items"] == [
        {
            "id": did["id"],
            "number": NUMBER,
            "name": "Reception",
            "state": "assigned",
            "enabled": True,
            "destinations": [
                {"kind": "endpoint", "id": mine.endpoint, "value": "198.51.100.9"},
                {"kind": "sip_user", "id": mine.user, "value": "phone-Mine"},
                {"kind": "uri", "id": None, "value": "sip:desk@example.com"},
            ],
            "order": "serial",
            "channels": 4,
            "retail": "3.1",
            "setup_retail": "0",
            "assigned_at": "2027-01-15T08:00:00Z",
            "next_charge_on": "2027-02-01",
        }
    ]


@with_control
async def test_cli_numbers_are_the_dids_and_what_rules_name_each_once_by_pages(plane: ControlPlane) -> None:
    mine = await make_parties(plane, "Mine", portal_access=True)
    theirs = await make_parties(plane, "Theirs")
    await make_contact(plane, mine.customer)
    await make_did(plane, **whole(mine))
    await make_did(plane, **whole(theirs, number="442071838760"))
    rules: list[dict[str, Any]] = [
        {"match": "15551230001", "action": "allow"},
        {"match": NUMBER, "action": "allow"},
        {"match": "4420", "action": "allow"},
        {"match": "^49[0-9]+$", "action": "allow"},
        {"match": "33123456789", "action": "deny"},
        {"match": "34", "action": "rewrite", "to": "34910000000"},
        {"action": "force", "to": "15551230002"},
        {"match": "15551230009", "action": "allow", "enabled": False},
    ]
    for rule in rules:
        await plane.post(f"/customers/{mine.customer}/cli-rules", rule)
    expected = [
        {"number": "15551230001", "name": "", "source": "rule"},
        {"number": "15551230002", "name": "", "source": "rule"},
        {"number": "34910000000", "name": "", "source": "rule"},
        {"number": NUMBER, "name": "Reception", "source": "did"},
    ]
    assert (await plane.get(f"/customers/{mine.customer}/cli-numbers"))["items"] == expected
    async with await session(plane) as client:
        assert (await client.get("/cli-numbers")).json()["items"] == expected
        seen, cursor = [], ""
        while cursor is not None:
            page = (await client.get("/cli-numbers", params={"limit": 1, "cursor": cursor})).json()
            seen += page["items"]
            cursor = page["next_cursor"]
        assert seen == expected
    await plane.get("/customers/999/cli-numbers", 404)


@with_control
async def test_a_customers_numbers_are_counted_and_added_up(plane: ControlPlane) -> None:
    mine = await make_parties(plane, "Mine")
    await make_did(plane, **whole(mine))
    await make_did(plane, **whole(mine, number="442071838751", enabled=False, retail="2"))
    await make_did(plane, number="442071838752", customer_id=mine.customer, retail="9")
    summary = await plane.get(f"/customers/{mine.customer}/dids/summary")
    assert summary == {
        "customer_id": mine.customer,
        "currency": "USD",
        "count": 3,
        "states": [
            {"state": "allocated", "count": 1, "enabled": 1},
            {"state": "assigned", "count": 2, "enabled": 1},
        ],
        "cost": "2",
        "retail": "5.1",
        "charged": "2.8",
        "charged_cost": "1.1",
    }
    await plane.get("/customers/999/dids/summary", 404)


@with_control
async def test_a_page_of_numbers_asks_the_store_as_often_as_one_number_does(plane: ControlPlane) -> None:
    mine = await make_parties(plane, "Mine", portal_access=True)
    await make_contact(plane, mine.customer)
    destinations: list[dict[str, Any]] = [
        {"kind": "endpoint", "id": mine.endpoint},
        {"kind": "sip_user", "id": mine.user},
    ]
    async with await session(plane) as client:
        counts = []
        for n in range(1, 12, 10):
            for each in range(n):
                await make_did(plane, **whole(mine, number=f"4420718{n:02d}{each:03d}", destinations=destinations))
            with counted_statements() as statements:
                page = (await client.get("/dids")).json()
            counts.append(len(statements))
    assert len(page["items"]) == 12
    assert counts[0] == counts[1]


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)
