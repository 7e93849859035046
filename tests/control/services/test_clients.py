"""Clients: fields, the arrows between statuses, what happens by itself, and the one that is always there."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from control.services import clients
from control.services.clients import run_due
from control.services.errors import Conflict
from switch.outputs import Alarm
from switch.snapshot import Client, Key
from tests.fakes.control import START_MS, ControlPlane, with_control

DAY_MS = 86_400_000
STATUSES = ("new", "scheduled", "active", "suspended", "inactive")
ARROWS = {
    ("new", "scheduled"),
    ("new", "active"),
    ("new", "inactive"),
    ("scheduled", "new"),
    ("scheduled", "active"),
    ("scheduled", "inactive"),
    ("active", "suspended"),
    ("active", "inactive"),
    ("suspended", "active"),
    ("suspended", "inactive"),
}


async def make(plane: ControlPlane, name: str = "Tenant", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await plane.post("/clients", {"name": name, **fields})
    return made


def record_of(plane: ControlPlane, client: dict[str, Any]) -> Client:
    record = plane.publisher.records[Key("client", client["id"])]
    assert isinstance(record, Client)
    return record


@with_control
async def test_a_status_moves_only_along_the_arrows_of_the_table(plane: ControlPlane) -> None:
    number = 0
    for was in STATUSES:
        for becomes in STATUSES:
            if was == becomes:
                continue
            number += 1
            later = {"start_date": "2027-02-01"} if was == "scheduled" else {}
            client = await make(plane, f"Tenant {number}", status=was, **later)
            start_date = "2027-02-01" if becomes == "scheduled" else "2027-01-15"
            body = {"status": becomes, "start_date": start_date}
            expected = 200 if (was, becomes) in ARROWS else 409
            await plane.patch(f"/clients/{client['id']}", body, status=expected)


@with_control
async def test_the_management_client_stands_first_and_stays(plane: ControlPlane) -> None:
    await make(plane, "Aardvark")
    for sort in ("name", "-name", "-id", "status"):
        page = await plane.get(f"/clients?sort={sort}&limit=1")
        assert [item["is_management"] for item in page["items"]] == [True, False]
        cursor = page["next_cursor"]
        assert cursor is None
    manager = (await plane.get("/clients"))["items"][0]["id"]
    await plane.delete(f"/clients/{manager}", status=409)
    for status in ("suspended", "inactive", "new"):
        await plane.patch(f"/clients/{manager}", {"status": status}, status=409)
    await plane.patch(f"/clients/{manager}", {"contract_end": "2028-01-01"}, status=400)
    await plane.patch(f"/clients/{manager}", {"suspend_at": "2028-01-01T00:00:00Z"}, status=400)
    assert (await plane.patch(f"/clients/{manager}", {"name": "The House"}))["name"] == "The House"
    await plane.post("/clients", {"name": "Second", "is_management": True}, status=400)


@with_control
async def test_inactive_clients_are_listed_only_when_asked_for(plane: ControlPlane) -> None:
    await make(plane, "Gone", status="inactive")

    async def names(query: str) -> set[str]:
        return {item["name"] for item in (await plane.get(f"/clients?{query}"))["items"]}

    assert await names("") == {"Management"}
    assert await names("include=inactive") == {"Management", "Gone"}
    assert await names("status=inactive") == {"Gone"}
    await plane.get("/clients?include=all", status=400)


@with_control
async def test_a_billing_reference_is_made_where_blank_and_is_unique(plane: ControlPlane) -> None:
    first = await make(plane, "One")
    assert first["billing_ref"] == "C000002"
    await make(plane, "Two", billing_ref="C000004")
    assert (await make(plane, "Three"))["billing_ref"] == "C000005", "C000004 is taken by hand"
    await plane.post("/clients", {"name": "Four", "billing_ref": "c000004"}, status=409)
    assert (await plane.patch(f"/clients/{first['id']}", {"billing_ref": ""}))["billing_ref"] == "C000002"


@with_control
async def test_dates_are_days_or_times_and_make_sense(plane: ControlPlane) -> None:
    client = await make(plane, start_date="2027-02-01", contract_end="2027-12-31", status="scheduled")
    assert client["end_date"] == "2028-02-01", "the rooms' allocation is a year by default"
    record = record_of(plane, client)
    assert (record.starts_at_ms, record.ends_at_ms) == (1_801_440_000_000, 1_830_297_600_000)
    leap = await make(plane, "Leap", start_date="2028-02-29")
    assert leap["end_date"] == "2029-02-28"
    timed = await make(plane, "Timed", start_date="2027-02-01T08:30:00+02:00", status="scheduled")
    assert record_of(plane, timed).starts_at_ms == 1_801_440_000_000 + 6 * 3_600_000 + 30 * 60_000
    for fields, path in (
        ({"start_date": "2027-02-30"}, "start_date"),
        ({"start_date": "2027-02-01T08:30:00"}, "start_date"),
        ({"start_date": "soon and later"}, "start_date"),
        ({"start_date": "2027-02-01", "contract_end": "2027-01-31"}, "contract_end"),
        ({"start_date": "2027-01-01", "status": "scheduled"}, "start_date"),
        ({"status": "scheduled"}, "start_date"),
        ({"start_date": "2027-02-01", "status": "active"}, "status"),
        ({"type": "virtual", "offices": ["1.01"]}, "offices"),
        ({"end_date": "never ever"}, "end_date"),
    ):
        problem = await plane.post("/clients", {"name": "Other", **fields}, status=400)
        assert problem["errors"][0]["path"] == path, fields


@with_control
async def test_clients_begin_end_and_are_suspended_by_themselves(plane: ControlPlane) -> None:
    later = await make(plane, "Later", status="scheduled", start_date="2027-01-16", contract_end="2027-01-17")
    stopped = await make(plane, "Stopped", status="active", suspend_at="2027-01-16T00:00:00Z")
    assert await run_due(plane.ctx) == 0

    async def statuses() -> list[str]:
        return [(await plane.get(f"/clients/{client['id']}"))["status"] for client in (later, stopped)]

    plane.clock.ms = START_MS + DAY_MS
    assert await run_due(plane.ctx) == 2
    assert await statuses() == ["active", "suspended"]
    assert record_of(plane, stopped).status == "suspended"
    await plane.patch(f"/clients/{stopped['id']}", {"status": "active"})
    assert await run_due(plane.ctx) == 0, "a suspension that staff lifted does not come back"
    plane.clock.ms = START_MS + 3 * DAY_MS
    assert await run_due(plane.ctx) == 1
    assert await statuses() == ["inactive", "active"]
    last = (await plane.get("/audit?noun=client&limit=1"))["items"][0]
    assert (last["actor_kind"], last["before"]["status"], last["after"]["status"]) == ("system", "active", "inactive")


@with_control
async def test_a_client_that_cannot_be_changed_holds_up_nobody_else(plane: ControlPlane) -> None:
    made = [await make(plane, name, status="active", suspend_at="2027-01-16T00:00:00Z") for name in "ABC"]
    plane.clock.ms = START_MS + DAY_MS
    alarms: list[Alarm] = []
    plane.ctx.raise_alarm, plane.ctx.alarms = alarms.append, lambda: alarms
    real = clients.CLIENTS.update_in

    async def update_in(ctx: Any, change: Any, client_id: int, fields: Any) -> Any:
        if client_id == made[1]["id"]:
            raise Conflict("it cannot be")
        return await real(ctx, change, client_id, fields)

    async def statuses() -> list[str]:
        return [(await plane.get(f"/clients/{client['id']}"))["status"] for client in made]

    with patch.object(clients.CLIENTS, "update_in", update_in):
        assert await run_due(plane.ctx) == 2
        assert await run_due(plane.ctx) == 0
    assert await statuses() == ["suspended", "active", "suspended"]
    assert [(each.name, each.detail) for each in alarms] == [
        ("scheduled_work_failed", f"client {made[1]['id']}: it cannot be")
    ]
    assert await run_due(plane.ctx) == 1
    assert await statuses() == ["suspended", "suspended", "suspended"]


@with_control
async def test_a_client_that_was_away_too_long_goes_straight_to_its_end(plane: ControlPlane) -> None:
    client = await make(plane, status="scheduled", start_date="2027-01-16", contract_end="2027-01-17")
    plane.clock.ms = START_MS + 30 * DAY_MS
    assert await run_due(plane.ctx) == 1
    assert (await plane.get(f"/clients/{client['id']}"))["status"] == "inactive"


@with_control
async def test_a_client_owns_one_customer_at_most_and_is_kept_while_it_does(plane: ControlPlane) -> None:
    client = await make(plane)
    customer = await plane.make_customer(client_id=client["id"])
    problem = await plane.post("/customers", {"name": "Another", "client_id": client["id"]}, status=409)
    assert problem["errors"][0]["path"] == "client_id"
    problem = (await plane.delete(f"/clients/{client['id']}", status=409)).json()
    assert problem["references"] == [{"noun": "customer", "id": str(customer), "name": "Acme Voice"}]
    await plane.patch(f"/customers/{customer}", {"client_id": None})
    await plane.delete(f"/clients/{client['id']}")
