"""Dates of clients that are entered by mistake, and what moves along with a start."""

from __future__ import annotations

from typing import Any

from control.schedule import Schedule
from control.services.clients import run_due
from tests.control.api.test_offices_api import make_office, make_site, occupy
from tests.fakes.control import START_MS, ControlPlane, with_control

DAY_MS = 86_400_000


async def make(plane: ControlPlane, name: str = "Tenant", **fields: Any) -> dict[str, Any]:
    return dict(await plane.post("/clients", {"name": name, "status": "active", **fields}))


@with_control
async def test_rooms_are_not_given_back_before_the_client_starts(plane: ControlPlane) -> None:
    for end in ("2026-12-31", "2027-01-15", "2027-01-15T23:00:00Z"):
        body = {"name": "Typo", "start_date": "2027-01-15", "end_date": end}
        problem = await plane.post("/clients", body, status=400)
        assert problem["errors"] == [{"path": "end_date", "reason": "not after start_date"}]
    client = await make(plane)
    await plane.patch(f"/clients/{client['id']}", {"end_date": "2020-01-01"}, status=400)
    await plane.patch(f"/clients/{client['id']}", {"end_date": "2027-01-16"})
    new = await make(plane, "New", status="new", end_date="2026-06-01")
    problem = await plane.patch(f"/clients/{new['id']}", {"status": "active"}, status=400)
    assert problem["errors"][0]["path"] == "end_date"


@with_control
async def test_a_contract_that_is_over_ends_no_client_by_a_slip_of_the_pen(plane: ControlPlane) -> None:
    """What a client had is gone for good once it is inactive: `decommission` is how that is asked for."""
    client = await make(plane, start_date="2026-06-01")
    for status in ("active", "suspended"):
        await plane.patch(f"/clients/{client['id']}", {"status": status})
        problem = await plane.patch(f"/clients/{client['id']}", {"contract_end": "2027-01-14"}, status=400)
        assert problem["errors"][0]["path"] == "contract_end"
        assert "decommission" in problem["detail"]
    await plane.patch(f"/clients/{client['id']}", {"contract_end": "2027-01-15"})
    assert await run_due(plane.ctx) == 0, "today is still in it"
    body = {"name": "Old", "start_date": "2026-01-01", "contract_end": "2026-12-31"}
    for status in ("active", "suspended"):
        problem = await plane.post("/clients", {**body, "status": status}, status=400)
        assert problem["errors"][0]["path"] == "contract_end"
    draft = await make(plane, "Draft", status="new", start_date="2026-01-01", contract_end="2026-12-31")
    await plane.post(f"/clients/{draft['id']}/activate", {}, status=400)
    # What ended long ago is entered as what it is.
    gone = await make(plane, "Gone", status="inactive", start_date="2025-01-01", contract_end="2025-12-31")
    assert gone["status"] == "inactive"
    # Past its end a client stands in the way of no other change until it is taken notice of.
    plane.clock.ms = START_MS + 2 * DAY_MS
    await plane.patch(f"/clients/{client['id']}", {"name": "Renamed"})
    assert await run_due(plane.ctx) == 1


@with_control
async def test_a_client_that_has_begun_does_not_start_in_the_future(plane: ControlPlane) -> None:
    client = await make(plane)
    for status in ("active", "suspended"):
        body = {"status": status, "start_date": "2027-02-01"}
        problem = await plane.patch(f"/clients/{client['id']}", body, status=400)
        assert problem["errors"][0]["path"] == "start_date"
    await plane.patch(f"/clients/{client['id']}", {"start_date": "2026-12-01"})
    body = {"name": "Odd", "status": "suspended", "start_date": "2027-02-01"}
    problem = await plane.post("/clients", body, status=400)
    assert problem["errors"][0]["path"] == "status"


@with_control
async def test_a_new_client_is_decommissioned_when_it_was_said(plane: ControlPlane) -> None:
    client = await make(plane, status="new")
    await plane.post(f"/clients/{client['id']}/decommission", {"at": "2027-01-16T00:00:00Z"}, status=200)
    schedule = Schedule(plane.ctx, plane.publisher)  # type: ignore[arg-type]
    plane.publisher.version_in_force = None  # type: ignore[attr-defined]
    plane.clock.ms = START_MS + DAY_MS
    await schedule.run_due()
    ended = await plane.get(f"/clients/{client['id']}")
    assert (ended["status"], ended["activated_at"]) == ("inactive", None)


