"""Changes with `at`: checked now, made then, undone until then."""

from __future__ import annotations

from typing import Any

import msgspec

from control.services import scheduled_changes
from switch.outputs import Alarm
from switch.snapshot import Customer, Key
from tests.fakes.control import START_MS, ControlPlane, with_control

HOUR_MS = 3_600_000
NINE = {"at": "2027-01-15T09:00:00Z"}
TEN = {"at": "2027-01-15T10:00:00Z"}
PATH = "/scheduled-changes"


async def later(plane: ControlPlane, path: str, fields: dict[str, Any], at: dict[str, str], **more: Any) -> Any:
    return (await plane.request("PATCH", path, fields, params=at, status=202, **more)).json()


@with_control
async def test_a_change_is_made_at_its_time_and_not_before(plane: ControlPlane) -> None:
    customer = await plane.make_customer(debit_limit="0")
    path = f"/customers/{customer}"
    answer = await plane.request("PATCH", path, {"debit_limit": "25"}, params=NINE, status=202)
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1{PATH}/{made['id']}"
    assert (made["state"], made["at"], made["asked_by"]) == ("pending", "2027-01-15T09:00:00Z", "test admin")
    plane.clock.ms = START_MS + HOUR_MS - 1
    assert await scheduled_changes.run_due(plane.ctx) == 0
    shown = await plane.get(path)
    assert (shown["debit_limit"], shown["row_version"]) == ("0", 1)
    plane.clock.ms += 1
    assert await scheduled_changes.run_due(plane.ctx) == 1
    assert await scheduled_changes.run_due(plane.ctx) == 0
    assert (await plane.get(path))["debit_limit"] == "25"
    record = plane.publisher.records[Key(kind="customer", id=customer)]
    assert isinstance(record, Customer)
    assert record.debit_limit_nanos == 25 * 10**9
    assert (await plane.get(f"{PATH}/{made['id']}"))["state"] == "applied"


