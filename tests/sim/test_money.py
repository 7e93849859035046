"""Whole runs from one seed each, with money: nothing is lost, overspent or counted twice, whatever dies when.

`TANDEM_SIM_SEEDS=10000` plays so many seeds instead of the few of every day; `TANDEM_SIM_FIRST` says where to
begin. A seed that fails is named with the command that plays it alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switch.records import Cdr
from tests.fakes.world import Address
from tests.sim.disk import journal_disk
from tests.sim.market import CUSTOMERS
from tests.sim.schedule import play

SEEDS = int(os.environ.get("TANDEM_SIM_SEEDS", "300"))
FIRST = int(os.environ.get("TANDEM_SIM_FIRST", "0"))
CHUNK = 10


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_money_is_neither_lost_nor_overspent_whatever_happens(folder: Path, first: int) -> None:
    for seed in range(first, min(first + CHUNK, FIRST + SEEDS)):
        try:
            with journal_disk() as disk:
                play(folder, seed, disk)
        except BaseException as error:
            alone = f"TANDEM_SIM_FIRST={seed} TANDEM_SIM_SEEDS=1 .venv/bin/pytest tests/sim/test_money.py -k money_is"
            error.add_note(f"seed {seed}; to play it alone: {alone}")
            raise


def test_a_seed_gives_the_same_run_each_time(folder: Path) -> None:
    def told(seed: int) -> tuple[list[tuple[float, Address, bytes]], list[Cdr], dict[int, int]]:
        with journal_disk() as disk:
            world = play(folder, seed, disk)
        balances = {each: world.balance(each) for each in CUSTOMERS}
        return (
            [(p.at, p.target, p.data) for p in world.log],
            [note.cdr for note in world.books.ended.values()],
            balances,
        )

    for seed in range(5):
        assert told(seed) == told(seed)
