"""Internal number blocks through the API: ranges that a customer's numeric SIP user names come from."""

from __future__ import annotations

from typing import Any

from tests.fakes.control import ControlPlane, with_control


async def make_block(plane: ControlPlane, customer: int, start: int, size: int, status: int = 201) -> Any:
    body = {"start": start, "size": size}
    return await plane.post(f"/customers/{customer}/internal-number-blocks", body, status)


async def make_user(plane: ControlPlane, customer: int, username: str, status: int = 201) -> Any:
    body = {"username": username, "password": "secret word"}
    return await plane.post(f"/customers/{customer}/sip-users", body, status)


@with_control
async def test_a_block_is_reserved_and_shows_where_it_ends(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    made = await make_block(plane, customer, 1_000, 500)
    assert (made["start"], made["size"], made["end"], made["customer_id"]) == (1_000, 500, 1_499, customer)
    listed = await plane.get(f"/customers/{customer}/internal-number-blocks")
    assert listed["items"] == [made]
    (row,) = (await plane.get("/audit?noun=internal_number_block"))["items"]
    assert (row["action"], row["after"]["start"]) == ("create", 1_000)
    for body in ({"start": 0, "size": 1}, {"start": 1, "size": 0}, {"start": 1}, {"start": "1", "size": 1}):
        await plane.post(f"/customers/{customer}/internal-number-blocks", body, 400)
    await make_block(plane, customer, 10**15 - 1, 2, 409)


@with_control
async def test_no_two_blocks_share_a_number(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(name="One"), await plane.make_customer(name="Two")
    first = await make_block(plane, one, 1_000, 1_000)
    for start, size in ((1_999, 1), (1, 1_000), (1_000, 1), (500, 10_000), (1_500, 10)):
        for customer in (one, two):
            problem = await make_block(plane, customer, start, size, 409)
            assert problem["errors"][0]["path"] == "start"
            assert [(each["noun"], each["id"]) for each in problem["references"]] == [
                ("internal_number_block", str(first["id"])),
                ("customer", str(one)),
            ]
            assert "One" in problem["detail"]
    for start, size in ((1, 999), (2_000, 10)):
        await make_block(plane, two, start, size)
    second = await make_block(plane, one, 3_000, 10)
    await plane.patch(f"/internal-number-blocks/{second['id']}", {"start": 2_009, "size": 10}, 409)
    assert (await plane.patch(f"/internal-number-blocks/{second['id']}", {"start": 2_010}))["end"] == 2_019
    await plane.delete(f"/internal-number-blocks/{first['id']}")
    await make_block(plane, two, 1_999, 1)


@with_control
async def test_numeric_names_come_from_the_customers_blocks_and_others_are_free(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(name="One"), await plane.make_customer(name="Two")
    block = await make_block(plane, one, 100, 10)
    await make_block(plane, one, 200, 1)
    for username in ("99", "110", "0100", "201", "1000", "9" * 20, "442071838750"):
        problem = await make_user(plane, one, username, 409)
        assert problem["errors"][0]["path"] == "username"
        assert problem["references"][0] == {"noun": "internal_number_block", "id": str(block["id"]), "name": "100-109"}
    for username in ("100", "109", "200", "alice", "100a"):
        await make_user(plane, one, username)
    # Nobody else may have one of its numbers; a customer without a block has what is left.
    assert "One" in (await make_user(plane, two, "105", 409))["detail"]
    user = await make_user(plane, two, "110")
    await plane.patch(f"/sip-users/{user['id']}", {"username": "101", "password": "secret word"}, 409)
    await plane.patch(f"/sip-users/{user['id']}", {"channels": 3})


@with_control
async def test_a_block_is_neither_made_cut_nor_deleted_over_users(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(name="One"), await plane.make_customer(name="Two")
    mine = await make_user(plane, one, "1005")
    other = await make_user(plane, two, "1100")
    problem = await make_block(plane, one, 2_000, 10, 409)
    assert problem["references"] == [{"noun": "sip_user", "id": str(mine["id"]), "name": "1005"}]
    problem = await make_block(plane, one, 999, 1_000, 409)
    assert problem["references"] == [{"noun": "sip_user", "id": str(other["id"]), "name": "1100"}]
    block = await make_block(plane, one, 999, 101)
    path = f"/internal-number-blocks/{block['id']}"
    for change in ({"size": 6}, {"start": 1_006, "size": 10}):
        assert (await plane.patch(path, change, 409))["references"][0]["name"] == "1005"
    assert (await plane.patch(path, {"size": 7}))["end"] == 1_005
    assert (await plane.delete(path, 409)).json()["references"][0]["name"] == "1005"
    await plane.delete(f"/sip-users/{mine['id']}")
    await plane.delete(path)
    await make_user(plane, two, "1005")


@with_control
async def test_a_block_goes_with_its_customer(plane: ControlPlane) -> None:
    one, two = await plane.make_customer(name="One"), await plane.make_customer(name="Two")
    await make_block(plane, one, 100, 10)
    await make_user(plane, one, "100")
    await plane.delete(f"/customers/{one}")
    assert (await plane.get("/internal-number-blocks"))["items"] == []
    await make_block(plane, two, 105, 10)