@with_control
async def test_the_audit_names_who_asked_and_the_list_says_what_is_to_come(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    other = await plane.make_customer(name="Other")
    path = f"/customers/{customer}"
    await later(plane, path, {"notes_public": "second"}, TEN, role="operator")
    await later(plane, path, {"notes_public": "first"}, NINE, role="operator")
    await later(plane, f"/customers/{other}", {"notes_public": "x"}, TEN)
    listed = (await plane.get(PATH, params={"customer_id": customer, "state": "pending"}, role="read-only"))["items"]
    assert [each["fields"]["notes_public"] for each in listed] == ["first", "second"]
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    rows = (await plane.get("/audit", params={"noun": "customer", "noun_id": str(customer)}))["items"]
    found = [(row["action"], row["actor_name"]) for row in rows]
    assert found[:2] == [("apply_scheduled", "test operator"), ("update", "test operator")]
    assert rows[1]["after"]["notes_public"] == "first"


@with_control
async def test_it_can_be_undone_before_it_takes_effect_and_not_after(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}"
    made = await later(plane, path, {"status": "inactive"}, NINE)
    await plane.delete(f"{PATH}/{made['id']}", role="operator")
    plane.clock.ms += HOUR_MS
    assert await scheduled_changes.run_due(plane.ctx) == 0
    assert (await plane.get(path))["status"] == "active"
    assert (await plane.get(f"{PATH}/{made['id']}"))["state"] == "cancelled"
    await plane.delete(f"{PATH}/{made['id']}", status=409)
    made = await later(plane, path, {"status": "inactive"}, TEN)
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    await plane.delete(f"{PATH}/{made['id']}", status=409)
    await plane.delete(f"{PATH}/999", status=404)


@with_control
async def test_mistakes_are_refused_at_once_and_nothing_is_kept(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}"

    async def refused(fields: dict[str, Any], at: Any, status: int = 400, **more: Any) -> list[str]:
        answer = await plane.request("PATCH", path, fields, params=at, status=status, **more)
        return [each["path"] for each in answer.json()["errors"]]

    assert await refused({"debit_limit": "much"}, NINE) == ["debit_limit"]
    assert await refused({"currency": "EUR"}, NINE, 409) == ["currency"]
    assert await refused({"nonsense": 1}, NINE) == ["nonsense"]
    assert await refused({"name": "B"}, {"at": "2027-01-15T08:00:00Z"}) == ["at"]
    assert await refused({"name": "B"}, {"at": "tomorrow"}) == ["at"]
    assert await refused({"name": "B"}, {"at": "2027-01-15T09:00:00"}) == ["at"]
    assert await refused({"name": "B"}, {"when": "2027-01-15T09:00:00Z"}) == ["when"]
    assert await refused({"name": "B"}, NINE, 412, headers={"If-Match": '"7"'}) == []
    await plane.request("PATCH", "/customers/999", {"name": "B"}, params=NINE, status=404)
    await plane.request("PATCH", path, {"name": "B"}, params=NINE, role="billing", status=403)
    assert (await plane.get(PATH))["items"] == []
    assert (await plane.get(path))["name"] == "Acme Voice"


@with_control
async def test_what_cannot_be_done_when_it_is_due_fails_with_its_reason_and_an_alarm(plane: ControlPlane) -> None:
    alarms: list[Alarm] = []
    plane.ctx.raise_alarm = alarms.append
    customer = await plane.make_customer()
    gone = await plane.make_customer(name="Leaver")
    taken = await later(plane, f"/customers/{customer}", {"name": "Acme Two"}, NINE)
    lost = await later(plane, f"/customers/{gone}", {"name": "Acme Three"}, NINE)
    await plane.make_customer(name="Acme Two")
    await plane.delete(f"/customers/{gone}")
    plane.clock.ms += HOUR_MS
    assert await scheduled_changes.run_due(plane.ctx) == 2
    first, second = await plane.get(f"{PATH}/{taken['id']}"), await plane.get(f"{PATH}/{lost['id']}")
    assert (first["state"], first["reason"]) == ("failed", "Another customer has this name.")
    assert (second["state"], second["reason"]) == ("failed", f"There is no customer {gone}.")
    assert [alarm.name for alarm in alarms] == ["scheduled_change_failed"] * 2
    assert "Another customer has this name." in alarms[0].detail
    events = (await plane.get("/events", params={"event": "scheduled_change.failed"}))["items"]
    assert len(events) == 2
    assert (await plane.get(f"/customers/{customer}"))["name"] == "Acme Voice"


@with_control
async def test_after_downtime_changes_are_made_in_the_order_of_their_times(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}"
    await later(plane, path, {"notes_public": "later", "channels": 5}, TEN)
    await later(plane, path, {"notes_public": "earlier", "flow_speed_cps": 2.0}, NINE)
    plane.clock.ms += 24 * HOUR_MS
    assert await scheduled_changes.run_due(plane.ctx) == 2
    shown = await plane.get(path)
    assert (shown["notes_public"], shown["channels"], shown["flow_speed_cps"]) == ("later", 5, 2.0)
    rows = (await plane.get("/audit", params={"noun": "customer", "action": "update", "sort": "id"}))["items"]
    assert [row["after"]["notes_public"] for row in rows] == ["earlier", "later"]


@with_control
async def test_a_password_that_is_to_be_set_later_can_be_read_by_nobody(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    user = await plane.post("/sip-users", {"customer_id": customer, "username": "ann", "password": "old secret 1"})
    made = await later(plane, f"/sip-users/{user['id']}", {"password": "new secret 2", "channels": 3}, NINE)
    assert made["fields"] == {"password": "…", "channels": 3}
    before = plane.publisher.records[Key(kind="sip_user", id=user["id"])]
    everything = str([await plane.get(PATH), await plane.get("/audit"), await plane.get("/events")])
    assert "new secret" not in everything
    assert b"new secret" not in b"".join(path.read_bytes() for path in plane.folder.iterdir() if path.is_file())
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    after = plane.publisher.records[Key(kind="sip_user", id=user["id"])]
    assert msgspec.to_builtins(before)["ha1_md5"] != msgspec.to_builtins(after)["ha1_md5"]


@with_control
async def test_rows_under_their_owner_credit_and_money_can_be_scheduled_too(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    endpoint = await plane.post(f"/customers/{customer}/endpoints", {"host": "198.51.100.1", "direction": "egress"})
    nested = await later(plane, f"/customers/{customer}/endpoints/{endpoint['id']}", {"channels": 7}, NINE)
    assert (nested["noun"], nested["customer_id"]) == ("endpoint", customer)
    credit = await later(plane, f"/customers/{customer}/credit", {"debit_limit": "9"}, NINE, role="billing")
    await plane.delete(f"{PATH}/{nested['id']}", status=404, role="billing")  # it may not make such a change
    plane.clock.ms += HOUR_MS
    assert await scheduled_changes.run_due(plane.ctx) == 2
    assert (await plane.get(f"/endpoints/{endpoint['id']}"))["channels"] == 7
    assert (await plane.get(f"/customers/{customer}"))["debit_limit"] == "9"
    assert (await plane.get(f"{PATH}/{credit['id']}", role="billing"))["state"] == "applied"


@with_control
async def test_changes_of_keys_are_seen_by_admins_alone(plane: ControlPlane) -> None:
    key = await plane.post("/admin-keys", {"name": "Leaver", "role": "operator"})
    made = await later(plane, f"/admin-keys/{key['id']}", {"role": "read-only"}, NINE)
    assert (await plane.get(PATH, role="operator"))["items"] == []
    await plane.get(f"{PATH}/{made['id']}", status=404, role="operator")
    await plane.delete(f"{PATH}/{made['id']}", status=404, role="operator")
    assert len((await plane.get(PATH))["items"]) == 1
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    assert (await plane.get(f"/admin-keys/{key['id']}"))["role"] == "read-only"


@with_control
async def test_what_a_key_asked_for_is_not_made_once_the_key_may_not(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    made = await plane.post("/admin-keys", {"name": "Leaver", "role": "operator"})
    headers = {"Authorization": f"Bearer {made['key']}"}
    path = f"/api/v1/customers/{customer}"
    asked = []
    for at in (NINE, TEN):
        answer = await plane.client.patch(path, json={"notes_public": at["at"]}, params=at, headers=headers)
        assert answer.status_code == 202, answer.text
        asked.append(answer.json()["id"])
    await plane.patch(f"/admin-keys/{made['id']}", {"role": "read-only"})
    plane.clock.ms = START_MS + HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    await plane.delete(f"/admin-keys/{made['id']}")
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    shown = [await plane.get(f"{PATH}/{each}") for each in asked]
    assert [each["state"] for each in shown] == ["failed", "failed"]
    assert "may no longer" in shown[0]["reason"]
    assert "taken back" in shown[1]["reason"]
    assert (await plane.get(f"/customers/{customer}"))["notes_public"] == ""
