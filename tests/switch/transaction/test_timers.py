"""Timers fire once, in time, in order; stopped ones never do and hold on to nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.build import is_compiled
from switch.transaction.timers import INTERVALS_MAX, NEVER, TICK_S, TimerOwner, Timers

pytestmark = pytest.mark.skipif(is_compiled(), reason="a listener of a test cannot inherit from a compiled class")


class Clock(TimerOwner):
    def __init__(self) -> None:
        self.fired: list[tuple[int, float]] = []

    def fire(self, kind: int, now: float) -> None:
        self.fired.append((kind, now))


def run(timers: Timers, until: float) -> None:
    while timers.next_deadline() <= until:
        timers.run(timers.next_deadline())


def test_a_timer_fires_once_and_not_before_its_time() -> None:
    timers, clock = Timers(), Clock()
    timers.start(500, clock, 7, 10.0)
    timers.run(10.49)
    assert clock.fired == []
    timers.run(10.5)
    timers.run(20.0)
    assert clock.fired == [(7, 10.5)]
    assert timers.next_deadline() == NEVER or timers.next_deadline() > 20.0


def test_a_stopped_timer_never_fires_and_lets_its_owner_go() -> None:
    timers, clock = Timers(), Clock()
    timer = timers.start(500, clock, 1, 0.0)
    timer.stop()
    assert timer.owner is None
    timers.run(1.0)
    assert clock.fired == []
    assert timers.running() == 0


def test_more_intervals_than_queues_share_the_heap() -> None:
    timers, clock = Timers(), Clock()
    for kind in range(INTERVALS_MAX * 2):
        timers.start(1_000 - kind, clock, kind, 0.0)
    run(timers, 2.0)
    assert sorted(kind for kind, _ in clock.fired) == list(range(INTERVALS_MAX * 2))
    assert timers.running() == 0


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 5, 150, 500, 4_000, 32_000]), st.booleans(), st.floats(0, 50), st.booleans()),
        max_size=60,
    )
)
def test_every_running_timer_fires_within_a_tick_of_its_deadline(
    plan: list[tuple[int, bool, float, bool]],
) -> None:
    timers, clock = Timers(), Clock()
    due: dict[int, float] = {}
    now = 0.0
    for kind, (interval_ms, is_stopped, wait, is_odd) in enumerate(plan):
        if is_odd:
            timer = timers.start_at(now + interval_ms / 1000.0, clock, kind)
        else:
            timer = timers.start(interval_ms, clock, kind, now)
        if is_stopped:
            timer.stop()
        else:
            due[kind] = now + interval_ms / 1000.0
        run(timers, now + wait)
        now += wait
    run(timers, now + 100.0)
    assert sorted(kind for kind, _ in clock.fired) == sorted(due)
    for kind, at in clock.fired:
        assert due[kind] <= at <= due[kind] + 2 * TICK_S


def test_a_fault_in_one_owner_stops_no_other_timer() -> None:
    class Faulty(TimerOwner):
        def fire(self, kind: int, now: float) -> None:
            raise RuntimeError("ours")

    timers = Timers()
    timers.start(100, Faulty(), 1, 0.0)
    other = Clock()
    timers.start(200, other, 2, 0.0)
    with pytest.raises(RuntimeError):
        timers.run(0.15)
    assert timers.next_deadline() <= 0.2
    timers.run(0.2)
    assert [kind for kind, _ in other.fired] == [2]
