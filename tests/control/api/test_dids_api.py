"""DIDs through the API: what they are made of, whose they are, and what of them the switch has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from control.services.did_life import release_numbers
from control.services.records import read_snapshot
from control.store.did_tables import dids
from switch.snapshot import Did, DidDestination
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.dids import NUMBER, look, make_did, make_parties, published, step, whole

DAY_MS = 86_400_000


@with_control
async def test_a_number_with_all_that_the_page_asks_for_rings_when_the_answer_comes(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    made = await make_did(plane, **whole(parties, number="+44 20 7183 8750"))
    assert (made["number"], made["name"], made["state"]) == (NUMBER, "Reception", "assigned")
    assert made["assigned_at"] == made["allocated_at"] == "2027-01-15T08:00:00Z"
    assert (made["cost"], made["retail"], made["setup_cost"], made["setup_retail"]) == ("1", "3.1", "0", "0")
    assert made["destination"] == {"kind": "endpoint", "id": parties.endpoint, "value": ""}
    assert published(plane, made) == Did(
        id=made["id"],
        number=NUMBER,
        customer_id=parties.customer,
        provider_id=parties.provider,
        customer_card_id=parties.sell_card,
        provider_card_id=parties.buy_card,
        destinations=(DidDestination("endpoint", parties.endpoint),),
    )
    assert await plane.get(f"/dids/{made['id']}") == made
    assert (await plane.get(f"/customers/{parties.customer}/dids"))["items"] == [made]


@with_control
async def test_destinations_of_every_kind_are_taken_in_their_order(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    destinations = [
        {"kind": "sip_user", "id": parties.user},
        {"kind": "endpoint", "id": parties.endpoint},
        {"kind": "uri", "value": "sip:desk@pbx.example.com:5070;transport=tcp"},
        {"kind": "number", "value": "+1 (555) 123-0001"},
    ]
    made = await make_did(plane, **whole(parties, destinations=destinations, order="random", channels=3))
    assert [each["kind"] for each in made["destinations"]] == ["sip_user", "endpoint", "uri", "number"]
    assert made["destinations"][3] == {"kind": "number", "id": None, "value": "15551230001"}
    record = published(plane, made)
    assert record is not None
    assert (record.order, record.channels) == ("random", 3)
    assert record.destinations == (
        DidDestination("sip_user", parties.user),
        DidDestination("endpoint", parties.endpoint),
        DidDestination("uri", None, "sip:desk@pbx.example.com:5070;transport=tcp"),
        DidDestination("number", None, "15551230001"),
    )
    # `destination` is the same for one.
    changed = await plane.patch(f"/dids/{made['id']}", {"destination": {"kind": "sip_user", "id": parties.user}})
    assert changed["destinations"] == [changed["destination"]]
    again = await plane.patch(f"/dids/{made['id']}", {"destination": changed["destination"], "name": "X"})
    assert (again["name"], again["destinations"]) == ("X", changed["destinations"])
    both = {"destination": destinations[2], "destinations": [destinations[0]]}
    await plane.patch(f"/dids/{made['id']}", both, 400)


@with_control
async def test_cards_and_destinations_must_belong_to_the_number_and_all_that_is_wrong_is_said(
    plane: ControlPlane,
) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two", currency="EUR")
    sends = await plane.post(f"/customers/{one.customer}/endpoints", {"host": "192.0.2.77", "direction": "egress"})
    wrong = {
        "number": "020 7183 8750",
        "cost": "-1",
        "provider_card_id": two.buy_card,
        "customer_card_id": two.sell_card,
        "destinations": [
            {"kind": "endpoint", "id": two.endpoint},
            {"kind": "endpoint", "id": sends["id"]},
            {"kind": "sip_user", "id": two.user},
            {"kind": "sip_user"},
            {"kind": "uri", "value": "tel:+15551230001"},
            {"kind": "uri", "value": "sip:a b@c"},
            {"kind": "uri", "value": "sip:me:secret@example.com"},
            {"kind": "number", "value": "12"},
            {"kind": "number", "id": 5, "value": "15551230001"},
            {"kind": "sip_user", "id": one.user, "value": "x"},
        ],
    }
    problem = await make_did(plane, 400, **whole(one, **wrong))
    paths = {error["path"] for error in problem["errors"]}
    assert paths == {
        "number",
        "cost",
        "provider_card_id",
        "customer_card_id",
        "destinations[0].id",
        "destinations[1].id",
        "destinations[2].id",
        "destinations[3].id",
        "destinations[4].value",
        "destinations[5].value",
        "destinations[6].value",
        "destinations[7].value",
        "destinations[8].id",
        "destinations[9].value",
    }
    for fields, path in (
        ({"customer_card_id": one.buy_card}, "customer_card_id"),
        ({"provider_card_id": one.sell_card}, "provider_card_id"),
        ({"provider_id": None}, "provider_card_id"),
        ({"provider_id": two.provider, "provider_card_id": two.buy_card}, "provider_card_id"),
        ({"provider_id": two.provider, "provider_card_id": None}, "provider_id"),
        ({"provider_id": 999}, "provider_id"),
        ({"customer_id": 999}, "customer_id"),
        ({"destinations": [{"kind": "number", "value": NUMBER}]}, "destinations[0].value"),
        ({"destinations": [{"kind": "sip_user", "id": one.user}] * 2}, "destinations[1]"),
        ({"destinations": [{"kind": "fax", "value": "1"}]}, "destinations[0].kind"),
        ({"retail": "1e3"}, "retail"),
        ({"colour": "red"}, "colour"),
    ):
        problem = await make_did(plane, 400, **whole(one, **fields))
        assert path in {error["path"] for error in problem["errors"]}, (fields, problem)
    for fields, path in (
        ({"destinations": [{"kind": "number", "value": "15551230001"}]}, "destinations"),
        ({"customer_card_id": one.sell_card}, "customer_card_id"),
    ):
        problem = await make_did(plane, 400, **fields)
        assert [error["path"] for error in problem["errors"]] == [path]
    assert (await plane.get("/dids"))["items"] == []


@with_control
async def test_a_number_is_there_once_however_it_is_written(plane: ControlPlane) -> None:
    made = await make_did(plane)
    assert made["state"] == "free"
    problem = await make_did(plane, 409, number="0044 20 7183 8750")
    assert problem["references"] == [{"noun": "did", "id": str(made["id"]), "name": ""}]
    await plane.patch(f"/dids/{made['id']}", {"number": "+442071838750", "name": "same"})
    await plane.patch(f"/dids/{made['id']}", {"number": "442071838751"}, 409)
    await plane.delete(f"/dids/{made['id']}")
    await make_did(plane)


@with_control
async def test_a_number_lives_from_free_to_free_and_the_audit_tells_it(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane, provider_id=parties.provider, provider_card_id=parties.buy_card, cost="1", retail="2")
    assert published(plane, did) is None
    allocated = await step(plane, did, "allocate", customer_id=parties.customer)
    assert (allocated["state"], allocated["customer_id"], allocated["assigned_at"]) == (
        "allocated",
        parties.customer,
        None,
    )
    assert published(plane, did) is None
    plane.clock.ms += 1_000
    destination = {"kind": "sip_user", "id": parties.user}
    assigned = await step(plane, did, "assign", customer_card_id=parties.sell_card, destination=destination)
    assert (assigned["state"], assigned["assigned_at"]) == ("assigned", "2027-01-15T08:00:01Z")
    assert published(plane, did) is not None
    plane.clock.ms += DAY_MS
    released = await step(plane, did, "release", reason="moved house")
    assert published(plane, did) is None
    assert (released["state"], released["cooling_off_until"]) == ("cooling_off", "2027-02-15T08:00:01Z")
    assert (released["customer_id"], released["customer_card_id"], released["destinations"]) == (None, None, [])
    assert (released["last_customer_id"], released["provider_id"], released["retail"]) == (
        parties.customer,
        parties.provider,
        "2",
    )
    plane.clock.ms += 30 * DAY_MS - 1
    await look(plane)
    assert (await plane.get(f"/dids/{did['id']}"))["state"] == "cooling_off"
    plane.clock.ms += 1
    await look(plane)
    free = await plane.get(f"/dids/{did['id']}")
    assert (free["state"], free["cooling_off_until"]) == ("free", None)
    await look(plane)
    rows = (await plane.get(f"/audit?noun=did&noun_id={did['id']}"))["items"]
    assert [row["action"] for row in reversed(rows)] == [
        "create",
        "allocate",
        "assign",
        "release",
        "release_reason",
        "free",
    ]
    assert rows[1]["after"] == {"reason": "moved house"}
    assert (rows[2]["before"]["customer_id"], rows[2]["after"]["last_customer_id"]) == (
        parties.customer,
        parties.customer,
    )
    assert rows[0]["actor_kind"] == "system"


@with_control
async def test_no_step_gives_a_number_to_two_customers(plane: ControlPlane) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two")
    did = await make_did(plane)
    body: dict[str, Any]
    ring_two: dict[str, Any] = {"customer_id": two.customer, "destination": {"kind": "sip_user", "id": two.user}}
    ring_one: dict[str, Any] = {"customer_id": one.customer, "destination": {"kind": "sip_user", "id": one.user}}
    await step(plane, did, "allocate", customer_id=one.customer)
    for name, body in (("allocate", {"customer_id": two.customer}), ("assign", ring_two)):
        problem = await step(plane, did, name, 409, **body)
        assert problem["references"][0]["id"] == str(one.customer)
    await plane.patch(f"/dids/{did['id']}", {"customer_id": two.customer}, 409)
    await step(plane, did, "assign", **ring_one)
    for name, body in (("allocate", {"customer_id": two.customer}), ("assign", ring_two), ("assign", ring_one)):
        await step(plane, did, name, 409, **body)
    await step(plane, did, "free", 409)
    await step(plane, did, "release", until="2027-01-20T00:00:00Z")
    for name, body in (("allocate", {"customer_id": one.customer}), ("assign", ring_two), ("release", {})):
        problem = await step(plane, did, name, 409, **body)
        assert "2027-01-20" in problem["detail"] or name == "release"
    await step(plane, did, "free")
    assert (await step(plane, did, "assign", **ring_two))["customer_id"] == two.customer
    bad: dict[str, Any]
    for bad in ({"until": "2027-01-15T08:00:00Z"}, {"until": "soon"}, {"when": "now"}):
        await step(plane, did, "release", 400, **bad)
    free = await make_did(plane, number="442071838751")
    await step(plane, free, "assign", 400, destination={"kind": "uri", "value": "sip:a@example.com"})
    await step(plane, free, "assign", 400, customer_id=one.customer)
    # What was only kept for somebody never rang, and need not cool off.
    await step(plane, free, "allocate", customer_id=one.customer)
    assert (await step(plane, free, "release"))["state"] == "free"


@with_control
async def test_only_numbers_in_service_and_enabled_are_in_the_switch_by_delta_and_whole(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane, **whole(parties))
    await make_did(plane, number="442071838751")
    await make_did(plane, number="442071838752", customer_id=parties.customer)
    await plane.patch(f"/dids/{did['id']}", {"enabled": False})
    assert published(plane, did) is None
    await plane.patch(f"/dids/{did['id']}", {"enabled": True, "channels": 2})
    record = published(plane, did)
    assert record is not None
    assert record.channels == 2
    async with plane.store.read() as tx:
        snapshot = await read_snapshot(tx)
    assert [each for each in snapshot.records if isinstance(each, Did)] == [record]
    # What the switch does not know costs it no version.
    versions = list(plane.publisher.versions)
    free = await make_did(plane, number="442071838753")
    await plane.patch(f"/dids/{free['id']}", {"name": "stock"})
    await plane.delete(f"/dids/{free['id']}")
    assert plane.publisher.versions == versions


@with_control
async def test_a_number_in_service_rings_somewhere(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane, **whole(parties))
    bodies: tuple[dict[str, Any], ...] = ({"destinations": []}, {"destination": None})
    for body in bodies:
        problem = await plane.patch(f"/dids/{did['id']}", body, 400)
        assert problem["errors"][0]["path"] == "destinations"


@with_control
async def test_what_a_number_needs_does_not_go_from_under_it(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    destinations = [{"kind": "endpoint", "id": parties.endpoint}, {"kind": "sip_user", "id": parties.user}]
    did = await make_did(plane, **whole(parties, destinations=destinations))
    reference = {"noun": "did", "id": str(did["id"]), "name": NUMBER}
    other = await plane.make_provider(name="Other")
    for path in (
        f"/endpoints/{parties.endpoint}",
        f"/sip-users/{parties.user}",
        f"/providers/{parties.provider}",
        f"/rate-cards/{parties.buy_card}",
        f"/rate-cards/{parties.sell_card}",
    ):
        problem = (await plane.delete(path, 409)).json()
        assert reference in problem["references"], path
    problem = await plane.patch(f"/endpoints/{parties.endpoint}", {"direction": "egress"}, 409)
    assert problem["references"] == [reference]
    problem = await plane.patch(f"/rate-cards/{parties.buy_card}", {"provider_id": other}, 409)
    assert problem["references"] == [reference]
    problem = (await plane.delete(f"/dids/{did['id']}", 409)).json()
    assert problem["references"] == [{"noun": "customer", "id": str(parties.customer), "name": "Acme"}]
    await step(plane, did, "release")
    await plane.delete(f"/endpoints/{parties.endpoint}")
    await plane.delete(f"/rate-cards/{parties.sell_card}")
    await plane.delete(f"/rate-cards/{parties.buy_card}", 409)
    await plane.delete(f"/dids/{did['id']}")
    await plane.delete(f"/rate-cards/{parties.buy_card}")
    await plane.delete(f"/providers/{parties.provider}")


@with_control
async def test_an_archived_customers_numbers_cool_off(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane, **whole(parties))
    kept = await make_did(plane, number="442071838751", customer_id=parties.customer)
    await plane.delete(f"/customers/{parties.customer}")
    assert published(plane, did) is None
    after = await plane.get(f"/dids/{did['id']}")
    assert (after["state"], after["last_customer_id"], after["next_charge_on"]) == (
        "cooling_off",
        parties.customer,
        None,
    )
    assert (await plane.get(f"/dids/{kept['id']}"))["state"] == "free"


@with_control
async def test_all_numbers_of_a_customer_are_released_in_the_change_that_asks(plane: ControlPlane) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two")
    mine = await make_did(plane, **whole(one))
    other = await make_did(plane, **whole(two, number="442071838751"))
    async with plane.ctx.change() as change:
        assert await release_numbers(change, one.customer, "the client was decommissioned") == 1
    assert (await plane.get(f"/dids/{mine['id']}"))["state"] == "cooling_off"
    assert (await plane.get(f"/dids/{other['id']}"))["state"] == "assigned"
    assert published(plane, mine) is None


@with_control
async def test_numbers_are_found_by_prefix_customer_provider_and_state(plane: ControlPlane) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two")
    await make_did(plane, **whole(one, name="Front desk"))
    await make_did(plane, **whole(two, number="442071838760"))
    await make_did(plane, number="4420718387", provider_id=two.provider)
    await make_did(plane, number="15551230001")

    async def found(query: str) -> list[str]:
        items = (await plane.get(f"/dids?{query}"))["items"]
        return [item["number"] for item in items]

    assert await found("prefix=4420") == ["4420718387", "442071838750", "442071838760"]
    assert await found("prefix=%2B44207183875") == ["442071838750"]
    assert await found("prefix=4420&limit=500&sort=-number") == ["442071838760", "442071838750", "4420718387"]
    assert await found(f"customer_id={one.customer}") == [NUMBER]
    assert await found(f"provider_id={two.provider}") == ["4420718387", "442071838760"]
    assert await found("state=free") == ["15551230001", "4420718387"]
    assert await found(f"state=assigned&customer_card_id={two.sell_card}") == ["442071838760"]
    assert await found(f"provider_card_id={one.buy_card}") == [NUMBER]
    assert await found("number=%2B44%2020%207183%208750") == [NUMBER]
    assert await found("search=front") == [NUMBER]
    assert await found("search=8387") == ["4420718387", "442071838750", "442071838760"]
    await plane.get("/dids?prefix=44a", 400)
    await plane.get("/dids?state=lost", 400)
    assert [row["name"] for row in (await plane.get("/customers?search=442071838760"))["items"]] == ["Two"]
    page = await plane.get("/dids?limit=3")
    rest = await plane.get(f"/dids?limit=3&cursor={page['next_cursor']}")
    assert [row["number"] for row in page["items"] + rest["items"]] == sorted(await found("limit=500"))


@with_control
async def test_a_step_can_be_bound_to_the_version_that_was_read(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane)
    body = {"customer_id": parties.customer}
    await plane.post(f"/dids/{did['id']}/allocate", body, 412, headers={"If-Match": '"7"'})
    await plane.post(f"/dids/{did['id']}/allocate", body, 200, headers={"If-Match": '"1"'})
    await plane.post("/dids/999/allocate", body, 404)


@with_control
async def test_a_number_below_another_customer_is_not_found(plane: ControlPlane) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two")
    body: dict[str, Any] = whole(one)
    del body["customer_id"]
    made = await plane.post(f"/customers/{one.customer}/dids", body)
    assert made["customer_id"] == one.customer
    await plane.get(f"/customers/{two.customer}/dids/{made['id']}", 404)
    await plane.patch(f"/customers/{two.customer}/dids/{made['id']}", {"name": "x"}, 404)
    await plane.delete(f"/customers/{two.customer}/dids/{made['id']}", 404)
    async with plane.store.read() as tx:
        row = (await tx.execute(select(dids))).mappings().one()
    assert (row["updated_ms"], row["created_ms"]) == (START_MS, START_MS)
