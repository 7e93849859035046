"""Wrong answers in a window."""

from __future__ import annotations

from switch.policy.throttle import TALLIES_MAX, Throttle


def test_it_blocks_after_so_many_failures_and_lets_go_after_the_window() -> None:
    throttle = Throttle(3, 60.0)
    for second in range(3):
        assert not throttle.is_blocked("a", float(second))
        throttle.fail("a", float(second))
    assert throttle.is_blocked("a", 61.9)
    assert not throttle.is_blocked("b", 3.0)
    assert not throttle.is_blocked("a", 62.0)
    throttle.fail("a", 63.0)
    assert not throttle.is_blocked("a", 63.0)


def test_failures_far_apart_are_forgotten() -> None:
    throttle = Throttle(2, 60.0)
    for second in range(0, 600, 60):
        throttle.fail("a", float(second))
        assert not throttle.is_blocked("a", float(second))


def test_names_that_an_attacker_makes_up_do_not_fill_memory() -> None:
    throttle = Throttle(2, 60.0)
    for number in range(TALLIES_MAX + 1000):
        throttle.fail(str(number), 0.0)
    assert len(throttle) == TALLIES_MAX
