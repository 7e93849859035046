"""What DIDs cost by the month: borders, shares, downtime, and that nothing is charged twice."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from control.services import clients, invariants, ledger
from control.store.did_tables import did_charges
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.databases import Database
from tests.fakes.dids import NUMBER, Parties, entries, look, make_did, make_parties, step, whole


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


async def looks_at(plane: ControlPlane, *moments: str) -> None:
    for moment in moments:
        plane.clock.ms = at(moment)
        await look(plane)


async def amounts(plane: ControlPlane, parties: Parties) -> list[str]:
    return [entry["amount"] for entry in await entries(plane, parties.customer)]


async def books(plane: ControlPlane) -> list[tuple[str, str, str, int, int]]:
    """Every charge: its kind, its days, what the customer pays and what the provider asks, in thousandths."""
    c = did_charges.c
    async with plane.store.read() as tx:
        rows = await tx.execute(select(c.kind, c.first_day, c.until_day, c.net_nanos, c.cost_nanos).order_by(c.id))
        return [(kind, first, until, net // 10**6, cost // 10**6) for kind, first, until, net, cost in rows]


# What a number costs that is assigned at a time and 3.10 (cost 1.00) by the month, in some time zone.
@pytest.mark.parametrize(
    ("zone", "assigned", "looked", "charges"),
    [
        # Assigned on the first: the whole month, to the very amount.
        ("UTC", "2027-01-01T00:00:00+00:00", "2027-01-31T23:59:59+00:00", [("2027-01-01", "2027-02-01", 3100)]),
        # On the last: a day of 31.
        ("UTC", "2027-01-31T23:59:59+00:00", "2027-01-31T23:59:59+00:00", [("2027-01-31", "2027-02-01", 100)]),
        # 17 of 31 days, the day of assigning counted, whatever the hour.
        ("UTC", "2027-01-15T00:00:00+00:00", "2027-01-15T00:00:00+00:00", [("2027-01-15", "2027-02-01", 1700)]),
        ("UTC", "2027-01-15T23:00:00+00:00", "2027-01-15T23:00:00+00:00", [("2027-01-15", "2027-02-01", 1700)]),
        # February of 28 days and of 29: 14/28, 15/29 = 1.603…
        ("UTC", "2027-02-15T12:00:00+00:00", "2027-02-28T23:00:00+00:00", [("2027-02-15", "2027-03-01", 1550)]),
        ("UTC", "2028-02-15T12:00:00+00:00", "2028-02-29T23:00:00+00:00", [("2028-02-15", "2028-03-01", 1600)]),
        ("UTC", "2028-02-29T12:00:00+00:00", "2028-02-29T23:00:00+00:00", [("2028-02-29", "2028-03-01", 110)]),
        # A month's border is the customer's midnight: in New York it is still January.
        (
            "America/New_York",
            "2027-02-01T04:59:59+00:00",
            "2027-02-01T04:59:59+00:00",
            [("2027-01-31", "2027-02-01", 100)],
        ),
        (
            "America/New_York",
            "2027-02-01T04:59:59+00:00",
            "2027-02-01T05:00:00+00:00",
            [("2027-01-31", "2027-02-01", 100), ("2027-02-01", "2027-03-01", 3100)],
        ),
        # Days of 23 and of 25 hours count as days: London, March and October.
        (
            "Europe/London",
            "2027-03-28T00:30:00+00:00",
            "2027-03-31T22:59:59+00:00",
            [("2027-03-28", "2027-04-01", 400)],
        ),
        (
            "Europe/London",
            "2027-03-31T12:00:00+01:00",
            "2027-04-01T00:00:00+01:00",
            [("2027-03-31", "2027-04-01", 100), ("2027-04-01", "2027-05-01", 3100)],
        ),
        (
            "Europe/London",
            "2027-10-31T23:59:59+00:00",
            "2027-10-31T23:59:59+00:00",
            [("2027-10-31", "2027-11-01", 100)],
        ),
        # Clocks of Havana go back from one to midnight on 1 November: the month has begun the first time.
        (
            "America/Havana",
            "2026-10-31T12:00:00-04:00",
            "2026-11-01T00:00:00-04:00",
            [("2026-10-31", "2026-11-01", 100), ("2026-11-01", "2026-12-01", 3100)],
        ),
        # Three months without a look, over a year's end.
        (
            "UTC",
            "2027-11-30T10:00:00+00:00",
            "2028-02-01T00:00:00+00:00",
            [
                ("2027-11-30", "2027-12-01", 100),
                ("2027-12-01", "2028-01-01", 3100),
                ("2028-01-01", "2028-02-01", 3100),
                ("2028-02-01", "2028-03-01", 3100),
            ],
        ),
    ],
)
def test_months_are_the_customers_own_and_the_first_is_charged_by_its_days(
    tmp_path: Path, database: Database, zone: str, assigned: str, looked: str, charges: list[tuple[str, str, int]]
) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        parties = await make_parties(plane, time_zone=zone)
        plane.clock.ms = at(assigned)
        await make_did(plane, **whole(parties))
        await looks_at(plane, looked, looked)
        assert [each[1:4] for each in await books(plane)] == charges

    run(tmp_path=tmp_path, database=database)


@with_control
async def test_a_month_is_an_entry_with_tax_and_its_cost_is_kept(plane: ControlPlane) -> None:
    parties = await make_parties(plane, tax_percent="20.5")
    did = await make_did(plane, **whole(parties, setup_cost="2", setup_retail="5"))
    assert did["next_charge_on"] == "2027-02-01"
    setup, month = await entries(plane, parties.customer)
    assert (setup["kind"], setup["amount"], setup["net"], setup["tax"]) == ("fee", "-6.03", "5", "1.03")
    assert (month["amount"], month["net"], month["tax"]) == ("-2.05", "1.7", "0.35")
    assert setup["description"] == f"Number {NUMBER}, setup"
    assert month["description"] == f"Number {NUMBER}, 2027-01-15 to 2027-01-31"
    assert month["reference"] == f"did:{did['id']}:month:2027-01-15"
    assert await books(plane) == [
        ("setup", "2027-01-15", "2027-01-16", 5000, 2000),
        ("month", "2027-01-15", "2027-02-01", 1700, 550),
    ]
    assert plane.publisher.booked, "the switch has it before the answer"
    shown = (await plane.get(f"/dids/{did['id']}/charges"))["items"]
    assert (shown[0]["kind"], shown[0]["net"], shown[0]["tax"], shown[0]["gross"], shown[0]["cost"]) == (
        "month",
        "1.7",
        "0.35",
        "2.05",
        "0.55",
    )
    assert (shown[0]["first_day"], shown[0]["last_day"]) == ("2027-01-15", "2027-01-31")
    assert shown[0]["entry_id"] == month["id"]
    plane.switch.is_connected = False  # the switch of a test knows no money
    report = await invariants.check(plane.ctx)
    assert [each.name for each in report.checks if each.state == "violated"] == []


@with_control
async def test_a_month_is_charged_once_however_often_it_is_looked_at(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    await make_did(plane, **whole(parties))
    await looks_at(plane, *["2027-02-01T00:00:00+00:00"] * 3, "2027-02-28T23:59:59+00:00")
    assert await amounts(plane, parties) == ["-1.7", "-3.1"]
    await asyncio.gather(*(looks_at(plane, "2027-03-01T00:00:00+00:00") for _ in range(4)))
    assert await amounts(plane, parties) == ["-1.7", "-3.1", "-3.1"]


@with_control
async def test_charging_stops_with_the_release_and_months_begun_by_then_are_charged(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane, **whole(parties))
    # Nobody looked in February: its month had begun when the number was given back in March.
    plane.clock.ms = at("2027-03-01T00:00:00+00:00")
    await step(plane, did, "release")
    assert await amounts(plane, parties) == ["-1.7", "-3.1", "-3.1"]
    await looks_at(plane, "2027-06-01T00:00:00+00:00")
    assert await amounts(plane, parties) == ["-1.7", "-3.1", "-3.1"]


@with_control
async def test_the_next_customer_pays_from_its_own_day_and_the_same_one_not_twice(plane: ControlPlane) -> None:
    one, two = await make_parties(plane, "One"), await make_parties(plane, "Two")
    did = await make_did(plane, **whole(one, setup_retail="1"))
    ring: dict[str, Any] = {"destination": {"kind": "sip_user", "id": one.user}}
    for _ in range(2):
        await step(plane, did, "release")
        await step(plane, did, "free")
        await step(plane, did, "assign", customer_id=one.customer, **ring)
    assert await amounts(plane, one) == ["-1", "-1.7"]
    plane.clock.ms = at("2027-01-31T10:00:00+00:00")
    await step(plane, did, "release")
    await step(plane, did, "free")
    ring = {"destination": {"kind": "sip_user", "id": two.user}}
    await step(plane, did, "assign", customer_id=two.customer, **ring)
    assert await amounts(plane, two) == ["-1", "-0.1"]
    await looks_at(plane, "2027-02-01T00:00:00+00:00")
    assert (await amounts(plane, one), await amounts(plane, two)) == (["-1", "-1.7"], ["-1", "-0.1", "-3.1"])


@with_control
async def test_a_new_price_counts_from_the_next_month_on(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane, **whole(parties))
    # Nobody looked at the border: February costs what was agreed when it began.
    plane.clock.ms = at("2027-02-02T00:00:00+00:00")
    await plane.patch(f"/dids/{did['id']}", {"retail": "10", "cost": "2"})
    await looks_at(plane, "2027-03-01T00:00:00+00:00")
    assert await amounts(plane, parties) == ["-1.7", "-3.1", "-10"]
    assert [each[4] for each in await books(plane)] == [550, 1000, 2000]


@with_control
async def test_another_time_zone_neither_repeats_nor_skips_a_month(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    await make_did(plane, **whole(parties))
    customer = f"/customers/{parties.customer}"
    await plane.patch(customer, {"time_zone": "Pacific/Kiritimati"})
    await looks_at(plane, "2027-02-01T00:00:00+00:00")
    assert [each[1] for each in await books(plane)] == ["2027-01-15", "2027-02-01"]
    await plane.patch(customer, {"time_zone": "Pacific/Pago_Pago"})
    await looks_at(plane, "2027-02-28T23:00:00+00:00", "2027-03-01T10:59:59+00:00")
    assert [each[1] for each in await books(plane)] == ["2027-01-15", "2027-02-01"]
    await looks_at(plane, "2027-03-01T11:00:00+00:00")
    assert [each[1] for each in await books(plane)] == ["2027-01-15", "2027-02-01", "2027-03-01"]


@with_control
async def test_it_is_charged_while_the_client_is_suspended_or_the_customer_inactive(plane: ControlPlane) -> None:
    client = (await plane.post("/clients", {"name": "House", "status": "active"}))["id"]
    parties = await make_parties(plane, client_id=client)
    await make_did(plane, **whole(parties))
    await plane.patch(f"/clients/{client}", {"status": "suspended"})
    await plane.patch(f"/customers/{parties.customer}", {"status": "inactive"})
    await looks_at(plane, "2027-02-01T00:00:00+00:00", "2027-03-01T00:00:00+00:00")
    assert await amounts(plane, parties) == ["-1.7", "-3.1", "-3.1"]


@with_control
async def test_a_client_that_has_not_begun_is_billed_from_the_day_on_that_it_does(plane: ControlPlane) -> None:
    client = (await plane.post("/clients", {"name": "House", "status": "new"}))["id"]
    parties = await make_parties(plane, client_id=client)
    did = await make_did(plane, **whole(parties, setup_retail="5"))
    await looks_at(plane, "2027-01-16T08:00:00+00:00", "2027-02-14T08:00:00+00:00", "2027-02-15T01:00:00+00:00")
    assert await books(plane) == []
    await plane.patch(f"/clients/{client}", {"status": "active"})
    await looks_at(plane, "2027-02-15T02:00:00+00:00")
    assert await books(plane) == [
        ("setup", "2027-02-15", "2027-02-16", 5000, 0),
        ("month", "2027-02-15", "2027-03-01", 1550, 500),
    ]
    await plane.patch(f"/clients/{client}", {"status": "inactive"})
    await looks_at(plane, "2027-03-01T00:00:00+00:00", "2027-05-01T00:00:00+00:00")
    assert len(await books(plane)) == 2
    assert (await plane.get(f"/dids/{did['id']}"))["state"] == "free"


@with_control
async def test_a_scheduled_client_pays_from_its_start_and_an_ended_one_no_month_after_its_end(
    plane: ControlPlane,
) -> None:
    body = {"name": "House", "status": "scheduled", "start_date": "2027-01-22", "contract_end": "2027-03-31"}
    client = (await plane.post("/clients", body))["id"]
    parties = await make_parties(plane, client_id=client)
    await make_did(plane, **whole(parties))
    # Nothing ran until April; the client was active from the 22nd of January to the end of March.
    plane.clock.ms = at("2027-01-25T00:00:00+00:00")
    await plane.patch(f"/clients/{client}", {"status": "active"})
    await looks_at(plane, "2027-04-02T00:00:00+00:00")
    assert [each[1:4] for each in await books(plane)] == [
        ("2027-01-22", "2027-02-01", 1000),
        ("2027-02-01", "2027-03-01", 3100),
        ("2027-03-01", "2027-04-01", 3100),
    ]


@with_control
async def test_a_number_that_costs_nothing_is_not_booked(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    did = await make_did(plane, **whole(parties, cost="0", retail="0"))
    await looks_at(plane, "2027-02-01T00:00:00+00:00")
    assert await books(plane) == []
    assert (await plane.get(f"/dids/{did['id']}"))["next_charge_on"] == "2027-03-01"
    assert (await plane.get(f"/dids/{did['id']}"))["row_version"] == 1
    costs = await make_did(plane, **whole(parties, number="442071838751", retail="0"))
    assert await entries(plane, parties.customer) == []
    (charge,) = (await plane.get(f"/dids/{costs['id']}/charges"))["items"]
    assert (charge["entry_id"], charge["cost"], charge["gross"]) == (None, "1", "0")


@with_control
async def test_only_numbers_in_service_are_charged(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    await make_did(plane, retail="3", cost="1")
    await make_did(plane, number="442071838751", retail="3", customer_id=parties.customer)
    await looks_at(plane, "2027-03-01T00:00:00+00:00")
    assert await books(plane) == []


@with_control
async def test_many_numbers_are_charged_in_parts_and_none_is_left_out(plane: ControlPlane) -> None:
    parties = await make_parties(plane)
    for number in range(7):
        await make_did(plane, **whole(parties, number=f"44207183870{number}"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("control.services.did_charges.ROWS_MAX", 3)
        await looks_at(plane, "2027-02-01T00:00:00+00:00")
    assert len(await books(plane)) == 14
    assert (await plane.get(f"/customers/{parties.customer}"))["balance"] == "-33.6"


# However often and whenever somebody looks, the days charged are those of service, each once, to the month's end.
@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from(["UTC", "Europe/London", "America/New_York", "Asia/Beirut", "Pacific/Apia"]),
    st.integers(0, 400 * 24),
    st.lists(st.integers(1, 60 * 24), max_size=6),
)
def test_days_charged_have_no_gap_and_no_overlap(zone: str, hours: int, gaps: list[int]) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        parties = await make_parties(plane, time_zone=zone)
        plane.clock.ms = START_MS + hours * 3_600_000
        await make_did(plane, **whole(parties))
        for gap in gaps:
            plane.clock.ms += gap * 3_600_000
            await look(plane)
        days = [each[1:3] for each in await books(plane)]
        for (_, until), (first, _) in pairwise(days):
            assert until == first
        assert date.fromisoformat(days[-1][1]).day == 1
        whole_months = (len(days) - 1) * 3100
        assert sum(each[3] for each in await books(plane)) == whole_months + (await books(plane))[0][3]

    with tempfile.TemporaryDirectory() as folder:
        run(tmp_path=Path(folder))


@with_control
async def test_months_before_a_client_ended_are_charged_whoever_looks_first_after_downtime(plane: ControlPlane) -> None:
    body = {"name": "House", "status": "scheduled", "start_date": "2027-01-22", "contract_end": "2027-03-31"}
    client = (await plane.post("/clients", body))["id"]
    parties = await make_parties(plane, client_id=client)
    await make_did(plane, **whole(parties))
    # Nothing ran until April, and the client is ended before the numbers are looked at.
    plane.clock.ms = at("2027-04-02T00:00:00+00:00")
    await clients.run_due(plane.ctx)
    await look(plane)
    assert [each[1:4] for each in await books(plane)] == [
        ("2027-01-22", "2027-02-01", 1000),
        ("2027-02-01", "2027-03-01", 3100),
        ("2027-03-01", "2027-04-01", 3100),
    ]


@with_control
async def test_numbers_of_a_client_that_never_began_cost_nothing_when_it_is_given_up(plane: ControlPlane) -> None:
    client = (await plane.post("/clients", {"name": "House", "status": "new"}))["id"]
    parties = await make_parties(plane, client_id=client)
    await make_did(plane, **whole(parties, setup_retail="5"))
    await plane.patch(f"/clients/{client}", {"status": "inactive"})
    assert await books(plane) == []
    # After its last day it is given none.
    gone = (await plane.post("/clients", {"name": "Gone", "status": "active"}))["id"]
    other = await make_parties(plane, name="Other", client_id=gone)
    await plane.patch(f"/clients/{gone}", {"status": "inactive"})
    plane.clock.ms += 2 * 86_400_000
    problem = await make_did(plane, 400, **whole(other, number="442071838759"))
    assert problem["errors"][0]["path"] == "customer_id"
    await look(plane)
    assert await books(plane) == []


@with_control
async def test_numbers_of_one_whose_balance_cannot_be_counted_keep_nobody_elses_from_being_charged(
    plane: ControlPlane,
) -> None:
    beyond, other = await make_parties(plane, name="Beyond"), await make_parties(plane, name="Other")
    await make_did(plane, **whole(beyond))
    await make_did(plane, **whole(other, number="442071838751"))
    async with plane.ctx.change() as change:
        await ledger.append(
            change, customer_id=beyond.customer, kind="fee", amount_nanos=-ledger.BALANCE_NANOS_MAX + 2 * 10**9
        )
    plane.clock.ms = at("2027-02-01T00:00:00+00:00")
    await look(plane)
    assert (await amounts(plane, other))[-1] == "-3.1"
    assert len(await books(plane)) == 3
