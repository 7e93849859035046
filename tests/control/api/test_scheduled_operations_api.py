"""Archives, steps, profiles and bulk edits with `at`: checked now, made then, undone until then."""

from __future__ import annotations

from typing import Any, Final

from control.api.routes import ROUTES
from control.services import scheduled_changes
from switch.snapshot import Key
from tests.fakes.control import START_MS, ControlPlane, live_call, with_control

HOUR_MS = 3_600_000
NINE = {"at": "2027-01-15T09:00:00Z"}
TEN = {"at": "2027-01-15T10:00:00Z"}
PATH = "/scheduled-changes"


async def later(plane: ControlPlane, method: str, path: str, body: Any = None, **more: Any) -> Any:
    return (await plane.request(method, path, body, **{"params": NINE, "status": 202, **more})).json()


async def pass_to_nine(plane: ControlPlane) -> int:
    plane.clock.ms = START_MS + HOUR_MS
    return await scheduled_changes.run_due(plane.ctx)


async def state(plane: ControlPlane, made: Any) -> tuple[str, str]:
    shown = await plane.get(f"{PATH}/{made['id']}")
    return shown["state"], shown["reason"]


@with_control
async def test_a_row_is_archived_at_its_time_and_not_before(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    endpoint = await plane.post("/endpoints", {"customer_id": customer, "host": "198.51.100.1", "direction": "egress"})
    path, key = f"/endpoints/{endpoint['id']}", Key(kind="endpoint", id=endpoint["id"])
    answer = await plane.request("DELETE", path, params=NINE, status=202, role="operator")
    made = answer.json()
    assert answer.headers["location"] == f"/api/v1{PATH}/{made['id']}"
    assert (made["noun"], made["action"], made["row_id"]) == ("endpoint", "archive", endpoint["id"])
    assert (made["fields"], made["customer_id"]) == ({}, customer)
    await plane.get(path)
    assert key in plane.publisher.records
    assert await pass_to_nine(plane) == 1
    assert await pass_to_nine(plane) == 0
    await plane.get(path, status=404)
    assert key not in plane.publisher.records
    assert await state(plane, made) == ("applied", "")
    rows = (await plane.get("/audit", params={"noun": "endpoint", "noun_id": str(endpoint["id"])}))["items"]
    acts = [(row["action"], row["actor_name"]) for row in rows[:2]]
    assert acts == [("apply_scheduled", "test operator"), ("archive", "test operator")]
    (event,) = (await plane.get("/events", params={"event": "scheduled_change.applied"}))["items"]
    assert (event["data"]["action"], event["data"]["row_id"]) == ("archive", endpoint["id"])


@with_control
async def test_an_archive_below_its_owner_can_be_undone(plane: ControlPlane) -> None:
    customer, other = await plane.make_customer(), await plane.make_customer(name="Other")
    body = {"host": "198.51.100.1", "direction": "egress"}
    endpoint = await plane.post(f"/customers/{customer}/endpoints", body)
    await plane.delete(f"/customers/{other}/endpoints/{endpoint['id']}", params=NINE, status=404)
    made = await later(plane, "DELETE", f"/customers/{customer}/endpoints/{endpoint['id']}")
    await plane.delete(f"{PATH}/{made['id']}")
    assert await pass_to_nine(plane) == 0
    await plane.get(f"/endpoints/{endpoint['id']}")
    listed = (await plane.get(PATH, params={"action": "archive", "customer_id": customer}))["items"]
    assert [(each["id"], each["state"]) for each in listed] == [(made["id"], "cancelled")]


@with_control
async def test_an_archive_that_could_not_be_made_now_is_refused_and_nothing_is_kept(plane: ControlPlane) -> None:
    card = await plane.make_sell_card()
    customer = await plane.make_customer()
    await plane.post("/ingress-routes", {"customer_id": customer, "name": "All", "rate_card_id": card})
    refused = await plane.request("DELETE", f"/rate-cards/{card}", params=NINE, status=409)
    assert [each["noun"] for each in refused.json()["references"]] == ["ingress_route"]
    await plane.delete(f"/customers/{customer}", params=NINE, headers={"If-Match": '"9"'}, status=412)
    await plane.delete(f"/customers/{customer}", params={"at": "2027-01-15T08:00:00Z"}, status=400)
    await plane.delete(f"/customers/{customer}", params={"when": NINE["at"]}, status=400)
    await plane.delete(f"/customers/{customer}", params=NINE, role="billing", status=403)
    await plane.delete("/customers/999", params=NINE, status=404)
    assert (await plane.get(PATH))["items"] == []
    await plane.get(f"/customers/{customer}")


@with_control
async def test_live_calls_matter_when_it_is_due_and_not_before(plane: ControlPlane) -> None:
    busy, quiet = await plane.make_customer(), await plane.make_customer(name="Quiet")
    plane.switch.calls = [live_call(busy), live_call(quiet, "0" * 31 + "2")]
    asked = [await later(plane, "DELETE", f"/customers/{each}") for each in (busy, quiet)]
    plane.switch.calls = [live_call(busy)]
    await pass_to_nine(plane)
    assert await state(plane, asked[0]) == ("failed", "The customer has 1 live calls.")
    assert await state(plane, asked[1]) == ("applied", "")
    await plane.get(f"/customers/{busy}")
    await plane.get(f"/customers/{quiet}", status=404)


@with_control
async def test_what_only_the_switch_can_allow_waits_for_it_and_holds_up_nothing_else(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Second")
    asked = await later(plane, "DELETE", f"/customers/{first}")
    change = await later(plane, "PATCH", f"/customers/{second}", {"notes_public": "done"}, params=TEN)
    plane.switch.is_connected = False
    plane.clock.ms = START_MS + 2 * HOUR_MS
    assert await scheduled_changes.run_due(plane.ctx) == 1
    assert await state(plane, asked) == ("pending", "")
    assert await state(plane, change) == ("applied", "")
    plane.switch.is_connected = True
    assert await scheduled_changes.run_due(plane.ctx) == 1
    assert await state(plane, asked) == ("applied", "")


@with_control
async def test_how_a_customer_is_invoiced_changes_at_its_time(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}/invoicing"
    fields = {"frequency": "monthly", "billing_name": "Acme Ltd"}
    made = await later(plane, "PATCH", path, fields, role="billing")
    assert (made["noun"], made["row_id"], made["customer_id"]) == ("invoice_profile", customer, customer)
    await plane.request("PATCH", path, {"day": 9, "frequency": "weekly"}, params=NINE, status=400)
    await plane.request("PATCH", "/customers/999/invoicing", fields, params=NINE, status=404)
    shown = await plane.get(path)
    assert (shown["frequency"], shown["row_version"]) == ("never", 0)
    assert await pass_to_nine(plane) == 1
    shown = await plane.get(path)
    assert (shown["frequency"], shown["billing_name"], shown["row_version"]) == ("monthly", "Acme Ltd", 1)
    (row,) = (await plane.get("/audit", params={"noun": "invoice_profile", "action": "update"}))["items"]
    assert row["actor_name"] == "test billing"


@with_control
async def test_many_customers_are_changed_by_what_the_filter_finds_then(plane: ControlPlane) -> None:
    await plane.make_customer(tags=["trial"])
    body = {"filter": {"tag": "trial"}, "patch": {"channels": 3}, "add_tags": ["checked"]}
    made = await later(plane, "POST", "/customers/bulk", body, role="operator")
    assert (made["noun"], made["action"], made["row_id"], made["fields"]) == ("customer", "update_many", None, body)
    await plane.make_customer(name="Newer", tags=["trial"])
    await plane.make_customer(name="Untouched")
    assert await pass_to_nine(plane) == 1
    found = (await plane.get("/customers", params={"sort": "id"}))["items"]
    assert [(row["channels"], row["tags"]) for row in found] == [
        (3, ["trial", "checked"]),
        (3, ["trial", "checked"]),
        (None, []),
    ]
    rows = (await plane.get("/audit", params={"noun": "customer", "action": "update"}))["items"]
    assert [row["actor_name"] for row in rows] == ["test operator"] * 2
    (row,) = (await plane.get("/audit", params={"noun": "customer", "action": "apply_scheduled"}))["items"]
    assert row["noun_id"] == ""


@with_control
async def test_a_bulk_change_that_one_row_does_not_take_then_changes_none_and_says_which(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Second")
    ids = {"ids": [first, second]}
    refused = {**ids, "patch": {"currency": "EUR"}}
    assert (await plane.request("POST", "/customers/bulk", refused, params=NINE, status=409)).json()["references"]
    previewed = {**ids, "patch": {"channels": 1}, "preview": True}
    answer = await plane.request("POST", "/customers/bulk", previewed, params=NINE, status=400)
    assert [each["path"] for each in answer.json()["errors"]] == ["preview"]
    assert (await plane.get(PATH))["items"] == []
    made = await later(plane, "POST", "/customers/bulk", {**ids, "patch": {"status": "inactive"}})
    counted = await later(plane, "POST", "/customers/bulk", {"filter": {}, "expected": 2, "patch": {"channels": 9}})
    undone = await later(plane, "POST", "/customers/bulk", {**ids, "patch": {"channels": 8}})
    await plane.delete(f"{PATH}/{undone['id']}")
    await plane.make_customer(name="Third")
    await plane.delete(f"/customers/{second}")
    assert await pass_to_nine(plane) == 2
    failed, reason = await state(plane, made)
    assert (failed, f"there is no customer {second}" in reason) == ("failed", True)
    failed, reason = await state(plane, counted)
    assert (failed, reason) == ("applied", "")
    shown = await plane.get(f"/customers/{first}")
    assert (shown["status"], shown["channels"]) == ("active", 9)


@with_control
async def test_many_customers_are_archived_at_their_time(plane: ControlPlane) -> None:
    ids = [await plane.make_customer(name=name) for name in ("One", "Two")]
    plane.switch.calls = [live_call(ids[1])]
    made = [await later(plane, "POST", "/customers/bulk/archive", {"ids": ids}, params=at) for at in (NINE, TEN)]
    await pass_to_nine(plane)
    failed, reason = await state(plane, made[0])
    assert (failed, "Two" in reason) == ("failed", True)
    assert len((await plane.get("/customers"))["items"]) == 2
    plane.switch.calls = []
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    assert await state(plane, made[1]) == ("applied", "")
    assert (await plane.get("/customers"))["items"] == []


@with_control
async def test_numbers_take_the_steps_of_their_life_at_their_times(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    dids = [(await plane.post("/dids", {"number": f"1555123000{n}", "retail": "2"}))["id"] for n in range(3)]
    one = f"/dids/{dids[0]}"
    assign = {"customer_id": customer, "destination": {"kind": "uri", "value": "sip:desk@198.51.100.9"}}
    made = await later(plane, "POST", f"{one}/assign", assign)
    assert (made["noun"], made["action"], made["fields"]) == ("did", "assign", assign)
    many = {"ids": dids[1:], "action": "allocate", "customer_id": customer}
    await later(plane, "POST", "/dids/bulk/step", many)
    await later(plane, "POST", "/dids/bulk", {"ids": dids[1:], "patch": {"description": "kept"}})
    await plane.request("POST", f"{one}/free", params=NINE, status=409)
    assert [row["state"] for row in (await plane.get("/dids"))["items"]] == ["free"] * 3
    assert await pass_to_nine(plane) == 3
    rows = (await plane.get("/dids", params={"sort": "id"}))["items"]
    assert [row["state"] for row in rows] == ["assigned", "allocated", "allocated"]
    assert len((await plane.get(f"{one}/charges"))["items"]) == 1
    await later(plane, "POST", f"{one}/release", {"reason": "moved"}, params=TEN)
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    assert (await plane.get(one))["state"] == "cooling_off"
    await later(plane, "POST", f"{one}/free", params={"at": "2027-01-15T11:00:00Z"})
    plane.clock.ms += HOUR_MS
    await scheduled_changes.run_due(plane.ctx)
    assert (await plane.get(one))["state"] == "free"


@with_control
async def test_clients_are_converted_and_rules_are_ordered_at_their_time(plane: ControlPlane) -> None:
    client = await plane.post("/clients", {"name": "Desk", "type": "residential", "start_date": "2027-03-01"})
    customer = await plane.make_customer()
    rules = [
        (await plane.post("/cli-rules", {"customer_id": customer, "action": "deny", "match": match}))["id"]
        for match in ("^1$", "^2$")
    ]
    await later(plane, "POST", f"/clients/{client['id']}/convert", {"type": "virtual"})
    await later(plane, "POST", f"/clients/{client['id']}/activate")
    await plane.request("POST", f"/clients/{client['id']}/cancel-decommission", params=NINE, status=409)
    ordered = await later(plane, "POST", f"/customers/{customer}/cli-rules/order", {"ids": rules[::-1]})
    assert (ordered["noun"], ordered["row_id"]) == ("customer", customer)
    await plane.request("POST", f"/customers/{customer}/cli-rules/order", {"ids": [1, 99]}, params=NINE, status=400)
    assert await pass_to_nine(plane) == 3
    shown = await plane.get(f"/clients/{client['id']}")
    assert (shown["type"], shown["status"], shown["start_date"]) == ("virtual", "active", "2027-01-15")
    listed = (await plane.get(f"/customers/{customer}/cli-rules"))["items"]
    assert [each["id"] for each in listed] == rules[::-1]


@with_control
async def test_a_key_that_shall_be_taken_back_is_seen_by_admins_alone_and_ends_then(plane: ControlPlane) -> None:
    key = await plane.post("/admin-keys", {"name": "Leaver", "role": "operator"})
    headers = {"Authorization": f"Bearer {key['key']}"}
    made = await later(plane, "DELETE", f"/admin-keys/{key['id']}")
    assert (await plane.get(PATH, role="operator"))["items"] == []
    await plane.delete(f"{PATH}/{made['id']}", status=404, role="operator")
    assert (await plane.client.get("/api/v1/customers", headers=headers)).status_code == 200
    await pass_to_nine(plane)
    assert (await plane.client.get("/api/v1/customers", headers=headers)).status_code == 401


@with_control
async def test_an_archive_is_not_made_once_the_key_that_asked_may_not(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    key = await plane.post("/admin-keys", {"name": "Leaver", "role": "operator"})
    headers = {"Authorization": f"Bearer {key['key']}"}
    answer = await plane.client.delete(f"/api/v1/customers/{customer}", params=NINE, headers=headers)
    assert answer.status_code == 202
    body = {"ids": [customer], "patch": {"channels": 1}}
    bulk = await plane.client.post("/api/v1/customers/bulk", json=body, params=NINE, headers=headers)
    assert bulk.status_code == 202
    await plane.patch(f"/admin-keys/{key['id']}", {"role": "billing"})
    await pass_to_nine(plane)
    assert "may no longer" in (await state(plane, answer.json()))[1]
    assert "may no longer" in (await state(plane, bulk.json()))[1]
    assert (await plane.get(f"/customers/{customer}"))["channels"] is None


NOT_LATER: Final = {
    "a date of its own": [
        "POST /clients/{client_id:int}/suspend",
        "POST /clients/{client_id:int}/reactivate",
        "POST /clients/{client_id:int}/decommission",
        "POST /clients/{client_id:int}/purchases/{row_id:int}/cancel",
        "POST /rate-cards/{card_id:int}/revisions/{revision_id:int}/activate",
    ],
    "money and its documents": [
        "POST /customers/{customer_id:int}/payments",
        "POST /customers/{customer_id:int}/payments/{payment_id:int}/complete",
        "POST /customers/{customer_id:int}/payments/{payment_id:int}/cancel",
        "POST /customers/{customer_id:int}/payments/{payment_id:int}/reverse",
        "POST /customers/{customer_id:int}/ledger/{entry_id:int}/reverse",
        "POST /customers/{customer_id:int}/adjustments",
        "POST /customer-packages/{row_id:int}/charge",
        "POST /customers/{customer_id:int}/invoices",
        "DELETE /invoices/{invoice_id:int}",
        "POST /invoices/{invoice_id:int}/issue",
        "POST /invoices/{invoice_id:int}/send",
        "POST /invoices/{invoice_id:int}/allocations",
        "POST /invoices/{invoice_id:int}/credit-notes",
        "POST /customers/{customer_id:int}/allocate",
        "POST /allocations/{allocation_id:int}/release",
        "POST /credit-notes/{row_id:int}/send",
        "POST /recalculations",
        "POST /recalculations/{row_id:int}/apply",
        "POST /recalculations/{row_id:int}/undo",
        "DELETE /recalculations/{row_id:int}",
    ],
    "an answer that is shown once, or a mail": [
        "POST /client-users/{row_id:int}/wifi-password",
        "POST /webhooks/{row_id:int}/rotate-secret",
        "POST /contacts/{row_id:int}/password-link",
    ],
    "a file": [
        "POST /customers.csv",
        "POST /dids.csv",
        "POST /rate-cards/{card_id:int}/revisions",
        "POST /contracts/{row_id:int}/revisions/{number:int}/signed-copy",
    ],
    "about what is at this moment": [
        "POST /contacts/{row_id:int}/end-sessions",
        "POST /contacts/{row_id:int}/remove-second-factor",
        "POST /calls/{cdr_id:str}/end",
        "DELETE /sip-users/{sip_user_id:int}/registrations/{registration_id:str}",
        "POST /rate-cards/{card_id:int}/rollback",
        "POST /rate-cards/{card_id:int}/revisions/{revision_id:int}/cancel",
        "DELETE /scheduled-changes/{row_id:int}",
        "POST /contracts/{row_id:int}/revisions",
        "POST /contracts/{row_id:int}/send",
        "POST /deliveries/{row_id:int}/resend",
        "POST /webhooks/{row_id:int}/resend",
        "POST /webhooks/{row_id:int}/test",
        "POST /alerts/{row_id:int}/test",
        "POST /replays/{replay_id:int}/cancel",
        "POST /broadband-usage",
    ],
    "a draft": ["DELETE /clients/{client_id:int}/wizard"],
    "a question or a job": [
        "POST /wifi-accounts/check",
        "POST /simulate",
        "POST /rate-cards/{card_id:int}/price",
        "POST /alerts/{row_id:int}/backtest",
        "POST /stats/rebuild",
        "POST /replays",
    ],
}
"""Routes that change something and take no `at`, by the reasons that docs/api.md gives."""


def test_every_route_that_changes_something_takes_a_time_or_is_known_not_to() -> None:
    known = {each for group in NOT_LATER.values() for each in group}
    missing, stale = [], set(known)
    for route in ROUTES:
        name = f"{route.method} {route.path}"
        is_new = route.status == 201 and name not in known
        is_wizard = "/wizard" in route.path and route.method != "DELETE"
        if route.method == "GET" or route.role in (None, "customer") or is_new or is_wizard:
            continue
        stale.discard(name)
        if (route.later is None) != (name in known):
            missing.append(name)
    assert missing == []
    assert stale == set()
