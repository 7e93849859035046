"""The wizard: each step is saved as it is entered, and is gone on with, finished or abandoned."""

from __future__ import annotations

from typing import Any

from control.services.clients import run_due
from switch.snapshot import Client, Key
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.dids import make_did, make_parties, whole


async def start(plane: ControlPlane, **fields: Any) -> Any:
    return await plane.post("/clients/wizard", {"name": "Tenant", **fields})


async def put(plane: ControlPlane, client: int, step: str, body: Any, status: int = 200, **more: Any) -> Any:
    return (await plane.request("PUT", f"/clients/{client}/wizard/{step}", body, status=status, **more)).json()


async def make_rooms(plane: ControlPlane) -> tuple[int, list[int]]:
    site = (await plane.post("/sites", {"name": "North House"}))["id"]
    rooms = [(await plane.post(f"/sites/{site}/offices", {"room": f"1.0{n}"}))["id"] for n in (1, 2)]
    return site, rooms


@with_control
async def test_a_client_is_added_step_by_step_and_starts_by_itself(plane: ControlPlane) -> None:
    site, rooms = await make_rooms(plane)
    desk = (await plane.post("/products", {"name": "Desk", "monthly_price": "31"}))["id"]
    parties = await make_parties(plane, "Acme")
    did = (await make_did(plane, **whole(parties)))["id"]
    begun = await start(plane, billing_ref="T-1")
    client = begun["client"]["id"]
    assert (begun["client"]["status"], begun["client"]["wizard_steps"], begun["next_step"]) == (
        "new",
        ["client"],
        "dates",
    )
    assert begun["missing"] == ["dates", "offices"]
    await put(plane, client, "dates", {"start_date": "2027-02-01", "contract_end": "2028-01-31"})
    seen = await put(plane, client, "offices", {"items": [{"office_id": rooms[0]}, {"office_id": rooms[1]}]})
    assert [(each["room"], each["start_date"], each["until"]) for each in seen["occupancies"]] == [
        ("1.01", "2027-02-01", "2028-02-01"),
        ("1.02", "2027-02-01", "2028-02-01"),
    ]
    # Gone on with later, by whoever comes: what was entered is there.
    assert (await plane.get(f"/clients/{client}/wizard"))["next_step"] == "products"
    seen = await put(plane, client, "products", {"items": [{"product_id": desk, "quantity": 4}]})
    assert [(each["name"], each["quantity"], each["start_date"]) for each in seen["purchases"]] == [
        ("Desk", 4, "2027-02-01")
    ]
    item = {"extension": "201", "did_id": did, "sip_user_id": parties.user}
    seen = await put(plane, client, "telephony", {"customer_id": parties.customer, "items": [item]})
    assert (seen["customer_id"], seen["telephone_services"][0]["number"]) == (parties.customer, "442071838750")
    user = {"name": "Ann", "email": "ann@example.com", "extension": "201", "wifi": True}
    seen = await put(plane, client, "users", {"items": [user]})
    assert (len(seen["users"][0]["wifi_password"]), seen["users"][0]["wifi_is_on"]) == (12, False)
    network = {"site_id": site, "vlan": 10, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}
    seen = await put(plane, client, "network", {"items": [network]})
    assert (seen["next_step"], seen["missing"], seen["users"][0]["wifi_password"]) == (None, [], None)
    done = (await plane.request("POST", f"/clients/{client}/wizard/finish", status=200)).json()
    assert (done["status"], done["wizard_steps"]) == ("scheduled", None)
    for method, path in (("GET", ""), ("POST", "/finish"), ("DELETE", "")):
        await plane.request(method, f"/clients/{client}/wizard{path}", status=409)
    plane.clock.ms = START_MS + 20 * 86_400_000
    assert await run_due(plane.ctx) == 1
    record = plane.publisher.records[Key("client", client)]
    assert isinstance(record, Client)
    assert record.status == "active"
    assert (await plane.get(f"/clients/{client}/client-users"))["items"][0]["wifi_is_on"] is True
    assert (await plane.get(f"/clients/{client}"))["office"] == "North House 1.01, North House 1.02"


