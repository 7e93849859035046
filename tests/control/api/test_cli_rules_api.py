"""CLI rules through the API: their fields, their order, and what is refused when it is saved."""

from __future__ import annotations

from switch.frames import Simulated
from switch.snapshot import CliRule, Key
from tests.fakes.control import ControlPlane, with_control


async def order_of(plane: ControlPlane, customer: int) -> list[tuple[str, int]]:
    page = await plane.get(f"/customers/{customer}/cli-rules")
    return [(rule["match"], rule["position"]) for rule in page["items"]]


async def record_positions(plane: ControlPlane) -> dict[str, int]:
    records = [record for record in plane.publisher.records.values() if isinstance(record, CliRule)]
    return {record.match: record.position for record in records}


@with_control
async def test_a_rule_has_all_its_fields_and_reaches_the_switch(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    body = {
        "match": r"^0(\d+)$",
        "pai_match": "44",
        "dialled_match": "33",
        "action": "rewrite",
        "to": r"44\1",
        "enabled": True,
        "notes": "national numbers",
    }
    made = await plane.post(f"/customers/{customer}/cli-rules", body)
    assert body.items() <= made.items()
    assert made["position"] == 1
    record = plane.publisher.records[Key("cli_rule", made["id"])]
    assert isinstance(record, CliRule)
    assert (record.customer_id, record.match, record.to, record.action) == (customer, r"^0(\d+)$", r"44\1", "rewrite")
    changed = await plane.patch(f"/cli-rules/{made['id']}", {"action": "deny", "to": ""})
    assert changed["row_version"] == 2
    audit = await plane.get("/audit?noun=cli_rule")
    assert [(row["action"], row["after"]["action"]) for row in audit["items"]] == [
        ("update", "deny"),
        ("create", "rewrite"),
    ]
    await plane.delete(f"/cli-rules/{made['id']}")
    assert Key("cli_rule", made["id"]) not in plane.publisher.records
    await plane.get(f"/cli-rules/{made['id']}", status=404)


@with_control
async def test_what_is_no_expression_or_too_costly_is_refused_when_saved(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}/cli-rules"
    for field, fields in (
        ("match", {"match": "("}),
        ("match", {"match": "(a{1000}){1000}"}),
        ("pai_match", {"pai_match": r"(\pL{1,30}){1,30}"}),
        ("dialled_match", {"dialled_match": "(?!44)"}),
        ("match", {"match": "4" * 501}),
        ("to", {"to": "44"}),
        ("to", {"action": "rewrite"}),
        ("to", {"action": "rewrite", "match": "(4)", "to": r"\2"}),
        ("to", {"action": "rewrite", "match": "4", "to": "a b"}),
        ("action", {"action": "ignore"}),
        ("position", {"position": 0}),
    ):
        problem = await plane.post(path, {"action": "allow", **fields}, status=400)
        assert problem["errors"][0]["path"] == field, problem
    # Linear by RE2 whatever it looks like, so it is taken.
    await plane.post(path, {"action": "allow", "match": "(a+)+$"})


@with_control
async def test_rules_stand_where_they_are_put_and_move_the_others_along(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}/cli-rules"
    ids = {}
    for match, position in (("1", None), ("2", None), ("3", 1), ("4", 2), ("5", 99)):
        where = {} if position is None else {"position": position}
        ids[match] = (await plane.post(path, {"action": "allow", "match": match, **where}))["id"]
    assert await order_of(plane, customer) == [("3", 1), ("4", 2), ("1", 3), ("2", 4), ("5", 5)]
    moved = await plane.patch(f"/cli-rules/{ids['5']}", {"position": 2, "notes": "up"})
    assert (moved["position"], moved["notes"]) == (2, "up")
    assert await order_of(plane, customer) == [("3", 1), ("5", 2), ("4", 3), ("1", 4), ("2", 5)]
    await plane.delete(f"/cli-rules/{ids['5']}")
    assert await order_of(plane, customer) == [("3", 1), ("4", 2), ("1", 3), ("2", 4)]
    wanted = [ids["2"], ids["1"], ids["3"], ids["4"]]
    ordered = await plane.post(f"{path}/order", {"ids": wanted}, status=200)
    assert [rule["id"] for rule in ordered] == wanted
    assert await order_of(plane, customer) == [("2", 1), ("1", 2), ("3", 3), ("4", 4)]
    assert await record_positions(plane) == {"2": 1, "1": 2, "3": 3, "4": 4}


@with_control
async def test_an_order_names_every_rule_of_the_customer_once(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    other = await plane.make_customer(name="Borealis")
    path = f"/customers/{customer}/cli-rules"
    first = (await plane.post(path, {"action": "allow"}))["id"]
    second = (await plane.post(path, {"action": "deny"}))["id"]
    foreign = (await plane.post(f"/customers/{other}/cli-rules", {"action": "deny"}))["id"]
    for ids, where in (([first], "ids"), ([first, first, second], "ids[1]"), ([first, second, foreign], "ids[2]")):
        problem = await plane.post(f"{path}/order", {"ids": ids}, status=400)
        assert problem["errors"][0]["path"] == where
    await plane.post("/customers/999/cli-rules/order", {"ids": []}, status=404)
    await plane.post(f"{path}/order", {"ids": [second, first]}, status=403, role="read-only")


@with_control
async def test_a_change_of_an_old_version_is_refused_and_moves_nothing(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    path = f"/customers/{customer}/cli-rules"
    first = (await plane.post(path, {"action": "allow", "match": "1"}))["id"]
    await plane.post(path, {"action": "allow", "match": "2"})
    await plane.patch(f"/cli-rules/{first}", {"notes": "x"})
    await plane.patch(f"/cli-rules/{first}", {"position": 2}, status=412, headers={"If-Match": '"1"'})
    await plane.patch(f"/cli-rules/{first}", {"position": 2, "row_version": 1}, status=409)
    assert await order_of(plane, customer) == [("1", 1), ("2", 2)]
    await plane.patch(f"/cli-rules/{first}", {"position": 2, "row_version": 2})
    assert await order_of(plane, customer) == [("2", 1), ("1", 2)]


@with_control
async def test_rules_go_with_their_customer(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    rule = (await plane.post(f"/customers/{customer}/cli-rules", {"action": "deny"}))["id"]
    await plane.delete(f"/customers/{customer}")
    assert Key("cli_rule", rule) not in plane.publisher.records


@with_control
async def test_a_simulation_hands_on_the_asserted_number(plane: ControlPlane) -> None:
    plane.switch.simulated = Simulated(is_admitted=False, status=403, cause="cli_refused", steps=["refused"])
    answer = await plane.post(
        "/simulate", {"dialled": "442071838750", "cli": "1", "pai": "2", "source_ip": "192.0.2.1"}, status=200
    )
    assert plane.switch.asked[-1]["pai"] == "2"
    assert answer["cause"] == "cli_refused"
