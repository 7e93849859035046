"""Stats and summaries by HTTP: whose calls, on whose clocks, and what of them the customer sees."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from control.services import rollups
from control.services.load_watch import CONTACTS_OF_ONE_MAX
from switch.frames import LiveCall
from tests.fakes.control import START_MS, ControlPlane, live_call, with_control
from tests.fakes.portal import make_contact, session
from tests.fakes.priced_calls import Exchange
from tests.fakes.stored_calls import store_calls, stored_call

HOUR = 3_600_000
DAY = 24 * HOUR


def ms(text: str) -> int:
    """A time in UTC."""
    return int(datetime.fromisoformat(text[:19] + "+00:00").timestamp() * 1000)


async def calls_at(plane: ControlPlane, customer: int, *moments: str, **fields: Any) -> None:
    """A call of a minute at each of these times."""
    first = getattr(plane, "_calls", 1)
    plane._calls = first + len(moments)  # type: ignore[attr-defined]
    money: dict[str, Any] = {
        "net_nanos": 1_000_000_000,
        "gross_nanos": 1_000_000_000,
        "cost_nanos": 400_000_000,
        "billed_s": 60,
    }
    await store_calls(
        plane.ctx,
        [
            stored_call(first + n, customer_id=customer, invited_ms=ms(text), **money | fields)
            for n, text in enumerate(moments)
        ],
    )


@with_control
async def test_stats_count_what_the_words_say(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    at: dict[str, Any] = {"invited_ms": START_MS - HOUR, "customer_id": customer}
    money: dict[str, Any] = {"net_nanos": 3, "tax_nanos": 1, "gross_nanos": 4, "cost_nanos": 5}
    await store_calls(
        plane.ctx,
        [
            stored_call(1, 60_000, pdd_ms=500, billed_s=66, prefix="44", **money, **at),
            stored_call(2, 30_000, pdd_ms=1_500, billed_s=30, prefix="4420", **money, **at),
            # Busy counts for NER; a caller who gave up after it rang too, and before it rang not.
            stored_call(3, is_answered=False, status=486, pdd_ms=1_000, **at),
            stored_call(4, is_answered=False, status=487, progress_ms=START_MS, pdd_ms=1_000, **at),
            stored_call(5, is_answered=False, status=487, **at),
            stored_call(6, is_answered=False, status=503, **at),
        ],
    )
    found = await plane.get(f"/customers/{customer}/stats")
    [row] = found["items"]
    assert (row["attempts"], row["answered"], row["asr"], row["ner"]) == (6, 2, 33.33, 66.67)
    assert (row["acd_s"], row["pdd_ms"]) == (45.0, 1000)
    assert (row["minutes"], row["billed_minutes"]) == (1.5, 1.6)
    assert (row["net"], row["tax"], row["charge"]) == ("0.000000006", "0.000000002", "0.000000008")
    assert (row["cost"], row["profit"]) == ("0.00000001", "-0.000000004")
    assert row["codes"] == {"200": 2, "486": 1, "487": 2, "503": 1}
    assert (found["is_complete"], found["is_cut"], found["time_zone"]) == (True, False, "UTC")
    by_code = (await plane.get(f"/customers/{customer}/stats?group=code"))["items"]
    assert [(row["key"], row["attempts"]) for row in by_code] == [("200", 2), ("487", 2), ("486", 1), ("503", 1)]
    by_prefix = (await plane.get(f"/customers/{customer}/stats?group=prefix"))["items"]
    assert [(row["key"], row["attempts"]) for row in by_prefix] == [("", 4), ("44", 1), ("4420", 1)]
    [only] = (await plane.get("/stats?prefix=442"))["items"]
    assert (only["attempts"], only["minutes"]) == (1, 0.5)


BORDERS = [
    # Clocks go forward: the day has 23 hours, and 02:00 local does not exist.
    ("Europe/London", "2026-03-28T23:59:59", "2026-03-29T00:00:00", "2026-03-29T23:00:00"),
    # Clocks go back: the day has 25 hours.
    ("Europe/London", "2026-10-24T22:59:59", "2026-10-24T23:00:00", "2026-10-26T00:00:00"),
    ("America/New_York", "2026-03-08T04:59:59", "2026-03-08T05:00:00", "2026-03-09T04:00:00"),
    # Quarters of an hour, and a clock that changes by half of one.
    ("Asia/Kathmandu", "2026-11-19T18:14:59", "2026-11-19T18:15:00", "2026-11-20T18:15:00"),
    ("Asia/Kolkata", "2026-11-19T18:29:59", "2026-11-19T18:30:00", "2026-11-20T18:30:00"),
    ("Australia/Lord_Howe", "2026-10-03T13:29:59", "2026-10-03T13:30:00", "2026-10-04T13:00:00"),
    # Clocks skip midnight itself: the day begins at one.
    ("America/Asuncion", "2024-10-06T03:59:59", "2024-10-06T04:00:00", "2024-10-07T03:00:00"),
    # The leap day.
    ("Pacific/Auckland", "2028-02-28T10:59:59", "2028-02-28T11:00:00", "2028-02-29T11:00:00"),
]


@pytest.mark.parametrize(("zone", "before", "first", "after"), BORDERS)
def test_a_day_is_the_customers_own(zone: str, before: str, first: str, after: str, tmp_path: Any) -> None:
    """Of four calls around its borders two are in it, before and after their minutes became quarters."""

    @with_control
    async def run(plane: ControlPlane) -> None:
        customer = await plane.make_customer(time_zone=zone)
        last = datetime.fromtimestamp(ms(after) / 1000 - 1, UTC).isoformat()
        await calls_at(plane, customer, before, first, last, after)
        plane.clock.ms = ms(after) + 3 * HOUR
        start = datetime.fromtimestamp(ms(first) / 1000 - 2 * 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        day = datetime.fromtimestamp(ms(first) / 1000 + 43_200, ZoneInfo(zone)).date().isoformat()
        for _ in range(2):
            rows = (await plane.get(f"/customers/{customer}/stats?step=day&from={start}"))["items"]
            assert [row["attempts"] for row in rows] == [1, 2, 1]
            assert datetime.fromisoformat(rows[1]["at"]) == datetime.fromisoformat(first + "Z")
            assert datetime.fromisoformat(rows[1]["until"]) == datetime.fromisoformat(after + "Z")
            whole = await plane.get(f"/customers/{customer}/stats?from={day}&to={day}")
            assert [row["attempts"] for row in whole["items"]] == [2], "a day is asked for by its name"
            assert (whole["from"], whole["to"]) == (rows[1]["at"], rows[1]["until"])
            plane.clock.ms = ms(after) + 3 * HOUR + rollups.MINUTES_KEPT_MS
            while await rollups.fold(plane.ctx):
                pass
            plane.clock.ms = ms(after) + 3 * HOUR
        hours = (await plane.get(f"/customers/{customer}/stats?step=hour&from={start}"))["items"]
        assert sum(row["attempts"] for row in hours) == 4
        assert all(row["at"] < row["until"] for row in hours)
        summary = await plane.get(f"/customers/{customer}/summary")
        assert (summary["today"]["attempts"], summary["yesterday"]["attempts"]) == (1, 2)

    run(tmp_path)


@with_control
async def test_months_end_on_the_customers_clocks(plane: ControlPlane) -> None:
    customer = await plane.make_customer(time_zone="America/Los_Angeles")
    # The last second of February there is the first of March in UTC, and 2028 has a 29th.
    moments = ["2028-02-01T08:00:00+00:00", "2028-03-01T07:59:59+00:00", "2028-03-01T08:00:00+00:00"]
    await calls_at(plane, customer, "2028-02-01T07:59:59+00:00", *moments)
    plane.clock.ms = ms("2028-03-15T00:00:00+00:00")
    rows = (await plane.get(f"/customers/{customer}/stats?step=month"))["items"]
    assert [(row["at"][:10], row["attempts"]) for row in rows] == [
        ("2028-01-01", 1),
        ("2028-02-01", 2),
        ("2028-03-01", 1),
    ]
    assert [row["charge"] for row in rows] == ["1", "2", "1"]
    in_utc = (await plane.get(f"/stats?step=month&customer_id={customer}&time_zone=UTC"))["items"]
    assert [row["attempts"] for row in in_utc] == [2, 2]
    summary = await plane.get(f"/customers/{customer}/summary")
    assert (summary["this_month"]["attempts"], summary["last_month"]["attempts"]) == (1, 2)
    assert (summary["last_month"]["profit"], summary["last_month"]["asr"]) == ("1.2", 100.0)


@with_control
async def test_an_hour_that_comes_twice_is_two_hours(plane: ControlPlane) -> None:
    customer = await plane.make_customer(time_zone="Europe/Berlin")
    await calls_at(plane, customer, "2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00")
    plane.clock.ms = ms("2026-10-25T05:00:00+00:00")
    rows = (await plane.get(f"/customers/{customer}/stats?step=hour"))["items"]
    assert [row["at"] for row in rows] == ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"]


@with_control
async def test_all_customers_are_ranked_and_a_provider_has_its_attempts(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    other = await plane.make_customer(name="Other")
    for _ in range(3):
        await exchange.call(60_000)
    await exchange.call(60_000, customer_id=other)
    plane.clock.ms = START_MS + 2 * HOUR
    rows = (await plane.get("/stats?group=customer"))["items"]
    assert [(row["key"], row["name"], row["attempts"]) for row in rows] == [
        (str(exchange.customer), "Acme Voice", 3),
        (str(other), "Other", 1),
    ]
    assert (await plane.get("/stats?group=customer&limit=1"))["is_cut"] is True
    [vendor] = (await plane.get("/stats?group=provider"))["items"]
    assert (vendor["key"], vendor["name"], vendor["attempts"]) == (str(exchange.provider), "Vendor One", 4)
    # Four minutes at 0.015 less 0.01.
    assert (vendor["cost"], vendor["profit"], vendor["pdd_ms"]) == ("0.04", "0.02", 880)
    [route] = (await plane.get("/stats?group=route"))["items"]
    assert (route["key"], route["attempts"]) == ("7", 4)
    summary = await plane.get(f"/providers/{exchange.provider}/summary")
    assert (summary["today"]["attempts"], summary["today"]["cost"]) == (4, "0.04")
    own = await plane.get(f"/providers/{exchange.provider}/stats?group=code")
    assert own["items"][0]["codes"] == {"200": 4}


@with_control
async def test_a_recalculation_moves_profit(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open(tax_percent="0")
    await exchange.call(60_000)
    plane.clock.ms = START_MS + HOUR
    before = (await plane.get(f"/customers/{exchange.customer}/summary"))["today"]
    revision = await exchange.load(exchange.buy, b"prefix,name,rate,increment\n44,UK,0.002,1/1\n", activate=False)
    rule = {"card_id": exchange.buy, "revision_id": revision}
    run = await plane.post("/recalculations", {"filters": {"day": "2027-01-15"}, "rule": rule, "reason": "credit"})
    await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    after = (await plane.get(f"/customers/{exchange.customer}/summary"))["today"]
    assert (before["cost"], before["profit"]) == ("0.01", "0.005")
    assert (after["cost"], after["profit"], after["attempts"]) == ("0.002", "0.013", 1)
    assert (await plane.get(f"/providers/{exchange.provider}/stats"))["items"][0]["cost"] == "0.002"


@with_control
async def test_a_month_is_asked_for_by_its_name(plane: ControlPlane) -> None:
    customer = await plane.make_customer(time_zone="Asia/Tokyo")
    await calls_at(plane, customer, "2027-01-31T14:59:59", "2027-01-31T15:00:00", "2027-02-28T14:59:59")
    await calls_at(plane, customer, "2027-02-28T15:00:00")
    plane.clock.ms = ms("2027-03-02T00:00:00")
    stats = await plane.get(f"/customers/{customer}/stats?from=2027-02&to=2027-02")
    assert [row["attempts"] for row in stats["items"]] == [2]
    assert (stats["from"], stats["to"]) == ("2027-01-31T15:00:00Z", "2027-02-28T15:00:00Z")


@with_control
async def test_filters_that_do_not_go_together_are_refused_by_name(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    for query, field in (
        ("group=provider&customer_id=1", "customer_id"),
        (f"group=customer&prefix=44&customer_id={customer}", "group"),
        ("group=prefix&code=200", "code"),
        ("step=minute&from=2027-01-01T00:00:00Z", "from"),
        ("step=hour&from=2020-01-01T00:00:00Z", "from"),
        ("from=2027-01-15T07:00:00Z&to=2027-01-15T06:00:00Z", "to"),
        ("time_zone=Mars", "time_zone"),
        ("from=2027-02-30", "from"),
        ("from=2027-W02-1", "from"),
        ("from=2027-13", "from"),
        ("to=2027-01-15T07:00:00", "to"),
        ("to=soon", "to"),
    ):
        answer = await plane.request("GET", f"/stats?{query}")
        assert answer.status_code in (400, 404, 422), (query, answer.text)
        if answer.status_code != 404:
            assert answer.json()["errors"][0]["path"] == field, answer.text
    await plane.get("/customers/999/stats", 404)
    await plane.get("/customers/999/summary", 404)
    await plane.get("/providers/999/summary", 404)


@with_control
async def test_minutes_are_there_while_they_are_kept(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await calls_at(
        plane, customer, "2027-01-15T07:10:10+00:00", "2027-01-15T07:10:50+00:00", "2027-01-15T07:11:00+00:00"
    )
    rows = (await plane.get(f"/customers/{customer}/stats?step=minute"))["items"]
    assert [(row["at"], row["attempts"], row["cps"]) for row in rows] == [
        ("2027-01-15T07:10:00Z", 2, 0.0333),
        ("2027-01-15T07:11:00Z", 1, 0.0167),
    ]


@with_control
async def test_the_most_channels_and_cps_that_were_seen_are_told(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await calls_at(plane, customer, "2027-01-15T08:00:10+00:00")
    up = [live_call(customer, f"{n:032x}") for n in range(3)]
    for calls, begun in ((up, 7), (up[:1], 2), ([], 0)):
        plane.switch.calls = list[LiveCall](calls)
        plane.switch.begun[customer] = begun
        await plane.ctx.load.take()
    plane.clock.ms += 60_000
    await plane.ctx.load.take()
    plane.clock.ms += 60_000
    [row] = (await plane.get(f"/customers/{customer}/stats?step=hour"))["items"]
    assert (row["channels_max"], row["cps_max"]) == (3, 7)
    [row] = (await plane.get("/stats?step=hour"))["items"]
    assert (row["channels_max"], row["cps_max"]) == (3, 7)
    plane.switch.calls = up
    plane.clock.ms += 60_000
    live = (await plane.get(f"/customers/{customer}/summary"))["live"]
    assert (live["is_live"], live["channels"]) == (True, 3)
    plane.switch.is_connected = False
    plane.clock.ms += 60_000
    assert (await plane.get(f"/customers/{customer}/summary"))["live"]["is_live"] is False


@with_control
async def test_the_portal_shows_a_customers_own_without_costs(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await plane.patch(f"/customers/{exchange.customer}", {"portal_access": True})
    other = await plane.make_customer(name="Other")
    await exchange.call(60_000)
    await exchange.call(60_000, customer_id=other)
    await make_contact(plane, exchange.customer)
    plane.clock.ms = START_MS + HOUR
    async with await session(plane) as client:
        for path in ("/stats", "/stats?group=prefix", "/stats?group=code&step=hour", "/summary"):
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            for word in ("cost", "profit", "Vendor", "provider", "route"):
                assert word not in answer.text
        [row] = (await client.get("/stats")).json()["items"]
        assert (row["calls"], row["net"], row["charge"]) == (1, "0.015", "0.018")
        assert (await client.get("/summary")).json()["today"]["calls"] == 1
        for query in (f"customer_id={other}", "provider_id=1", "group=route", "group=provider"):
            assert (await client.get(f"/stats?{query}")).status_code in (400, 422)


@with_control
async def test_sums_are_made_anew_by_an_admin_alone_and_audited(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    await calls_at(plane, customer, "2027-01-15T07:10:10+00:00")
    await plane.request("POST", "/stats/rebuild", role="operator", status=403)
    assert (await plane.post("/stats/rebuild", None, status=202)) == {"calls": 1}
    assert (await plane.get("/stats"))["is_complete"] is False
    while await rollups.build(plane.ctx):
        pass
    found = await plane.get("/stats")
    assert (found["is_complete"], found["items"][0]["attempts"]) == (True, 1)
    assert (await plane.get("/audit"))["items"][0]["action"] == "rebuild"


@with_control
async def test_contacts_of_one_customer_leave_room_for_others_to_follow_live_figures(plane: ControlPlane) -> None:
    customer = await plane.make_customer(portal_access=True)
    await make_contact(plane, customer)
    looks = [plane.ctx.load.follow(customer, is_own=True) for _ in range(CONTACTS_OF_ONE_MAX)]
    for each in looks:
        await anext(each)
    async with await session(plane) as contact:
        assert (await contact.get("/stats/live")).status_code == 409
        assert (await plane.request("GET", "/stats/live", status=200)).text.count("event: figures") == 1
        for each in looks:
            await each.aclose()
        assert (await contact.get("/stats/live")).status_code == 200
    assert plane.ctx.load.followers == 0