@with_control
async def test_a_step_entered_again_replaces_what_it_said(plane: ControlPlane) -> None:
    _, rooms = await make_rooms(plane)
    client = (await start(plane))["client"]["id"]
    other = (await plane.post("/clients", {"name": "Other", "status": "active"}))["id"]
    await put(plane, client, "dates", {"start_date": "2027-01-01"})
    await put(plane, client, "offices", {"items": [{"office_id": rooms[0]}]})
    # What is entered is taken from then on.
    body = {"office_id": rooms[0], "start_date": "2027-02-01"}
    problem = await plane.post(f"/clients/{other}/occupancies", body, status=409)
    assert "taken by Tenant" in problem["detail"]
    seen = await put(plane, client, "offices", {"items": [{"office_id": rooms[1]}]})
    assert [each["room"] for each in seen["occupancies"]] == ["1.02"]
    await plane.post(f"/clients/{other}/occupancies", body)
    users: list[dict[str, Any]] = [
        {"name": "Ann", "email": "ann@example.com", "wifi": True},
        {"name": "Bo", "email": "bo@example.com"},
    ]
    first = await put(plane, client, "users", {"items": users})
    again = await put(plane, client, "users", {"items": [{**users[0], "name": "Anna"}]})
    assert [(each["id"], each["name"]) for each in again["users"]] == [(first["users"][0]["id"], "Anna")]
    assert again["users"][0]["wifi_password"] is None, "what was made once stays"
    for names in (["201", "202"], ["202", "203"]):
        seen = await put(plane, client, "telephony", {"items": [{"extension": name} for name in names]})
        assert [each["extension"] for each in seen["telephone_services"]] == names
    seen = await put(plane, client, "client", {"name": "Renamed", "type": "virtual"})
    assert (seen["client"]["name"], seen["occupancies"], seen["missing"]) == ("Renamed", [], [])
    assert "offices" not in [each["step"] for each in seen["steps"]]
    done = (await plane.request("POST", f"/clients/{client}/wizard/finish", status=200)).json()
    assert (done["status"], done["office"]) == ("active", "Virtual")


@with_control
async def test_a_mistake_is_named_by_its_field_and_saves_nothing_of_the_step(plane: ControlPlane) -> None:
    site, rooms = await make_rooms(plane)
    desk = (await plane.post("/products", {"name": "Desk"}))["id"]
    customer = await plane.make_customer()
    taken = (await plane.post("/clients", {"name": "Other", "billing_ref": "T-1", "status": "active"}))["id"]
    await plane.post(f"/clients/{taken}/occupancies", {"office_id": rooms[1]})
    theirs = await plane.make_customer(name="Theirs", client_id=taken)
    for fields, path, status in (
        ({"name": "OTHER"}, "name", 409),
        ({"billing_ref": "t-1"}, "billing_ref", 409),
        ({"time_zone": "Mars"}, "time_zone", 400),
        ({"status": "active"}, "status", 400),
    ):
        problem = await plane.post("/clients/wizard", {"name": "Tenant", **fields}, status=status)
        assert problem["errors"][0]["path"] == path
    client = (await start(plane))["client"]["id"]
    network = {"site_id": site, "vlan": 10, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}
    cases: list[tuple[str, dict[str, Any], str, int]] = [
        ("dates", {"start_date": "2027-02-30"}, "start_date", 400),
        ("dates", {}, "", 400),
        ("dates", {"start_date": "2027-02-01", "contract_end": "2027-01-01"}, "contract_end", 400),
        ("offices", {"items": [{"office_id": rooms[0]}, {"office_id": 99}]}, "items[1].office_id", 400),
        ("offices", {"items": [{"office_id": rooms[0]}, {"office_id": rooms[1]}]}, "items[1].start_date", 409),
        ("offices", {"items": [{"office_id": rooms[0]}, {"office_id": rooms[0]}]}, "items[1].start_date", 409),
        ("products", {"items": [{"product_id": desk}, {"product_id": desk, "quantity": 0}]}, "items[1].quantity", 400),
        ("products", {"items": [{"product_id": 99}]}, "items[0].product_id", 400),
        ("telephony", {"customer_id": 99}, "customer_id", 400),
        ("telephony", {"customer_id": theirs}, "customer_id", 409),
        ("telephony", {"customer_id": customer, "new_customer": "X"}, "new_customer", 400),
        ("telephony", {"new_customer": "acme voice"}, "new_customer", 409),
        ("telephony", {"items": [{"extension": "201"}, {"extension": "201"}]}, "items[1].extension", 400),
        ("telephony", {"items": [{"extension": "201", "sip_user_id": 9}]}, "items[0].sip_user_id", 400),
        ("users", {"items": [{"name": "A", "email": "no"}]}, "items[0].email", 400),
        ("users", {"items": [{"name": "A", "email": "a@b.example", "extension": "201"}]}, "items[0].extension", 400),
        ("network", {"items": [network, {**network, "vlan": 11}]}, "items[1].subnet", 409),
        ("network", {"items": [{**network, "gateway": "10.0.1.1"}]}, "items[0].gateway", 400),
        ("network", {"items": [{**network, "bogus": 1}]}, "items[0].bogus", 400),
    ]
    for step, body, path, status in cases:
        problem = await put(plane, client, step, body, status)
        assert path in [each["path"] for each in problem["errors"]] or not path, (step, body, problem)
    seen = await plane.get(f"/clients/{client}/wizard")
    assert seen["client"]["wizard_steps"] == ["client"]
    for part in ("occupancies", "purchases", "telephone_services", "users", "networks"):
        assert seen[part] == [], part
    assert seen["customer_id"] is None
    problem = (await plane.request("POST", f"/clients/{client}/wizard/finish", status=400)).json()
    assert [each["path"] for each in problem["errors"]] == ["dates", "offices"]
    await put(plane, client, "dates", {"start_date": "2027-02-01"})
    await put(plane, client, "offices", {"items": []})
    problem = (await plane.request("POST", f"/clients/{client}/wizard/finish", status=400)).json()
    assert [each["path"] for each in problem["errors"]] == ["offices"], "a residential client has one"
    await put(plane, client, "colour", {}, 404)


