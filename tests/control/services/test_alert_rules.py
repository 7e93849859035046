"""When alerts fire, repeat and reset, whatever is measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.services.alert_rules import MINUTE_MS, Operator, Rule, State, What, crosses, is_past_reset, step

OPERATORS: list[Operator] = ["<", "<=", ">", ">="]
Looks = list[tuple[int, int | None]]


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    operator = draw(st.sampled_from(OPERATORS))
    threshold = draw(st.integers(-20, 20))
    beyond = draw(st.none() | st.integers(0, 10))
    sign = 1 if operator in ("<", "<=") else -1
    return Rule(
        operator=operator,
        threshold=threshold,
        reset=None if beyond is None else threshold + sign * beyond,
        repeat_ms=draw(st.none() | st.integers(1, 5).map(lambda n: n * MINUTE_MS)),
        penalty_ms=draw(st.none() | st.integers(1, 10).map(lambda n: n * MINUTE_MS)),
    )


looks = st.lists(st.tuples(st.integers(1, 3 * MINUTE_MS), st.none() | st.integers(-40, 40)), min_size=1, max_size=60)


def walk(rule: Rule, steps: Looks) -> list[tuple[int, What, int | None, State]]:
    state, now_ms, found = State(armed_ms=0), 0, []
    for gap_ms, value in steps:
        now_ms += gap_ms
        state, what = step(rule, state, now_ms, value)
        if what is not None:
            found.append((now_ms, what, value, state))
    return found


@given(rules(), looks)
def test_between_two_fires_there_is_always_a_reset_or_the_end_of_a_penalty(rule: Rule, steps: Looks) -> None:
    is_fired = False
    for _, what, value, _ in walk(rule, steps):
        if what == "fire":
            assert not is_fired
            assert value is not None
            assert crosses(rule.operator, value, rule.threshold)
            is_fired = True
        elif what == "repeat":
            assert is_fired
        else:
            assert is_fired
            is_fired = False
            assert (what == "penalty_over") == (rule.penalty_ms is not None)


@given(rules(), looks)
def test_a_reset_lies_past_the_reset_threshold_and_never_where_it_would_fire(rule: Rule, steps: Looks) -> None:
    for _, what, value, _ in walk(rule, steps):
        if what == "reset":
            assert value is not None
            assert is_past_reset(rule, value)
            assert not crosses(rule.operator, value, rule.threshold)


@given(rules(), looks)
def test_nobody_is_told_more_often_than_asked(rule: Rule, steps: Looks) -> None:
    told_ms = None
    for now_ms, what, _, _ in walk(rule, steps):
        if what == "repeat":
            assert rule.repeat_ms is not None
            assert told_ms is not None
            assert now_ms - told_ms >= rule.repeat_ms
        if what in ("fire", "repeat"):
            told_ms = now_ms


@given(rules(), looks)
def test_a_penalty_lasts_as_long_as_it_says_and_nothing_before_its_end_counts(rule: Rule, steps: Looks) -> None:
    until_ms = None
    for now_ms, what, _, state in walk(rule, steps):
        if what == "fire" and rule.penalty_ms is not None:
            until_ms = state.penalty_until_ms
            assert until_ms == now_ms + rule.penalty_ms
        elif what == "penalty_over":
            assert until_ms is not None
            assert now_ms >= until_ms
            assert state.armed_ms == until_ms
        elif until_ms is not None and what == "repeat":
            assert now_ms < until_ms


@given(rules(), looks)
def test_what_cannot_be_judged_changes_nothing_but_by_time(rule: Rule, steps: Looks) -> None:
    blind: Looks = [(gap, None) for gap, _ in steps]
    assert walk(rule, blind) == []


@pytest.mark.parametrize(
    ("operator", "values", "fires_at"),
    [
        ("<", [30, 29, 28], 1),
        ("<=", [31, 30, 29], 1),
        (">", [29, 30, 31], 2),
        (">=", [29, 30, 31], 1),
    ],
)
def test_each_operator_fires_at_its_side_of_the_threshold(operator: Operator, values: list[int], fires_at: int) -> None:
    rule = Rule(operator=operator, threshold=30)
    found = walk(rule, [(1_000, value) for value in values])
    assert [(now_ms, what) for now_ms, what, _, _ in found] == [((fires_at + 1) * 1_000, "fire")]


def test_a_value_that_wavers_between_threshold_and_reset_fires_once() -> None:
    rule = Rule(operator="<=", threshold=30, reset=31)
    wavering: Looks = [(1_000, value) for value in (30, 31, 30, 31, 29, 31, 32, 30)]
    assert [what for _, what, _, _ in walk(rule, wavering)] == ["fire", "reset", "fire"]
