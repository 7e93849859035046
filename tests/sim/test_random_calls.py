"""Whole runs from one seed each: rough links, rude peers, kills and changes; and nothing is left or counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from rating.decks import compile_deck
from switch.records import Cdr
from switch.snapshot import Customer, Delta, Gateway, IngressRoute, Provider, Record
from switch.wire.message import Response
from tests.fakes.carrier import DEFAULT_DECKS, DEFAULT_RECORDS, with_
from tests.fakes.world import CALLER, SWITCH
from tests.sim.agents import Storm

CALLS = 6
RECORDS = with_(DEFAULT_RECORDS, Customer, 1, pdd_ms=6_000, ring_ms=9_000)
BUFFERED = with_(RECORDS, IngressRoute, 1, flow_speed_cps=0.2, cps_buffer_s=10)
LONGEST_S = 400.0
"""Longer than any timer that an ended call can have left behind: timer C and what follows it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("decks")
    for name, rows in DEFAULT_DECKS.items():
        compile_deck(rows, made / name)
    return made


def play(folder: Path, seed: int, *, garbles: float = 0.0) -> Storm:
    """One run, up to where everything has to be over."""
    world = Storm(folder, seed, BUFFERED if seed % 3 == 0 else RECORDS, garbles=garbles)
    dice = world.dice
    version = 1
    for _ in range(CALLS):
        world.callers.dial()
        world.run_for(dice.rng.uniform(0.0, 10.0))
        if dice(0.1):
            world.kill_one()
        if dice(0.1):
            world.fail_one_send()
        if dice(0.2):
            version += 1
            change: Record = dice.rng.choice(
                (
                    Provider(id=1, name="Cheapline", enabled=dice(0.7)),
                    Provider(id=2, name="Dearline", channels=dice.rng.choice((None, 1))),
                    Gateway(id=1, provider_id=1, host="198.51.100.1", channels=dice.rng.choice((None, 1))),
                )
            )
            world.engine.apply(Delta(version=version, put=(change,)))
    world.run_for(60.0)
    while world.engine.live_calls():  # a call that neither side ends is ended by its operator
        world.kill_one()
        world.run_for(1.0)
    world.run_for(LONGEST_S)
    return world


def check(world: Storm) -> None:
    world.assert_idle()
    counters = world.engine.stats().counters
    assert len(world.cdrs) == counters.get("calls_attempted", 0)
    assert len({cdr.id for cdr in world.cdrs}) == len(world.cdrs)
    assert sum(cdr.answered_ms is not None for cdr in world.cdrs) == counters.get("calls_answered", 0)
    for cdr in world.cdrs:
        check_cdr(cdr)


def check_cdr(cdr: Cdr) -> None:
    is_answered = cdr.answered_ms is not None
    assert is_answered == (cdr.status == 200)
    assert is_answered == (cdr.gross_nanos > 0) or cdr.duration_ms == 0
    assert is_answered == (cdr.cost_nanos > 0) or cdr.duration_ms == 0
    assert cdr.invited_ms <= (cdr.progress_ms or cdr.invited_ms) <= cdr.ended_ms
    assert cdr.invited_ms <= (cdr.answered_ms or cdr.invited_ms) <= cdr.ended_ms
    assert cdr.release in ("caller", "callee", "switch")
    assert cdr.cause
    assert [a.cause for a in cdr.attempts].count("answered") == is_answered
    assert cdr.cost_nanos == sum(a.cost_nanos for a in cdr.attempts)
    earlier = cdr.invited_ms
    for attempt in cdr.attempts:
        assert earlier <= attempt.started_ms <= attempt.ended_ms <= cdr.ended_ms
        assert (attempt.cause == "answered") == (attempt.answered_ms is not None)
        assert attempt.cause in (
            "answered",
            "cancelled",
            "first_reply_timeout",
            "pdd_timeout",
            "ring_timeout",
            "unreachable",
            "rejected",
        )
        earlier = attempt.ended_ms


def check_peers(world: Storm) -> None:
    """What the two sides were told agrees with the CDR, and nobody is left in a call alone."""
    finals: dict[bytes, set[int]] = {}
    for packet in world.log:
        if packet.source == SWITCH and packet.target == CALLER:
            message = packet.message
            is_final = isinstance(message, Response) and message.status >= 200
            if isinstance(message, Response) and is_final and message.cseq_method == b"INVITE" and message.cseq == 1:
                finals.setdefault(message.call_id, set()).add(message.status)
    told = {cdr.call_id.encode(): {cdr.status} for cdr in world.cdrs}
    assert finals == told
    for vendor in world.vendors:
        for ring in vendor.rings.values():
            if ring.final == 200 and ring.is_acked:
                assert ring.is_over, f"{ring.invite.call_id!r} goes on at {vendor.address}"


@pytest.mark.parametrize("tens", range(30))
def test_random_calls_leave_nothing_behind_and_are_counted_once(folder: Path, tens: int) -> None:
    for seed in range(10 * tens, 10 * tens + 10):
        try:
            world = play(folder, seed)
            check(world)
            check_peers(world)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize("tens", range(20))
def test_garbled_messages_among_them_leave_nothing_behind_either(folder: Path, tens: int) -> None:
    for seed in range(1_000 + 10 * tens, 1_000 + 10 * tens + 10):
        try:
            check(play(folder, seed, garbles=0.5))
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_a_seed_gives_the_same_run_each_time(folder: Path) -> None:
    first, second = play(folder, 7), play(folder, 7)
    assert [(p.at, p.target, p.data) for p in first.log] == [(p.at, p.target, p.data) for p in second.log]
    assert first.cdrs == second.cdrs
