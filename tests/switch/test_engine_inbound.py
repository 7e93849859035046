"""Calls to our numbers: who is rung, in what order, what it costs, and who is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rating.rows import RateRow
from switch.frames import Entry
from switch.outputs import Target
from switch.records import Admitted
from switch.snapshot import Client, CliRule, Customer, Delta, Did, DidDestination, Endpoint, Gateway, Provider
from tests.fakes.carrier import CENT, with_
from tests.fakes.inbound_calls import (
    BRINGS,
    COST,
    DID,
    DID_BUY,
    DID_SELL,
    ENDPOINT,
    ENDPOINT_2,
    INBOUND_RECORDS,
    MINUTE,
    PBX,
    USER,
    InboundWorld,
    customer_records,
    did_records,
)
from tests.fakes.world import CHEAP, Caller

OUTBOUND_MINUTE = 5 * CENT


def test_a_call_to_a_number_rings_its_endpoint_and_is_charged_and_costed_by_its_cards(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    before = world.balance()
    cdr = world.talk_inbound(90)
    (invite,) = world.pbx.invites
    assert invite.uri == f"sip:{DID}@{PBX[0]}".encode()
    assert (cdr.direction, cdr.did_id, cdr.customer_id, cdr.endpoint_id) == ("inbound", 5, 1, 20)
    assert (cdr.dialled_in, cdr.dialled_out, cdr.route_id) == (DID, DID, None)
    assert (cdr.cause, cdr.release, cdr.card_id, cdr.revision_id) == ("normal", "caller", DID_SELL, 31)
    assert cdr.billed_s == 91
    assert cdr.gross_nanos == -(-91 * MINUTE // 60 // 100_000) * 100_000
    assert cdr.cost_nanos == -(-91 * COST // 60 // 100_000) * 100_000
    assert cdr.margin_nanos == cdr.net_nanos - cdr.cost_nanos
    (attempt,) = cdr.attempts
    assert (attempt.destination, attempt.cause, attempt.card_id) == ("endpoint 20", "answered", DID_BUY)
    assert (attempt.provider_id, attempt.gateway_id) == (1, 9)
    assert [(each.outcome, each.detail) for each in cdr.explanation] == [("taken", "endpoint 20")]
    assert world.balance() == before - cdr.gross_nanos
    assert world.held() == 0
    world.run_for(70)
    world.assert_idle()


@pytest.mark.parametrize("spelling", ["+" + DID, "00" + DID, "011" + DID, DID[:2] + "-" + DID[2:], DID + ";ext=1"])
def test_usual_spellings_of_a_number_are_the_number(tmp_path: Path, spelling: str) -> None:
    world = InboundWorld(tmp_path)
    world.ring(spelling)
    assert len(world.pbx.invites) == 1


def test_a_number_that_is_not_ours_is_404_to_a_gateway_and_leaves_a_counter_and_no_record(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    world.ring("442079460999")
    assert world.carrier.statuses() == [404]
    assert world.cdrs == []
    assert world.engine.board.counters["numbers_unknown"] == 1
    world.assert_idle()


def test_a_number_without_a_customer_does_not_ring_and_one_switched_off_leaves_a_record(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(customer_id=None))
    world.ring()
    assert (world.carrier.statuses(), world.cdrs) == ([404], [])
    folder = tmp_path / "off"
    folder.mkdir()
    world = InboundWorld(folder, did_records(enabled=False))
    world.ring()
    assert world.carrier.statuses() == [404]
    assert [(cdr.cause, cdr.direction, cdr.did_id) for cdr in world.cdrs] == [("number_unassigned", "inbound", 5)]


def test_strangers_and_customers_do_not_reach_a_number_as_a_carrier_does(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    stranger = Caller(world, ("203.0.113.7", 5060))
    stranger.invite(DID)
    world.caller.invite(DID)  # an outbound call like any other
    world.run_for(0.1)
    assert stranger.statuses() == [407]
    assert world.pbx.invites == []
    assert len(world.cheap.invites) == 1


@pytest.mark.parametrize("named", [1, 2, None])
def test_a_number_that_names_a_provider_is_called_through_its_gateways_only(tmp_path: Path, named: int | None) -> None:
    world = InboundWorld(tmp_path, did_records(provider_id=named))
    world.ring()
    assert len(world.pbx.invites) == (0 if named == 2 else 1)
    assert (404 in world.carrier.statuses()) == (named == 2)


def test_an_address_that_a_gateways_name_has_no_more_brings_no_calls(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, with_(INBOUND_RECORDS, Gateway, 9, host="carrier.example"))
    engine = world.engine
    engine.set_targets(9, [Target("udp", BRINGS[0], 5060), Target("udp", "198.51.100.77", 5060)])
    world.ring()
    assert len(world.pbx.invites) == 1
    engine.set_targets(9, [Target("udp", "198.51.100.77", 5060)])
    world.ring()
    assert len(world.pbx.invites) == 1
    assert "198.51.100.77" in engine.board.vendor_ips
    engine.set_targets(9, [])
    assert BRINGS[0] not in engine.board.vendor_ips
    assert "198.51.100.77" not in engine.board.vendor_ips
    engine.set_targets(1, [Target("udp", CHEAP[0], 5060)])  # a literal one, as the resolver pushes it
    engine.set_targets(1, [])
    assert engine.board.vendor_ips[CHEAP[0]] == [1]


@pytest.mark.parametrize(("kind", "record_id"), [(Provider, 1), (Gateway, 9)])
def test_providers_and_gateways_that_are_switched_off_bring_no_calls(
    tmp_path: Path, kind: type, record_id: int
) -> None:
    world = InboundWorld(tmp_path, with_(INBOUND_RECORDS, kind, record_id, enabled=False))
    world.ring()
    assert world.carrier.statuses() == [404]


@pytest.mark.parametrize(
    ("status", "client", "cause"),
    [
        ("active", None, ""),
        ("penalty", None, ""),
        ("inactive", None, "customer_inactive"),
        ("pending_approval", None, "customer_pending"),
        ("active", "suspended", ""),
        ("active", "active", ""),
        ("active", "new", "client_not_active"),
        ("active", "scheduled", "client_not_active"),
        ("active", "inactive", "client_not_active"),
    ],
)
def test_who_may_not_call_out_may_still_be_rung(tmp_path: Path, status: Any, client: Any, cause: str) -> None:
    records = customer_records(status=status, client_id=None if client is None else 7)
    if client is not None:
        records = (*records, Client(id=7, name="Tenant", status=client))
    world = InboundWorld(tmp_path, records)
    world.ring()
    assert len(world.pbx.invites) == (0 if cause else 1)
    if cause:
        assert world.carrier.statuses() == [403]
        assert [(cdr.cause, cdr.direction) for cdr in world.cdrs] == [(cause, "inbound")]
    world.caller.invite()
    world.run_for(0.1)
    may_call = status == "active" and client in (None, "active")
    assert (len(world.cheap.invites) == 1) == may_call


def test_channels_of_the_number_and_of_the_customer_count(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(customer_records(channels=2), channels=1))
    world.ring()
    second = Caller(world, BRINGS)
    second.serial = 50
    second.invite(DID)
    world.run_for(0.1)
    assert second.statuses() == [503]
    assert world.cdrs[-1].cause == "channels_exceeded"
    world.caller.invite()
    world.run_for(0.1)
    assert 200 in world.caller.statuses()
    third = Caller(world)
    third.serial = 60
    third.invite()
    world.run_for(0.1)
    assert third.statuses() == [503]


def test_failover_goes_on_to_the_next_destination_and_each_try_is_in_the_record(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(ENDPOINT, ENDPOINT_2)))
    world.pbx.behaviour = (100, 180, 486)
    cdr = world.talk_inbound(10)
    assert [(each.destination, each.status, each.cause) for each in cdr.attempts] == [
        ("endpoint 20", 486, "rejected"),
        ("endpoint 21", 200, "answered"),
    ]
    assert cdr.endpoint_id == 21
    assert [attempt.cost_nanos > 0 for attempt in cdr.attempts] == [False, True]


def test_a_6xx_speaks_for_all_destinations_and_the_last_answer_is_the_callers(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(ENDPOINT, ENDPOINT_2)))
    world.pbx.behaviour = (100, 603)
    world.ring()
    assert world.carrier.statuses() == [603]
    assert world.pbx_2.invites == []
    world.pbx.behaviour = (100, 404)
    world.pbx_2.behaviour = (100, 180, 486)
    world.ring()
    assert world.carrier.statuses()[-1] == 486
    assert world.cdrs[-1].cause == "busy"


def test_random_order_reaches_each_first_and_serial_the_same_one(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(ENDPOINT, ENDPOINT_2), order="random"))
    for _ in range(40):
        world.ring()
        world.carrier.ack()
        world.carrier.bye()
        world.run_for(0.1)
    assert 8 < len(world.pbx.invites) < 32
    assert len(world.pbx.invites) + len(world.pbx_2.invites) == 40


def test_an_endpoints_own_limits_count_when_it_is_tried(tmp_path: Path) -> None:
    records = with_(did_records(destinations=(ENDPOINT, ENDPOINT_2)), Endpoint, 20, channels=1)
    world = InboundWorld(tmp_path, records)
    world.ring()
    other = Caller(world, BRINGS)
    other.serial = 50
    other.invite(DID)
    world.run_for(0.1)
    assert (len(world.pbx.invites), len(world.pbx_2.invites)) == (1, 1)
    first = min(world.engine.board.calls.live)
    assert world.engine.end_call(first, world.now)
    world.run_for(1)
    world.ring()
    assert len(world.pbx.invites) == 2


@pytest.mark.parametrize("destinations", [(), (DidDestination("endpoint", 1),), (DidDestination("endpoint", 99),)])
def test_a_number_that_can_ring_nowhere_is_480_and_says_so(
    tmp_path: Path, destinations: tuple[DidDestination, ...]
) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=destinations))
    world.ring()
    assert world.carrier.statuses() == [480]
    assert world.cdrs[0].cause == "no_destination"
    assert [each.outcome for each in world.cdrs[0].explanation] == ["disabled" for _ in destinations]


def test_a_destination_of_another_customer_is_not_rung(tmp_path: Path) -> None:
    records = with_((*INBOUND_RECORDS, Customer(id=2, name="Other", status="active")), Endpoint, 20, customer_id=2)
    world = InboundWorld(tmp_path, records)
    world.ring()
    assert world.carrier.statuses() == [480]
    assert world.pbx.invites == []


def test_a_uri_is_rung_where_it_says(tmp_path: Path) -> None:
    uri = f"sip:desk@{PBX[0]}:5060"
    world = InboundWorld(tmp_path, did_records(destinations=(DidDestination("uri", value=uri),)))
    cdr = world.talk_inbound(5)
    assert world.pbx.invites[0].uri == uri.encode()
    assert cdr.attempts[0].destination == uri


# Money.


def test_without_cards_a_call_is_free_and_rings_whatever_is_owed(tmp_path: Path) -> None:
    records = did_records(customer_records(debit_limit_nanos=0), customer_card_id=None, provider_card_id=None)
    world = InboundWorld(tmp_path, records)
    world.engine.book([Entry(1, 1, -5 * CENT)], world.now)
    cdr = world.talk_inbound(600)
    assert (cdr.cause, cdr.card_id, cdr.gross_nanos, cdr.cost_nanos) == ("normal", None, 0, 0)
    assert world.balance() == -5 * CENT


def test_without_credit_a_call_is_refused_and_with_it_is_cut_where_its_money_ends(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, customer_records(debit_limit_nanos=0))
    world.ring()
    assert world.carrier.statuses() == [402]
    assert (world.cdrs[0].cause, world.cdrs[0].direction) == ("balance_insufficient", "inbound")
    world.engine.book([Entry(1, 1, 2 * MINUTE)], world.now)
    world.ring()
    world.carrier.ack()
    world.run_for(300)
    assert world.cdrs[-1].cause == "credit_exhausted"
    assert world.cdrs[-1].gross_nanos == 2 * MINUTE
    assert world.balance() == 0
    assert "BYE" in world.names_to(BRINGS)
    assert "BYE" in world.names_to(PBX)


def test_with_the_flag_it_rings_without_credit_and_nothing_is_charged(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, customer_records(debit_limit_nanos=0, allow_inbound_without_credit=True))
    cdr = world.talk_inbound(600)
    assert (cdr.cause, cdr.duration_ms // 1000, cdr.gross_nanos) == ("normal", 600, 0)
    assert cdr.cost_nanos == 10 * COST + 200_000, "which the carrier is paid all the same"
    assert world.balance() == 0


def test_with_the_flag_a_call_goes_on_where_its_money_ends_and_costs_what_it_held(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, customer_records(debit_limit_nanos=0, allow_inbound_without_credit=True))
    world.engine.book([Entry(1, 1, 2 * MINUTE)], world.now)
    world.ring()
    world.carrier.ack()
    world.run_for(300)
    assert world.cdrs == []
    world.crash()  # what it costs at most is in the journal
    world.run_for(300)
    world.carrier.bye()
    world.run_for(1)
    assert (world.cdrs[-1].cause, world.cdrs[-1].gross_nanos) == ("normal", 2 * MINUTE)
    assert (world.balance(), world.held()) == (0, 0)


@pytest.mark.parametrize("limit", [0, 1])
def test_the_days_limit_refuses_and_with_the_flag_lets_it_ring_for_nothing(tmp_path: Path, limit: int) -> None:
    world = InboundWorld(
        tmp_path, customer_records(daily_spend_limit_nanos=0, allow_inbound_without_credit=bool(limit))
    )
    world.ring()
    if limit:
        assert len(world.pbx.invites) == 1
        assert world.held() == 0
    else:
        assert world.cdrs[0].cause == "daily_spend_reached"


# Out again.

NUMBER = DidDestination("number", value="442071110000")


def test_a_number_is_called_through_the_customers_route_and_charged_as_a_call_out(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(NUMBER,)))
    before = world.balance()
    world.ring()
    assert world.held() == OUTBOUND_MINUTE
    world.carrier.ack()
    world.run_for(60)
    world.carrier.bye()
    world.run_for(1)
    (invite,) = world.cheap.invites
    assert invite.uri == b"sip:442071110000@198.51.100.1"
    cdr = world.cdrs[-1]
    assert (cdr.direction, cdr.did_id, cdr.route_id, cdr.card_id) == ("inbound", 5, 1, 1)
    assert (cdr.dialled_in, cdr.dialled_out) == (DID, "442071110000")
    assert cdr.gross_nanos == -(-61 * OUTBOUND_MINUTE // 60 // 100_000) * 100_000
    assert world.balance() == before - cdr.gross_nanos
    delivered, answered = cdr.attempts
    assert (delivered.cause, delivered.gateway_id, delivered.card_id) == ("delivered", 9, DID_BUY)
    assert delivered.cost_nanos == -(-61 * COST // 60 // 100_000) * 100_000
    assert (answered.destination, answered.gateway_id) == ("number 442071110000", 1)
    assert cdr.cost_nanos == delivered.cost_nanos + answered.cost_nanos
    world.run_for(70)
    world.assert_idle()


def test_a_call_out_fails_over_between_vendors_and_then_to_the_next_destination(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(NUMBER, ENDPOINT)))
    world.cheap.behaviour = (100, 503)
    world.dear.behaviour = (100, 180, 486)
    cdr = world.talk_inbound(60)
    assert [(each.destination, each.status) for each in cdr.attempts] == [
        ("number 442071110000", 503),
        ("number 442071110000", 486),
        ("endpoint 20", 200),
    ]
    assert cdr.card_id == DID_SELL, "who answered is at the number's own price"
    assert cdr.gross_nanos == -(-61 * MINUTE // 60 // 100_000) * 100_000


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": "penalty"}, "customer_penalty"),
        ({"debit_limit_nanos": MINUTE}, ""),
        ({"debit_limit_nanos": 0, "allow_inbound_without_credit": True}, "balance_insufficient"),
    ],
)
def test_a_call_out_needs_what_every_call_out_needs(tmp_path: Path, changes: dict[str, Any], outcome: str) -> None:
    world = InboundWorld(tmp_path, did_records(customer_records(**changes), destinations=(NUMBER, ENDPOINT)))
    world.ring()
    assert len(world.cheap.invites) == (0 if outcome else 1)
    assert len(world.pbx.invites) == (1 if outcome else 0)
    world.carrier.ack()
    world.carrier.bye()
    world.run_for(1)
    assert world.cdrs[-1].explanation[0].outcome == (outcome or "taken")


@pytest.mark.parametrize(
    "changes", [{"customer_card_id": None}, {}], ids=["a free number", "one that rings without credit"]
)
def test_a_call_out_ends_with_the_days_limit_also_where_the_call_in_costs_nothing(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    customer = customer_records(daily_spend_limit_nanos=0, allow_inbound_without_credit=True)
    world = InboundWorld(tmp_path, did_records(customer, destinations=(NUMBER, ENDPOINT), **changes))
    world.ring()
    assert world.cheap.invites == []
    assert len(world.pbx.invites) == 1
    world.carrier.ack()
    world.carrier.bye()
    world.run_for(1)
    assert (world.cdrs[-1].explanation[0].outcome, world.cdrs[-1].gross_nanos) == ("daily_spend_reached", 0)


def test_a_number_of_ours_is_no_external_number(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(DidDestination("number", value=DID),)))
    world.ring()
    assert world.carrier.statuses() == [480]
    assert world.cheap.invites == []


def test_a_call_out_is_cut_at_the_outbound_price_also_after_a_restart(tmp_path: Path) -> None:
    world = InboundWorld(
        tmp_path, did_records(customer_records(debit_limit_nanos=2 * OUTBOUND_MINUTE), destinations=(NUMBER,))
    )
    world.ring()
    world.carrier.ack()
    world.run_for(30)
    world.crash()
    assert world.engine.live.channels(5 << 4 | 8) == 1
    world.run_for(200)
    cdr = world.cdrs[-1]
    assert (cdr.cause, cdr.gross_nanos, cdr.direction) == ("credit_exhausted", 2 * OUTBOUND_MINUTE, "inbound")
    assert [attempt.cause for attempt in cdr.attempts] == ["delivered", "answered"]
    assert world.balance() == -2 * OUTBOUND_MINUTE


# Restarts, changes, odd callers.


def test_an_answered_call_survives_a_restart_with_its_channels(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    world.ring()
    world.carrier.ack()
    world.run_for(10)
    world.crash()
    live = world.engine.live
    assert [live.channels(key) for key in (5 << 4 | 8, 20 << 4, 1 << 4 | 3)] == [1, 1, 1]
    assert live.channels(1 << 4 | 4) == 0, "the carrier's channels are for calls to it"
    world.carrier.bye()
    world.run_for(1)
    cdr = world.cdrs[-1]
    assert (cdr.cause, cdr.did_id, cdr.endpoint_id) == ("normal", 5, 20)
    assert cdr.attempts[0].destination == "endpoint 20"


def test_a_call_that_rings_while_the_switch_dies_is_over_and_free(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    world.pbx.behaviour = (100, 180)
    world.ring()
    assert any(isinstance(record, Admitted) and record.did is not None for record in world.journal)
    world.crash()
    world.run_for(1)
    assert [(cdr.cause, cdr.direction, cdr.did_id, cdr.gross_nanos) for cdr in world.cdrs] == [
        ("lost_in_restart", "inbound", 5, 0)
    ]
    assert world.carrier.statuses()[-1] == 503


def test_cancel_ends_the_hunt(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(ENDPOINT, ENDPOINT_2)))
    world.pbx.behaviour = (100, 180)
    world.ring()
    world.carrier.cancel()
    world.run_for(1)
    assert world.carrier.statuses()[-1] == 487
    assert world.pbx_2.invites == []
    assert world.pbx.requests("CANCEL")
    assert world.cdrs[-1].cause == "cancelled"
    world.run_for(70)
    world.assert_idle()


def test_a_number_that_is_taken_away_rings_no_more_and_its_call_goes_on(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    world.ring()
    world.carrier.ack()
    world.engine.apply(Delta(version=2, put=(Did(id=5, number=DID),)))
    second = Caller(world, BRINGS)
    second.serial = 50
    second.invite(DID)
    world.run_for(0.1)
    assert second.statuses() == [404]
    world.run_for(60)
    world.carrier.bye()
    world.run_for(1)
    assert world.cdrs[-1].cause == "normal"


def test_an_endpoint_shows_its_own_caller_number_and_prefix(tmp_path: Path) -> None:
    records = with_(INBOUND_RECORDS, Endpoint, 20, cli_prefix="9", tech_prefix="77", strip_digits=2)
    world = InboundWorld(tmp_path, records)
    world.ring(cli="441111111")
    (invite,) = world.pbx.invites
    assert invite.uri == f"sip:77{DID[2:]}@{PBX[0]}".encode()
    assert b"<sip:9441111111@" in invite.from_value()
    world.carrier.ack()
    world.run_for(0.1)
    assert world.carrier.last(200).from_value().startswith(b'"441111111"')


def test_a_user_without_a_phone_is_passed_over(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(USER, ENDPOINT)))
    cdr = world.talk_inbound(5)
    assert [(each.outcome, each.detail) for each in cdr.explanation] == [
        ("unregistered", "sip_user 1: no contact"),
        ("taken", "endpoint 20"),
    ]


def test_a_price_for_the_number_is_needed_where_a_card_is_named(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, decks={"did_sell": (RateRow("49", "Number", MINUTE),)})
    world.ring()
    assert world.carrier.statuses() == [404]
    assert world.cdrs[0].cause == "no_sell_rate"


def test_outbound_through_the_same_gateway_is_as_before(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    world.talk(5)
    world.caller.bye()
    world.run_for(1)
    assert (world.cdrs[0].direction, world.cdrs[0].did_id) == ("outbound", None)
    assert world.names_to(CHEAP)[0] == "INVITE"


def test_cli_rules_are_for_calls_out_and_nobody_who_rings_is_refused_by_them(tmp_path: Path) -> None:
    """Those who ring are not the customer's: rules that name its own numbers would keep everybody out."""
    own = CliRule(id=1, customer_id=1, match="15557770000", action="allow")
    world = InboundWorld(tmp_path, did_records((*INBOUND_RECORDS, own), destinations=(ENDPOINT, NUMBER)))
    world.pbx.behaviour = (486,)
    world.ring(cli="441111111")
    world.run_for(1)
    assert len(world.pbx.invites) == 1
    # Out again to a number it would be a call out, by a number that is not the customer's.
    assert not world.cheap.invites
    assert world.cdrs[-1].direction == "inbound"
    forced = CliRule(id=2, customer_id=1, match="15557770000", action="force")
    world.engine.apply(Delta(version=2, put=(forced,)))
    world.ring(cli="441111111")
    world.run_for(1)
    (invite,) = world.cheap.invites
    assert b"<sip:15557770000@" in invite.from_value()
