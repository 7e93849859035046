"""One random schedule: calls, payments, reloads, clocks and deaths, drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import msgspec

from config.settings import Hold, Journal, Liveness, Settings
from switch.snapshot import Customer, Gateway, IngressRoute, Provider, RateCard, Record
from tests.fakes.carrier import CENT
from tests.fakes.world import WALL_S
from tests.sim.disk import Disk
from tests.sim.market import CUSTOMERS, DAILY, NUMBERS, POSTPAID, PREPAID, market, opening_balances, retail, wholesale
from tests.sim.money_world import Died, MoneyWorld

STEPS = 30
LONGEST_S = 400.0
"""Longer than any timer that an ended call can have left behind."""

REMOVED = (Provider, Gateway, IngressRoute, RateCard)
"""Kinds that may be removed while calls still go on by them."""


def play(folder: Path, seed: int, disk: Disk) -> MoneyWorld:
    """One run, checked after each step, up to where everything has to be over."""
    rng = Random(f"plan {seed}")
    records = market(rng)
    world = MoneyWorld(
        folder,
        disk,
        seed,
        records,
        opening_balances(rng),
        settings=Settings(
            hold=Hold(initial_s=rng.choice((6, 20, 60)), max_s=rng.choice((30, 120, 300))),
            journal=Journal(segment_bytes=rng.choice((4_000, 20_000, 67_108_864))),
            liveness=Liveness(
                keepalive_s=rng.choice((0, 8, 300)),
                keepalive_failures=rng.choice((1, 3)),
                recovery_probe_s=rng.choice((2.0, 20.0)),
            ),
        ),
        starts_at_s=_before_midnight(records, rng),
    )
    dice = world.dice
    dice.cancels, dice.is_silent, dice.talks_for = 0.12, 0.06, (0.0, 90.0)
    dice.statuses = (200, 200, 200, 200, 200, 200, 486, 503, 404)
    dice.forgets = 0.08
    actions = _actions(world, rng)
    for _ in range(STEPS):
        action = rng.choices(list(actions), list(actions.values()))[0]
        _survive(world, rng, action)
        seconds = rng.choice((0.0, rng.uniform(0.0, 1.0), rng.uniform(0.0, 9.0), rng.uniform(0.0, 30.0)))
        _survive(world, rng, partial(world.run_for, seconds))
        world.check()
        if rng.random() < 0.2:
            world.check_replay()
    world.dies_in, world.goes_dark = -1, False
    world.run_for(rng.choice((10.0, 60.0, 300.0)))
    world.check()
    while world.engine.live_calls():  # a call that neither side ends is ended by its operator
        world.kill_one()
        world.run_for(1.0)
    world.run_for(LONGEST_S)
    world.check_end()
    return world


def _survive(world: MoneyWorld, rng: Random, action: Callable[[], None]) -> None:
    """Do something; a process that dies in it is followed by the next."""
    try:
        action()
    except Died as death:
        _die(world, rng, has_power=death.has_power and rng.random() < 0.7)


def _die(world: MoneyWorld, rng: Random, *, has_power: bool, is_told: bool = False) -> None:
    world.die(has_power=has_power, boots=rng.random() < 0.2, down_s=rng.uniform(0.0, 8.0), is_told=is_told)
    world.check()
    if rng.random() < 0.25:
        _die(world, rng, has_power=rng.random() < 0.5)


def _actions(world: MoneyWorld, rng: Random) -> dict[Callable[[], None], int]:
    missing: list[Record] = []
    """A record that was removed; the next removal brings it back instead."""

    def dial() -> None:
        for _ in range(rng.choice((1, 1, 2, 4))):
            world.by_customer[rng.choice(CUSTOMERS)].dial(rng.choice(NUMBERS))

    def pay() -> None:
        amount = rng.choice((1, 1, 1, -1)) * rng.randrange(1, 100 * CENT)
        world.bank.enter(rng.choice(CUSTOMERS), amount, rng.randint(1, 3))
        if rng.random() < 0.8:
            world.book(rng.choice((0, 0, 1, 5)), is_answered=rng.random() < 0.8)

    def change() -> None:
        if rng.random() < 0.8:
            world.change((_changed(world, rng),))
        elif missing:
            world.change((missing.pop(),))
        else:
            missing.append(rng.choice([each for each in world.by_key.values() if isinstance(each, REMOVED)]))
            world.change((), (missing[0],))
        if rng.random() < 0.6:
            world.save()

    def set_clock() -> None:
        world.set_wall_clock(rng.choice((3_600.0, -3_600.0, 0.5, -0.5)))

    def die() -> None:
        has_power = rng.random() < 0.7
        _die(world, rng, has_power=has_power, is_told=has_power and rng.random() < 0.4)

    def die_soon() -> None:
        world.dies_in = rng.randrange(6)

    def go_dark() -> None:
        world.goes_dark = True

    def ingest() -> None:
        is_dark = rng.random() < 0.2
        if is_dark:
            world.kill_one()
        world.ingest(1_000 if is_dark else rng.choice((1, 10, 1_000)))
        if is_dark:  # with what the store has just read
            raise Died(has_power=False)

    def kill() -> None:
        world.kill_one()

    def fail_send() -> None:
        world.fail_one_send()

    return {
        dial: 45,
        pay: 12,
        change: 10,
        set_clock: 3,
        die: 4,
        die_soon: 6,
        world.load: 2,
        go_dark: 2,
        ingest: 10,
        kill: 4,
        fail_send: 4,
    }


def _changed(world: MoneyWorld, rng: Random) -> Record:
    """One record as the reload has it."""

    def of(kind: type[Record], record_id: int, **changes: object) -> Record:
        here = world.by_key.get((kind, record_id)) or rng.choice(
            [each for each in world.by_key.values() if isinstance(each, kind)]
        )
        changed: Record = msgspec.structs.replace(here, **changes)
        return changed

    made = rng.randrange(10)
    if made == 0:
        return of(Customer, rng.choice((PREPAID, POSTPAID)), debit_limit_nanos=rng.randrange(-100, 300) * CENT)
    if made == 1:
        return of(Customer, DAILY, daily_spend_limit_nanos=rng.choice((None, 20 * CENT, 300 * CENT)))
    if made == 2:
        return of(Customer, rng.choice(CUSTOMERS), tax_ppm=rng.choice((0, 190_000)))
    if made == 3:
        return of(Provider, rng.choice((1, 2)), enabled=rng.random() < 0.7)
    if made == 4:
        return of(Provider, rng.choice((1, 2)), channels=rng.choice((None, 1, 3)))
    if made == 5:
        return of(Gateway, rng.choice((1, 2)), channels=rng.choice((None, 1, 3)))
    if made == 6:
        return of(IngressRoute, rng.choice(CUSTOMERS), max_duration_s=rng.choice((None, 20, 45)))
    if made == 7:
        return of(Customer, rng.choice(CUSTOMERS), status=rng.choice(("active", "active", "inactive")))
    return retail(rng.choice((11, 12))) if made == 8 else wholesale(rng.choice((21, 22)))


def _before_midnight(records: tuple[Record, ...], rng: Random) -> float:
    """Some moment in the minutes before the daily customer's midnight."""
    (zone,) = [ZoneInfo(each.time_zone) for each in records if isinstance(each, Customer) and each.id == DAILY]
    midnight = (datetime.fromtimestamp(WALL_S, zone) + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    return midnight.timestamp() - rng.uniform(0.0, 200.0)