@with_control
async def test_what_starts_with_its_client_starts_with_it_on_another_day_too(plane: ControlPlane) -> None:
    site = await make_site(plane)
    room, later = await make_office(plane, site), await make_office(plane, site, "1.02")
    desk = (await plane.post("/products", {"name": "Desk", "monthly_price": "31", "setup_price": "10"}))["id"]
    client = (await make(plane, status="scheduled", start_date="2027-02-01"))["id"]
    held = await occupy(plane, client, room)
    other = await occupy(plane, client, later, start_date="2027-03-01")
    bought = await plane.post(f"/clients/{client}/purchases", {"product_id": desk})
    more = await plane.post(f"/clients/{client}/purchases", {"product_id": desk, "start_date": "2027-02-10"})

    async def starts() -> list[str]:
        rows = [f"/occupancies/{held['id']}", f"/occupancies/{other['id']}"]
        rows += [f"/purchases/{each['id']}" for each in (bought, more)]
        return [(await plane.get(row))["start_date"] for row in rows]

    assert await starts() == ["2027-02-01", "2027-03-01", "2027-02-01", "2027-02-10"]
    await plane.patch(f"/clients/{client}", {"start_date": "2027-02-05"})
    assert await starts() == ["2027-02-05", "2027-03-01", "2027-02-05", "2027-02-10"]
    # Started early it is billed from then on, and the room is its own.
    await plane.post(f"/clients/{client}/activate", {}, status=200)
    assert await starts() == ["2027-01-15", "2027-03-01", "2027-01-15", "2027-02-10"]
    bill = await plane.get(f"/clients/{client}/bill-preview?month=2027-01")
    assert [(each["kind"], each["days"], each["net"]) for each in bill["lines"]] == [
        ("setup", 1, "10"),
        ("monthly", 17, "17"),
    ]
    audit = (await plane.get(f"/audit?noun=purchase&noun_id={bought['id']}&limit=1"))["items"][0]
    assert (audit["before"]["start_date"], audit["after"]["start_date"]) == ("2027-02-05", "2027-01-15")
    # What has begun is history: a start that is put right later moves nothing.
    await plane.patch(f"/clients/{client}", {"start_date": "2027-01-01"})
    assert (await starts())[0] == "2027-01-15"


@with_control
async def test_a_start_does_not_move_into_a_room_that_somebody_else_has(plane: ControlPlane) -> None:
    room = await make_office(plane, await make_site(plane))
    first = (await make(plane, "First", start_date="2027-01-01", end_date="2027-02-01"))["id"]
    await occupy(plane, first, room)
    second = (await make(plane, "Second", status="scheduled", start_date="2027-02-01"))["id"]
    await occupy(plane, second, room)
    problem = await plane.patch(f"/clients/{second}", {"start_date": "2027-01-20"}, status=409)
    assert "taken by First" in problem["detail"]
    assert (await plane.get(f"/clients/{second}"))["start_date"] == "2027-02-01"
    await plane.post(f"/clients/{second}/activate", {}, status=409)


@with_control
async def test_the_wizards_dates_are_the_same_however_often_they_are_entered(plane: ControlPlane) -> None:
    client = (await plane.post("/clients/wizard", {"name": "Tenant"}))["client"]["id"]
    room = await make_office(plane, await make_site(plane))

    async def dates(**fields: Any) -> list[str]:
        path = f"/clients/{client}/wizard/dates"
        shown = (await plane.request("PUT", path, fields, status=200)).json()
        held = [each["start_date"] for each in shown["occupancies"]]
        return [shown["client"]["start_date"], shown["client"]["end_date"], *held]

    assert await dates(start_date="2027-02-01") == ["2027-02-01", "2028-02-01"]
    assert await dates(start_date="2027-02-01") == ["2027-02-01", "2028-02-01"]
    assert await dates(start_date="2027-02-01", end_date="2027-06-01") == ["2027-02-01", "2027-06-01"]
    assert await dates(start_date="2027-02-01") == ["2027-02-01", "2028-02-01"], "it replaces what it said before"
    await plane.request("PUT", f"/clients/{client}/wizard/offices", {"items": [{"office_id": room}]}, status=200)
    assert await dates(start_date="2028-02-29") == ["2028-02-29", "2029-02-28", "2028-02-29"]


@with_control
async def test_a_refused_time_is_named_as_it_was_sent(plane: ControlPlane) -> None:
    client = (await make(plane))["id"]
    past, soon, later = "2027-01-14T00:00:00Z", "2027-01-16T00:00:00Z", "2027-01-18T00:00:00Z"
    for action, body, path in (
        ("suspend", {"at": past}, "at"),
        ("suspend", {"until": past}, "until"),
        ("suspend", {"at": later, "until": soon}, "until"),
        ("decommission", {"at": past}, "at"),
        ("reactivate", {"at": later}, "at"),
    ):
        problem = await plane.post(f"/clients/{client}/{action}", body, status=400)
        assert [each["path"] for each in problem["errors"]] == [path], (action, body)
        assert "_at" not in problem["detail"], problem["detail"]
