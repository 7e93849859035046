"""N calls a second are N: neither N-1 by rounding nor N+1 by luck."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from switch.policy.buckets import Buckets


def let_through(buckets: Buckets, rate: float, now_s: float, tries: int) -> int:
    return sum(buckets.take(1, rate, now_s) for _ in range(tries))


@given(st.integers(1, 500), st.integers(0, 10**6))
def test_a_limit_of_n_lets_exactly_n_through_at_once_and_n_in_each_later_second(rate: int, start: int) -> None:
    buckets = Buckets()
    for second in range(4):
        assert let_through(buckets, rate, start + second, rate + 50) == rate


@given(st.integers(2, 200), st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_tenths_of_milliseconds_add_up_to_whole_tokens(rate: int, gaps: list[int]) -> None:
    buckets = Buckets()
    assert let_through(buckets, rate, 0.0, rate + 1) == rate
    now = passed = 0
    for gap in gaps:  # Each too short to fill the bucket: nothing that was earned may be lost.
        now += gap
        passed += let_through(buckets, rate, now / 10_000, rate + 1)
        assert passed == now * rate // 10_000


def test_a_rate_below_one_lets_one_through_and_the_next_after_its_time() -> None:
    buckets = Buckets()
    assert let_through(buckets, 0.5, 10.0, 5) == 1
    assert let_through(buckets, 0.5, 11.999, 5) == 0
    assert let_through(buckets, 0.5, 12.0, 5) == 1
    assert buckets.wait_s(1, 0.5, 12.5) == 1.5


def test_a_rate_of_zero_lets_nothing_through() -> None:
    buckets = Buckets()
    assert not buckets.take(1, 0.0, 5.0)
    assert not buckets.may_take(1, 0.0, 50.0)
    assert buckets.wait_s(1, 0.0, 50.0) == float("inf")


def test_tokens_are_taken_from_all_limits_or_from_none() -> None:
    buckets = Buckets()
    assert buckets.admit_rates([(1, 5.0), (2, 1.0)], 0.0) is None
    for _ in range(10):
        assert buckets.admit_rates([(1, 5.0), (2, 1.0)], 0.0) == 2
    assert let_through(buckets, 5.0, 0.0, 10) == 4


def test_asking_takes_nothing() -> None:
    buckets = Buckets()
    for _ in range(3):
        assert buckets.may_take(1, 1.0, 0.0)
        assert buckets.first_empty([(1, 1.0)], 0.0) is None
    assert buckets.take(1, 1.0, 0.0)
    assert buckets.first_empty([(1, 1.0)], 0.0) == 1


def test_a_lowered_limit_counts_at_once() -> None:
    buckets = Buckets()
    assert buckets.take(1, 100.0, 0.0)
    assert let_through(buckets, 2.0, 0.0, 10) == 2


def test_a_clock_that_goes_back_earns_nothing() -> None:
    buckets = Buckets()
    assert let_through(buckets, 2.0, 10.0, 5) == 2
    assert let_through(buckets, 2.0, 9.0, 5) == 0
    assert let_through(buckets, 2.0, 10.4, 5) == 0
    assert let_through(buckets, 2.0, 10.5, 5) == 1


def test_a_forgotten_bucket_is_full_again() -> None:
    buckets = Buckets()
    assert let_through(buckets, 1.0, 0.0, 5) == 1
    buckets.forget(1)
    assert len(buckets) == 0
    assert let_through(buckets, 1.0, 0.0, 5) == 1
