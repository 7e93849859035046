"""Packages through the API: what is charged when, never twice, and what free minutes give back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from control.services import billing_runs, free_minutes, package_charges
from control.services.outbox import emit
from control.store.outbox_tables import outbox
from control.store.package_tables import customer_packages
from control.store.package_tables import package_charges as charges_table
from tests.fakes.billing import UNIT, assign, balance, call_at, entries, make_package, pass_time, store_calls
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.databases import Database
from tests.fakes.priced_calls import Exchange

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"retail": "-1"}, "retail"),
    ({"setup_retail": "x"}, "setup_retail"),
    ({"frequency": "yearly"}, "frequency"),
    ({"frequency": "weekly", "day": 8}, "day"),
    ({"frequency": "daily", "day": 2}, "day"),
    ({"day": 32}, "day"),
    ({"currency": "XXX"}, "currency"),
    ({"free_destination": "44"}, "free_destination"),
    ({"free_minutes": 10, "free_destination": "(44"}, "free_destination"),
    ({"minimum_spend": "-1"}, "minimum_spend"),
    ({"duration": 0}, "duration"),
    ({"quantity": 1}, "quantity"),
]


@with_control
async def test_a_package_has_duration_cost_frequency_and_the_rest_of_its_fields(plane: ControlPlane) -> None:
    body = {
        "name": "Gold",
        "description": "Everything",
        "currency": "EUR",
        "duration": 12,
        "duration_unit": "month",
        "cost": "5",
        "retail": "9.99",
        "setup_cost": "1",
        "setup_retail": "2",
        "frequency": "monthly",
        "day": 31,
        "minimum_days": 30,
        "free_minutes": 100,
        "free_destination": "44(20|161)",
        "minimum_spend": "50",
        "enabled": True,
        "notes": "ask Ann",
    }
    made = await plane.post("/packages", body, role="billing")
    assert {name: made[name] for name in body} == body
    assert await plane.get(f"/packages/{made['id']}") == made
    changed = await plane.patch(f"/packages/{made['id']}", {"retail": "10"})
    assert changed["retail"] == "10"
    await plane.patch(f"/packages/{made['id']}", {"currency": "USD"}, status=409)
    await plane.post("/packages", {"name": "GOLD"}, status=409)
    assert [row["action"] for row in (await plane.get("/audit?noun=package&sort=id"))["items"]] == ["create", "update"]
    await plane.post("/packages", {"name": "Silver"}, status=403, role="read-only")
    await plane.delete(f"/packages/{made['id']}")


@with_control
async def test_each_mistake_in_a_package_is_named(plane: ControlPlane) -> None:
    for fields, path in MISTAKES:
        problem = await plane.post("/packages", {"name": "Gold", **fields}, status=400)
        assert problem["errors"][0]["path"] == path, fields


@with_control
async def test_so_many_that_nobody_could_book_them_are_refused_and_hold_up_no_others(plane: ControlPlane) -> None:
    await plane.make_customer()
    for n, path in enumerate(("cost", "retail", "setup_cost", "setup_retail", "minimum_spend")):
        dear = await make_package(plane, **{"name": f"Dear {n}", "retail": "1", path: "1000000"})
        body = {"package_id": dear, "quantity": 1_000_000}
        problem = await plane.post("/customers/1/customer-packages", body, status=400)
        assert problem["errors"] == [{"path": "quantity", "reason": f"{path} of so many is above 1000000000"}]
    row = await assign(plane, dear, quantity=1)
    await plane.patch(f"/customer-packages/{row['id']}", {"quantity": 1_000_000}, status=400)

    # As an older release took it: neither this one's scheduler nor anybody else's period stops at it.
    cheap = await assign(plane, await make_package(plane, name="Cost", retail="0", cost="1000000000"))
    async with plane.store.begin() as tx:
        one = customer_packages.c.id == cheap["id"]
        await tx.execute(update(customer_packages).where(one).values(quantity=1_000_000))
    await assign(plane, await make_package(plane, retail="7"), start="2027-02-01")
    await pass_time(plane, "2027-02-02T00:00:00+00:00")
    assert "-7" in [entry["amount"] for entry in await entries(plane)]


@with_control
async def test_auto_decrement_debits_quantity_times_the_price_with_tax_at_each_period_and_never_twice(
    plane: ControlPlane,
) -> None:
    await plane.make_customer(tax_percent="20")
    package = await make_package(plane, retail="10", setup_retail="5", cost="4")
    mine = await assign(plane, package, quantity=3, start="2027-02-01", auto_decrement=True)
    assert await pass_time(plane, "2027-01-31T23:59:59+00:00") == {}
    for _ in range(3):
        await pass_time(plane, "2027-02-01T00:00:00+00:00")
    # 3 · (5 + 10), and a fifth of it.
    assert await balance(plane) == -54 * UNIT
    setup, first = await entries(plane)
    assert (setup["kind"], setup["amount"], setup["net"], setup["tax"]) == ("package", "-18", "15", "3")
    assert (first["kind"], first["amount"], first["net"], first["tax"]) == ("package", "-36", "30", "6")
    assert first["description"] == "Gold × 3: 2027-02-01 to 2027-02-28"
    assert first["reference"] == f"package {mine['id']} period 2027-02-01"
    await pass_time(plane, "2027-03-01T00:00:00+00:00")
    await pass_time(plane, "2027-03-02T00:00:00+00:00")
    assert await balance(plane) == -(54 + 36) * UNIT
    charges = (await plane.get(f"/customer-packages/{mine['id']}/charges"))["items"]
    assert [(each["kind"], each["period"], each["net"], each["cost"]) for each in charges] == [
        ("period", "2027-03-01", "30", "12"),
        ("period", "2027-02-01", "30", "12"),
        ("setup", "2027-02-01", "15", "0"),
    ]
    assert (await plane.get(f"/customer-packages/{mine['id']}"))["next_charge"] == "2027-04-01"
    events = [row["event"] for row in await _outbox(plane)]
    assert events.count("package.charged") == 3


async def _outbox(plane: ControlPlane) -> list[Any]:
    async with plane.store.read() as tx:
        return list((await tx.execute(select(outbox))).mappings())


@with_control
async def test_without_auto_decrement_a_package_is_debited_when_somebody_asks_and_once(plane: ControlPlane) -> None:
    await plane.make_customer()
    mine = await assign(plane, await make_package(plane), start="2027-02-01", auto_decrement=False)
    await pass_time(plane, "2027-03-15T00:00:00+00:00")
    assert await balance(plane) == 0
    path = f"/customer-packages/{mine['id']}/charge"
    assert await plane.post(path, {"preview": True}, status=200) == {"periods": 2, "is_preview": True}
    assert await balance(plane) == 0
    assert (await plane.post(path, {}, status=200))["periods"] == 2
    assert (await plane.post(path, {}, status=200))["periods"] == 0
    assert await balance(plane) == -62 * UNIT


CHARGED: list[tuple[str, dict[str, Any], dict[str, Any], str, list[tuple[str, str]]]] = [
    (
        "start and end cut their months",
        {"retail": "31"},
        {"start": "2027-01-22", "end": "2027-03-10"},
        "2027-05-01T00:00:00+00:00",
        [("2027-01-22", "10"), ("2027-02-01", "31"), ("2027-03-01", "10")],
    ),
    (
        "a leap day is a day",
        {"retail": "29"},
        {"start": "2028-02-29", "end": "2028-02-29"},
        "2028-05-01T00:00:00+00:00",
        [("2028-02-29", "1")],
    ),
    (
        "the 31st is the last of shorter months",
        {"retail": "30", "day": 31},
        {"start": "2027-01-31", "end": "2027-05-30"},
        "2027-07-01T00:00:00+00:00",
        [("2027-01-31", "30"), ("2027-02-28", "30"), ("2027-03-31", "30"), ("2027-04-30", "30")],
    ),
    (
        "weeks begin on their day",
        {"retail": "7", "frequency": "weekly", "day": 3},
        {"start": "2027-01-15", "end": "2027-01-28"},
        "2027-03-01T00:00:00+00:00",
        [("2027-01-15", "5"), ("2027-01-20", "7"), ("2027-01-27", "2")],
    ),
    (
        "once is once, and never cut",
        {"retail": "7", "frequency": "once"},
        {"start": "2027-01-20", "end": "2027-01-21"},
        "2027-03-01T00:00:00+00:00",
        [("2027-01-20", "7")],
    ),
    (
        "days of a change of clocks cost what others cost",
        {"retail": "2", "frequency": "daily"},
        {"start": "2027-03-27", "end": "2027-03-29"},
        "2027-04-01T00:00:00+00:00",
        [("2027-03-27", "2"), ("2027-03-28", "2"), ("2027-03-29", "2")],
    ),
    (
        "the duration ends it by itself",
        {"retail": "31", "duration": 1, "duration_unit": "month"},
        {"start": "2027-01-31"},
        "2027-09-01T00:00:00+00:00",
        [("2027-01-31", "1"), ("2027-02-01", "29.89")],
    ),
]


@pytest.mark.parametrize(("package", "assigned", "until", "charged"), [each[1:] for each in CHARGED])
def test_periods_are_charged_in_full_and_cut_ones_by_their_days(
    package: dict[str, Any],
    assigned: dict[str, Any],
    until: str,
    charged: list[tuple[str, str]],
    tmp_path: Path,
    database: Database,
) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await plane.make_customer(time_zone="Europe/London")
        await assign(plane, await make_package(plane, **package), **assigned)
        # Nobody looked for months: each period is charged on its own all the same.
        await pass_time(plane, until)
        await pass_time(plane, until)
        made = (await plane.get("/customer-packages/1/charges?sort=id"))["items"]
        assert [(each["first_day"], each["net"]) for each in made] == charged
        assert [each["net"] for each in await entries(plane)] == [net for _, net in charged]

    run(tmp_path, database)


@with_control
async def test_a_period_begins_at_midnight_on_the_customers_clocks(plane: ControlPlane) -> None:
    await plane.make_customer(time_zone="America/New_York")
    await assign(plane, await make_package(plane, retail="2", frequency="daily"), start="2027-03-14")
    await pass_time(plane, "2027-03-14T04:59:59+00:00")
    assert await balance(plane) == 0
    await pass_time(plane, "2027-03-14T05:00:00+00:00")
    assert await balance(plane) == -2 * UNIT
    # Clocks go forward that night: the next day begins an hour earlier by UTC.
    await pass_time(plane, "2027-03-15T03:59:59+00:00")
    assert await balance(plane) == -2 * UNIT
    await pass_time(plane, "2027-03-15T04:00:00+00:00")
    assert await balance(plane) == -4 * UNIT
    assert [each["at"] for each in await entries(plane)] == ["2027-03-14T05:00:00Z", "2027-03-15T04:00:00Z"]


@with_control
async def test_another_time_zone_charges_no_period_twice(plane: ControlPlane) -> None:
    await plane.make_customer(time_zone="Pacific/Auckland")
    await assign(plane, await make_package(plane, retail="2", frequency="daily"), start="2027-02-01")
    await pass_time(plane, "2027-02-01T00:00:00+00:00")
    await plane.patch("/customers/1", {"time_zone": "Pacific/Honolulu"})
    await pass_time(plane, "2027-02-01T20:00:00+00:00")
    assert await balance(plane) == -2 * UNIT
    await pass_time(plane, "2027-02-02T10:00:00+00:00")
    assert await balance(plane) == -4 * UNIT


@with_control
async def test_an_end_that_is_moved_gives_back_or_charges_the_days_between(plane: ControlPlane) -> None:
    await plane.make_customer(tax_percent="10")
    mine = await assign(plane, await make_package(plane), start="2027-03-01")
    await pass_time(plane, "2027-03-05T00:00:00+00:00")
    path = f"/customer-packages/{mine['id']}"
    # What is given back was taxed by the rate of then.
    await plane.patch("/customers/1", {"tax_percent": "50"})
    await plane.patch(path, {"end": "2027-03-10"})
    assert (await entries(plane))[-1]["amount"] == "23.1"
    await plane.patch(path, {"end": "2027-03-10", "notes_public": "x"})
    await plane.patch(path, {"end": "2027-03-11"})
    assert await balance(plane) == -11 * UNIT * 11 // 10
    await plane.patch(path, {"end": None})
    assert await balance(plane) == -31 * UNIT * 11 // 10
    await plane.patch("/customers/1", {"tax_percent": "10"})
    await pass_time(plane, "2027-04-01T00:00:00+00:00")
    assert (await entries(plane))[-1]["net"] == "31"
    steps = [each["step"] for each in (await plane.get(f"{path}/charges"))["items"]]
    assert steps == [0, 3, 2, 1, 0]


@with_control
async def test_minimum_days_hold_an_end_back(plane: ControlPlane) -> None:
    await plane.make_customer()
    mine = await assign(plane, await make_package(plane, minimum_days=90), start="2027-02-01")
    path = f"/customer-packages/{mine['id']}"
    problem = await plane.patch(path, {"end": "2027-04-30"}, status=409)
    assert problem["errors"][0]["path"] == "end"
    assert "2027-05-01" in problem["detail"]
    assert (await plane.patch(path, {"end": "2027-05-01"}))["last_day"] == "2027-05-01"


@with_control
async def test_an_assignment_keeps_the_terms_that_it_was_made_with(plane: ControlPlane) -> None:
    await plane.make_customer()
    package = await make_package(plane)
    mine = await assign(plane, package, start="2027-02-01")
    await plane.patch(f"/packages/{package}", {"retail": "100", "frequency": "daily"})
    await pass_time(plane, "2027-03-01T00:00:00+00:00")
    assert await balance(plane) == -62 * UNIT
    assert (await plane.get(f"/customer-packages/{mine['id']}"))["terms"]["retail"] == "31"
    await plane.delete(f"/packages/{package}", status=409)
    await plane.delete(f"/customer-packages/{mine['id']}", status=409)
    await plane.patch(f"/customer-packages/{mine['id']}", {"start": "2027-02-02"}, status=409)
    await plane.patch(f"/customer-packages/{mine['id']}", {"package_id": 2}, status=409)


@with_control
async def test_a_package_of_another_currency_or_that_is_not_sold_is_refused(plane: ControlPlane) -> None:
    await plane.make_customer()
    euro = await make_package(plane, currency="EUR")
    old = await make_package(plane, name="Old", enabled=False)
    path = "/customers/1/customer-packages"
    assert (await plane.post(path, {"package_id": euro}, status=400))["errors"][0]["path"] == "package_id"
    await plane.post(path, {"package_id": old}, status=409)
    await plane.post(path, {"package_id": 99}, status=404)
    mine = await make_package(plane, name="Mine")
    await plane.post(path, {"package_id": mine, "start": "2027-02-02", "end": "2027-02-01"}, status=400)
    made = await plane.post(path, {"package_id": mine})
    assert made["start"] == "2027-01-15"
    await plane.delete(f"/customer-packages/{made['id']}")


@with_control
async def test_suspended_clients_and_inactive_customers_are_charged_and_those_that_have_left_are_not(
    plane: ControlPlane,
) -> None:
    package = await make_package(plane)
    for number, name in enumerate(("Suspended", "Left", "Later", "Inactive"), 1):
        status = "scheduled" if name == "Later" else "active"
        dates = {"start_date": "2027-03-11"} if name == "Later" else {}
        client = await plane.post("/clients", {"name": name, "status": status, **dates})
        await plane.make_customer(name=name, client_id=client["id"])
        await assign(plane, package, number, start="2027-02-01")
        if name == "Suspended":
            await plane.patch(f"/clients/{client['id']}", {"status": "suspended"})
        if name == "Left":
            await plane.patch(f"/clients/{client['id']}", {"contract_end": "2027-02-10"})
    await plane.patch("/customers/4", {"status": "inactive"})
    await pass_time(plane, "2027-03-12T00:00:00+00:00")
    balances = [await balance(plane, number) for number in (1, 2, 3, 4)]
    # 10 of February's 28 days; nothing before the start.
    assert balances == [-62 * UNIT, -11_070_000_000, 0, -62 * UNIT]
    await plane.patch("/clients/4", {"status": "active"})
    await pass_time(plane, "2027-03-13T00:00:00+00:00")
    assert await balance(plane, 3) == -21 * UNIT


@with_control
async def test_a_kill_in_the_middle_of_charging_charges_nothing_or_all_of_it(plane: ControlPlane) -> None:
    await plane.make_customer()
    await assign(plane, await make_package(plane), start="2027-02-01")
    calls = 0

    async def killed(*given: Any, **more: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("killed")
        return await emit(*given, **more)

    with patch.object(package_charges, "emit", killed):
        await pass_time(plane, "2027-04-01T00:00:00+00:00")
        assert await balance(plane) == 0
    await pass_time(plane, "2027-04-01T00:00:01+00:00")
    assert await balance(plane) == -93 * UNIT


@with_control
async def test_two_that_charge_at_once_charge_once(plane: ControlPlane) -> None:
    await plane.make_customer()
    await assign(plane, await make_package(plane, **FREE | {"retail": "31"}), start="2027-01-01")
    await store_calls(plane, call_at("2027-01-15T10:00:00+00:00"))
    plane.clock.ms += 86_400_000
    await asyncio.gather(*(billing_runs.run_due(plane.ctx) for _ in range(4)))
    assert [each["amount"] for each in await entries(plane, kind="package")] == ["-31", "1"]


@with_control
async def test_the_store_itself_refuses_a_second_charge_of_a_period(plane: ControlPlane) -> None:
    await plane.make_customer()
    await assign(plane, await make_package(plane), start="2027-02-01")
    await pass_time(plane, "2027-02-01T00:00:00+00:00")
    async with plane.store.begin() as tx:
        await tx.execute(customer_packages.update().values(next_day="2027-02-01"))
    await pass_time(plane, "2027-02-01T00:00:30+00:00")
    assert await balance(plane) == -31 * UNIT
    async with plane.store.read() as tx:
        row = dict((await tx.execute(select(charges_table).where(charges_table.c.kind == "period"))).mappings().one())
    with pytest.raises(IntegrityError):
        async with plane.store.begin() as tx:
            await tx.execute(charges_table.insert().values(**{**row, "id": None}))


FREE: dict[str, Any] = {"retail": "0", "free_minutes": 5, "free_destination": "4420"}


@with_control
async def test_free_minutes_give_back_what_calls_to_the_destination_cost_until_they_are_used_up(
    plane: ControlPlane,
) -> None:
    await plane.make_customer()
    mine = await assign(plane, await make_package(plane, **FREE), start="2027-01-15")
    await store_calls(
        plane,
        call_at("2027-01-15T10:00:00+00:00", net=UNIT, tax=UNIT // 5, billed_s=60),
        call_at("2027-01-15T10:01:00+00:00", dialled_out="331234567890"),
        call_at("2027-01-15T10:02:00+00:00", billed_s=200, net=2 * UNIT),
        # 11 days of January's 31: 300 s · 17/31, rounded up, are 165 s. The last ones are 0.
        call_at("2027-01-15T10:03:00+00:00"),
    )
    assert await pass_time(plane, "2027-01-15T10:04:00+00:00") == {"free minutes": 2, "packages": 1}
    assert await pass_time(plane, "2027-01-15T10:05:00+00:00") == {}
    given = await entries(plane, kind="package")
    assert [(each["amount"], each["net"], each["tax"]) for each in given] == [
        ("1.2", "-1", "-0.2"),
        ("1.05", "-1.05", "0"),
    ]
    assert [each["cdr_id"] for each in given] == [f"{1:032x}", f"{3:032x}"]
    usage = await plane.get(f"/customer-packages/{mine['id']}/usage")
    assert usage == {"period": "2027-01-15", "last_day": "2027-01-31", "free_s": 165, "used_s": 165, "left_s": 0}
    # Another month has all of them, and what was left of this one would be gone.
    await store_calls(plane, call_at("2027-02-01T00:00:10+00:00", billed_s=300, net=3 * UNIT))
    await pass_time(plane, "2027-02-01T00:01:00+00:00")
    assert (await entries(plane, kind="package"))[-1]["amount"] == "3"


@with_control
async def test_what_was_given_back_follows_a_call_that_is_priced_anew(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await assign(plane, await make_package(plane, retail="0", free_minutes=60), start="2027-01-01")
    await exchange.call(7_200_000)
    plane.clock.ms += 3 * 3_600_000
    await billing_runs.run_due(plane.ctx)
    # 120 minutes at 0.015 and 20 %: half of it was free.
    assert await exchange.balance() == -1_080_000_000
    dearer = b"prefix,name,rate,increment\n44,UK,0.05,60/60\n"
    rule = {"revision_id": await exchange.load(exchange.sell, dearer, activate=False)}
    body = {"filters": {"day": "2027-01-15"}, "rule": rule, "reason": "the wrong list"}
    run = await plane.post("/recalculations", body)
    await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    for _ in range(2):
        await billing_runs.run_due(plane.ctx)
    assert await exchange.balance() == -3_600_000_000
    undo = await plane.post(f"/recalculations/{run['id']}/undo", {"reason": "it was right"}, status=200)
    await plane.post(f"/recalculations/{undo['id']}/apply", None, status=200)
    for _ in range(2):
        await billing_runs.run_due(plane.ctx)
    assert await exchange.balance() == -1_080_000_000
    assert [each["amount"] for each in await entries(plane, kind="package")] == ["1.08", "2.52", "-2.52"]


@with_control
async def test_a_client_that_is_decommissioned_is_given_back_the_days_after(plane: ControlPlane) -> None:
    client = await plane.post("/clients", {"name": "Leaver", "status": "active"})
    await plane.make_customer(client_id=client["id"])
    package = await make_package(plane)
    await assign(plane, package, start="2027-03-01")
    await assign(plane, package, start="2027-06-01")
    await pass_time(plane, "2027-03-10T12:00:00+00:00")
    await plane.post(f"/clients/{client['id']}/decommission", {}, status=200)
    assert await balance(plane) == -10 * UNIT
    (mine,) = (await plane.get("/customers/1/customer-packages"))["items"]
    assert (mine["last_day"], mine["next_charge"]) == ("2027-03-10", None)
    await pass_time(plane, "2027-07-01T00:00:00+00:00")
    assert await balance(plane) == -10 * UNIT


@with_control
async def test_a_call_is_given_back_once_by_however_many_packages(plane: ControlPlane) -> None:
    await plane.make_customer()
    for name in ("One", "Two"):
        await assign(plane, await make_package(plane, name=name, retail="0", free_minutes=1), start="2027-01-01")
    await store_calls(plane, call_at("2027-01-15T10:00:00+00:00", billed_s=90, net=9 * UNIT))
    await pass_time(plane, "2027-01-15T10:04:00+00:00")
    given = await entries(plane, kind="package")
    assert [(each["amount"], each["description"]) for each in given] == [
        ("6", "One: free minutes"),
        ("3", "Two: free minutes"),
    ]
    assert await balance(plane) == 0


@with_control
async def test_minimum_spend_charges_what_calls_of_a_period_cost_less_and_once(plane: ControlPlane) -> None:
    await plane.make_customer(tax_percent="20")
    package = await make_package(plane, retail="0", minimum_spend="31")
    await assign(plane, package, start="2027-01-22")
    await assign(plane, await make_package(plane, **FREE | {"name": "Free"}), start="2027-01-01")
    await store_calls(
        plane,
        call_at("2027-01-25T10:00:00+00:00", net=5 * UNIT, dialled_out="331234567890"),
        call_at("2027-01-26T10:00:00+00:00", net=2 * UNIT),
        call_at("2027-01-21T10:00:00+00:00", net=3 * UNIT, dialled_out="331234567890"),
    )
    await pass_time(plane, "2027-02-01T00:00:30+00:00")
    assert [each["net"] for each in await entries(plane, kind="package")] == ["-2"]
    # 10 of 31 days want 10; 5 were spent, and 2 more were free.
    await pass_time(plane, "2027-02-01T00:01:00+00:00")
    await pass_time(plane, "2027-02-01T00:02:00+00:00")
    missed = (await entries(plane, kind="package"))[-1]
    assert (missed["net"], missed["tax"], missed["amount"]) == ("5", "1", "-6")
    assert missed["at"] == "2027-01-31T23:59:59.999000Z"
    assert missed["description"] == "Gold: minimum spend, 2027-01-22 to 2027-01-31"
    await store_calls(plane, call_at("2027-02-25T10:00:00+00:00", net=50 * UNIT, dialled_out="331234567890"))
    await pass_time(plane, "2027-03-02T00:00:00+00:00")
    assert len(await entries(plane, kind="package")) == 2


@with_control
async def test_packages_are_listed_by_customer_and_no_other_customers(plane: ControlPlane) -> None:
    package = await make_package(plane)
    for number, name in enumerate(("One", "Two"), 1):
        await plane.make_customer(name=name)
        await assign(plane, package, number)
    mine = (await plane.get("/customers/2/customer-packages"))["items"]
    assert [each["customer_id"] for each in mine] == [2]
    await plane.get("/customers/1/customer-packages/2", status=404)
    assert len((await plane.get("/customer-packages"))["items"]) == 2


@with_control
async def test_ten_thousand_with_free_minutes_cost_a_look_a_few_statements_where_few_have_called(
    plane: ControlPlane,
) -> None:
    for name in ("Calls", "Does not"):
        await plane.make_customer(name=name)
    package = await make_package(plane, retail="0", free_minutes=60)
    await assign(plane, package, 1, start="2027-01-01", auto_decrement=False)
    await assign(plane, package, 2, start="2027-01-01", auto_decrement=False)
    async with plane.store.begin() as tx:
        idle = dict((await tx.execute(select(customer_packages).where(customer_packages.c.id == 2))).mappings().one())
        await tx.execute(customer_packages.insert(), [{**idle, "id": 100 + n} for n in range(10_000)])
    await store_calls(plane, call_at("2027-01-15T10:00:00+00:00"))
    looked: list[int] = []

    async def step(change: Any, assignment: Any, most: int) -> Any:
        looked.append(assignment.id)
        return await give(change, assignment, most)

    give = free_minutes._step
    with patch.object(free_minutes, "_step", step):
        assert await pass_time(plane, "2027-01-15T10:01:00+00:00") == {"free minutes": 1}
    assert looked == [1]
    async with plane.store.read() as tx:
        numbers = select(customer_packages.c.free_number).distinct()
        assert list((await tx.execute(numbers)).scalars()) == [1]


@with_control
async def test_one_whose_balance_cannot_be_counted_keeps_nobody_else_from_being_charged(plane: ControlPlane) -> None:
    for name in ("Beyond", "Other"):
        await plane.make_customer(name=name)
    huge = await make_package(plane, name="Huge", retail="900000000")
    for _ in range(9):
        await assign(plane, huge, 1, start="2027-02-01")
    await assign(plane, await make_package(plane), 2, start="2027-02-01")
    await pass_time(plane, "2027-02-01T00:00:00+00:00")
    assert await balance(plane, 2) == -31 * UNIT
    assert await balance(plane, 1) == -8 * 900_000_000 * UNIT


@with_control
async def test_minimum_spend_is_judged_after_free_minutes_of_calls_that_came_late(plane: ControlPlane) -> None:
    await plane.make_customer()
    await assign(plane, await make_package(plane, retail="0", minimum_spend="31"), start="2027-01-01")
    await assign(plane, await make_package(plane, **FREE | {"name": "Free"}), start="2027-01-01")

    async def read_all(_timeout_s: float) -> bool:
        if not late:
            late.append(True)
            await store_calls(plane, call_at("2027-01-31T23:00:00+00:00", net=10 * UNIT))
        return True

    late: list[bool] = []
    plane.ctx.wait_read = read_all
    await pass_time(plane, "2027-02-03T00:00:00+00:00")
    # The only call was free, so all of the 31 is missed.
    assert sorted(each["net"] for each in await entries(plane, kind="package")) == ["-10", "31"]


@with_control
async def test_a_call_that_becomes_shorter_is_given_back_once_by_two_packages(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.load(exchange.sell, b"prefix,name,rate,increment\n44,UK,0.05,60/60\n")
    for name in ("One", "Two"):
        await assign(plane, await make_package(plane, name=name, retail="0", free_minutes=2), start="2027-01-01")
    await exchange.call(181_000)
    plane.clock.ms += 3_600_000
    await billing_runs.run_due(plane.ctx)
    assert await exchange.balance() == 0
    shorter = b"prefix,name,rate,increment\n44,UK,0.05,1/1\n"
    rule = {"revision_id": await exchange.load(exchange.sell, shorter, activate=False)}
    run = await plane.post("/recalculations", {"filters": {"day": "2027-01-15"}, "rule": rule, "reason": "by seconds"})
    await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    for _ in range(2):
        await billing_runs.run_due(plane.ctx)
    assert await exchange.balance() == 0


@with_control
async def test_spend_is_added_up_while_others_can_write(plane: ControlPlane) -> None:
    await plane.make_customer()
    await assign(plane, await make_package(plane, retail="0", minimum_spend="31"), start="2027-01-01")
    is_held: list[bool] = []

    async def spent(*args: Any) -> int:
        lock: Any = plane.store.turn()
        is_held.append(lock.locked())
        return await added_up(*args)

    added_up = package_charges.spent_on_calls
    with patch.object(package_charges, "spent_on_calls", spent):
        await pass_time(plane, "2027-02-02T00:00:00+00:00")
    assert is_held == [False]
    assert await balance(plane) == -31 * UNIT
