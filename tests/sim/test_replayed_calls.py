"""Calls of whole random runs, with deaths, lost packets and money that ends, replay to what they were."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from control.services.replay_calls import Changes, Replayer
from control.services.replay_sums import is_same
from rating.decks import compile_deck
from tests.fakes.stored_calls import past_call
from tests.sim.disk import journal_disk
from tests.sim.market import DECKS, market
from tests.sim.money_world import MoneyWorld
from tests.sim.schedule import play

SEEDS = range(7_000, 7_010)


def test_without_changes_no_call_of_a_run_comes_out_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One configuration from begin to end, as a replay knows one.
    monkeypatch.setattr(MoneyWorld, "change", lambda world, put, remove=(): None)
    for name, rows in DECKS.items():
        compile_deck(rows, tmp_path / name)
    answered = refused = 0
    for seed in SEEDS:
        with journal_disk() as disk:
            world = play(tmp_path, seed, disk)
        replayer = Replayer(market(Random(f"plan {seed}")), tmp_path, Changes(), 14_400)
        for cdr in world.bank.cdrs.values():
            found = replayer.replay(past_call(cdr))
            assert is_same(found.before, found.after), (seed, cdr, found)
            answered += cdr.answered_ms is not None
            refused += bool(found.after.cause)
    assert answered > 50
    assert refused > 20
