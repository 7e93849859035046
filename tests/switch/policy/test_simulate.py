"""A simulation is the live decision in words, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from rating.rows import RateRow
from switch.frames import Simulate
from switch.policy.decide import decide
from switch.policy.live import Live
from switch.policy.simulate import simulated
from switch.policy.verdicts import Plan
from switch.snapshot import CliRule, Customer, Endpoint, Gateway, IngressRoute, Provider, RateCard, Revision
from tests.fakes.carrier import CENT, CHEAP, DEAR, DEFAULT_RECORDS, NOW_MS, carrier, invite, with_


def request(**changes: object) -> Simulate:
    fields: dict[str, object] = {"id": 1, "dialled": "+442079460000", "cli": "15551230001", "source_ip": "192.0.2.10"}
    return Simulate(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_admitted_call_shows_its_whole_decision(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, Provider, 1, tech_prefix="88", number_format="plus")
    decks = {"cheap": (RateRow("4420", "London", 2 * CENT, 30, 6, CENT),)}
    found = simulated(carrier(tmp_path, records, decks), Live(), request(), NOW_MS, 0.0)
    assert (found.is_admitted, found.status, found.cause) == (True, 0, "")
    assert (found.customer_id, found.endpoint_id, found.sip_user_id, found.route_id) == (1, 1, None, 1)
    assert (found.dialled_out, found.cli_out) == ("442079460000", "15551230001")
    assert (found.sell_card_id, found.sell_revision_id, found.sell_prefix) == (1, 11, "44")
    assert (found.sell_rate_nanos, found.destination) == (5 * CENT, "United Kingdom")
    first, second = found.candidates
    assert (first.card_name, first.provider_name, first.outcome) == ("cheap", "Cheapline", "taken")
    assert (first.prefix, first.rate_nanos, first.first_s, first.next_s) == ("4420", 2 * CENT, 30, 6)
    assert (first.connect_fee_nanos, first.margin_nanos) == (CENT, 3 * CENT)
    assert (first.dialled_out, first.gateway_id) == ("88+442079460000", 1)
    assert (second.card_id, second.outcome, second.gateway_id) == (DEAR, "not_reached", 2)
    assert [step.partition(":")[0] for step in found.steps] == [
        "caller",
        "call rates and channels",
        "number",
        "ingress route",
        "sell rate",
        "vendors",
        "order by lcr",
        "first try",
        "identity",
    ]


@pytest.mark.parametrize(
    ("customer", "asked", "words"),
    [
        ({}, {}, "From 15551230001, P-Asserted-Identity 15551230001"),
        ({"trust_pai": True}, {"pai": "442079460001"}, "From 15551230001, P-Asserted-Identity 442079460001"),
        ({}, {"is_private": True}, "withheld, From says anonymous, no P-Asserted-Identity"),
        ({}, {"cli": "anonymous"}, "From anonymous, no P-Asserted-Identity"),
    ],
)
def test_it_says_who_the_vendor_is_told_is_calling(
    tmp_path: Path, customer: dict[str, object], asked: dict[str, object], words: str
) -> None:
    records = with_(with_(DEFAULT_RECORDS, Provider, 1, send_pai="always"), Customer, 1, **customer)
    found = simulated(carrier(tmp_path, records), Live(), request(**asked), NOW_MS, 0.0)
    assert f"identity: {words}" in found.steps


def test_codecs_that_are_offered_are_held_against_endpoint_and_gateways(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, Endpoint, 1, codecs=("PCMA", "G729"), bandwidth_kbps=100)
    records = with_(records, Gateway, 1, codecs=("PCMU",))
    tables = carrier(tmp_path, records)
    found = simulated(tables, Live(), request(codecs=("PCMA", "GSM", "telephone-event")), NOW_MS, 0.0)
    assert "codecs: pcma, telephone-event of pcma, gsm, telephone-event" in found.steps
    assert "bandwidth: 80 kbit/s of 100, 0 in use" in found.steps
    assert [candidate.outcome for candidate in found.candidates] == ["codecs", "taken"]
    found = simulated(tables, Live(), request(codecs=("GSM",)), NOW_MS, 0.0)
    assert (found.cause, found.status) == ("codecs_refused", 488)
    # Nothing is said about codecs: nothing is refused for them.
    assert simulated(tables, Live(), request(), NOW_MS, 0.0).is_admitted


def test_rules_on_the_asserted_number_are_asked_with_the_one_that_is_given(tmp_path: Path) -> None:
    rule = CliRule(id=7, customer_id=1, pai_match="442079", action="rewrite", to="442079460000")
    tables = carrier(tmp_path, (*DEFAULT_RECORDS, rule))
    found = simulated(tables, Live(), request(pai="+44 20 7946 0000"), NOW_MS, 0.0)
    assert "CLI rule 7 (rewrite): 15551230001 becomes 442079460000" in found.steps
    assert found.cli_out == "442079460000"
    found = simulated(tables, Live(), request(), NOW_MS, 0.0)
    assert (found.cause, found.status) == ("cli_refused", 403)


def test_a_refused_call_says_why_and_what_the_caller_is_sent(tmp_path: Path) -> None:
    found = simulated(carrier(tmp_path), Live(), request(dialled="449001234567"), NOW_MS, 0.0)
    assert (found.is_admitted, found.status, found.cause) == (False, 403, "destination_blocked")
    assert (found.sell_prefix, found.destination) == ("44900", "UK premium")
    assert found.steps[-1] == "refused: destination_blocked (prefix 44900 is blocked)"


def test_skipped_vendors_are_named_with_their_reason(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, IngressRoute, 1, exclude_cards=(CHEAP, DEAR))
    found = simulated(carrier(tmp_path, records), Live(), request(), NOW_MS, 0.0)
    assert (found.status, found.cause) == (503, "no_vendor")
    assert {(each.card_name, each.provider_name, each.outcome) for each in found.candidates} == {
        ("cheap", "Cheapline", "excluded"),
        ("dear", "Dearline", "excluded"),
    }


def test_a_vendor_without_a_usable_gateway_is_passed_over(tmp_path: Path) -> None:
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, Gateway, 1, enabled=False))
    live = Live()
    found = simulated(tables, live, request(), NOW_MS, 0.0)
    assert [(each.outcome, each.gateway_id) for each in found.candidates] == [("disabled", None), ("taken", 2)]
    live.health_of(2).rest(60.0, 0.0)
    found = simulated(tables, live, request(), NOW_MS, 0.0)
    assert (found.is_admitted, found.cause) == (False, "no_vendor")
    assert found.candidates[1].outcome == "unhealthy"


def test_a_user_is_simulated_by_name(tmp_path: Path) -> None:
    tables = carrier(tmp_path)
    found = simulated(tables, Live(), request(username="alice", source_ip=""), NOW_MS, 0.0)
    assert (found.is_admitted, found.sip_user_id, found.endpoint_id) == (True, 1, None)
    found = simulated(tables, Live(), request(username="bob"), NOW_MS, 0.0)
    assert (found.is_admitted, found.cause) == (False, "credentials_wrong")


@pytest.mark.parametrize(("at_ms", "prefix"), [(None, "44"), (NOW_MS + 5000, "4420"), (NOW_MS - 1, "44")])
def test_prices_are_those_of_the_asked_time(tmp_path: Path, at_ms: int | None, prefix: str) -> None:
    revisions = (Revision(id=1, path="sell"), Revision(id=2, path="next", active_from_ms=NOW_MS + 5000))
    records = with_(DEFAULT_RECORDS, RateCard, 1, revisions=revisions)
    tables = carrier(tmp_path, records, {"next": (RateRow("4420", "London", CENT),)})
    assert simulated(tables, Live(), request(at_ms=at_ms), NOW_MS, 0.0).sell_prefix == prefix


def test_nothing_is_consumed(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, Customer, 1, flow_speed_cps=1.0)
    records = with_(with_(records, Provider, 1, flow_speed_cps=1.0), IngressRoute, 1, strategy="round_robin")
    tables = carrier(tmp_path, records)
    live = Live()
    for _ in range(5):
        assert simulated(tables, live, request(), NOW_MS, 1000.0).is_admitted
    assert len(live.buckets) == 0
    assert not live.round_robin
    assert not live.calls
    assert isinstance(decide(tables, live, invite()), Plan)
    assert simulated(tables, live, request(), NOW_MS, 1000.0).cause == "cps_exceeded"
