"""Prices of the past: what was in force when, through activations, schedules and roll-backs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.services import revisions
from control.services.fields import ms_moment
from control.services.revision_history import Activation, revisions_between, timeline
from rating.rows import RateRow
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.priced_cards import CENT, make_cards, make_revision

DAY_MS = 86_400_000


@st.composite
def activations(draw: st.DrawFn) -> list[Activation]:
    found = []
    for number in range(draw(st.integers(0, 6))):
        begun = draw(st.integers(0, 50))
        cancelled = draw(st.none() | st.integers(0, 60))
        found.append(Activation(number, draw(st.integers(1, 3)), "p", begun, cancelled))
    return found


@given(activations(), st.integers(0, 60), st.integers(0, 60))
def test_the_timeline_says_at_each_moment_what_counted_last(
    activations: list[Activation], from_ms: int, length_ms: int
) -> None:
    found = timeline(activations, from_ms, from_ms + length_ms)
    assert [each.active_from_ms for each in found] == sorted({each.active_from_ms for each in found})
    held = 0
    for at_ms in range(from_ms, from_ms + length_ms + 1):
        counting = [each for each in activations if each.counts_at(at_ms)]
        if counting:
            held = max(counting, key=lambda each: (each.active_from_ms, each.id)).revision_id
        shown = [each.id for each in found if each.active_from_ms <= at_ms]
        assert (shown[-1] if shown else 0) == held


@with_control
async def test_a_revision_that_was_rolled_back_counted_until_then(plane: ControlPlane) -> None:
    cards = await make_cards(plane, (RateRow("44", "UK", 6 * CENT),))
    plane.clock.ms += DAY_MS
    await make_revision(plane, cards.sell, RateRow("44", "UK", 9 * CENT))
    plane.clock.ms += DAY_MS
    await revisions.roll_back(plane.ctx, cards.sell)
    async with plane.store.read() as tx:
        found = (await revisions_between(tx, START_MS, plane.clock.ms))[cards.sell]
        assert [(each.id, each.active_from_ms - START_MS) for each in found] == [(1, 0), (2, DAY_MS), (1, 2 * DAY_MS)]
        before = await revisions_between(tx, START_MS - 1, START_MS - 1)
        assert cards.sell not in before


@with_control
async def test_a_past_call_is_simulated_and_priced_by_what_was_in_force_then(plane: ControlPlane) -> None:
    cards = await make_cards(plane, (RateRow("44", "UK", 6 * CENT),), (RateRow("44", "UK", 5 * CENT),))
    endpoint = {"customer_id": cards.customer, "direction": "egress", "host": "192.0.2.10"}
    await plane.post("/endpoints", endpoint)
    await plane.post("/gateways", {"provider_id": cards.provider, "host": "198.51.100.1"})
    await plane.post("/ingress-routes", {"customer_id": cards.customer, "rate_card_id": cards.sell})
    plane.clock.ms += DAY_MS
    dear = await make_revision(plane, cards.sell, RateRow("44", "UK", 9 * CENT))
    plane.clock.ms += DAY_MS
    await revisions.roll_back(plane.ctx, cards.sell)
    plane.clock.ms += DAY_MS
    # The switch is not asked: it has forgotten what was in force then.
    plane.switch.is_connected = False
    for day, revision, rate in ((0.5, 1, "0.06"), (1.5, dear, "0.09"), (2.5, 1, "0.06")):
        at = ms_moment(START_MS + int(day * DAY_MS)).isoformat()
        body = {"dialled": "442079460000", "source_ip": "192.0.2.10", "at": at}
        shown = await plane.post("/simulate", body, status=200, role="read-only")
        assert (shown["is_admitted"], shown["sell_revision_id"], shown["sell_rate"]) == (True, revision, rate)
        assert [(c["card_id"], c["outcome"]) for c in shown["candidates"]] == [(cards.buy, "taken")]
        assert shown["steps"][0].startswith("as of 2027-01-1")
        priced = await plane.post(
            f"/rate-cards/{cards.sell}/price", {"number": "442079460000", "duration_ms": 60_000, "at": at}, status=200
        )
        assert (priced["revision_id"], priced["rate"]) == (revision, rate)
    body = {"dialled": "442079460000", "source_ip": "192.0.2.10", "at": ms_moment(START_MS - DAY_MS).isoformat()}
    shown = await plane.post("/simulate", body, status=200)
    assert (shown["is_admitted"], shown["cause"]) == (False, "no_sell_rate")
    # What is to come only the switch knows whole: who is calling, and which gateways answer.
    plane.switch.is_connected = True
    body["at"] = ms_moment(plane.clock.ms + DAY_MS).isoformat()
    await plane.post("/simulate", body, status=200)
    assert plane.switch.asked[0]["at_ms"] == plane.clock.ms + DAY_MS
