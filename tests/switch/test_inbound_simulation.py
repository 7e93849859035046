"""Simulating a call to a number of ours: what it would meet, with nothing consumed."""

from __future__ import annotations

from pathlib import Path

from switch.frames import Simulate, Simulated
from switch.snapshot import DidDestination
from tests.fakes.carrier import CENT
from tests.fakes.inbound_calls import (
    BRINGS,
    COST,
    DID,
    DID_SELL,
    ENDPOINT,
    MINUTE,
    USER,
    InboundWorld,
    customer_records,
    did_records,
)

NUMBER = DidDestination("number", value="442071110000")


def simulate(world: InboundWorld, source_ip: str = BRINGS[0], dialled: str = "+" + DID) -> Simulated:
    return world.engine.simulate(Simulate(id=1, dialled=dialled, cli="441", source_ip=source_ip), world.now)


def test_each_destination_is_told_with_its_reason_and_nothing_leaves(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, did_records(destinations=(USER, ENDPOINT, NUMBER, DidDestination("endpoint", 77))))
    told = simulate(world)
    assert (told.is_admitted, told.customer_id, told.dialled_out) == (True, 1, DID)
    assert (told.sell_card_id, told.sell_rate_nanos, told.candidates[1].rate_nanos) == (DID_SELL, MINUTE, COST)
    assert [(each.outcome, each.detail) for each in told.candidates] == [
        ("unregistered", "sip_user 1: no contact"),
        ("taken", "endpoint 20"),
        ("not_reached", "number 442071110000: Cheapline, Dearline"),
        ("disabled", "endpoint 77"),
    ]
    assert told.steps[0] == f"called: DID {DID} through Cheapline, gateway 9"
    assert told.steps[-1].startswith("hold: 0.02")
    assert (world.log, world.held(), world.engine.live.calls) == ([], 0, {})


def test_refusals_are_those_of_a_real_call(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, customer_records(status="inactive"))
    told = simulate(world)
    assert (told.is_admitted, told.cause, told.status) == (False, "customer_inactive", 403)
    assert told.steps[-1].startswith("refused: customer_inactive")


def test_money_is_asked_and_the_flag_rings_without(tmp_path: Path) -> None:
    poor = InboundWorld(tmp_path, customer_records(debit_limit_nanos=0))
    assert simulate(poor).cause == "balance_insufficient"
    folder = tmp_path / "flag"
    folder.mkdir()
    kind = InboundWorld(folder, customer_records(debit_limit_nanos=0, allow_inbound_without_credit=True))
    told = simulate(kind)
    assert told.is_admitted
    assert told.steps[-1].startswith("rings without credit")


def test_from_elsewhere_it_is_a_call_out(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path)
    told = simulate(world, source_ip="192.0.2.10")
    assert (told.sell_card_id, told.sell_rate_nanos) == (1, 5 * CENT)
    assert simulate(world, source_ip="203.0.113.1").cause == "source_unknown"
