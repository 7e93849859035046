"""What an alert would have done over history: the same measures and rules, walked through the past.

A penalty of the past would have refused calls that did take place; they are not judged, as refused ones
would not have been, and their charges still count in a balance.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from control.services.alert_history import balance_steps, count_invited, invited, past, past_attempts
from control.services.alert_measures import Area, Measure, Past
from control.services.alert_rules import MINUTE_MS, Operator, Rule, State, What, step
from control.services.alerts import ALERTS, MinimumCalls, PenaltyMinutes, SampleMinutes, rule_of
from control.services.context import Context
from control.services.errors import invalid
from control.services.fields import Amount, Moment, moment_ms, moment_or_none, ms_moment
from rating.money import format_amount

STEP_MS: Final = 30_000
"""Between two looks at history."""
DAYS_MAX: Final = 31
CALLS_MAX: Final = 500_000
LONGEST_CALL_MS: Final = 4 * 3_600_000
"""Calls that began so long before the period are looked at too: they may end in it."""
EVENTS_MAX: Final = 1_000
TURN_S: Final = 0.01
"""So long the walk goes on before others have their turn: one look may take in thousands of calls."""


class BacktestNew(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    """A period of the past, and what is to be different from the alert as it stands."""

    since: Moment
    until: Moment
    operator: Operator | None = None
    threshold: Amount | None = None
    reset_threshold: Amount | None = None
    sample_minutes: SampleMinutes | None = None
    minimum_calls: MinimumCalls | None = None
    penalty_minutes: PenaltyMinutes | None = None
    repeat_minutes: Annotated[int, Meta(ge=1)] | None = None


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    at: Moment
    what: What
    """`penalty_over`: the penalty ended by itself, and the alert was armed again."""
    value: str | None
    penalty_until: Moment | None = None


class Backtest(msgspec.Struct, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    since: Moment
    until: Moment
    area: Area
    fired: int
    repeated: int
    reset: int
    penalties: int
    penalty_minutes: int
    """In all, within the period."""
    calls: int
    """That were looked at."""
    lowest: str | None
    highest: str | None
    """Of what was measured, where there was enough to judge by."""
    happenings: list[Happening]
    """The first thousand."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened in the past, as far as the walk goes."""

    at_ms: int
    what: What
    value: int | None
    penalty_until_ms: int | None


async def backtest(ctx: Context, alert_id: int, asked: BacktestNew) -> Backtest:
    """Walk a period with one alert.

    Raises:
        Invalid: the period is empty, in the future, too long, or has too many calls.
    """
    from_ms, until_ms = moment_ms("from", asked.since), moment_ms("to", asked.until)
    if not from_ms < until_ms <= ctx.now_ms():
        raise invalid("to", "after from, and not in the future")
    if until_ms - from_ms > DAYS_MAX * 86_400_000:
        raise invalid("from", f"more than {DAYS_MAX} days before to")
    others = {name: getattr(asked, name) for name in asked.__struct_fields__ if name not in ("since", "until")}
    sent = {name: value for name, value in others.items() if value is not None}
    async with ctx.change() as change:
        row = await ALERTS.row(change.tx, alert_id)
        new = ALERTS.merged(row, sent)
        # As if it were saved so: what would be refused then is refused now. Nothing is written.
        await ALERTS.check(ctx, change, new, row)
    columns = {**row, **ALERTS.columns(new)}
    rule = rule_of(columns)
    if new.area == "balance":
        async with ctx.store.read() as tx:
            opening, steps = await balance_steps(tx, row["customer_id"], from_ms, until_ms, CALLS_MAX + 1)
        if len(steps) > CALLS_MAX:
            raise invalid("from", f"the balance changed more than {CALLS_MAX} times; a shorter period is needed")
        walk = _walk_balance(rule, opening, steps, from_ms, until_ms)
        calls = 0
    else:
        past_calls = await _calls(ctx, row["customer_id"], row["provider_id"], from_ms, until_ms)
        measure = Measure(new.area, new.sample_minutes * MINUTE_MS, new.minimum_calls)
        walk = walk_calls(rule, measure, past_calls, from_ms, until_ms)
        calls = len(past_calls)
    return await _summed(walk, new.area, from_ms, until_ms, calls)


Looked = tuple[Event | None, int | None]
"""What happened at one look, and what was measured."""


