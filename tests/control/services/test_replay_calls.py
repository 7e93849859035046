"""Calls that a real engine carried, decided again: the same without changes, otherwise as proposed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from control.services.replay_calls import Changes, DeckChange, Outcome, Replayer, RouteChange
from control.services.replay_sums import ReplaySums, is_same
from rating.decks import compile_deck
from rating.rows import RateRow
from switch.policy.causes import Cause
from switch.records import Candidate, Cdr
from switch.snapshot import Customer, Endpoint, Gateway, IngressRoute, Provider, RateCard, Record
from tests.fakes.carrier import CENT, DEAR, DEFAULT_RECORDS, SELL, with_
from tests.fakes.carrier import CHEAP as CHEAP_CARD
from tests.fakes.cdrs import make_attempt
from tests.fakes.stored_calls import past_call, stored_call
from tests.fakes.world import World

DECKS = {
    "sell": (
        RateRow("44", "United Kingdom", 5 * CENT, 30, 6),
        RateRow("4420", "London", 4 * CENT, connect_fee_nanos=CENT),
        RateRow("44900", "UK premium", 90 * CENT, is_blocked=True),
    ),
    "cheap": (RateRow("44", "UK", 2 * CENT, 60, 60), RateRow("4479", "UK Jersey", 9 * CENT)),
    "dear": (RateRow("44", "UK", 3 * CENT, 1, 1),),
}
NUMBERS = ("442079460000", "447911123456", "447700900123", "449001234567", "33123456789", "12")
BEHAVIOURS = ((100, 180, 200), (100, 180, 200), (180, 200), (200,), (503,), (486,), (404,), (500,), (100,), ())
NO_CHANGES = Changes()


def replayer(folder: Path, records: Iterable[Record], changes: Changes = NO_CHANGES) -> Replayer:
    return Replayer(tuple(records), folder, changes, 14_400)


def carried(folder: Path, records: tuple[Record, ...], seed: int, calls: int = 25) -> list[Cdr]:
    """CDRs of random calls through an engine: answered, failed over, busy, unanswered, refused."""
    rng = Random(seed)
    world = World(folder, records=records, decks=DECKS, seed=seed)
    for _ in range(calls):
        world.cheap.behaviour = rng.choice(BEHAVIOURS)
        world.dear.behaviour = rng.choice(BEHAVIOURS)
        world.caller.invite(number=rng.choice(NUMBERS))
        world.run_for(rng.choice((0.2, 5.3, 200.0)))
        if 200 in world.caller.statuses():
            world.caller.ack()
            world.run_for(rng.choice((0.0, 0.4, 29.7, 61.0, 100.2)))
            world.caller.bye()
        elif not any(status >= 300 for status in world.caller.statuses()):
            world.caller.cancel()
        world.run_for(70.0)
        world.caller.received.clear()
    return world.cdrs


ROUTES: list[dict[str, Any]] = [
    {"strategy": "lcr"},
    {"strategy": "priority", "profit_mode": "rate"},
    {"strategy": "round_robin"},
    {"strategy": "weighted", "profit_mode": "worst_case"},
    {"strategy": "lcr", "profit_mode": "expected", "durations": ((5, 20), (100, 20)), "exclude_cards": (CHEAP_CARD,)},
    {"strategy": "lcr", "vendor_capped_rate_nanos": 5 * CENT, "lock_cards": (CHEAP_CARD,)},
    {"strategy": "lcr", "capped_rate_nanos": 4 * CENT, "max_duration_s": 60},
]


@pytest.mark.parametrize("route", ROUTES)
def test_without_changes_every_call_is_as_it_was(tmp_path: Path, route: dict[str, Any]) -> None:
    records = with_(DEFAULT_RECORDS, IngressRoute, 1, **route)
    records = with_(records, Customer, 1, tax_ppm=200_000, debit_limit_nanos=10**13)
    records = with_(records, RateCard, DEAR, weight=3, priority=-1)
    cdrs = carried(tmp_path, records, seed=len(str(route)))
    sums = ReplaySums({})
    again = replayer(tmp_path, records)
    # From the middle on, as a rotation stood then and stands nowhere written.
    for number, cdr in enumerate(cdrs[len(cdrs) // 2 :] + cdrs[: len(cdrs) // 2 - 1]):
        call = past_call(cdr, number)
        found = again.replay(call)
        assert is_same(found.before, found.after), (cdr, found)
        sums.add(call, found)
    result = sums.result([])
    assert (result.calls, result.changed, result.moves) == (len(cdrs) - 1, 0, [])
    assert result.refused_before == result.refused_after
    (total,) = result.totals
    assert set(msgspec.structs.astuple(total.difference)) == {"0"}
    assert total.before == total.after
    # It was worth the trouble: there were answered calls and refused ones.
    assert total.before.answered > 0
    assert result.refused_before
    assert any(len(cdr.attempts) > 1 for cdr in cdrs) or route.get("lock_cards") or route.get("exclude_cards")


ANSWERED = make_attempt(
    card_id=CHEAP_CARD, revision_id=12, rate_nanos=2 * CENT, started_ms=1, answered_ms=2, ended_ms=3
)


def decks_in(folder: Path, **more: tuple[RateRow, ...]) -> None:
    for name, rows in {**DECKS, "sell": (RateRow("44", "UK", 5 * CENT),), **more}.items():
        compile_deck(rows, folder / name)


def outcome(folder: Path, cdr: Cdr, changes: Changes, records: tuple[Record, ...] = DEFAULT_RECORDS) -> Outcome:
    return replayer(folder, records, changes).replay(past_call(cdr)).after


def deck_change(card_id: int, path: str) -> Changes:
    return Changes(decks=(DeckChange(card_id=card_id, revision_id=99, path=path),))


def route_change(route_id: int | None = None, **fields: str | int | None) -> Changes:
    return Changes(routes=(RouteChange(route_id=route_id, fields=fields),))


def test_a_dearer_vendor_deck_sends_calls_elsewhere(tmp_path: Path) -> None:
    decks_in(tmp_path, proposed=(RateRow("44", "UK", 4 * CENT),))
    cdr = stored_call(1, 60_000, attempts=[ANSWERED], cost_nanos=2 * CENT, net_nanos=5 * CENT, gross_nanos=5 * CENT)
    as_it_was = outcome(tmp_path, cdr, NO_CHANGES)
    assert (as_it_was.card_id, as_it_was.net_nanos, as_it_was.cost_nanos) == (CHEAP_CARD, 5 * CENT, 2 * CENT)
    moved = outcome(tmp_path, cdr, deck_change(CHEAP_CARD, "proposed"))
    assert (moved.card_id, moved.provider_id, moved.cost_nanos) == (DEAR, 2, 3 * CENT)
    # A vendor who is known to have failed that call does not get it now.
    failed = msgspec.structs.replace(ANSWERED, provider_id=2, card_id=DEAR, answered_ms=None, status=503)
    tried = msgspec.structs.replace(cdr, attempts=(failed, ANSWERED))
    assert outcome(tmp_path, tried, deck_change(CHEAP_CARD, "proposed")).card_id == CHEAP_CARD
    # Nor one whose gateways could take no call at that moment.
    busy = msgspec.structs.replace(cdr, explanation=(Candidate(DEAR, 2, "channels"), Candidate(CHEAP_CARD, 1, "taken")))
    assert outcome(tmp_path, busy, deck_change(CHEAP_CARD, "proposed")).card_id == CHEAP_CARD


def test_a_proposed_sell_deck_prices_and_refuses(tmp_path: Path) -> None:
    decks_in(tmp_path, dearer=(RateRow("44", "UK", 7 * CENT),), narrower=(RateRow("33", "France", CENT),))
    cdr = stored_call(1, 60_000, attempts=[ANSWERED])
    assert outcome(tmp_path, cdr, deck_change(SELL, "dearer")).net_nanos == 7 * CENT
    refused = outcome(tmp_path, cdr, deck_change(SELL, "narrower"))
    assert (refused.cause, refused.net_nanos, refused.card_id) == (Cause.NO_SELL_RATE.value, 0, None)


def test_limits_profit_modes_and_strategies_are_proposed_for_one_route_or_all(tmp_path: Path) -> None:
    decks_in(tmp_path)
    cdr = stored_call(1, 60_000, attempts=[ANSWERED])
    assert outcome(tmp_path, cdr, route_change(capped_rate_nanos=4 * CENT)).cause == "destination_blocked"
    assert outcome(tmp_path, cdr, route_change(2, capped_rate_nanos=4 * CENT)).cause == ""
    assert outcome(tmp_path, cdr, route_change(1, vendor_capped_rate_nanos=0)).cause == "no_vendor"
    capped = with_(DEFAULT_RECORDS, IngressRoute, 1, capped_rate_nanos=1)
    assert outcome(tmp_path, cdr, NO_CHANGES, capped).cause == "destination_blocked"
    assert outcome(tmp_path, cdr, route_change(capped_rate_nanos=None), capped).cause == ""
    # Bought by whole minutes, short calls lose: the finer vendor is left.
    assert outcome(tmp_path, cdr, route_change(profit_mode="worst_case")).card_id == DEAR
    # One that is proposed for the route itself comes after the one for all.
    both = Changes(
        routes=(
            RouteChange(route_id=1, fields={"profit_mode": "off"}),
            RouteChange(route_id=None, fields={"profit_mode": "worst_case"}),
        )
    )
    assert outcome(tmp_path, cdr, both).card_id == CHEAP_CARD
    preferred = with_(DEFAULT_RECORDS, RateCard, DEAR, priority=-1)
    assert outcome(tmp_path, cdr, route_change(strategy="priority"), preferred).card_id == DEAR


def test_a_rotation_that_is_proposed_turns_from_call_to_call(tmp_path: Path) -> None:
    decks_in(tmp_path)
    again = replayer(tmp_path, DEFAULT_RECORDS, route_change(strategy="round_robin"))
    calls = [past_call(stored_call(n, 60_000, attempts=[ANSWERED])) for n in range(4)]
    assert [again.replay(call).after.card_id for call in calls] == [CHEAP_CARD, DEAR, CHEAP_CARD, DEAR]


def test_what_the_moment_decided_is_left_as_it_was(tmp_path: Path) -> None:
    decks_in(tmp_path)
    again = replayer(tmp_path, DEFAULT_RECORDS, route_change(capped_rate_nanos=0))
    for cause in ("cps_exceeded", "balance_insufficient", "draining", "cancelled"):
        found = again.replay(past_call(stored_call(1, is_answered=False, cause=cause, status=503)))
        assert found.is_kept
        assert found.before == found.after
    found = again.replay(past_call(stored_call(1, is_answered=False, cause="no_margin", status=503)))
    assert not found.is_kept
    assert (found.before.cause, found.after.cause) == ("no_margin", "destination_blocked")


def test_a_call_that_was_refused_is_admitted_and_brings_nothing(tmp_path: Path) -> None:
    decks_in(tmp_path)
    call = past_call(stored_call(1, is_answered=False, cause="no_margin", status=503))
    found = replayer(tmp_path, DEFAULT_RECORDS).replay(call)
    assert (found.before.cause, found.after.cause) == ("no_margin", "")
    assert (found.after.card_id, found.after.net_nanos) == (CHEAP_CARD, 0)
    sums = ReplaySums({1: "Cheapline"})
    sums.add(call, found)
    result = sums.result([])
    assert (result.newly_admitted, result.newly_refused, result.changed) == ({"no_margin": 1}, {}, 1)
    assert (result.totals[0].before.admitted, result.totals[0].after.admitted, result.totals[0].after.answered) == (
        0,
        1,
        0,
    )


def test_callers_by_address_v6_and_by_user_are_found_again(tmp_path: Path) -> None:
    decks_in(tmp_path)
    six = stored_call(1, attempts=[ANSWERED], source="[2001:db8::1]:5060")
    records = with_(DEFAULT_RECORDS, Endpoint, 1, host="2001:db8::/32")
    assert outcome(tmp_path, six, NO_CHANGES, records).cause == ""
    assert outcome(tmp_path, six, NO_CHANGES).cause == "source_unknown"
    user = stored_call(1, attempts=[ANSWERED], source="203.0.113.77:5060", sip_user_id=1, endpoint_id=None)
    assert outcome(tmp_path, user, NO_CHANGES).cause == ""
    gone = stored_call(1, attempts=[ANSWERED], sip_user_id=2, endpoint_id=None)
    assert outcome(tmp_path, gone, NO_CHANGES).cause == "source_unknown"


def test_a_vendor_without_a_gateway_gets_no_call(tmp_path: Path) -> None:
    decks_in(tmp_path)
    records = with_(DEFAULT_RECORDS, Gateway, 2, enabled=False)
    records = with_(records, Provider, 1, enabled=False)
    cdr = stored_call(1, attempts=[ANSWERED])
    assert outcome(tmp_path, cdr, NO_CHANGES, records).cause == "no_vendor"
