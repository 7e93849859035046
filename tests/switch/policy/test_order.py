"""Strategies: exact shares, turns, and prices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rating.rows import RateRow
from switch.policy.decide import decide
from switch.policy.live import Live
from switch.policy.tables import Tables
from switch.policy.verdicts import Plan
from switch.snapshot import IngressRoute, Provider, RateCard, Record, Revision
from tests.fakes.carrier import CENT, DEFAULT_RECORDS, SELL, carrier, invite, with_


def vendors(folder: Path, strategy: str, cards: list[tuple[int, int, int]]) -> Tables:
    """A carrier whose vendor cards 101, 102… have these (rate in cents, priority, weight)."""
    records: list[Record] = [*with_(DEFAULT_RECORDS, IngressRoute, 1, strategy=strategy)]
    decks: dict[str, tuple[RateRow, ...]] = {}
    ids = range(101, 101 + len(cards))
    for card_id, (rate, priority, weight) in zip(ids, cards, strict=True):
        decks[f"deck{card_id}"] = (RateRow("44", "UK", rate * CENT),)
        records.append(Provider(id=card_id, name=f"p{card_id}"))
        records.append(
            RateCard(
                id=card_id,
                name="b",
                direction="buy",
                provider_id=card_id,
                priority=priority,
                weight=weight,
                revisions=(Revision(id=card_id, path=f"deck{card_id}"),),
            )
        )
    # Given in the opposite order, so that nothing comes out right by standing right.
    return carrier(folder, with_(records, RateCard, SELL, vendor_card_ids=tuple(reversed(ids))), decks)


def order(tables: Tables, live: Live, is_simulated: bool = False) -> list[int]:
    plan = decide(tables, live, invite(), is_simulated)
    assert isinstance(plan, Plan)
    assert [candidate.card_id for candidate in plan.explanation] == [option.card.id for option in plan.options]
    return [option.card.id for option in plan.options]


def test_lcr_goes_by_price_then_priority_then_id(tmp_path: Path) -> None:
    tables = vendors(tmp_path, "lcr", [(3, 0, 1), (2, 5, 1), (2, 1, 1), (2, 1, 1), (1, 9, 1)])
    assert order(tables, Live()) == [105, 103, 104, 102, 101]


def test_priority_goes_by_priority_then_id_whatever_the_price(tmp_path: Path) -> None:
    tables = vendors(tmp_path, "priority", [(1, 7, 1), (9, 0, 1), (2, 3, 1), (1, 3, 1)])
    assert order(tables, Live()) == [102, 103, 104, 101]


def test_round_robin_gives_everyone_the_first_place_in_turn(tmp_path: Path) -> None:
    tables = vendors(tmp_path, "round_robin", [(1, 0, 1), (2, 0, 1), (3, 0, 1)])
    live = Live()
    assert [order(tables, live) for _ in range(4)] == [
        [101, 102, 103],
        [102, 103, 101],
        [103, 101, 102],
        [101, 102, 103],
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 9), min_size=2, max_size=5).filter(any))
def test_weighted_shares_are_exact_over_each_round(tmp_path: Path, weights: list[int]) -> None:
    tables = vendors(tmp_path, "weighted", [(1, 0, weight) for weight in weights])
    live = Live()
    for _ in range(2):
        firsts = Counter(order(tables, live)[0] for _ in range(sum(weights)))
        assert firsts == {101 + place: weight for place, weight in enumerate(weights) if weight}


def test_weighted_turns_are_spread_and_weight_0_comes_last(tmp_path: Path) -> None:
    tables = vendors(tmp_path, "weighted", [(1, 0, 0), (1, 0, 1), (1, 0, 3)])
    live = Live()
    orders = [order(tables, live) for _ in range(8)]
    assert [ids[0] for ids in orders] == [103, 102, 103, 103, 103, 102, 103, 103]
    assert all(sorted(ids) == [101, 102, 103] and ids[-1] == 101 for ids in orders)


def test_weights_of_nothing_at_all_go_by_priority(tmp_path: Path) -> None:
    tables = vendors(tmp_path, "weighted", [(1, 2, 0), (1, 1, 0)])
    assert order(tables, Live()) == [102, 101]


@pytest.mark.parametrize("strategy", ["lcr", "priority", "weighted", "round_robin"])
def test_a_simulation_turns_nothing(tmp_path: Path, strategy: str) -> None:
    cards = [(1, 0, 2), (1, 0, 3), (1, 0, 1)]
    tables = vendors(tmp_path, strategy, cards)
    plain, disturbed = Live(), Live()
    for _ in range(7):
        expected = order(tables, disturbed, is_simulated=True)
        assert order(tables, disturbed, is_simulated=True) == expected
        assert order(tables, plain) == order(tables, disturbed) == expected
