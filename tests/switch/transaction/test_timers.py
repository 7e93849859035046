from hypothesis import given
from hypothesis import strategies as st

from switch.transaction.timers import INTERVALS_MAX, NEVER, STOPPED_MIN, TICK_S, Timer, TimerOwner, Timers


class Log(TimerOwner):
    def __init__(self) -> None:
        self.fired: list[tuple[int, float]] = []

    def fire(self, kind: int, now: float) -> None:
        self.fired.append((kind, now))


def held(timers: Timers) -> int:
    return sum(len(queue.timers) for queue in timers._queues.values()) + len(timers._heap)


def test_a_timer_fires_once_when_it_is_due_and_not_before() -> None:
    timers, log = Timers(), Log()
    timers.start(500, log, 1, 10.0)
    timers.run(10.499)
    assert log.fired == []
    timers.run(10.5)
    timers.run(99.0)
    assert log.fired == [(1, 10.5)]
    assert timers.running() == 0
    assert timers.next_deadline() == NEVER


def test_a_stopped_timer_never_fires() -> None:
    timers, log = Timers(), Log()
    timers.start(500, log, 1, 0.0).stop()
    timers.start_at(0.5, log, 2).stop()
    timers.run(1.0)
    assert log.fired == []


def test_stopping_twice_or_after_it_fired_changes_nothing() -> None:
    timers, log = Timers(), Log()
    early, late = timers.start(100, log, 1, 0.0), timers.start(100, log, 2, 0.0)
    timers.run(0.1)
    early.stop()
    late.stop()
    late.stop()
    timers.start(100, log, 3, 1.0)
    timers.run(2.0)
    assert [kind for kind, _ in log.fired] == [1, 2, 3]
    assert all(queue.stopped == 0 for queue in timers._queues.values())


def test_timers_stopped_behind_one_that_runs_on_are_forgotten() -> None:
    timers, log = Timers(), Log()
    timers.start(14_400_000, log, 1, 0.0)
    for number in range(20 * STOPPED_MIN):
        timers.start(14_400_000, log, 2, number / 1000).stop()
    assert held(timers) <= 2 * STOPPED_MIN + 2
    assert timers.running() == 1


def test_odd_deadlines_that_were_stopped_are_forgotten_too() -> None:
    timers, log = Timers(), Log()
    timers.start_at(1.0, log, 1)
    for number in range(20 * STOPPED_MIN):
        timers.start_at(1000.0 + number, log, 2).stop()
    assert held(timers) <= 2 * STOPPED_MIN + 2
    timers.run(1.0)
    assert log.fired == [(1, 1.0)]


def test_more_intervals_than_there_are_queues_still_fire_in_time() -> None:
    timers, log = Timers(), Log()
    count = INTERVALS_MAX + 20
    for number in range(count):
        timers.start(1_000 + number, log, number, 0.0)
    for number in range(count):
        timers.run((1_000 + number) / 1000.0)
    timers.run(2.0)
    assert [kind for kind, _ in log.fired] == list(range(count))


@given(st.lists(st.tuples(st.sampled_from([100, 500, 4_000]), st.booleans()), max_size=60))
def test_what_is_not_stopped_fires_at_its_deadline_to_the_tick(plan: list[tuple[int, bool]]) -> None:
    timers, log = Timers(), Log()
    wanted: dict[int, float] = {}
    now = 0.0
    for number, (interval_ms, is_stopped) in enumerate(plan):
        timer: Timer = timers.start(interval_ms, log, number, now)
        if is_stopped:
            timer.stop()
        else:
            wanted[number] = now + interval_ms / 1000.0
        now += 0.01
        timers.run(now)
    while timers.next_deadline() < NEVER:
        timers.run(timers.next_deadline())
    assert {kind for kind, _ in log.fired} == set(wanted)
    for kind, at in log.fired:
        assert 0.0 <= at - wanted[kind] + 1e-9 <= 0.01 + TICK_S + 1e-6
