"""The least that a customer pays per period to stay active."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.services.fields import ms_moment
from control.services.minimum_payments import next_start_ms, run_due
from control.services.periods import Frequency
from tests.fakes.control import START_MS, ControlPlane, with_control

DAY_MS = 86_400_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("kind", "zone", "now", "start"),
    [
        ("daily", "UTC", "2027-02-28T23:59:59+00:00", "2027-03-01T00:00:00+00:00"),
        ("daily", "UTC", "2027-03-01T00:00:00+00:00", "2027-03-02T00:00:00+00:00"),
        ("daily", "UTC", "2028-02-28T12:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        ("daily", "Europe/London", "2027-03-28T12:00:00+01:00", "2027-03-29T00:00:00+01:00"),
        ("daily", "America/New_York", "2027-01-15T03:00:00+00:00", "2027-01-15T05:00:00+00:00"),
        # Clocks of Beirut go forward at midnight: the 28th begins at one o'clock.
        ("daily", "Asia/Beirut", "2027-03-27T12:00:00+02:00", "2027-03-28T01:00:00+03:00"),
        ("weekly", "UTC", "2027-01-15T08:00:00+00:00", "2027-01-18T00:00:00+00:00"),
        ("weekly", "UTC", "2027-01-18T00:00:00+00:00", "2027-01-25T00:00:00+00:00"),
        ("monthly", "UTC", "2027-01-31T10:00:00+00:00", "2027-02-01T00:00:00+00:00"),
        ("monthly", "UTC", "2027-12-01T00:00:00+00:00", "2028-01-01T00:00:00+00:00"),
        ("monthly", "Europe/London", "2027-10-15T00:00:00+01:00", "2027-11-01T00:00:00+00:00"),
    ],
)
def test_periods_begin_at_midnight_on_the_customers_clocks(kind: Frequency, zone: str, now: str, start: str) -> None:
    assert next_start_ms(kind, zone, at(now)) == at(start)


@given(
    st.sampled_from(["daily", "weekly", "monthly"]),
    st.sampled_from(["UTC", "Europe/London", "Asia/Beirut", "America/Havana", "Pacific/Apia", "Australia/Lord_Howe"]),
    st.integers(at("2011-12-01T00:00:00+00:00"), at("2040-01-01T00:00:00+00:00")),
)
def test_the_next_period_is_ahead_and_never_skips_one(kind: Frequency, zone: str, now_ms: int) -> None:
    start = next_start_ms(kind, zone, now_ms)
    assert now_ms < start <= now_ms + 32 * DAY_MS
    assert next_start_ms(kind, zone, start - 1) == start
    assert next_start_ms(kind, zone, start) > start


async def make(plane: ControlPlane, **fields: Any) -> int:
    rule = {"minimum_payment": "10", "minimum_payment_period": "daily"}
    customer = await plane.make_customer(**{**rule, **fields})
    await run_due(plane.ctx)
    return customer


async def pay(plane: ControlPlane, customer: int, total: str = "10", **more: Any) -> int:
    payment = await plane.post(f"/customers/{customer}/payments", {"total": total, **more})
    return int(payment["id"])


async def status_on(plane: ControlPlane, customer: int, moment: str) -> str:
    plane.clock.ms = at(moment)
    await run_due(plane.ctx)
    return str((await plane.get(f"/customers/{customer}"))["status"])


@with_control
async def test_a_customer_that_misses_a_period_becomes_inactive_and_the_audit_says_why(plane: ControlPlane) -> None:
    customer = await make(plane)
    # The rest of the day on which the rule is set, the 15th, is no whole period.
    assert await status_on(plane, customer, "2027-01-16T12:00:00+00:00") == "active"
    assert await status_on(plane, customer, "2027-01-16T23:59:59+00:00") == "active"
    assert await status_on(plane, customer, "2027-01-17T00:00:00+00:00") == "inactive"
    rows = (await plane.get(f"/audit?noun=customer&noun_id={customer}"))["items"]
    why = next(row for row in rows if row["action"] == "miss_minimum_payment")
    assert why["actor_name"] == "system"
    assert why["after"] == {
        "from": "2027-01-16T00:00:00Z",
        "to": "2027-01-17T00:00:00Z",
        "paid": "0",
        "minimum_payment": "10",
    }
    changed = next(row for row in rows if row["action"] == "update")
    assert (changed["before"]["status"], changed["after"]["status"]) == ("active", "inactive")


@with_control
async def test_who_pays_each_period_stays_active_and_the_first_that_does_not_counts(plane: ControlPlane) -> None:
    customer = await make(plane)
    for day in ("16", "17"):
        plane.clock.ms = at(f"2027-01-{day}T09:00:00+00:00")
        await pay(plane, customer)
    # Nobody looked for days: the periods are judged one by one all the same.
    assert await status_on(plane, customer, "2027-01-18T23:00:00+00:00") == "active"
    assert await status_on(plane, customer, "2027-01-25T00:00:00+00:00") == "inactive"
    why = (await plane.get("/audit?action=miss_minimum_payment"))["items"]
    assert [row["after"]["from"] for row in why] == ["2027-01-18T00:00:00Z"]


@with_control
async def test_only_completed_payments_that_were_not_taken_back_count(plane: ControlPlane) -> None:
    pending, reversed_, refunded, parts = [
        await make(plane, name=name, minimum_payment="10" if name != "parts" else "20")
        for name in ("pending", "reversed", "refunded", "parts")
    ]
    plane.clock.ms = at("2027-01-16T09:00:00+00:00")
    await pay(plane, pending, status="pending")
    payment = await pay(plane, reversed_)
    await plane.post(f"/customers/{reversed_}/payments/{payment}/reverse", {"reason": "bounced"}, status=200)
    await pay(plane, refunded)
    await pay(plane, refunded, "-1", reason="too much")
    await pay(plane, parts, "20")
    for customer, status in ((pending, "inactive"), (reversed_, "inactive"), (refunded, "inactive"), (parts, "active")):
        assert await status_on(plane, customer, "2027-01-17T00:00:01+00:00") == status


@with_control
async def test_made_active_again_a_customer_has_a_whole_period_before_it(plane: ControlPlane) -> None:
    customer = await make(plane)
    assert await status_on(plane, customer, "2027-01-17T10:00:00+00:00") == "inactive"
    await plane.patch(f"/customers/{customer}", {"status": "active"})
    assert await status_on(plane, customer, "2027-01-17T10:00:30+00:00") == "active"
    assert await status_on(plane, customer, "2027-01-18T10:00:00+00:00") == "active"
    assert await status_on(plane, customer, "2027-01-19T00:00:00+00:00") == "inactive"


@with_control
async def test_another_zone_or_kind_of_period_begins_anew(plane: ControlPlane) -> None:
    customer = await make(plane)
    await plane.patch(f"/customers/{customer}", {"minimum_payment_period": "weekly"})
    assert await status_on(plane, customer, "2027-01-17T12:00:00+00:00") == "active"
    await plane.patch(f"/customers/{customer}", {"time_zone": "America/New_York"})
    assert await status_on(plane, customer, "2027-01-17T12:01:00+00:00") == "active"
    assert await status_on(plane, customer, "2027-01-25T04:59:59+00:00") == "active"
    assert await status_on(plane, customer, "2027-01-25T05:00:00+00:00") == "inactive"


@with_control
async def test_a_rule_without_a_period_or_taken_away_changes_nobody(plane: ControlPlane) -> None:
    plain = await plane.make_customer(name="Plain", minimum_payment="10")
    customer = await make(plane)
    await plane.patch(f"/customers/{customer}", {"minimum_payment_period": None})
    for each in (plain, customer):
        assert await status_on(plane, each, "2027-03-17T12:00:00+00:00") == "active"
    assert await run_due(plane.ctx) == 0
    problem = await plane.post("/customers", {"name": "X", "minimum_payment_period": "daily"}, status=400)
    assert problem["errors"][0]["path"] == "minimum_payment_period"
    assert ms_moment(START_MS).day == 15
