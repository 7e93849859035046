"""Many customers at once: all of them or none, with a preview, and each in the audit."""

from __future__ import annotations

from typing import Any

from switch.snapshot import Customer, Key
from tests.fakes.control import ControlPlane, live_call, with_control


async def make_some(plane: ControlPlane) -> list[int]:
    return [
        await plane.make_customer(name=f"Customer {n}", tags=["gold"] if n < 2 else ["tin"], channels=n)
        for n in (1, 2, 3)
    ]


async def audited(plane: ControlPlane, noun: str = "customer") -> list[dict[str, Any]]:
    return (await plane.get(f"/audit?noun={noun}&limit=100"))["items"]  # type: ignore[no-any-return]


@with_control
async def test_a_filter_changes_all_that_match_with_an_audit_row_each(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    version = len(plane.publisher.versions)
    done = await plane.post("/customers/bulk", {"filter": {"tag": "tin"}, "patch": {"channels": 3}}, status=200)
    assert (done["matched"], done["changed"], done["is_preview"]) == (2, 1, False)
    assert done["customers"] == [{"id": ids[1], "name": "Customer 2"}], "the third had three channels already"
    assert [(await plane.get(f"/customers/{each}"))["channels"] for each in ids] == [1, 3, 3]
    rows = [row for row in await audited(plane) if row["action"] == "update"]
    assert [row["noun_id"] for row in rows] == [str(ids[1])]
    assert (rows[0]["before"]["channels"], rows[0]["after"]["channels"]) == (2, 3)
    record = plane.publisher.records[Key("customer", ids[1])]
    assert isinstance(record, Customer)
    assert record.channels == 3
    assert len(plane.publisher.versions) == version + 1, "one delta for all of them"


@with_control
async def test_a_preview_says_how_many_and_changes_nothing(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    before = len(await audited(plane)), len(plane.publisher.versions)
    asked = {"ids": ids, "patch": {"status": "inactive"}, "preview": True}
    done = await plane.post("/customers/bulk", asked, status=200)
    assert (done["matched"], done["changed"], done["is_preview"]) == (3, 3, True)
    assert {(await plane.get(f"/customers/{each}"))["status"] for each in ids} == {"active"}
    assert (len(await audited(plane)), len(plane.publisher.versions)) == before


@with_control
async def test_one_customer_that_cannot_follow_keeps_all_as_they_were(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    await plane.patch(f"/customers/{ids[1]}", {"status": "inactive"})
    asked = {"ids": ids, "patch": {"status": "penalty", "penalty_until": "2027-02-01T00:00:00Z"}}
    problem = await plane.post("/customers/bulk", asked, status=409)
    assert [each["id"] for each in problem["references"]] == [str(ids[1])]
    assert "Customer 2" in problem["errors"][0]["reason"]
    assert problem["errors"][0]["path"] == "patch.status"
    assert [(await plane.get(f"/customers/{each}"))["status"] for each in ids] == ["active", "inactive", "active"]


@with_control
async def test_tags_are_added_and_taken_away_one_by_one(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    asked = {"filter": {}, "add_tags": ["new", "gold"], "remove_tags": ["tin"]}
    assert (await plane.post("/customers/bulk", asked, status=200))["changed"] == 3
    assert [(await plane.get(f"/customers/{each}"))["tags"] for each in ids] == [
        ["gold", "new"],
        ["new", "gold"],
        ["new", "gold"],
    ]


@with_control
async def test_a_selection_that_grew_since_it_was_looked_at_is_refused(plane: ControlPlane) -> None:
    await make_some(plane)
    asked = {"filter": {"search": "customer"}, "patch": {"channels": 9}, "expected": 2}
    problem = await plane.post("/customers/bulk", asked, status=409)
    assert "3 customers" in problem["detail"]


@with_control
async def test_a_bulk_edit_names_what_is_wrong_with_it(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    for asked, path in (
        ({"patch": {"channels": 1}}, "ids"),
        ({"ids": ids, "filter": {}, "patch": {"channels": 1}}, "ids"),
        ({"ids": [ids[0], 999], "patch": {"channels": 1}}, "ids[1]"),
        ({"ids": ids}, "patch"),
        ({"ids": ids, "patch": {"bogus": 1}}, "patch.bogus"),
        ({"ids": ids, "patch": {"row_version": 1}}, "patch.row_version"),
        ({"ids": ids, "patch": {"channels": "x"}}, "patch.channels"),
        ({"ids": ids, "patch": {"time_zone": "Mars/Olympus"}}, "patch.time_zone"),
        ({"ids": ids, "patch": {"tags": []}, "add_tags": ["x"]}, "patch.tags"),
        ({"filter": {"bogus": 1}, "patch": {"channels": 1}}, "filter.bogus"),
    ):
        problem = await plane.post("/customers/bulk", asked, status=400)
        assert problem["errors"][0]["path"] == path, asked
    await plane.post("/customers/bulk", {"ids": ids, "patch": {"name": "One name"}}, status=409)
    await plane.post("/customers/bulk", {"ids": ids, "patch": {"currency": "EUR"}}, status=409)


@with_control
async def test_selected_customers_are_archived_together_unless_one_has_calls(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    plane.switch.calls = [live_call(ids[2])]
    problem = await plane.post("/customers/bulk/archive", {"ids": ids}, status=409)
    assert {(each["noun"], each["id"]) for each in problem["references"]} == {
        ("customer", str(ids[2])),
        ("call", live_call(ids[2]).cdr_id),
    }
    await plane.get(f"/customers/{ids[0]}")
    preview = await plane.post("/customers/bulk/archive", {"ids": ids[:2], "preview": True}, status=200)
    assert (preview["changed"], preview["is_preview"]) == (2, True)
    assert (await plane.post("/customers/bulk/archive", {"ids": ids[:2]}, status=200))["changed"] == 2
    assert [row["id"] for row in (await plane.get("/customers"))["items"]] == [ids[2]]
    assert plane.publisher.kinds() == ["customer"]
    plane.switch.is_connected = False
    await plane.post("/customers/bulk/archive", {"ids": [ids[2]]}, status=409)


@with_control
async def test_a_search_goes_by_letters_of_every_script_whatever_their_case(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    await plane.patch(f"/customers/{ids[0]}", {"address": "Ödenwald 5 [Hof]", "tags": ["Größe", 'a"b']})
    await plane.post(f"/customers/{ids[1]}/contacts", {"name": "Ørsted*", "email": "o@example.com"})
    await plane.patch(f"/customers/{ids[2]}", {"address": "Οδός Ερμού?"})
    for text, expected in (
        ("ödenwald", ids[:1]),
        ("ÖDENWALD 5 [hof", ids[:1]),
        ("ödenwald_5", []),
        ("gröSSe", []),
        ("GRÖßE", ids[:1]),
        ('A"B', ids[:1]),
        ('"', ids[:1]),
        ("ørSTED*", ids[1:2]),
        ("ø*", []),
        ("ΕΡΜΟΎ?", ids[2:]),
        ("ερμού??", []),
    ):
        found = (await plane.request("GET", "/customers", params={"search": text})).json()["items"]
        assert [row["id"] for row in found] == expected, text
    assert [row["name"] for row in (await plane.get("/contacts?search=ØRSTED"))["items"]] == ["Ørsted*"]


@with_control
async def test_a_search_finds_an_address_in_its_block_and_a_number_as_people_write_it(plane: ControlPlane) -> None:
    first, second, _ = await make_some(plane)
    await plane.post(f"/customers/{first}/endpoints", {"host": "203.0.113.0/26", "direction": "egress"})
    await plane.post(f"/customers/{second}/endpoints", {"host": "2001:db8::/32", "direction": "egress"})
    did = {"number": "+44 20 7183 8750", "destination": {"kind": "uri", "value": "sip:a@192.0.2.9"}}
    await plane.post(f"/customers/{first}/dids", did)
    await plane.post(
        f"/customers/{second}/contacts", {"name": "Ann", "email": "ann@x.example", "phone": "+15551230001"}
    )
    for text, expected in (
        ("203.0.113.7", [first]),
        ("203.0.113.64", []),
        ("203.0.113", [first]),
        ("2001:DB8:1::5", [second]),
        ("+44 (20) 7183-8750", [first]),
        ("+44207183", [first]),
        ("1 555 123 0001", [second]),
    ):
        found = (await plane.request("GET", "/customers", params={"search": text})).json()["items"]
        assert [row["id"] for row in found] == expected, text


@with_control
async def test_customers_are_filtered_by_what_the_list_screen_filters_by(plane: ControlPlane) -> None:
    ids = await make_some(plane)
    await plane.patch(
        f"/customers/{ids[0]}", {"portal_access": True, "address": "1 Main Street", "tags": ['Go"ld', "é"]}
    )
    await plane.patch(f"/customers/{ids[1]}", {"status": "inactive", "time_zone": "Europe/London"})
    for query, expected in (
        ("status=inactive", [ids[1]]),
        ("portal_access=true", [ids[0]]),
        ("time_zone=Europe/London", [ids[1]]),
        ("search=main str", [ids[0]]),
        ("search=CUSTOMER 3", [ids[2]]),
        ("tag=tin", [ids[1], ids[2]]),
        ("tag=TIN", []),
        ("tag=ti", []),
        ('tag=Go"ld', [ids[0]]),
        ("tag=é", [ids[0]]),
        ("sort=-name&limit=1", [ids[2]]),
    ):
        assert [row["id"] for row in (await plane.get(f"/customers?{query}"))["items"]] == expected, query
