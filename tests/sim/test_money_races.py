"""Races that decide about money, in hundreds: CANCEL against 200, and many calls on the credit of few."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from config.settings import Hold, Settings
from switch.snapshot import Customer, Gateway, IngressRoute, Provider, Record
from tests.fakes.carrier import CENT, with_
from tests.fakes.world import CALLER, CHEAP, DEAR, SWITCH, WALL_S
from tests.sim.disk import Disk, journal_disk
from tests.sim.market import CUSTOMERS, NUMBERS, PREPAID, market
from tests.sim.money_world import Died, MoneyWorld

BY_THE_SECOND = NUMBERS[0]
SECOND = CENT
"""What a second to that number costs."""
RACES = 1_000
RACES_A_WORLD = 50
SCHEDULES = 100
LONGEST_S = 400.0


def prepaid_world(folder: Path, disk: Disk, seed: int, balance: int, hold: Hold) -> MoneyWorld:
    """A prepaid customer with this balance, and vendors with room for all."""
    records: tuple[Record, ...] = with_(market(Random(seed)), IngressRoute, PREPAID, max_duration_s=None)
    for gateway in (1, 2):
        records = with_(records, Gateway, gateway, channels=None)
        records = with_(records, Provider, gateway, channels=None)
    records = with_(records, Customer, PREPAID, pdd_ms=None, ring_ms=None)
    openings = {**dict.fromkeys(CUSTOMERS, 0), PREPAID: balance}
    world = MoneyWorld(folder, disk, seed, records, openings, settings=Settings(hold=hold), starts_at_s=WALL_S)
    dice = world.dice
    dice.is_silent, dice.rings_in, dice.statuses = 0.0, (0.0, 0.0), (200,)
    return world


@pytest.mark.parametrize("seed", range(RACES // RACES_A_WORLD))
def test_a_cancel_that_meets_the_answer_is_cancelled_for_nothing_or_answered_and_paid(folder: Path, seed: int) -> None:
    with journal_disk() as disk:
        opening = 10_000 * 60 * SECOND
        world = prepaid_world(folder, disk, seed, opening, Hold())
        dice = world.dice
        # Both leave half a second after the INVITE, a few milliseconds apart: the link decides.
        dice.cancels, dice.cancels_in, dice.answers_in = 1.0, (0.5, 0.506), (0.497, 0.503)
        dice.caller_leaves = dice.callee_leaves = 0.5
        for _ in range(RACES_A_WORLD):
            world.by_customer[PREPAID].dial(BY_THE_SECOND)
            world.run_for(dice.draw((0.0, 1.0)))
            world.check()
        world.run_for(100.0)
        while world.engine.live_calls():
            world.kill_one()
        world.run_for(LONGEST_S)
        world.check_end()
        cdrs = [note.cdr for note in world.books.ended.values()]
        assert len({cdr.call_id for cdr in cdrs}) == RACES_A_WORLD == len(cdrs)
        for cdr in cdrs:
            told = world.by_customer[PREPAID].calls[cdr.call_id.encode()].finals
            assert told <= {cdr.status}
            assert (cdr.status == 200) == (cdr.answered_ms is not None) == (cdr.gross_nanos > 0)
            assert (cdr.cause == "cancelled") == (cdr.status == 487)
        assert sum(cdr.gross_nanos for cdr in cdrs) == opening - world.balance(PREPAID)
        assert {200, 487} <= {cdr.status for cdr in cdrs}, "it was a race"


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_fifty_calls_on_credit_for_ten_never_cost_more_than_the_credit(folder: Path, seed: int) -> None:
    with journal_disk() as disk:
        credit = 10 * 60 * SECOND + seed  # a rest that buys nothing
        world = prepaid_world(folder, disk, seed, credit, Hold(max_s=120))
        dice = world.dice
        dice.cancels, dice.caller_leaves, dice.callee_leaves = 0.0, 0.1, 0.1
        dice.talks_for = (0.0, 300.0)
        if seed % 2:
            world.dies_in = dice.rng.randrange(150)
        for _ in range(50):
            world.by_customer[PREPAID].dial(BY_THE_SECOND)
            run(world, dice.draw((0.0, 0.2)))
            world.check()
        run(world, 700.0)
        world.check()
        while world.engine.live_calls():
            world.kill_one()
        run(world, LONGEST_S)
        world.check_end()
        cdrs = [note.cdr for note in world.books.ended.values()]
        spent = sum(cdr.gross_nanos for cdr in cdrs)
        assert spent == credit - world.balance(PREPAID) <= credit
        if world.runs == 1:
            assert len(cdrs) == 50
            cut = {cdr.call_id.encode(): cdr.ended_ms for cdr in cdrs if cdr.cause == "credit_exhausted"}
            others = [cdr.ended_ms for cdr in cdrs if cdr.cause not in ("credit_exhausted", "balance_insufficient")]
            if cut and max(cut.values()) > max(others, default=0):
                assert credit - spent < SECOND, "nobody gave anything back after the last that was cut"
            hung_up = [(p.message, p.target) for p in world.log if p.source == SWITCH and p.data.startswith(b"BYE")]
            callers = {bye.call_id for bye, target in hung_up if target == CALLER}
            vendors = {bye.call_id for bye, target in hung_up if target in (CHEAP, DEAR)}
            assert cut.keys() <= callers & vendors, "both sides of who is cut get their BYE"
            assert any(cdr.cause == "balance_insufficient" for cdr in cdrs)


def run(world: MoneyWorld, seconds: float) -> None:
    try:
        world.run_for(seconds)
    except Died:
        world.die(has_power=True, boots=False, down_s=1.0)
        world.check()
