"""Suspend, reactivate, activate, decommission: now and scheduled, by hand and by themselves."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from control.schedule import Schedule
from control.services.clients import run_due
from control.store.outbox_tables import outbox
from switch.policy.states import client_state
from tests.control.services.test_clients import record_of
from tests.fakes.control import START_MS, ControlPlane, with_control

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


async def make(plane: ControlPlane, **fields: Any) -> dict[str, Any]:
    return dict(await plane.post("/clients", {"name": "Tenant", "status": "active", **fields}))


async def act(plane: ControlPlane, client: dict[str, Any], name: str, body: Any = None, status: int = 200) -> Any:
    path = f"/clients/{client['id']}/{name}"
    return await plane.post(path, {} if body is None and name not in NO_BODY else body, status=status)


NO_BODY = ("activate", "cancel-decommission")


@with_control
async def test_an_active_client_without_a_start_began_today(plane: ControlPlane) -> None:
    client = await make(plane, time_zone="Pacific/Auckland")
    assert (client["start_date"], client["end_date"]) == ("2027-01-15", "2028-01-15")
    assert client["activated_at"] == "2027-01-15T08:00:00Z"


@with_control
async def test_a_suspension_now_and_its_end_reach_the_switch_at_once(plane: ControlPlane) -> None:
    client = await make(plane)
    assert (await act(plane, client, "suspend"))["status"] == "suspended"
    assert record_of(plane, client).status == "suspended"
    await act(plane, client, "suspend", status=200)
    assert (await act(plane, client, "reactivate"))["status"] == "active"
    assert record_of(plane, client).status == "active"
    problem = await act(plane, client, "reactivate", status=409)
    assert problem["errors"][0]["path"] == "status"


@with_control
async def test_a_suspension_is_scheduled_with_its_end_and_both_happen_after_downtime(plane: ControlPlane) -> None:
    client = await make(plane)
    body = {"at": "2027-01-16T00:00:00Z", "until": "2027-01-18T00:00:00Z"}
    planned = await act(plane, client, "suspend", body)
    assert (planned["status"], planned["suspend_at"], planned["reactivate_at"]) == ("active", body["at"], body["until"])
    plane.clock.ms = START_MS + 2 * DAY_MS
    assert await run_due(plane.ctx) == 1
    now = await plane.get(f"/clients/{client['id']}")
    assert (now["status"], now["suspend_at"], now["reactivate_at"]) == ("suspended", None, body["until"])
    plane.clock.ms = START_MS + 3 * DAY_MS
    assert await run_due(plane.ctx) == 1
    assert await run_due(plane.ctx) == 0
    now = await plane.get(f"/clients/{client['id']}")
    assert (now["status"], now["reactivate_at"]) == ("active", None)
    # The same in one go, for whoever was away for all of it.
    await act(plane, client, "suspend", {"at": "2027-01-20T00:00:00Z", "until": "2027-01-21T00:00:00Z"})
    plane.clock.ms = START_MS + 30 * DAY_MS
    assert await run_due(plane.ctx) == 1
    rows = (await plane.get(f"/audit?noun=client&noun_id={client['id']}&limit=2"))["items"]
    assert [(row["before"]["status"], row["after"]["status"]) for row in rows] == [
        ("suspended", "active"),
        ("active", "suspended"),
    ]


@with_control
async def test_a_suspension_that_has_not_begun_is_taken_back(plane: ControlPlane) -> None:
    client = await make(plane)
    await act(plane, client, "suspend", {"at": "2027-01-16T00:00:00Z", "until": "2027-01-18T00:00:00Z"})
    back = await act(plane, client, "reactivate")
    assert (back["status"], back["suspend_at"], back["reactivate_at"]) == ("active", None, None)
    plane.clock.ms = START_MS + 5 * DAY_MS
    assert await run_due(plane.ctx) == 0


@with_control
async def test_dates_of_the_page_make_sense(plane: ControlPlane) -> None:
    client = await make(plane)
    past, soon, later = "2027-01-14T00:00:00Z", "2027-01-16T00:00:00Z", "2027-01-18T00:00:00Z"
    for fields, path in (
        ({"suspend_at": past}, "suspend_at"),
        ({"decommission_at": past}, "decommission_at"),
        ({"reactivate_at": soon}, "reactivate_at"),
        ({"suspend_at": later, "reactivate_at": soon}, "reactivate_at"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"currency": "XXX"}, "currency"),
        ({"tax_percent": "101"}, "tax_percent"),
    ):
        problem = await plane.patch(f"/clients/{client['id']}", fields, status=400)
        assert problem["errors"][0]["path"] == path, fields
    for day in ("2027-W05-1", "2201-01-01", "1969-12-31"):
        problem = await plane.patch(f"/clients/{client['id']}", {"start_date": day}, status=400)
        assert problem["errors"][0]["path"] == "start_date"
    last = await make(plane, name="Far", status="scheduled", start_date="2200-06-01")
    assert last["end_date"] == "2200-12-31"
    await plane.patch(f"/clients/{last['id']}", {"name": "Further"})
    # A date that has passed meanwhile stands in the way of no other change.
    await plane.patch(f"/clients/{client['id']}", {"suspend_at": soon})
    plane.clock.ms = START_MS + 5 * DAY_MS
    await plane.patch(f"/clients/{client['id']}", {"name": "Renamed"})


@with_control
async def test_the_management_client_is_not_suspended_or_ended_by_any_way(plane: ControlPlane) -> None:
    manager = (await plane.get("/clients"))["items"][0]
    at = "2027-02-01T00:00:00Z"
    for name, body, status in (
        ("suspend", {}, 409),
        ("suspend", {"at": at}, 409),
        ("decommission", {}, 409),
        ("decommission", {"at": at}, 409),
        ("activate", None, 409),
    ):
        await act(plane, manager, name, body, status=status)
    for name in ("suspend_at", "reactivate_at", "decommission_at"):
        await plane.patch(f"/clients/{manager['id']}", {name: at}, status=400)
    assert (await plane.get("/clients"))["items"][0]["status"] == "active"


@with_control
async def test_a_scheduled_client_can_be_activated_early(plane: ControlPlane) -> None:
    client = await make(plane, status="scheduled", start_date="2027-02-01")
    assert client["end_date"] == "2028-02-01"
    early = await act(plane, client, "activate")
    assert (early["status"], early["start_date"], early["end_date"]) == ("active", "2027-01-15", "2028-01-15")
    await act(plane, client, "activate", status=409)


@with_control
async def test_a_decommission_is_scheduled_kept_by_the_switch_and_can_be_cancelled(plane: ControlPlane) -> None:
    client = await make(plane, contract_end="2027-06-30")
    planned = await act(plane, client, "decommission", {"at": "2027-02-01T12:00:00Z"})
    assert planned["decommission_at"] == "2027-02-01T12:00:00Z"
    at_ms = START_MS + 17 * DAY_MS + 4 * HOUR_MS
    # The switch has it in the record: it acts on the second, with the control plane away too.
    record = record_of(plane, client)
    assert [client_state(record, ms) for ms in (at_ms - 1, at_ms)] == ["active", "inactive"]
    back = await act(plane, client, "cancel-decommission")
    assert back["decommission_at"] is None
    assert client_state(record_of(plane, client), at_ms) == "active"
    await act(plane, client, "cancel-decommission", status=409)
    await act(plane, client, "decommission", {"at": "2027-02-01T12:00:00Z"})
    plane.clock.ms = at_ms + 10 * DAY_MS
    assert await run_due(plane.ctx) == 1
    ended = await plane.get(f"/clients/{client['id']}")
    assert (ended["status"], ended["ended_at"]) == ("inactive", "2027-02-01T12:00:00Z")
    assert ended["decommission_at"] is None


@with_control
async def test_a_decommission_cannot_be_taken_back(plane: ControlPlane) -> None:
    client = await make(plane)
    assert (await act(plane, client, "decommission"))["status"] == "inactive"
    for name in ("suspend", "reactivate", "activate", "cancel-decommission"):
        await act(plane, client, name, status=409)
    await act(plane, client, "suspend", {"at": "2027-02-01T00:00:00Z"}, status=409)
    for status in ("active", "suspended", "new", "scheduled"):
        await plane.patch(f"/clients/{client['id']}", {"status": status, "start_date": "2027-03-01"}, status=409)
    await plane.patch(f"/clients/{client['id']}", {"decommission_at": "2027-02-01T00:00:00Z"}, status=400)


@with_control
async def test_a_running_client_is_not_deleted(plane: ControlPlane) -> None:
    client = await make(plane)
    await plane.delete(f"/clients/{client['id']}", status=409)
    await act(plane, client, "suspend")
    await plane.delete(f"/clients/{client['id']}", status=409)
    await act(plane, client, "decommission")
    await plane.delete(f"/clients/{client['id']}")


@with_control
async def test_changes_of_status_are_told_to_webhooks(plane: ControlPlane) -> None:
    client = await make(plane)
    customer = await plane.make_customer(client_id=client["id"])
    await act(plane, client, "suspend")
    await plane.patch(f"/clients/{client['id']}", {"name": "Other"})
    async with plane.store.read() as tx:
        query = select(outbox.c.event, outbox.c.customer_id).where(outbox.c.event == "client.changed")
        assert [tuple(row) for row in await tx.execute(query)] == [
            ("client.changed", None),
            ("client.changed", customer),
        ]


@with_control
async def test_the_schedule_looks_when_the_next_client_is_due(plane: ControlPlane) -> None:
    client = await make(plane)
    await act(plane, client, "suspend", {"until": "2027-01-15T08:00:05Z"})
    schedule = Schedule(plane.ctx, plane.publisher)  # type: ignore[arg-type]
    plane.publisher.version_in_force = None  # type: ignore[attr-defined]
    assert await schedule.run_due() == pytest.approx(5.0)
    plane.clock.ms += 5_000
    await schedule.run_due()
    assert (await plane.get(f"/clients/{client['id']}"))["status"] == "active"


@pytest.mark.parametrize(
    ("zone", "start", "end", "starts_ms", "ends_ms"),
    [
        # Clocks go forward on 28 March 2027 in London: that day has 23 hours.
        ("Europe/London", "2027-03-28", "2027-03-28", 1_806_192_000_000, 1_806_274_800_000),
        # … and back on 31 October: 25 hours.
        ("Europe/London", "2027-10-31", "2027-10-31", 1_824_937_200_000, 1_825_027_200_000),
        ("UTC", "2028-02-29", "2028-02-29", 1_835_395_200_000, 1_835_481_600_000),
        ("America/New_York", "2027-12-31", "2027-12-31", 1_830_229_200_000, 1_830_315_600_000),
    ],
)
def test_days_are_those_of_the_clients_own_clocks(
    tmp_path: Any, database: Any, zone: str, start: str, end: str, starts_ms: int, ends_ms: int
) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        client = await make(plane, status="scheduled", time_zone=zone, start_date=start, contract_end=end)
        record = record_of(plane, client)
        assert (record.starts_at_ms, record.ends_at_ms) == (starts_ms, ends_ms)
        plane.clock.ms = ends_ms - 1
        await run_due(plane.ctx)
        assert (await plane.get(f"/clients/{client['id']}"))["activated_at"] is not None
        plane.clock.ms = ends_ms + DAY_MS
        await run_due(plane.ctx)
        assert (await plane.get(f"/clients/{client['id']}"))["status"] == "inactive"

    inside(tmp_path, database)


@pytest.mark.parametrize(
    ("start", "end"), [("2028-02-29", "2029-02-28"), ("2027-02-28", "2028-02-28"), ("2027-12-31", "2028-12-31")]
)
def test_the_end_date_is_a_year_after_the_start_unless_it_was_said(
    tmp_path: Any, database: Any, start: str, end: str
) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        client = await make(plane, status="new", start_date=start)
        assert client["end_date"] == end
        path = f"/clients/{client['id']}"
        assert (await plane.patch(path, {"start_date": "2027-05-05"}))["end_date"] == "2028-05-05"
        await plane.patch(path, {"end_date": "2030-01-01"})
        assert (await plane.patch(path, {"start_date": start}))["end_date"] == "2030-01-01"

    inside(tmp_path, database)
