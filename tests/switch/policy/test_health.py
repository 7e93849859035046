"""A gateway goes down and comes up by thresholds, and rests when it asks to."""

from __future__ import annotations

from switch.policy.health import REST_MAX_S, Health


def test_it_goes_down_after_the_given_failures_in_a_row() -> None:
    health = Health()
    assert not health.probe_failed("no answer", 1, 3)
    assert not health.probe_failed("no answer", 2, 3)
    assert health.is_usable(0.0)
    assert health.probe_failed("no answer", 3, 3)
    assert not health.is_usable(0.0)
    assert health.reason == "no answer (3 in a row)"
    assert health.changed_ms == 3


def test_an_answer_between_failures_starts_the_count_again() -> None:
    health = Health()
    health.probe_failed("no answer", 1, 2)
    assert not health.probe_answered(200, 2, 2, 1)
    assert not health.probe_failed("no answer", 3, 2)
    assert health.is_up


def test_it_comes_up_after_the_given_successes_in_a_row() -> None:
    health = Health()
    health.probe_failed("connection refused", 1, 1)
    assert not health.probe_answered(200, 2, 1, 3)
    assert not health.probe_answered(200, 3, 1, 3)
    assert not health.probe_failed("connection refused", 4, 1)
    assert not health.probe_answered(200, 5, 1, 3)
    assert not health.probe_answered(404, 6, 1, 3)
    assert not health.is_up
    assert health.probe_answered(200, 7, 1, 3)
    assert health.is_up
    assert health.changed_ms == 7


def test_a_503_is_a_failure_and_other_finals_are_not() -> None:
    health = Health()
    for status in (200, 404, 405, 481, 500, 603):
        assert not health.probe_answered(status, 1, 1, 1)
        assert health.is_up
    assert health.probe_answered(503, 2, 1, 1)
    assert health.reason == "503 to the probe"


def test_retry_after_rests_it_for_that_long_and_no_longer_than_the_limit() -> None:
    health = Health()
    health.rest(30.0, 100.0)
    assert not health.is_usable(129.9)
    assert health.why_not(110.0) == "Retry-After, 20 s left"
    assert health.is_usable(130.0)
    health.rest(1e9, 200.0)
    assert health.is_usable(200.0 + REST_MAX_S)


def test_a_shorter_retry_after_does_not_cut_a_longer_one() -> None:
    health = Health()
    health.rest(30.0, 100.0)
    health.rest(1.0, 101.0)
    assert not health.is_usable(129.0)


def test_it_comes_up_when_nobody_probes_it_any_more() -> None:
    health = Health()
    health.probe_failed("no answer", 1, 1)
    assert health.probing_ended(5)
    assert health.is_usable(0.0)
    assert not health.probing_ended(6)
