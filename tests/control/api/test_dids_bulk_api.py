"""Many DIDs at once through the API: all of a selection, or none."""

from __future__ import annotations

from typing import Any

from tests.fakes.control import ControlPlane, with_control
from tests.fakes.dids import entries, make_did, make_parties, published, whole


async def stock(plane: ControlPlane, count: int = 3, **fields: Any) -> list[Any]:
    return [await make_did(plane, number=f"44207183875{place}", **fields) for place in range(count)]


async def edit(plane: ControlPlane, status: int = 200, **body: Any) -> Any:
    return await plane.post("/dids/bulk", body, status)


async def take(plane: ControlPlane, action: str, status: int = 200, **body: Any) -> Any:
    return await plane.post("/dids/bulk/step", {"action": action, **body}, status)


@with_control
async def test_fields_of_many_change_together_and_only_where_they_differ(plane: ControlPlane) -> None:
    made = await stock(plane)
    await plane.patch(f"/dids/{made[0]['id']}", {"retail": "5"})
    preview = await edit(plane, filter={"prefix": "4420"}, patch={"retail": "5"}, preview=True)
    assert (preview["matched"], preview["changed"], preview["is_preview"]) == (3, 2, True)
    assert [each["number"] for each in preview["dids"]] == ["442071838751", "442071838752"]
    assert (await plane.get(f"/dids/{made[1]['id']}"))["retail"] == "0"
    done = await edit(plane, filter={"prefix": "4420"}, patch={"retail": "5"}, expected=3)
    assert (done["matched"], done["changed"]) == (3, 2)
    assert [row["retail"] for row in (await plane.get("/dids"))["items"]] == ["5"] * 3
    await edit(plane, 409, filter={}, patch={"retail": "6"}, expected=2)
    for patch in ({"number": "1"}, {"customer_id": 1}, {"colour": "red"}, {}):
        await edit(plane, 400, filter={}, patch=patch)
    problem = await edit(plane, 400, ids=[made[0]["id"]], patch={"retail": "-6"})
    assert problem["errors"][0]["path"] == "patch.retail"
    await edit(plane, 400, patch={"retail": "1"})
    problem = await edit(plane, 400, ids=[made[0]["id"], 999], patch={"retail": "1"})
    assert problem["errors"][0]["path"] == "ids[1]"


@with_control
async def test_a_stock_is_allocated_assigned_released_freed_and_archived_together(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    made = await stock(plane, retail="3.1")
    ids = [did["id"] for did in made]

    async def states() -> set[str]:
        return {row["state"] for row in (await plane.get("/dids"))["items"]}

    assert (await take(plane, "allocate", ids=ids, customer_id=parties.customer))["changed"] == 3
    assert await states() == {"allocated"}
    ring: dict[str, Any] = {
        "destination": {"kind": "sip_user", "id": parties.user},
        "customer_card_id": parties.sell_card,
    }
    preview = await take(plane, "assign", filter={"state": "allocated"}, preview=True, **ring)
    assert (preview["changed"], await states()) == (3, {"allocated"})
    assert await entries(plane, parties.customer) == []
    await take(plane, "assign", filter={"state": "allocated"}, **ring)
    assert all(published(plane, did) is not None for did in made)
    assert len(await entries(plane, parties.customer)) == 3
    await take(plane, "release", filter={"customer_id": parties.customer}, reason="contract ended")
    assert await states() == {"cooling_off"}
    await take(plane, "free", ids=ids)
    await take(plane, "archive", filter={"prefix": "44207183875"})
    assert (await plane.get("/dids"))["items"] == []


@with_control
async def test_one_number_in_the_way_stops_the_step_and_is_named(plane: ControlPlane) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two")
    made = await stock(plane)
    taken = await make_did(plane, **whole(two, number="442071838760"))
    problem = await take(plane, "allocate", 409, filter={}, customer_id=one.customer)
    assert "1 of 4 DIDs" in problem["detail"]
    assert [(each["noun"], each["id"]) for each in problem["references"]] == [
        ("did", str(taken["id"])),
        ("customer", str(two.customer)),
    ]
    assert {row["state"] for row in (await plane.get("/dids?state=free"))["items"]} == {"free"}
    assert len((await plane.get("/dids?state=free"))["items"]) == 3
    await take(plane, "archive", 409, filter={})
    for action, fields in (
        ("allocate", {}),
        ("allocate", {"customer_id": 999}),
        ("free", {"customer_id": one.customer}),
        ("release", {"retail": "1"}),
        ("assign", {"until": "2027-03-01T00:00:00Z"}),
        ("explode", {}),
    ):
        await take(plane, action, 400, ids=[made[0]["id"]], **fields)
