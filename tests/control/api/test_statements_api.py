"""The ledger as it is read, adjustments by hand, and customers' money from switch and store."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.services.accounts import day_start_ms
from control.sinks import StoreSink
from tests.fakes.control import START_MS, ControlPlane, account, with_control
from tests.fakes.databases import Database
from tests.fakes.ended_calls import ended_call

UNIT = 10**9
HOUR_MS = 3_600_000


async def ingest(plane: ControlPlane, *calls: Any) -> None:
    await StoreSink(plane.store).write(list(enumerate(calls, 1)), len(calls))


async def entries(plane: ControlPlane, query: str = "") -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = await plane.get(f"/customers/1/ledger?{query}{cursor}")
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


@with_control
async def test_a_statement_has_calls_payments_and_adjustments_the_latest_first(plane: ControlPlane) -> None:
    await plane.make_customer()
    await ingest(plane, ended_call(1, gross_nanos=12, tax_nanos=2, ended_ms=START_MS - 2 * HOUR_MS))
    await plane.post("/customers/1/payments", {"total": "10"})
    plane.clock.ms += HOUR_MS
    await plane.post("/customers/1/adjustments", {"amount": "-0.5", "kind": "fee", "reason": "late"})
    found = await entries(plane, "with_balance=true")
    assert [(each["kind"], each["amount"], each["balance"]) for each in found] == [
        ("fee", "-0.5", "9.499999988"),
        ("payment", "10", "9.999999988"),
        ("call", "-0.000000012", "-0.000000012"),
    ]
    assert found[2]["cdr_id"] == f"{1:032x}"
    assert (found[2]["net"], found[2]["tax"], found[2]["actor"]) == ("0.00000001", "0.000000002", "")
    assert found[0]["note"] == "late"
    assert await plane.get(f"/customers/1/ledger/{found[0]['id']}") == {**found[0], "balance": None}
    assert [each["kind"] for each in await entries(plane, "kind=payment")] == ["payment"]
    assert [each["kind"] for each in await entries(plane, "kind=call")] == ["call"]
    begun = "2027-01-15T08:00:00Z"
    assert [each["kind"] for each in await entries(plane, f"from={begun}")] == ["fee", "payment"]
    assert [each["kind"] for each in await entries(plane, f"to={begun}")] == ["call"]
    filtered = await entries(plane, "kind=payment&with_balance=true")
    assert [each["balance"] for each in filtered] == ["9.999999988"]


@settings(max_examples=10, deadline=None)
@given(
    amounts=st.lists(st.integers(-1000, 1000).filter(bool), min_size=1, max_size=12),
    limit=st.integers(1, 5),
    kind=st.sampled_from(["", "&kind=adjustment", "&kind=fee"]),
)
def test_the_balance_after_each_entry_is_the_sum_until_then_on_every_page(
    tmp_path_factory: pytest.TempPathFactory, amounts: list[int], limit: int, kind: str
) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await plane.make_customer()
        for amount in amounts:
            body = {"amount": str(amount), "kind": "fee" if amount < 0 else "adjustment", "reason": "x"}
            await plane.post("/customers/1/adjustments", body)
        found = await entries(plane, f"with_balance=true&limit={limit}{kind}")
        after = dict(enumerate(accumulate(amounts), 1))
        assert [(each["id"], each["balance"]) for each in reversed(found)] == [
            (number, str(after[number]))
            for number, amount in enumerate(amounts, 1)
            if not kind or kind.endswith("fee") == (amount < 0)
        ]

    run(tmp_path_factory.mktemp("statement"))


@with_control
async def test_an_adjustment_needs_an_amount_a_sign_and_a_reason(plane: ControlPlane) -> None:
    await plane.make_customer()
    for body, path in [
        ({"amount": "0", "reason": "x"}, "amount"),
        ({"amount": "-0", "reason": "x"}, "amount"),
        ({"amount": "NaN", "reason": "x"}, "amount"),
        ({"amount": 0.1, "reason": "x"}, "amount"),
        ({"amount": "1", "reason": ""}, "reason"),
        ({"amount": "1"}, "reason"),
        ({"amount": "1", "kind": "fee", "reason": "x"}, "amount"),
        ({"amount": "1", "kind": "call", "reason": "x"}, "kind"),
    ]:
        refused = await plane.post("/customers/1/adjustments", body, status=400)
        assert refused["errors"][0]["path"] == path, body
    assert await entries(plane) == []


@with_control
async def test_an_adjustment_by_hand_is_taken_back_once_and_a_payment_in_its_own_way(plane: ControlPlane) -> None:
    await plane.make_customer()
    headers = {"Idempotency-Key": "a-1"}
    body = {"amount": "3", "reason": "goodwill", "description": "For the outage"}
    made = await plane.post("/customers/1/adjustments", body, headers=headers)
    assert await plane.post("/customers/1/adjustments", body, headers=headers) == made
    back = await plane.post(f"/customers/1/ledger/{made['id']}/reverse", {"reason": "wrong customer"})
    assert (back["kind"], back["amount"], back["description"]) == ("reversal", "-3", "For the outage")
    await plane.post(f"/customers/1/ledger/{made['id']}/reverse", {"reason": "again"}, status=409)
    paid = await plane.post("/customers/1/payments", {"total": "3"})
    await plane.post(f"/customers/1/ledger/{paid['entry_id']}/reverse", {"reason": "x"}, status=409)
    await plane.post("/customers/1/ledger/999/reverse", {"reason": "x"}, status=404)


@with_control
async def test_a_customers_money_comes_from_the_switch_in_one_question_a_page(plane: ControlPlane) -> None:
    for number in range(3):
        await plane.make_customer(name=f"Customer {number}")
    plane.switch.accounts = {
        1: account(1, 5 * UNIT, 2 * UNIT, available_nanos=13 * UNIT, spent_today_nanos=7),
        2: account(2, -UNIT),
    }
    first, second, third = (await plane.get("/customers?sort=id"))["items"]
    assert (first["balance"], first["held"], first["available"], first["spent_today"]) == (
        "5",
        "2",
        "13",
        "0.000000007",
    )
    assert (second["balance"], second["is_balance_live"]) == ("-1", True)
    assert (third["balance"], third["is_balance_live"]) == ("0", False)
    assert await plane.get("/customers/1") == first
    assert (await plane.patch("/customers/1", {"channels": 3}))["balance"] == "5"


@with_control
async def test_with_the_switch_away_a_customers_money_comes_from_the_store_and_says_so(plane: ControlPlane) -> None:
    await plane.make_customer(debit_limit="3", time_zone="Asia/Tokyo")
    # 08:00 UTC is 17:00 in Tokyo, whose day began at 15:00 UTC of the day before.
    begun_ms = START_MS - 17 * HOUR_MS
    await ingest(
        plane,
        ended_call(1, gross_nanos=5, ended_ms=begun_ms - 1),
        ended_call(2, gross_nanos=7, ended_ms=begun_ms),
        ended_call(3, gross_nanos=9, ended_ms=START_MS),
    )
    await plane.post("/customers/1/payments", {"total": "1"})
    plane.switch.is_connected = False
    found = await plane.get("/customers/1")
    assert (found["balance"], found["held"], found["available"]) == ("0.999999979", "0", "3.999999979")
    assert (found["spent_today"], found["is_balance_live"]) == ("0.000000016", False)


def test_a_balance_is_not_part_of_a_customers_audit(tmp_path: Any, database: Database) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await plane.make_customer()
        await plane.patch("/customers/1", {"channels": 3})
        rows = (await plane.get("/audit?noun=customer"))["items"]
        assert all("balance" not in row["after"] for row in rows)

    run(tmp_path, database)


def test_a_day_begins_when_its_date_does_on_the_customers_clocks() -> None:
    spring_ms = 1_774_737_000_000
    """2026-03-28T22:30Z: 23:30 in Berlin, the night before clocks go forward."""
    assert day_start_ms("Europe/Berlin", spring_ms) == 1_774_652_400_000
    assert day_start_ms("Europe/Berlin", spring_ms + 12 * HOUR_MS) == 1_774_738_800_000
    assert day_start_ms("UTC", START_MS) == START_MS - 8 * HOUR_MS
