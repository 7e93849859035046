"""Sites, offices, and who sits where: one occupant at a time, by days, whatever services run."""

from __future__ import annotations

from typing import Any

from control.services.clients import run_due
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.dids import NUMBER, make_did, make_parties, whole

DAY_MS = 86_400_000


async def make_site(plane: ControlPlane, name: str = "North House", **fields: Any) -> int:
    return int((await plane.post("/sites", {"name": name, **fields}))["id"])


async def make_office(plane: ControlPlane, site: int, room: str = "1.01", **fields: Any) -> int:
    return int((await plane.post(f"/sites/{site}/offices", {"room": room, **fields}))["id"])


async def make_client(plane: ControlPlane, name: str, **fields: Any) -> int:
    body = {"name": name, "status": "active", "start_date": "2027-01-01", **fields}
    return int((await plane.post("/clients", body))["id"])


async def occupy(plane: ControlPlane, client: int, office: int, *, status: int = 201, **fields: Any) -> dict[str, Any]:
    made = await plane.post(f"/clients/{client}/occupancies", {"office_id": office, **fields}, status=status)
    return dict(made)


@with_control
async def test_a_room_is_named_once_at_its_site_and_has_a_capacity(plane: ControlPlane) -> None:
    site, other = await make_site(plane), await make_site(plane, "South House")
    await make_office(plane, site, capacity=4)
    await make_office(plane, other)
    problem = await plane.post(f"/sites/{site}/offices", {"room": " 1.01 "}, status=409)
    assert problem["errors"][0]["path"] == "room"
    for fields, path in (
        ({"room": "2", "capacity": 0}, "capacity"),
        ({"room": "\u3000"}, "room"),
        ({"room": "\u200b"}, "room"),
        ({"room": "2", "bogus": 1}, "bogus"),
    ):
        problem = await plane.post(f"/sites/{site}/offices", fields, status=400)
        assert problem["errors"][0]["path"] == path
    assert (await plane.post("/offices", {"site_id": 99, "room": "1"}, status=400))["errors"][0]["path"] == "site_id"
    problem = await plane.post("/sites", {"name": "NORTH house"}, status=409)
    assert problem["errors"][0]["path"] == "name"
    assert (await plane.delete(f"/sites/{site}", status=409)).json()["references"][0]["noun"] == "office"


@with_control
async def test_an_office_has_one_occupant_at_a_time_and_a_refusal_names_the_other(plane: ControlPlane) -> None:
    office = await make_office(plane, await make_site(plane))
    one, two = await make_client(plane, "One"), await make_client(plane, "Two")
    first = await occupy(plane, one, office, start_date="2027-02-01", end_date="2027-03-01")
    assert (first["client"], first["site"], first["room"], first["until"]) == (
        "One",
        "North House",
        "1.01",
        "2027-03-01",
    )
    for start, end in (
        ("2027-02-28", "2027-04-01"),
        ("2027-01-01", "2027-02-02"),
        ("2027-02-10", "2027-02-11"),
        ("2027-01-01", "2027-12-01"),
        ("2027-02-01", "2027-03-01"),
    ):
        problem = await occupy(plane, two, office, start_date=start, end_date=end, status=409)
        assert "One from 2027-02-01 until 2027-03-01" in problem["detail"]
        assert {"noun": "client", "id": str(one), "name": "One"} in problem["references"]
    # It is handed back on its last day, and the next may move in that day.
    await occupy(plane, two, office, start_date="2027-03-01", end_date="2027-04-01")
    await occupy(plane, two, office, start_date="2027-01-15", end_date="2027-02-01")
    await plane.patch(f"/occupancies/{first['id']}", {"end_date": "2027-03-02"}, status=409)
    await plane.patch(f"/occupancies/{first['id']}", {"end_date": "2027-02-10"})
    await occupy(plane, two, office, start_date="2027-02-10", end_date="2027-03-01")


@with_control
async def test_the_clients_end_date_ends_its_rooms_and_no_service(plane: ControlPlane) -> None:
    office = await make_office(plane, await make_site(plane))
    one, two = await make_client(plane, "One"), await make_client(plane, "Two")
    first = await occupy(plane, one, office)
    assert (first["start_date"], first["end_date"], first["until"]) == ("2027-01-01", None, "2028-01-01")
    moved = await plane.patch(f"/clients/{one}", {"end_date": "2027-06-01"})
    assert moved["end_date"] == "2027-06-01"
    assert (await plane.get(f"/occupancies/{first['id']}"))["until"] == "2027-06-01"
    await occupy(plane, two, office, start_date="2027-06-01", end_date="2027-07-01")
    problem = await plane.patch(f"/clients/{one}", {"end_date": "2027-06-02"}, status=409)
    assert "taken by Two from 2027-06-01" in problem["detail"]
    assert (await plane.get(f"/clients/{one}"))["end_date"] == "2027-06-01", "neither changed"
    # Past its end date the client's services go on.
    plane.clock.ms = START_MS + 300 * DAY_MS
    assert await run_due(plane.ctx) == 0
    client = await plane.get(f"/clients/{one}")
    assert (client["status"], client["offices_held"], client["office"]) == ("active", [], "")


