"""Hunting that meets gateways which cannot be reached at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from rating.rows import RateRow
from switch.outputs import Target
from switch.snapshot import Delta, Gateway, IngressRoute, Key, Provider
from tests.fakes.carrier import CENT, DEFAULT_RECORDS, with_
from tests.fakes.world import CHEAP, Peer, World

UNRESOLVED = with_(DEFAULT_RECORDS, Gateway, 1, host="gw.example.net", weight=100)
SECOND = Gateway(id=3, provider_id=1, host="198.51.100.3", weight=0)


def test_a_vendor_whose_one_gateway_is_not_resolved_is_called_at_its_other_one(tmp_path: Path) -> None:
    world = World(tmp_path, records=(*UNRESOLVED, SECOND))
    other = Peer(world, ("198.51.100.3", 5060))
    world.caller.invite()
    world.run_for(0.1)
    assert len(other.requests("INVITE")) == 1
    assert world.dear.invites == []


def test_the_explanation_says_what_kept_a_vendor_from_being_called(tmp_path: Path) -> None:
    world = World(tmp_path, records=UNRESOLVED)
    world.dear.behaviour = (486,)
    world.caller.invite()
    world.run_for(0.1)
    (cdr,) = world.cdrs
    assert [c.outcome for c in cdr.explanation] == ["unhealthy", "taken"]
    assert "gw.example.net is not resolved" in cdr.explanation[0].detail
    assert [a.provider_name for a in cdr.attempts] == ["Dearline"]


def test_no_vendor_that_can_be_reached_is_a_cdr_and_leaves_nothing(tmp_path: Path) -> None:
    records = with_(UNRESOLVED, Gateway, 2, host="2001:db8::9")  # there is no listener for IPv6
    world = World(tmp_path, records=records)
    world.caller.invite()
    world.run_for(60)
    assert world.caller.statuses() == [503]
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.attempts, cdr.release) == ("no_vendor", (), "switch")
    world.assert_idle()


def test_a_vendor_that_is_removed_while_it_rings_ends_its_attempt_like_others(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(1)
    world.engine.apply(Delta(version=2, remove=(Key("gateway", 1), Key("rate_card", 2), Key("provider", 1))))
    world._collect()
    world.cheap.answer(503)
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 180, 200]
    world.caller.ack()
    world.caller.bye()
    world.run_for(60)
    assert [a.provider_name for a in world.cdrs[0].attempts] == ["Cheapline", "Dearline"]
    world.assert_idle()


def test_an_address_that_did_not_answer_rests_while_others_of_its_name_are_called(tmp_path: Path) -> None:
    records = with_(with_(UNRESOLVED, Provider, 2, enabled=False), Provider, 1, first_reply_ms=1_000)
    world = World(tmp_path, records=records)
    world.cheap.behaviour = ()
    second = Peer(world, ("198.51.100.3", 5060))
    targets = [Target("udp", CHEAP[0], 5060, "", 10), Target("udp", "198.51.100.3", 5060, "", 20)]
    world.engine.set_targets(1, targets)
    world.caller.invite()
    world.run_for(2)
    world.caller.invite()
    world.run_for(0.5)
    assert (len(world.cheap.invites), len(second.requests("INVITE"))) == (1, 1)


@pytest.mark.parametrize("mode", ["rate", "worst_case", "expected"])
def test_no_failover_goes_to_a_vendor_below_the_margin(tmp_path: Path, mode: str) -> None:
    records = with_(DEFAULT_RECORDS, IngressRoute, 1, profit_mode=mode, durations=((20, 30), (90, 10)))
    world = World(tmp_path, records=records, decks={"dear": (RateRow("44", "UK", 6 * CENT),)})
    world.cheap.behaviour = (503,)
    world.caller.invite()
    world.run_for(60)
    # The one vendor that earns has failed: better no call than a lossy one.
    assert world.dear.invites == []
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.status) == ("vendors_exhausted", 503)
    assert [c.outcome for c in cdr.explanation] == ["taken", "margin"]
    assert cdr.explanation[1].margin_nanos < 0
    world.assert_idle()
