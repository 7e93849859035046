"""What alerts measure is what one would count by hand over the calls of the sample."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control.services.alert_backtest import STEP_MS, walk_calls
from control.services.alert_measures import HOUR_MS, NANOS, Area, Live, Measure, Past
from control.services.alert_rules import Rule

MINUTE_MS = 60_000
BEGIN_MS = 1_800_000_000_000


@st.composite
def calls(draw: st.DrawFn) -> Past:
    invited_ms = BEGIN_MS + draw(st.integers(0, 20 * MINUTE_MS))
    rings_ms = draw(st.integers(0, 90_000))
    length_ms = draw(st.none() | st.integers(0, 10 * MINUTE_MS))
    answered_ms = None if length_ms is None else invited_ms + rings_ms
    return Past(
        invited_ms=invited_ms,
        answered_ms=answered_ms,
        ended_ms=invited_ms + rings_ms + (length_ms or 0),
        pdd_ms=draw(st.none() | st.integers(0, 5_000)),
        duration_ms=length_ms or 0,
        gross_nanos=draw(st.integers(0, 10**9)) if length_ms is not None else 0,
        is_failure=length_ms is None and draw(st.booleans()),
    )


def by_hand(area: Area, known: list[Past], now_ms: int, begin_ms: int, sample_ms: int, minimum: int) -> int | None:
    """Over all calls, each time anew."""
    invited = [call for call in known if begin_ms <= call.invited_ms < now_ms]
    ended = [call for call in known if call.ended_ms < now_ms]
    in_sample = [call for call in ended if call.ended_ms >= begin_ms]
    if area == "channels":
        return sum(1 for call in known if call.invited_ms < now_ms <= call.ended_ms) * NANOS
    if area == "cps":
        seconds = [call.invited_ms // 1_000 for call in invited]
        return max((seconds.count(second) for second in seconds), default=0) * NANOS
    if area == "spend_per_hour":
        return sum(call.gross_nanos for call in in_sample) * HOUR_MS // sample_ms
    if area == "asr":
        decided = [
            call for call in invited if (call.ended_ms if call.answered_ms is None else call.answered_ms) < now_ms
        ]
        answered = sum(1 for call in decided if call.answered_ms is not None)
        return answered * 100 * NANOS // len(decided) if decided and len(decided) >= minimum else None
    answered_calls = [call for call in in_sample if call.answered_ms is not None]
    if not answered_calls or len(answered_calls) < minimum:
        return None
    return sum(call.duration_ms for call in answered_calls) * (NANOS // 1_000) // len(answered_calls)


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(["asr", "acd", "cps", "channels", "spend_per_hour"]),
    st.lists(calls(), max_size=40),
    st.integers(1, 15),
    st.integers(1, 5),
)
def test_a_walk_through_history_measures_what_is_counted_by_hand(
    area: Any, known: list[Past], minutes: int, minimum: int
) -> None:
    sample_ms = minutes * MINUTE_MS
    measure = Measure(area, sample_ms, minimum)
    nothing_fires = Rule(operator="<", threshold=-1)
    until_ms = BEGIN_MS + 40 * MINUTE_MS
    looks = list(walk_calls(nothing_fires, measure, known, BEGIN_MS, until_ms))
    for place, (event, value) in enumerate(looks):
        now_ms = BEGIN_MS + place * STEP_MS
        bucket_ms = measure.bucket_ms
        begin_ms = -(-(now_ms - sample_ms) // bucket_ms) * bucket_ms
        assert event is None
        assert value == by_hand(area, known, now_ms, begin_ms, sample_ms, minimum), (place, area)


@settings(deadline=None, max_examples=25)
@given(st.lists(calls(), max_size=30), st.integers(0, 60))
def test_calls_that_are_up_count_as_they_will_once_they_have_ended(known: list[Past], at_step: int) -> None:
    """What is measured live, from CDRs and the switch's calls, is what the walk through history says later."""
    now_ms = BEGIN_MS + at_step * STEP_MS
    for area in ("asr", "cps", "channels"):
        live_side = Measure(area, 10 * MINUTE_MS, 1)
        for call in sorted(known, key=lambda each: each.ended_ms):
            if call.ended_ms < now_ms:
                live_side.take(call)
        up = [
            Live(
                invited_ms=call.invited_ms,
                is_answered=call.answered_ms is not None and call.answered_ms < now_ms,
            )
            for call in known
            if call.invited_ms < now_ms <= call.ended_ms
        ]
        walked = list(
            walk_calls(Rule(operator="<", threshold=-1), Measure(area, 10 * MINUTE_MS, 1), known, BEGIN_MS, now_ms)
        )
        assert live_side.value(now_ms, 0, up) == walked[-1][1], area


def test_failures_count_from_the_last_call_that_went_well_and_not_from_before_a_penalty() -> None:
    measure = Measure("failures", MINUTE_MS, 1)

    def end(at_ms: int, *, is_failure: bool) -> None:
        answered_ms = None if is_failure else at_ms
        measure.take(
            Past(
                invited_ms=at_ms,
                answered_ms=answered_ms,
                ended_ms=at_ms,
                pdd_ms=None,
                duration_ms=0,
                gross_nanos=0,
                is_failure=is_failure,
            )
        )

    end(1, is_failure=True)
    end(2, is_failure=False)
    for at_ms in (3, 4, 5):
        end(at_ms, is_failure=True)
    assert measure.value(10, 0) == 3 * NANOS
    assert measure.value(10, 5) == NANOS
