"""When an alert fires, repeats and resets: a pure function over what was measured, for now and for history.

An alert that is armed fires at the first value that crosses its threshold. It is re-armed by a value past
its reset threshold, on the other side, so that one which wavers around the threshold fires once. While it
is fired it is told again every `repeat_minutes`. A penalty ends by itself, and with it what was fired is
over: calls of before are judged no more, and the alert is armed again.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Operator = Literal["<", "<=", ">", ">="]
What = Literal["fire", "repeat", "reset", "penalty_over"]

MINUTE_MS: Final = 60_000


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    operator: Operator
    threshold: int
    """In the measure's own units, as values are."""
    reset: int | None = None
    """None: as soon as the threshold is not crossed."""
    repeat_ms: int | None = None
    """None: told once."""
    penalty_ms: int | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    armed_ms: int
    """Nothing before this is judged."""
    fired_ms: int | None = None
    told_ms: int | None = None
    penalty_until_ms: int | None = None


def crosses(operator: Operator, value: int, threshold: int) -> bool:
    if operator == "<":
        return value < threshold
    if operator == "<=":
        return value <= threshold
    if operator == ">":
        return value > threshold
    return value >= threshold


def is_past_reset(rule: Rule, value: int) -> bool:
    """Whether a fired alert is armed again: the value is beyond the reset threshold, away from the threshold."""
    if crosses(rule.operator, value, rule.threshold):
        return False
    if rule.reset is None:
        return True
    return value > rule.reset if rule.operator in ("<", "<=") else value < rule.reset


def step(rule: Rule, state: State, now_ms: int, value: int | None) -> tuple[State, What | None]:
    """What happens at this moment, and the state after it.

    Args:
        value: None: there is too little to judge by, and nothing changes but by time.
    """
    if state.penalty_until_ms is not None:
        if now_ms < state.penalty_until_ms:
            return _repeated(rule, state, now_ms)
        return State(armed_ms=state.penalty_until_ms), "penalty_over"
    if state.fired_ms is None:
        if value is None or not crosses(rule.operator, value, rule.threshold):
            return state, None
        until_ms = None if rule.penalty_ms is None else now_ms + rule.penalty_ms
        fired = State(armed_ms=state.armed_ms, fired_ms=now_ms, told_ms=now_ms, penalty_until_ms=until_ms)
        return fired, "fire"
    if value is not None and is_past_reset(rule, value):
        return State(armed_ms=state.armed_ms), "reset"
    return _repeated(rule, state, now_ms)


def _repeated(rule: Rule, state: State, now_ms: int) -> tuple[State, What | None]:
    if rule.repeat_ms is None or state.told_ms is None or now_ms < state.told_ms + rule.repeat_ms:
        return state, None
    return msgspec.structs.replace(state, told_ms=now_ms), "repeat"