@with_control
async def test_without_an_end_the_room_is_taken_for_good(plane: ControlPlane) -> None:
    office = await make_office(plane, await make_site(plane))
    one, two = await make_client(plane, "One"), await make_client(plane, "Two")
    await plane.patch(f"/clients/{one}", {"end_date": None})
    assert (await occupy(plane, one, office))["until"] is None
    problem = await occupy(plane, two, office, start_date="2099-01-01", end_date="2099-02-01", status=409)
    assert "with no end" in problem["detail"]


@with_control
async def test_free_rooms_and_who_sits_where_on_a_day(plane: ControlPlane) -> None:
    site = await make_site(plane)
    small, large = await make_office(plane, site, "1"), await make_office(plane, site, "2", capacity=10)
    one = await make_client(plane, "One")
    await occupy(plane, one, small, start_date="2027-02-01", end_date="2027-03-01")

    async def free(query: str) -> list[int]:
        return [room["office_id"] for room in (await plane.get(f"/offices/free?{query}"))["items"]]

    assert await free("on=2027-01-31") == [small, large]
    assert await free("on=2027-02-01") == await free("on=2027-02-28") == [large]
    assert await free("on=2027-03-01") == [small, large]
    assert await free("on=2027-01-01&until=2027-02-01") == [small, large]
    assert await free("on=2027-01-01&until=2027-02-02") == [large]
    assert await free("capacity=2") == [large]
    assert await free(f"site_id={site + 1}") == []
    for query in (f"capacity={2**70}", "capacity=-1", f"site_id={2**70}"):
        await plane.get(f"/offices/free?{query}", status=400)
    first = (await plane.get("/offices/free?on=2027-01-20"))["items"][0]
    assert (first["site"], first["room"], first["free_until"]) == ("North House", "1", "2027-02-01")
    problem = await plane.get("/offices/free?on=2027-02-01&until=2027-02-01", status=400)
    assert problem["errors"][0]["path"] == "until"
    sits = (await plane.get(f"/occupancies?on=2027-02-10&site_id={site}"))["items"]
    assert [(each["client"], each["room"]) for each in sits] == [("One", "1")]
    assert (await plane.get("/occupancies?on=2027-03-01"))["items"] == []
    await plane.get("/occupancies?on=2027-02-30", status=400)


@with_control
async def test_the_list_shows_the_offices_of_today_or_virtual(plane: ControlPlane) -> None:
    # In Auckland it is the 15th from 11:00 UTC of the 14th on: its rooms turn over by its own calendar.
    site = await make_site(plane, time_zone="Pacific/Auckland")
    office = await make_office(plane, site)
    one = await make_client(plane, "One", time_zone="Pacific/Auckland")
    await plane.post("/clients", {"name": "Far", "type": "virtual", "status": "active"})
    await occupy(plane, one, office, start_date="2027-01-16", end_date="2027-02-01")
    assert (await plane.get(f"/clients/{one}"))["office"] == ""
    plane.clock.ms = START_MS + 3 * 3_600_000
    shown = {each["name"]: each["office"] for each in (await plane.get("/clients"))["items"]}
    assert shown == {"Management": "", "Far": "Virtual", "One": "North House 1.01"}


@with_control
async def test_a_residential_client_becomes_virtual_when_it_says_when_its_rooms_are_free(plane: ControlPlane) -> None:
    site = await make_site(plane)
    office, later = await make_office(plane, site), await make_office(plane, site, "1.02")
    one, two = await make_client(plane, "One", offices=["Cellar"]), await make_client(plane, "Two")
    held = await occupy(plane, one, office)
    await occupy(plane, one, later, start_date="2027-05-01")
    for path, method, body in (
        (f"/clients/{one}", "PATCH", {"type": "virtual", "offices": []}),
        (f"/clients/{one}/convert", "POST", {"type": "virtual"}),
    ):
        problem = (await plane.request(method, path, body, status=409)).json()
        assert [each["name"] for each in problem["references"]] == ["1.01", "1.02"]
    problem = await plane.post(f"/clients/{one}/convert", {"type": "virtual", "release_offices_on": "2027-01-14"}, 400)
    assert problem["errors"][0]["path"] == "release_offices_on"
    body = {"type": "virtual", "release_offices_on": "2027-02-01"}
    converted = await plane.post(f"/clients/{one}/convert", body, status=200)
    assert (converted["type"], converted["status"], converted["offices"]) == ("virtual", "active", [])
    assert (await plane.get(f"/occupancies/{held['id']}"))["until"] == "2027-02-01"
    assert len((await plane.get(f"/clients/{one}/occupancies"))["items"]) == 1, "what never began is gone"
    await occupy(plane, two, office, start_date="2027-02-01")
    assert (await occupy(plane, one, later, status=409))["errors"][0]["path"] == "client_id"
    back = await plane.post(f"/clients/{one}/convert", {"type": "residential"}, status=200)
    assert back["type"] == "residential"
    await occupy(plane, one, later)


