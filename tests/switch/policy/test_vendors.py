"""Gateways, number formats, and which answers go on to the next vendor."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switch.policy.decide import decide
from switch.policy.live import GATEWAY, PROVIDER, Live, layer_key
from switch.policy.tables import Tables
from switch.policy.vendors import choose_gateway, follows, number_for
from switch.policy.verdicts import Option, Plan, Skip
from switch.snapshot import Delta, Gateway, Provider, Record
from tests.fakes.carrier import DEFAULT_RECORDS, NOW_MS, carrier, invite, with_


def cheap_option(tables: Tables) -> Option:
    plan = decide(tables, Live(), invite())
    assert isinstance(plan, Plan)
    assert plan.options[0].provider.id == 1
    return plan.options[0]


def gateways(*gateways: Gateway) -> tuple[Record, ...]:
    """The default carrier with these gateways in place of its own."""
    return (*[record for record in DEFAULT_RECORDS if not isinstance(record, Gateway)], *gateways)


def choose(
    tables: Tables, live: Live, now_s: float = 0.0, tried: set[int] | None = None, seed: int = 1, **options: bool
) -> Gateway | Skip:
    return choose_gateway(tables, live, cheap_option(tables), now_s, NOW_MS, Random(seed), tried or set(), **options)


def chosen_id(found: Gateway | Skip) -> int:
    assert isinstance(found, Gateway), (found.reason, found.detail)
    return found.id


def why_skipped(found: Gateway | Skip) -> str:
    assert isinstance(found, Skip), found
    return found.reason


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(any))
def test_every_ticket_of_the_sum_of_weights_is_one_gateways(tmp_path: Path, weights: list[int]) -> None:
    class Tickets(Random):
        """Draws 0, 1, 2, … in turn: over one round each ticket once."""

        drawn = 0

        def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
            assert start == sum(weights)
            self.drawn += 1
            return (self.drawn - 1) % start

    tables = carrier(
        tmp_path, gateways(*[Gateway(id=n, provider_id=1, host="h", weight=w) for n, w in enumerate(weights)])
    )
    option, live, rng = cheap_option(tables), Live(), Tickets()
    found = Counter(
        chosen_id(choose_gateway(tables, live, option, 0.0, NOW_MS, rng, set())) for _ in range(sum(weights))
    )
    assert found == {n: w for n, w in enumerate(weights) if w}


def test_weight_0_is_drawn_only_where_no_other_is_left(tmp_path: Path) -> None:
    tables = carrier(
        tmp_path, gateways(*[Gateway(id=n, provider_id=1, host="h", weight=w) for n, w in ((1, 0), (2, 1), (3, 0))])
    )
    assert {chosen_id(choose(tables, Live(), seed=seed)) for seed in range(20)} == {2}
    assert {chosen_id(choose(tables, Live(), seed=seed, tried={2})) for seed in range(20)} == {1, 3}


def test_a_gateway_that_was_tried_is_not_drawn_again(tmp_path: Path) -> None:
    tables = carrier(tmp_path, gateways(*[Gateway(id=n, provider_id=1, host="h") for n in (1, 2)]))
    assert chosen_id(choose(tables, Live(), tried={1})) == 2
    assert why_skipped(choose(tables, Live(), tried={1, 2})) == "disabled"


@pytest.mark.parametrize(
    "records",
    [
        gateways(),
        gateways(Gateway(id=1, provider_id=1, host="h", enabled=False)),
        gateways(Gateway(id=1, provider_id=2, host="h")),
    ],
)
def test_a_vendor_without_an_enabled_gateway_is_skipped(tmp_path: Path, records: tuple[Record, ...]) -> None:
    assert why_skipped(choose(carrier(tmp_path, records), Live())) == "disabled"


def test_a_vendor_that_was_switched_off_since_the_decision_gets_no_call(tmp_path: Path) -> None:
    tables = carrier(tmp_path)
    option = cheap_option(tables)
    tables.apply(Delta(version=2, put=(Provider(id=1, name="Cheapline", enabled=False),)))
    assert why_skipped(choose_gateway(tables, Live(), option, 0.0, NOW_MS, Random(1), set())) == "disabled"


def test_a_gateway_that_is_down_or_rests_is_passed_over_for_its_sister(tmp_path: Path) -> None:
    tables = carrier(tmp_path, gateways(*[Gateway(id=n, provider_id=1, host="h", probe=True) for n in (1, 2)]))
    live = Live()
    live.health_of(1).probe_failed("no answer", NOW_MS, 1)
    assert {chosen_id(choose(tables, live, seed=seed)) for seed in range(20)} == {2}
    live.health_of(2).rest(30.0, 100.0)
    assert chosen_id(choose(tables, live, 130.0)) == 2
    found = choose(tables, live, 129.0)
    assert isinstance(found, Skip)
    assert (found.reason, found.detail) == ("unhealthy", "gateway 2: Retry-After, 1 s left")


def test_a_gateway_that_is_not_probed_any_more_is_not_down(tmp_path: Path) -> None:
    tables = carrier(tmp_path)
    live = Live()
    live.health_of(1).probe_failed("no answer", NOW_MS, 1)
    assert chosen_id(choose(tables, live)) == 1


def test_channels_of_vendor_and_gateway_count(tmp_path: Path) -> None:
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, Gateway, 1, channels=2))
    live = Live()
    live.enter(layer_key(GATEWAY, 1), "a")
    assert chosen_id(choose(tables, live)) == 1
    live.enter(layer_key(GATEWAY, 1), "b")
    assert why_skipped(choose(tables, live)) == "channels"
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, Provider, 1, channels=1))
    live = Live()
    live.enter(layer_key(PROVIDER, 1), "a")
    assert why_skipped(choose(tables, live)) == "channels"


@pytest.mark.parametrize(("kind", "record_id"), [(Provider, 1), (Gateway, 1)])
def test_call_rates_of_vendor_and_gateway_are_exact_and_simulations_take_nothing(
    tmp_path: Path, kind: type, record_id: int
) -> None:
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, kind, record_id, flow_speed_cps=5.0))
    live = Live()
    for _ in range(20):
        assert isinstance(choose(tables, live, is_simulated=True), Gateway)
    found = [choose(tables, live) for _ in range(20)]
    assert sum(isinstance(each, Gateway) for each in found) == 5
    assert why_skipped(found[-1]) == "cps"
    assert why_skipped(choose(tables, live, is_simulated=True)) == "cps"
    assert chosen_id(choose(tables, live, 0.2)) == 1


def test_a_vendors_token_is_not_spent_where_no_gateway_can_take_the_call(tmp_path: Path) -> None:
    records = with_(with_(DEFAULT_RECORDS, Provider, 1, flow_speed_cps=1.0), Gateway, 1, flow_speed_cps=0.0)
    tables = carrier(tmp_path, records)
    live = Live()
    assert why_skipped(choose(tables, live)) == "cps"
    assert live.buckets.may_take(layer_key(PROVIDER, 1), 1.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({}, "442079460000"),
        ({"number_format": "plus"}, "+442079460000"),
        ({"number_format": "00"}, "00442079460000"),
        ({"number_format": "011"}, "011442079460000"),
        ({"tech_prefix": "88#"}, "88#442079460000"),
        ({"tech_prefix": "88", "number_format": "plus"}, "88+442079460000"),
    ],
)
def test_the_number_leaves_in_the_vendors_form(changes: dict[str, str], number: str) -> None:
    provider = Provider(id=1, name="p", **changes)  # type: ignore[arg-type]
    assert number_for(provider, "442079460000") == number


@pytest.mark.parametrize("status", [0, 408, 500, 501, 502, 503, 504, 599])
def test_these_go_on_to_the_next_vendor(status: int) -> None:
    assert follows(Provider(id=1, name="p"), status) == "next"


@pytest.mark.parametrize("status", [200, 202, 300, 302, 401, 403, 404, 407, 410, 480, 484, 486, 487, 488, 600, 603])
def test_these_stop(status: int) -> None:
    assert follows(Provider(id=1, name="p"), status) == "stop"


def test_the_vendors_table_rules_but_no_answered_call_goes_on() -> None:
    provider = Provider(id=1, name="p", cause_table={404: "next", 503: "stop", 603: "next", 200: "next", 302: "next"})
    assert [follows(provider, status) for status in (404, 503, 603, 302, 500, 200)] == [
        "next",
        "stop",
        "next",
        "next",
        "next",
        "stop",
    ]