def walk_calls(rule: Rule, measure: Measure, calls: Iterable[Past], from_ms: int, until_ms: int) -> Iterator[Looked]:
    """Look every `STEP_MS` from `from_ms` on; each call is known as it was at that time: begun, decided, ended."""
    moments = _moments(measure, calls)
    state = State(armed_ms=0)
    ahead = next(moments, None)
    for now_ms in range(from_ms, until_ms + 1, STEP_MS):
        while ahead is not None and ahead[0] < now_ms:
            ahead[1]()
            ahead = next(moments, None)
        value = measure.value(now_ms, state.armed_ms)
        state, event = _step(rule, state, now_ms, value)
        yield event, value


def _moments(measure: Measure, calls: Iterable[Past]) -> Iterator[tuple[int, Any]]:
    """What becomes known of calls, in the order of time."""
    waiting: list[tuple[int, int, Any]] = []
    number = 0
    for call in sorted(calls, key=lambda each: each.invited_ms):
        while waiting and waiting[0][0] <= call.invited_ms:
            at_ms, _, act = heapq.heappop(waiting)
            yield at_ms, act
        yield call.invited_ms, _bound(measure.begin, call)
        decided_ms = call.ended_ms if call.answered_ms is None else call.answered_ms
        for at_ms, act in ((decided_ms, measure.decide), (call.ended_ms, measure.end)):
            number += 1
            heapq.heappush(waiting, (max(at_ms, call.invited_ms), number, _bound(act, call)))
    while waiting:
        at_ms, _, act = heapq.heappop(waiting)
        yield at_ms, act


def _bound(act: Any, call: Past) -> Any:
    return lambda: act(call)


def _walk_balance(
    rule: Rule, opening: int, steps: list[tuple[int, int]], from_ms: int, until_ms: int
) -> Iterator[Looked]:
    state = State(armed_ms=0)
    value, place = opening, 0
    for now_ms in range(from_ms, until_ms + 1, STEP_MS):
        while place < len(steps) and steps[place][0] < now_ms:
            value = steps[place][1]
            place += 1
        state, event = _step(rule, state, now_ms, value)
        yield event, value


def _step(rule: Rule, state: State, now_ms: int, value: int | None) -> tuple[State, Event | None]:
    state, what = step(rule, state, now_ms, value)
    return state, None if what is None else Event(now_ms, what, value, state.penalty_until_ms)


async def _calls(
    ctx: Context, customer_id: int | None, provider_id: int | None, from_ms: int, until_ms: int
) -> list[Past]:
    is_providers = provider_id is not None
    begin_ms = from_ms - LONGEST_CALL_MS
    async with ctx.store.read() as tx:
        if await count_invited(tx, customer_id, begin_ms, until_ms, CALLS_MAX + 1) > CALLS_MAX:
            raise invalid("from", f"more than {CALLS_MAX} calls; a shorter period is needed")
        found: list[Past] = []
        async for page in invited(tx, customer_id, begin_ms, until_ms, with_attempts=is_providers):
            if is_providers:
                found += [one for row in page for owner, one in past_attempts(row) if owner == provider_id]
            else:
                found += [past(row) for row in page]
    return found


async def _summed(walk: Iterator[Looked], area: Area, from_ms: int, until_ms: int, calls: int) -> Backtest:
    counts: dict[What, int] = {"fire": 0, "repeat": 0, "reset": 0, "penalty_over": 0}
    happenings: list[Happening] = []
    lowest: int | None = None
    highest: int | None = None
    penalties = penalty_ms = 0
    began_s = time.monotonic()
    for event, value in walk:
        if time.monotonic() - began_s > TURN_S:
            await asyncio.sleep(0)
            began_s = time.monotonic()
        if value is not None:
            lowest = value if lowest is None else min(lowest, value)
            highest = value if highest is None else max(highest, value)
        if event is None:
            continue
        counts[event.what] += 1
        if event.what == "fire" and event.penalty_until_ms is not None:
            penalties += 1
            penalty_ms += min(event.penalty_until_ms, until_ms) - event.at_ms
        if len(happenings) < EVENTS_MAX:
            happenings.append(_happening(event))
    return Backtest(
        since=ms_moment(from_ms),
        until=ms_moment(until_ms),
        area=area,
        fired=counts["fire"],
        repeated=counts["repeat"],
        reset=counts["reset"],
        penalties=penalties,
        penalty_minutes=penalty_ms // MINUTE_MS,
        calls=calls,
        lowest=None if lowest is None else format_amount(lowest),
        highest=None if highest is None else format_amount(highest),
        happenings=happenings,
    )


def _happening(event: Event) -> Happening:
    until_ms = event.penalty_until_ms if event.what == "fire" else None
    return Happening(
        at=ms_moment(event.at_ms),
        what=event.what,
        value=None if event.value is None else format_amount(event.value),
        penalty_until=moment_or_none(until_ms),
    )
