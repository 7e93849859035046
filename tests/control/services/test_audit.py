"""The audit trail: every change is in it, with what was and what is."""

from __future__ import annotations

from tests.fakes.control import ControlPlane, with_control


@with_control
async def test_each_change_is_written_down_with_before_and_after(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await plane.patch(f"/customers/{customer}", {"channels": 5}, role="operator")
    await plane.delete(f"/customers/{customer}")
    archived, updated, created = (await plane.get("/audit?noun=customer"))["items"]
    assert [each["action"] for each in (created, updated, archived)] == ["create", "update", "archive"]
    assert created["before"] is None
    assert (updated["before"]["channels"], updated["after"]["channels"]) == (None, 5)
    assert (updated["actor_kind"], updated["actor_name"]) == ("key", "test operator")
    assert (archived["before"]["channels"], archived["after"]) == (5, None)


@with_control
async def test_the_trail_is_filtered_by_noun_actor_action_and_time(plane: ControlPlane) -> None:
    first = await plane.make_customer()
    plane.clock.ms += 60_000
    second = await plane.make_customer(name="Borealis")
    await plane.patch(f"/customers/{second}", {"channels": 5}, role="operator")

    async def found(query: str) -> list[tuple[str, str]]:
        items = (await plane.get(f"/audit?{query}"))["items"]
        return [(item["action"], item["noun_id"]) for item in items if item["noun"] == "customer"]

    assert await found(f"noun=customer&noun_id={first}") == [("create", str(first))]
    assert await found("actor_name=test operator") == [("update", str(second))]
    assert await found("action=update") == [("update", str(second))]
    assert await found("from=2027-01-15T08:00:30Z&action=create") == [("create", str(second))]
    assert await found("to=2027-01-15T08:00:30Z") == [("create", str(first))]
    assert await found("search=borealis&action=create") == [("create", str(second))]
    assert await found("noun=customer&sort=id&limit=1") == [("create", str(first))]
    await plane.get("/audit?sort=actor_name", status=400)
    await plane.get("/audit", status=403, role="operator")
