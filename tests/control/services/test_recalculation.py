"""Calls priced anew: previewed, booked as adjustments, taken back; the CDR stays as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from control.services import recalculation, recalculation_calls, recalculation_lines, recalculation_steps
from control.services.recalculation_views import Filters, RecalculationNew, Rule, UndoNew
from control.services.store_checks import CHECKS, run_check
from control.store import recalculation_tables, tables
from control.store.recalculation_tables import cost_adjustments
from rating.quotes import Quote, RateRow, Tariff, price
from tests.fakes.control import START_MS, ControlPlane, running_control, with_control
from tests.fakes.databases import Database
from tests.fakes.priced_calls import Exchange

DAY = "2027-01-15"
DAY_MS = 86_400_000
DEARER = b"prefix,name,rate,increment\n44,UK,0.05,60/60\n"


def asked(rule: dict[str, Any], **filters: Any) -> dict[str, Any]:
    return {"filters": {"day": DAY, **filters}, "rule": rule, "reason": "the vendor lost its BYE"}


async def preview(plane: ControlPlane, rule: dict[str, Any], **filters: Any) -> Any:
    return await plane.post("/recalculations", asked(rule, **filters))


async def applied(plane: ControlPlane, rule: dict[str, Any], **filters: Any) -> Any:
    run = await preview(plane, rule, **filters)
    return await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)


async def undone(plane: ControlPlane, run: Any) -> Any:
    return await plane.post(f"/recalculations/{run['id']}/undo", {"reason": "it was a mistake"}, status=200)


async def lines(plane: ControlPlane, run: Any, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await plane.get(f"/recalculations/{run['id']}/lines?{query}"))["items"]
    return found


async def violations(plane: ControlPlane) -> list[str]:
    async with plane.store.read() as tx:
        return [check.name for check in CHECKS if await run_check(tx, check)]


@with_control
async def test_calls_that_a_timer_ended_count_as_long_as_they_may(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    stuck = await exchange.call(7_200_000, cause="lost_in_restart")
    await exchange.call(7_200_000)
    await exchange.call(600_000, cause="max_duration")
    opening = await exchange.balance()
    run = await preview(plane, {"max_duration_s": 3600})
    assert (run["state"], run["calls"], run["changed"], run["booked"]) == ("previewed", 1, 1, 0)
    assert await exchange.balance() == opening
    [line] = await lines(plane, run)
    assert (line["cdr_id"], line["before"]["gross"], line["after"]["gross"]) == (stuck, "2.16", "1.08")
    assert (line["difference"], line["after"]["billed_s"], line["after"]["tax"]) == ("-1.08", 3600, "0.18")
    [total] = run["totals"]
    assert (total["customer"], total["calls"], total["before"], total["difference"]) == (
        *("Acme Voice", 1, "2.16", "-1.08"),
    )
    done = await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    assert (done["state"], done["booked"], done["applied_by"]) == ("applied", 1, "test admin")
    assert await exchange.balance() == opening + 1_080_000_000
    # In the switch by the time of the answer, as every payment is.
    [line] = await lines(plane, run)
    assert plane.publisher.booked == [line["entry_id"]]
    cdr = await plane.get(f"/cdrs/{stuck}")
    assert (cdr["gross"], cdr["duration_ms"], cdr["billed_s"]) == ("2.16", 7_200_000, 7200)
    assert (cdr["effective"]["gross"], cdr["effective"]["billed_s"], cdr["effective"]["margin"]) == (
        *("1.08", 3600, "-0.3"),
    )
    [correction] = cdr["corrections"]
    assert (correction["by"], correction["reason"]) == ("test admin", "the vendor lost its BYE")
    assert (correction["before"], correction["after"], correction["entry_id"]) == ("2.16", "1.08", line["entry_id"])


@with_control
async def test_the_entry_says_before_and_after_to_the_customer_and_why_to_staff(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="session_expired")
    run = await applied(plane, {"max_duration_s": 3600})
    entries = tables.ledger_entries
    async with plane.store.read() as tx:
        [entry] = (await tx.execute(select(entries).where(entries.c.kind == "adjustment"))).mappings()
    assert (entry["amount_nanos"], entry["net_nanos"], entry["tax_nanos"]) == (
        *(1_080_000_000, -900_000_000, -180_000_000),
    )
    assert (entry["description"], entry["note"]) == ("call priced anew: 2.16 → 1.08 USD", "the vendor lost its BYE")
    assert (entry["reference"], entry["cdr_number"], entry["actor"]) == (f"recalculation {run['id']}", 1, "test admin")
    audit = await plane.get("/audit?noun=recalculation")
    assert [(row["action"], row["actor_name"]) for row in audit["items"]] == [
        ("apply", "test admin"),
        ("preview", "test admin"),
    ]
    assert audit["items"][0]["after"]["totals"][0]["difference"] == "-1.08"


@with_control
async def test_a_correction_without_its_entry_or_out_of_turn_is_seen(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="max_duration")
    await applied(plane, {"max_duration_s": 3600})
    assert await violations(plane) == []
    async with plane.store.begin() as tx:
        await tx.execute(recalculation_tables.lines.update().values(entry_id=None))
    assert await violations(plane) == ["corrections_have_their_entries"]
    async with plane.store.begin() as tx:
        await tx.execute(recalculation_tables.lines.update().values(before_nanos=1))
    assert (await violations(plane))[:2] == ["corrections_have_their_entries", "corrections_follow_each_other"]


@with_control
async def test_doing_it_again_changes_nothing(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="max_duration")
    run = await applied(plane, {"max_duration_s": 3600})
    after = await exchange.balance()
    again = await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    assert again == run
    assert (await applied(plane, {"max_duration_s": 3600}))["changed"] == 0
    assert await exchange.balance() == after


@with_control
async def test_undoing_brings_the_charge_back_and_a_second_time_changes_nothing(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    stuck = await exchange.call(7_200_000, cause="max_duration")
    opening = await exchange.balance()
    run = await applied(plane, {"max_duration_s": 3600})
    back = await undone(plane, run)
    assert (back["kind"], back["state"], back["undoes_id"], back["changed"]) == ("undo", "applied", run["id"], 1)
    assert await exchange.balance() == opening
    assert (await plane.get(f"/recalculations/{run['id']}"))["undone_by_id"] == back["id"]
    assert await undone(plane, run) == back
    assert await exchange.balance() == opening
    await plane.post(f"/recalculations/{back['id']}/undo", {}, status=409)
    cdr = await plane.get(f"/cdrs/{stuck}")
    assert cdr["effective"]["gross"] == cdr["gross"]
    assert [correction["difference"] for correction in cdr["corrections"]] == ["-1.08", "1.08"]
    # And it can be made anew.
    assert (await applied(plane, {"max_duration_s": 3600}))["changed"] == 1
    assert await exchange.charged(stuck) == 1_080_000_000


@with_control
async def test_undoing_an_earlier_one_leaves_what_a_later_one_made(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    stuck = await exchange.call(7_200_000, cause="max_duration")
    first = await applied(plane, {"max_duration_s": 3600})
    second = await applied(plane, {"max_duration_s": 1800})
    assert await exchange.charged(stuck) == 540_000_000
    assert (await undone(plane, first))["changed"] == 0
    assert await exchange.charged(stuck) == 540_000_000
    await undone(plane, second)
    assert await exchange.charged(stuck) == 2_160_000_000


@with_control
async def test_another_revision_prices_at_the_tax_and_the_rows_of_then(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    cdr = await exchange.call(61_000)
    await plane.patch(f"/customers/{exchange.customer}", {"tax_percent": "5"})
    later = f"prefix,name,rate,increment,valid_from\n44,UK,0.05,60/60,\n4420,London,9,1/1,{DAY}T23:00:00Z\n"
    revision = await exchange.load(exchange.sell, later.encode(), activate=False)
    run = await preview(plane, {"revision_id": revision})
    [line] = await lines(plane, run)
    # 61 s in steps of 60 are two minutes at 0.05, and 20 % tax as it was at the call.
    assert (line["after"]["net"], line["after"]["tax"], line["after"]["gross"]) == ("0.1", "0.02", "0.12")
    assert (line["after"]["prefix"], line["after"]["revision_id"], line["after"]["billed_s"]) == ("44", revision, 120)
    await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    assert await exchange.charged(cdr) == 120_000_000


@with_control
async def test_a_card_prices_by_what_it_had_in_force_when_the_call_came_in(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    plane.clock.ms = START_MS + DAY_MS
    await exchange.load(exchange.sell, DEARER)
    old = await exchange.call(60_000, invited_ms=START_MS + DAY_MS + 1)
    plane.clock.ms += 1_000
    await plane.post(f"/rate-cards/{exchange.sell}/rollback", None, status=200)
    assert await exchange.charged(old) == 60_000_000
    run = await applied(plane, {"card_id": exchange.sell}, day="2027-01-16", card_id=exchange.sell)
    # The dearer list was taken back, so that it was never in force.
    assert (run["changed"], await exchange.charged(old)) == (1, 18_000_000)


@with_control
async def test_roundings_that_the_card_has_had_since_do_not_change_what_is_not_asked(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    stuck = await exchange.call(7_200_000, cause="max_duration")
    card = f"/rate-cards/{exchange.sell}"
    plane.clock.ms += DAY_MS
    await plane.patch(card, {"decimals": 0, "minimum_s": 86_400})
    await applied(plane, {"max_duration_s": 3661})
    assert await exchange.charged(stuck) == 1_098_400_000


@with_control
async def test_a_call_whose_own_charge_cannot_be_brought_back_is_left_alone(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="max_duration", net_nanos=1_790_000_000)
    opening = await exchange.balance()
    run = await applied(plane, {"max_duration_s": 3600})
    assert (run["changed"], run["problems"], run["totals"]) == (0, {"not_reproduced": 1}, [])
    [line] = await lines(plane, run)
    assert (line["problem"], line["difference"], line["is_booked"]) == ("not_reproduced", "0", False)
    assert await exchange.balance() == opening


@with_control
async def test_calls_that_the_other_card_cannot_price_say_why_and_stay(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    for dialled in ("442071838750", "441110000000", "442220000000"):
        await exchange.call(61_000, dialled_out=dialled)
    opening = await exchange.balance()
    euro = await plane.make_sell_card(name="Euro", currency="EUR")
    await exchange.load(euro, DEARER)
    empty = await plane.make_sell_card(name="Empty")
    partial = await plane.make_sell_card(name="Partial")
    rows = b"prefix,name,rate,increment,blocked\n4420,London,0.01,1/1,no\n44111,Special,0.01,1/1,yes\n"
    await exchange.load(partial, rows)
    problems = [(await applied(plane, {"card_id": card}))["problems"] for card in (euro, empty)]
    assert problems == [{"currency": 3}, {"no_revision": 3}]
    assert await exchange.balance() == opening
    plane.clock.ms -= DAY_MS
    revision = (await plane.get(f"/rate-cards/{partial}/revisions"))["items"][0]
    run = await preview(plane, {"revision_id": revision["id"]})
    assert (run["changed"], run["problems"]) == (1, {"blocked": 1, "no_rate": 1})
    assert len(await lines(plane, run, "problem=blocked")) == 1
    for file in (plane.folder / "decks" / str(partial)).iterdir():
        file.unlink()
    assert (await preview(plane, {"revision_id": revision["id"]}))["problems"] == {"deck_missing": 3}


@with_control
async def test_a_vendors_price_corrects_costs_and_moves_no_balance(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    cdr = await exchange.call(60_000)
    other = await plane.make_provider(name="Vendor Two")
    opening = await exchange.balance()
    revision = await exchange.load(exchange.buy, b"prefix,name,rate,increment\n44,UK,0.012,1/1\n", activate=False)
    run = await applied(plane, {"revision_id": revision})
    [total] = run["totals"]
    assert (total["side"], total["before"], total["after"], total["difference"]) == ("buy", "0.01", "0.012", "0.002")
    assert await exchange.balance() == opening
    shown = (await plane.get(f"/cdrs/{cdr}"))["effective"]
    assert (shown["cost"], shown["gross"], shown["margin"]) == ("0.012", "0.018", "0.003")
    async with plane.store.read() as tx:
        [row] = (await tx.execute(select(cost_adjustments))).mappings()
    assert (row["cdr_id"], row["provider_id"], row["amount_nanos"]) == (cdr, exchange.provider, 2_000_000)
    await undone(plane, run)
    async with plane.store.read() as tx:
        assert (await tx.execute(select(func.sum(cost_adjustments.c.amount_nanos)))).scalar_one() == 0
    assert (await plane.get(f"/cdrs/{cdr}"))["effective"]["cost"] == "0.01"
    # Another vendor's card says nothing about what this one's calls cost.
    foreign = await plane.make_buy_card(other, name="Vendor Two prices")
    rows = b"prefix,name,rate,increment\n44,UK,0.5,1/1\n"
    assert (await preview(plane, {"revision_id": await exchange.load(foreign, rows)}))["changed"] == 0
    capped = await preview(plane, {"max_duration_s": 30, "side": "buy"}, causes=["normal"])
    assert capped["totals"][0]["difference"] == "-0.005"


@with_control
async def test_a_day_is_the_customers_own(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    far = await plane.make_customer(name="Kiritimati Voice", time_zone="Pacific/Kiritimati")
    noon_ms = START_MS // DAY_MS * DAY_MS + DAY_MS // 2
    here = [await exchange.call(61_000, invited_ms=noon_ms + hours * 3_600_000) for hours in (-13, -12, 11, 12)]
    there = [
        await exchange.call(61_000, invited_ms=noon_ms + hours * 3_600_000, customer_id=far)
        for hours in (-27, -26, -3, -2)
    ]
    revision = await exchange.load(exchange.sell, DEARER, activate=False)
    run = await preview(plane, {"revision_id": revision})
    assert {line["cdr_id"] for line in await lines(plane, run)} == {*here[1:3], *there[1:3]}
    assert run["calls"] == 4
    alone = await preview(plane, {"revision_id": revision}, customer_id=far)
    assert [line["cdr_id"] for line in await lines(plane, alone)] == there[1:3]
    spring = [recalculation_calls.day_bounds(day, "Europe/London") for day in ("2027-03-28", "2027-10-31")]
    assert [(end - start) // 3_600_000 for start, end in spring] == [23, 25]
    # Clocks there went from midnight to one: the day began at one.
    start, end = recalculation_calls.day_bounds("2022-09-11", "America/Santiago")
    assert (start, end - start) == (1_662_868_800_000, 23 * 3_600_000)


@with_control
async def test_filters_choose_by_route_card_prefix_vendor_cause_and_time(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    first = await exchange.call(61_000)
    second = await exchange.call(61_000, dialled_out="441312345678", route_id=8, cause="killed")
    revision = await exchange.load(exchange.sell, DEARER, activate=False)
    others: list[dict[str, Any]] = [{"route_id": 9}, {"card_id": exchange.buy}, {"provider_id": 99}, {"prefix": "1"}]

    async def found(**filters: Any) -> list[str]:
        run = await preview(plane, {"revision_id": revision}, **filters)
        return [line["cdr_id"] for line in await lines(plane, run)]

    assert await found() == [first, second]
    assert await found(route_id=8) == await found(prefix="44131") == await found(causes=["killed"]) == [second]
    assert await found(provider_id=exchange.provider, card_id=exchange.sell, route_id=7) == [first]
    for other in others:
        assert await found(**other) == []
    times = {"day": None, "from": "2027-01-15T08:00:02Z", "to": "2027-01-15T08:00:03Z"}
    assert await found(**times) == [second]


@with_control
async def test_calls_that_come_to_the_store_later_are_not_its_business(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="max_duration")
    run = await preview(plane, {"max_duration_s": 3600})
    late = await exchange.call(7_200_000, cause="max_duration")
    done = await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
    assert (done["booked"], await exchange.charged(late)) == (1, 2_160_000_000)


@with_control
async def test_a_preview_that_another_one_has_overtaken_is_refused(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    other = await plane.make_customer(name="Other")
    await exchange.call(7_200_000, cause="max_duration")
    stale = await preview(plane, {"max_duration_s": 3600})
    apart = await preview(plane, {"max_duration_s": 3600}, customer_id=other)
    winner = await applied(plane, {"max_duration_s": 1800})
    problem = await plane.post(f"/recalculations/{stale['id']}/apply", None, status=409)
    assert [each["id"] for each in problem["references"]] == [str(winner["id"])]
    # That one is about somebody else's calls.
    await plane.post(f"/recalculations/{apart['id']}/apply", None, status=200)
    await plane.delete(f"/recalculations/{stale['id']}")
    assert await lines(plane, stale) == []
    await plane.post(f"/recalculations/{stale['id']}/apply", None, status=409)
    await plane.post(f"/recalculations/{stale['id']}/undo", {}, status=409)
    await plane.delete(f"/recalculations/{winner['id']}", status=409)
    states = [run["state"] for run in (await plane.get("/recalculations"))["items"]]
    assert states == ["applied", "applied", "discarded"]


@with_control
async def test_previews_that_nobody_wanted_for_a_week_are_dropped(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="max_duration")
    old = await preview(plane, {"max_duration_s": 3600})
    plane.clock.ms += 7 * DAY_MS + 1
    await preview(plane, {"max_duration_s": 3600})
    assert (await plane.get(f"/recalculations/{old['id']}"))["state"] == "discarded"


@with_control
async def test_with_the_switch_away_it_is_booked_and_said_to_be_pending(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="max_duration")
    run = await preview(plane, {"max_duration_s": 3600})
    plane.publisher.is_away = True
    answer = await plane.request("POST", f"/recalculations/{run['id']}/apply", status=200)
    assert answer.headers["Tandem-Switch"] == "pending"
    assert answer.json()["state"] == "applied"


@with_control
async def test_who_may_only_read_may_not_preview_and_faults_are_named(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await plane.post("/recalculations", asked({"max_duration_s": 1}), status=403, role="read-only")
    run = await preview(plane, {"max_duration_s": 1})
    for action in ("apply", "undo"):
        await plane.post(f"/recalculations/{run['id']}/{action}", {}, status=403, role="read-only")
    await plane.get(f"/recalculations/{run['id']}/lines", role="read-only")
    revision = (await plane.get(f"/rate-cards/{exchange.sell}/revisions"))["items"][0]["id"]
    bad: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("rule", {}, {}),
        ("rule.max_duration_s", {"max_duration_s": -1}, {}),
        ("rule.card_id", {"card_id": 99}, {}),
        ("rule.revision_id", {"revision_id": 99}, {}),
        ("rule.revision_id", {"revision_id": revision, "card_id": exchange.buy}, {}),
        ("rule.side", {"card_id": exchange.sell, "side": "buy"}, {}),
        ("filters.day", {"max_duration_s": 1}, {"day": "2027-02-30"}),
        ("filters.from", {"max_duration_s": 1}, {"day": None}),
        ("filters.day", {"max_duration_s": 1}, {"from": "2027-01-15T00:00:00Z"}),
        (
            "filters.to",
            {"max_duration_s": 1},
            {"day": None, "from": "2027-01-15T00:00:00Z", "to": "2027-01-14T00:00:00Z"},
        ),
        ("filters.prefix", {"max_duration_s": 1}, {"prefix": "4%"}),
        ("filters.customer_id", {"max_duration_s": 1}, {"customer_id": 99}),
    ]
    for path, rule, filters in bad:
        problem = await plane.post("/recalculations", asked(rule, **filters), status=400)
        assert problem["errors"][0]["path"] == path, problem
    for missing in ("", "/lines"):
        await plane.get(f"/recalculations/99{missing}", status=404)
    await plane.post("/recalculations/99/apply", None, status=404)


@pytest.mark.parametrize("stop", ["computing", "applying", "undoing"])
def test_a_large_one_that_was_cut_off_goes_on_where_it_was(
    tmp_path: Path,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    stop: Literal["computing", "applying", "undoing"],
) -> None:
    monkeypatch.setattr(recalculation_calls, "CALLS_A_STEP", 2)
    monkeypatch.setattr(recalculation_steps, "CALLS_A_STEP", 2)
    monkeypatch.setattr(recalculation_lines, "BOOKED_A_STEP", 2)

    async def run() -> None:
        async with running_control(tmp_path, database) as plane:
            exchange = await Exchange(plane).open()
            cdrs = [await exchange.call(7_200_000, cause="max_duration") for _ in range(7)]
            opening = await exchange.balance()
            if stop == "computing":
                monkeypatch.setattr(recalculation, "INLINE_S", -1.0)
            run = await preview(plane, {"max_duration_s": 3600})
            if stop == "computing":
                assert (run["state"], run["calls"], run["changed"]) == ("computing", 2, 2)
                await plane.post(f"/recalculations/{run['id']}/apply", None, status=409)
                await recalculation_steps.advance_all(plane.ctx)
                monkeypatch.setattr(recalculation, "INLINE_S", 60.0)
            assert (await plane.get(f"/recalculations/{run['id']}"))["state"] == "previewed"
            assert len(await lines(plane, run)) == 7
            if stop == "applying":
                monkeypatch.setattr(recalculation, "INLINE_S", -1.0)
            other = await preview(plane, {"max_duration_s": 1800})
            done = await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
            if stop == "applying":
                assert (done["state"], done["booked"]) == ("applying", 4)
                await plane.post(f"/recalculations/{other['id']}/apply", None, status=409)
                # Made while prices are on the move: what it says will not stand.
                early = await preview(plane, {"max_duration_s": 900})
                await recalculation_steps.advance_all(plane.ctx)
                await plane.post(f"/recalculations/{early['id']}/apply", None, status=409)
            assert await exchange.balance() == opening + 7 * 1_080_000_000
            if stop == "undoing":
                monkeypatch.setattr(recalculation, "INLINE_S", -1.0)
            back = await undone(plane, run)
            if stop == "undoing":
                assert (back["state"], back["changed"]) == ("computing", 2)
            await recalculation_steps.advance_all(plane.ctx)
            assert [await exchange.charged(cdr) for cdr in cdrs] == [2_160_000_000] * 7
            assert (await plane.get(f"/recalculations/{back['id']}"))["booked"] == 7

    asyncio.run(run())


@with_control
async def test_two_that_do_the_same_step_write_it_once(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    stuck = await exchange.call(7_200_000, cause="max_duration")
    new = RecalculationNew(filters=Filters(day=DAY), rule=Rule(max_duration_s=3600), reason="twice")
    run = await recalculation.create(plane.ctx, new)
    await asyncio.gather(*(recalculation.apply(plane.ctx, run.id) for _ in range(3)))
    await asyncio.gather(*(recalculation_steps.advance_all(plane.ctx) for _ in range(3)))
    assert await exchange.charged(stuck) == 1_080_000_000
    backs = await asyncio.gather(*(recalculation.undo(plane.ctx, run.id, UndoNew()) for _ in range(3)))
    assert {back.id for back in backs} == {backs[0].id}
    assert await exchange.charged(stuck) == 2_160_000_000


@with_control
async def test_one_that_cannot_be_done_fails_alone(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    await exchange.call(7_200_000, cause="max_duration")
    async with plane.store.begin() as tx:
        await tx.execute(tables.audit.insert().values(**_broken_version(exchange.sell)))
    problem = await plane.post("/recalculations", asked({"max_duration_s": 3600}), status=500)
    assert problem["status"] == 500
    await recalculation_steps.advance_all(plane.ctx)
    [run] = (await plane.get("/recalculations"))["items"]
    assert (run["state"], run["error"]) == ("failed", "KeyError: 'max_cost'")


def _broken_version(card: int) -> dict[str, Any]:
    who = {"actor_kind": "system", "actor_name": "nobody", "action": "update"}
    return {**who, "noun": "rate_card", "noun_id": str(card), "at_ms": 1, "after": '{"decimals": 4}'}


LONDON, LONDON_NEW = RateRow("4420", "London", 15_000_000, 1, 1), RateRow("44", "UK", 50_000_000, 60, 60)
DURATIONS_S = (4_000, 5_000, 90)
CAPS_S = (0, 60, 3_600, 4_500)

Step = tuple[Literal["cap", "card", "both", "undo"], int]


@given(st.lists(st.tuples(st.sampled_from(["cap", "card", "both", "undo"]), st.integers(0, 3)), max_size=8))
# Each example is a store of its own: what fails is short enough as it is found.
@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_a_call_costs_what_the_last_rule_in_force_says(steps: list[Step]) -> None:
    async def run(folder: Path) -> None:
        async with running_control(folder) as plane:
            exchange = await Exchange(plane).open()
            cdrs = [await exchange.call(seconds * 1000, cause="max_duration") for seconds in DURATIONS_S]
            revision = await exchange.load(exchange.sell, DEARER, activate=False)
            done: list[tuple[int, list[int | None]]] = []
            undone_ids: set[int] = set()
            for kind, place in steps:
                if kind == "undo":
                    if done:
                        run_id = done[place % len(done)][0]
                        await recalculation.undo(plane.ctx, run_id, UndoNew())
                        undone_ids.add(run_id)
                else:
                    cap = None if kind == "card" else CAPS_S[place]
                    rule = Rule(max_duration_s=cap, revision_id=None if kind == "cap" else revision)
                    new = RecalculationNew(filters=Filters(day=DAY), rule=rule, reason="again")
                    made = await recalculation.create(plane.ctx, new)
                    await recalculation.apply(plane.ctx, made.id)
                    done.append((made.id, [_expected(seconds, kind, cap) for seconds in DURATIONS_S]))
                in_force = [charges for run_id, charges in done if run_id not in undone_ids]
                for number, cdr in enumerate(cdrs):
                    own = _expected(DURATIONS_S[number], "cap", None)
                    assert await exchange.charged(cdr) == (in_force[-1][number] if in_force else own)
            assert await violations(plane) == []

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


def _expected(seconds: int, kind: str, cap_s: int | None) -> int:
    row = LONDON if kind == "cap" else LONDON_NEW
    talked_s = seconds if cap_s is None else min(seconds, cap_s)
    return price(Quote(row, Tariff(), 200_000), talked_s * 1000, 1).gross_nanos