@with_control
async def test_an_unfinished_client_may_not_call_and_is_not_billed(plane: ControlPlane) -> None:
    seen = await start(plane)
    client = seen["client"]["id"]
    record = plane.publisher.records[Key("client", client)]
    assert isinstance(record, Client)
    assert record.status == "new"
    await put(plane, client, "dates", {"start_date": "2027-01-01"})
    plane.clock.ms = START_MS + 90 * 86_400_000
    assert await run_due(plane.ctx) == 0
    listed = (await plane.get("/clients?status=new"))["items"]
    assert [(each["name"], each["wizard_steps"]) for each in listed] == [("Tenant", ["client", "dates"])]


@with_control
async def test_an_account_is_made_for_the_client_in_its_currency(plane: ControlPlane) -> None:
    client = (await start(plane, currency="EUR", time_zone="Europe/Berlin"))["client"]["id"]
    seen = await put(plane, client, "telephony", {"new_customer": "Tenant voice", "items": [{"extension": "201"}]})
    customer = await plane.get(f"/customers/{seen['customer_id']}")
    assert (customer["currency"], customer["time_zone"], customer["client_id"]) == ("EUR", "Europe/Berlin", client)
    again = await put(plane, client, "telephony", {"customer_id": seen["customer_id"]})
    assert (again["customer_id"], again["telephone_services"]) == (seen["customer_id"], [])


@with_control
async def test_abandoning_takes_back_what_was_entered_and_keeps_the_account(plane: ControlPlane) -> None:
    site, rooms = await make_rooms(plane)
    parties = await make_parties(plane, "Acme")
    client = (await start(plane, billing_ref="T-1"))["client"]["id"]
    await put(plane, client, "dates", {"start_date": "2027-02-01"})
    await put(plane, client, "offices", {"items": [{"office_id": rooms[0]}]})
    body = {"customer_id": parties.customer, "items": [{"extension": "201", "sip_user_id": parties.user}]}
    await put(plane, client, "telephony", body)
    await put(plane, client, "users", {"items": [{"name": "A", "email": "a@b.example", "extension": "201"}]})
    network = {"site_id": site, "vlan": 10, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}
    await put(plane, client, "network", {"items": [network]})
    await plane.delete(f"/clients/{client}/wizard")
    await plane.get(f"/clients/{client}", status=404)
    assert Key("client", client) not in plane.publisher.records
    assert (await plane.get(f"/customers/{parties.customer}"))["client_id"] is None
    assert len((await plane.get("/offices/free"))["items"]) == 2
    again = (await start(plane, billing_ref="T-1"))["client"]["id"]
    await put(plane, again, "users", {"items": [{"name": "A", "email": "a@b.example"}]})
    await put(plane, again, "network", {"items": [network]})


@with_control
async def test_two_people_in_one_wizard_do_not_overwrite_each_other(plane: ControlPlane) -> None:
    seen = await start(plane)
    client, version = seen["client"]["id"], seen["row_version"]
    headers = {"If-Match": f'"{version}"'}
    dates = {"start_date": "2027-02-01"}
    after = await put(plane, client, "dates", dates, headers=headers)
    assert after["row_version"] > version
    await put(plane, client, "dates", dates, 412, headers=headers)


@with_control
async def test_a_new_client_can_be_activated_by_its_status_too(plane: ControlPlane) -> None:
    client = (await start(plane))["client"]["id"]
    changed = await plane.patch(f"/clients/{client}", {"status": "active"})
    assert (changed["status"], changed["wizard_steps"]) == ("active", None)