@with_control
async def test_what_has_begun_ends_by_a_date_and_is_kept(plane: ControlPlane) -> None:
    office = await make_office(plane, await make_site(plane))
    one = await make_client(plane, "One")
    held = await occupy(plane, one, office, start_date="2027-01-10")
    problem = (await plane.delete(f"/occupancies/{held['id']}", status=409)).json()
    assert problem["errors"][0]["path"] == "end_date"
    assert (await plane.delete(f"/offices/{office}", status=409)).json()["references"][0]["noun"] == "occupancy"
    problem = await plane.patch(f"/occupancies/{held['id']}", {"end_date": "2027-01-10"}, status=400)
    assert problem["errors"][0]["path"] == "end_date"
    await plane.patch(f"/occupancies/{held['id']}", {"end_date": "2027-01-12"})
    await plane.delete(f"/offices/{office}")
    assert len((await plane.get(f"/clients/{one}/occupancies"))["items"]) == 1


@with_control
async def test_a_client_that_ends_gives_its_rooms_back_the_day_after(plane: ControlPlane) -> None:
    site = await make_site(plane)
    office, later = await make_office(plane, site), await make_office(plane, site, "1.02")
    one, two = await make_client(plane, "One"), await make_client(plane, "Two")
    held = await occupy(plane, one, office)
    await occupy(plane, one, later, start_date="2027-03-01")
    await plane.post(f"/clients/{one}/decommission", {}, status=200)
    assert (await plane.get(f"/occupancies/{held['id']}"))["until"] == "2027-01-16"
    await occupy(plane, two, office, start_date="2027-01-16")
    await occupy(plane, two, later, start_date="2027-03-01")
    # Nor does it sit in a room that is known by its name alone.
    three = await make_client(plane, "Three", offices=["Cellar"])
    assert (await plane.get(f"/clients/{three}"))["office"] == "Cellar"
    await plane.post(f"/clients/{three}/decommission", {}, status=200)
    shown = await plane.get(f"/clients/{three}")
    assert (shown["office"], shown["offices"]) == ("", ["Cellar"])


@with_control
async def test_clients_are_listed_by_site_below_the_management_client(plane: ControlPlane) -> None:
    north, south = await make_site(plane), await make_site(plane, "South House")
    for name, site in (("One", north), ("Two", south), ("Past", north)):
        client = await make_client(plane, name)
        dates: dict[str, Any] = {"start_date": "2027-01-01", "end_date": "2027-01-10"} if name == "Past" else {}
        await occupy(plane, client, await make_office(plane, site, name), **dates)
    await plane.post("/clients", {"name": "Far", "type": "virtual"})

    async def names(site: int) -> list[str]:
        return [each["name"] for each in (await plane.get(f"/clients?site_id={site}"))["items"]]

    assert await names(north) == ["Management", "One"]
    assert await names(south) == ["Management", "Two"]
    assert await names(south + 1) == ["Management"]


@with_control
async def test_a_virtual_client_has_a_number_and_an_address_and_no_office(plane: ControlPlane) -> None:
    fields = {"name": "Far", "type": "virtual", "status": "active", "address": "Suite 9, 1 High Street\nLondon"}
    client = await plane.post("/clients", fields)
    assert (client["office"], client["address"]) == ("Virtual", fields["address"])
    parties = await make_parties(plane, "Far", client_id=client["id"])
    did = await make_did(plane, **whole(parties))
    service = {"extension": "201", "did_id": did["id"], "sip_user_id": parties.user}
    made = await plane.post(f"/clients/{client['id']}/telephone-services", service)
    assert made["number"] == NUMBER
    office = await make_office(plane, await make_site(plane))
    assert (await occupy(plane, client["id"], office, status=409))["errors"][0]["path"] == "client_id"
    assert [each["name"] for each in (await plane.get("/clients?search=high%20street"))["items"]] == ["Far"]
