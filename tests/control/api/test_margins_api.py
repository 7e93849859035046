"""Margins and losses as the API and their callers see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from control.services import margins
from control.services.margins import LARGE_MAX
from control.store import tables
from rating.rows import RateRow
from switch.records import Candidate
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.priced_cards import CENT, make_cards, make_revision
from tests.fakes.stored_calls import store_calls, stored_call

SOLD = (RateRow("44", "United Kingdom", 6 * CENT), RateRow("49", "Germany", 9 * CENT))
BOUGHT = (RateRow("44", "UK", 5 * CENT), RateRow("447", "UK mobile", 5 * CENT), RateRow("49", "DE", 2 * CENT))


async def _margin(plane: ControlPlane, query: str, status: int = 200) -> Any:
    return await plane.get(f"/margins?{query}", status=status, role="read-only")


@with_control
async def test_a_pair_is_priced_for_one_destination(plane: ControlPlane) -> None:
    cards = await make_cards(plane, SOLD, (RateRow("44", "UK", 5 * CENT, 60, 60),))
    query = f"sell_card={cards.sell}&buy_card={cards.buy}&prefix=442079460000"
    shown = await _margin(plane, f"{query}&max_duration_s=120")
    assert (shown["worst_margin"], shown["worst_at_s"]) == ("-0.049", 1)
    assert shown["losing"] == [{"from_s": 1, "to_s": 49}, {"from_s": 61, "to_s": 99}]
    assert (shown["losing_ranges"], shown["losing_lengths"]) == (2, 88)
    assert (shown["sell"]["prefix"], shown["sell"]["rate"], shown["buy"]["first_s"]) == ("44", "0.06", 60)
    assert shown["expected"] == []
    long = await _margin(plane, query)
    assert (len(long["losing"]), long["losing_ranges"]) == (5, 5)


@with_control
async def test_a_route_that_knows_its_calls_says_what_it_would_earn(plane: ControlPlane) -> None:
    cards = await make_cards(plane, SOLD, (RateRow("44", "UK", 5 * CENT, 60, 60),))
    body = {"customer_id": cards.customer, "rate_card_id": cards.sell, "name": "call centre"}
    route = await plane.post("/ingress-routes", body)
    other = await plane.post("/ingress-routes", {**body, "name": "elsewhere", "exclude_cards": [cards.buy]})
    async with plane.store.begin() as tx:
        await tx.execute(update(tables.ingress_routes).values(durations=[[5, 90], [600, 10]]))
    shown = await _margin(plane, f"sell_card={cards.sell}&buy_card={cards.buy}&prefix=44")
    wanted = {"route_id": route["id"], "name": "call centre", "calls": 100, "margin": "-0.0305"}
    assert shown["expected"] == [wanted]
    assert other["id"] != route["id"]


@with_control
async def test_what_cannot_be_compared_is_refused_in_words(plane: ControlPlane) -> None:
    cards = await make_cards(plane, SOLD)
    query = f"sell_card={cards.sell}&buy_card={cards.buy}&prefix=44"
    assert "no active revision" in (await _margin(plane, query, 409))["detail"]
    await make_revision(plane, cards.buy, *BOUGHT)
    await _margin(plane, query)
    problem = await _margin(plane, f"sell_card={cards.buy}&buy_card={cards.sell}&prefix=44", 400)
    assert problem["errors"][0]["path"] == "sell_card"
    problem = await _margin(plane, f"sell_card={cards.sell}&buy_card={cards.buy}&prefix=33", 400)
    assert problem["errors"][0]["path"] == "prefix"
    await _margin(plane, f"{query}&buy_revision=99", 404)
    await _margin(plane, f"sell_card=99&buy_card={cards.buy}&prefix=44", 404)


@with_control
async def test_a_proposed_buy_revision_shows_which_customer_card_it_would_sink(plane: ControlPlane) -> None:
    cards = await make_cards(plane, SOLD, BOUGHT)
    await plane.make_sell_card(name="Untied")
    dearer = (RateRow("44", "UK", 5 * CENT), RateRow("447", "UK mobile", 8 * CENT), RateRow("49", "DE", 2 * CENT))
    proposed = await make_revision(plane, cards.buy, *dearer, is_active=False)
    shown = await plane.get(f"/rate-cards/{cards.buy}/revisions/{proposed}/losses", role="read-only")
    assert (shown["compared"], shown["losing"], shown["newly_losing"], shown["more"]) == (3, 1, 1, 0)
    (loss,) = shown["items"]
    assert (loss["prefix"], loss["sell_card"], loss["buy_card"]) == ("447", "Retail", "Vendor One prices")
    assert (loss["sell_revision_id"], loss["buy_revision_id"], loss["is_new"]) == (1, proposed, True)
    assert loss["buy_rate"] == "0.08"
    # Once it is in force the same destination loses, and nothing about it is new.
    await plane.post(f"/rate-cards/{cards.buy}/revisions/{proposed}/activate", {}, status=200)
    plane.clock.ms += 1
    shown = await plane.get(f"/rate-cards/{cards.buy}/revisions/{proposed}/losses")
    assert (shown["losing"], shown["newly_losing"]) == (1, 0)
    shown = await plane.get(f"/rate-cards/{cards.buy}/revisions/{proposed}/losses?only_new=true&limit=1")
    assert (shown["losing"], shown["items"], shown["more"]) == (1, [], 0)


@with_control
async def test_a_proposed_sell_revision_is_held_against_the_cards_it_leaves_through(plane: ControlPlane) -> None:
    cards = await make_cards(plane, SOLD, BOUGHT)
    proposed = await make_revision(plane, cards.sell, RateRow("4", "Europe", 4 * CENT), is_active=False)
    shown = await plane.get(f"/rate-cards/{cards.sell}/revisions/{proposed}/losses")
    assert {(loss["prefix"], loss["sell_prefix"]) for loss in shown["items"]} == {("44", "4"), ("447", "4")}
    shown = await plane.get(f"/rate-cards/{cards.sell}/revisions/{proposed}/losses?with_card={cards.buy}")
    assert shown["losing"] == 2
    shown = await plane.get(f"/rate-cards/{cards.sell}/revisions/{proposed}/losses?with_card=99")
    assert (shown["compared"], shown["not_compared"]) == (0, [])
    await plane.patch(f"/rate-cards/{cards.buy}", {"enabled": False})
    shown = await plane.get(f"/rate-cards/{cards.sell}/revisions/{proposed}/losses")
    assert (shown["compared"], shown["items"]) == (0, [])
    await plane.get(f"/rate-cards/{cards.buy}/revisions/{proposed}/losses", status=404)


@with_control
async def test_a_large_deck_is_compared_in_a_process_of_its_own(plane: ControlPlane) -> None:
    cards = await make_cards(plane, SOLD, (RateRow("4", "Europe", 5 * CENT),))
    rows = [RateRow(f"44{number:05d}", "", (5 + number % 2 * 2) * CENT) for number in range(21_000)]
    proposed = await make_revision(plane, cards.buy, *rows, is_active=False)
    shown = await plane.get(f"/rate-cards/{cards.buy}/revisions/{proposed}/losses?limit=2")
    assert (shown["compared"], shown["losing"], shown["more"]) == (21_000, 10_500, 10_498)
    assert [loss["prefix"] for loss in shown["items"]] == ["4400001", "4400003"]
    path = f"/rate-cards/{cards.buy}/revisions/{proposed}/losses?limit=1"
    # Each takes a processor for a while: there are never many at once.
    others = [object() for _ in range(LARGE_MAX)]
    margins._large.update(others)
    await plane.get(path, status=409)
    margins._large.difference_update(others)
    await plane.get(path)


@with_control
async def test_a_price_list_is_held_against_customer_cards_before_it_is_loaded(plane: ControlPlane) -> None:
    cards = await make_cards(plane, SOLD, BOUGHT)
    text = "prefix,name,rate\n44,UK,0.05\n447,UK mobile,0.07\n49,Germany,0.10\n"
    path = f"/rate-cards/{cards.buy}/revisions"
    headers = {"Content-Type": "text/csv"}
    answer = await plane.request(
        "POST", f"{path}?dry_run=true&losses=true", status=200, content=text.encode(), headers=headers
    )
    shown = answer.json()
    assert shown["revision"] is None
    assert shown["diff"] is None
    assert [(loss["prefix"], loss["buy_revision_id"]) for loss in shown["losses"]["items"]] == [("447", 0), ("49", 0)]
    # Put in force at once, it is still compared with what was in force before.
    answer = await plane.request(
        "POST", f"{path}?activate=true&losses=true", status=201, content=text.encode(), headers=headers
    )
    assert answer.json()["losses"]["newly_losing"] == 2
    dated = b"prefix,name,rate,valid_from\n44,UK,0.07,2027-02-01\n"
    query = "dry_run=true&losses=true"
    answer = await plane.request("POST", f"{path}?{query}", status=200, content=dated, headers=headers)
    assert (answer.json()["losses"]["items"], answer.json()["losses"]["prices_change"]) == (
        [],
        ["2027-02-01T00:00:00Z"],
    )
    query += "&losses_at=2027-02-01T00:00:00Z"
    answer = await plane.request("POST", f"{path}?{query}", status=200, content=dated, headers=headers)
    assert [loss["prefix"] for loss in answer.json()["losses"]["items"]] == ["44"]
    answer = await plane.request("POST", f"{path}?dry_run=true", status=200, content=text.encode(), headers=headers)
    assert answer.json()["losses"] is None


@with_control
async def test_calls_that_a_margin_kept_from_a_vendor_are_found(plane: ControlPlane) -> None:
    lossy = Candidate(5, 3, "margin", 70_000_000, -10_000_000, "at 1 s")
    # A detail that says the word is no reason; neither is another reason.
    named = Candidate(6, 3, "unhealthy", 0, 0, 'gateway 1: ,"margin",')
    taken = Candidate(7, 4, "taken", 10_000_000, 50_000_000, "gateway 2")
    await store_calls(
        plane.ctx,
        [
            stored_call(1, explanation=[taken, lossy]),
            stored_call(2, explanation=[taken, named]),
            stored_call(3, is_answered=False, explanation=[lossy], cause="no_margin", status=503),
        ],
    )
    found = await plane.get("/cdrs?skipped=margin", role="read-only")
    assert {item["id"][-1] for item in found["items"]} == {"1", "3"}
    found = await plane.get("/cdrs?skipped=margin&cause=no_margin")
    assert [item["id"][-1] for item in found["items"]] == ["3"]
    assert found["items"][0]["explanation"][0]["margin"] == "-0.01"
    assert (await plane.get("/cdrs?skipped=taken", status=400))["errors"][0]["path"] == "skipped"
    exported = (await plane.request("GET", "/cdrs.jsonl?skipped=unhealthy", status=200)).text
    assert len(exported.splitlines()) == 1
