"""Watches: every few seconds what alerts look at is measured, and who is to be told is told.

Calls come from the CDRs as they arrive, in their order, and from the switch those that are up; balances
from the switch, or from the store while it is away. Sums are kept in memory and made anew from the store
at a start; whether an alert has fired is in the store, so that a restart fires nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services.alert_history import ROWS, arrived, invited, past, past_attempts
from control.services.alert_measures import HOUR_MS, Live, Measure, Past
from control.services.alert_rules import MINUTE_MS, What, step
from control.services.alert_texts import facts
from control.services.alerts import rule_of, state_of, targets_of
from control.services.cdrs import newest_number
from control.services.context import Change, Context
from control.services.customers import CUSTOMERS
from control.services.errors import ServiceError, SwitchAway
from control.services.fields import ms_moment
from control.services.looks import Looks
from control.services.outbox import Event, emit
from control.services.providers import PROVIDERS
from control.store import tables
from control.store.alert_tables import alert_states, alerts
from switch.frames import LiveCall

LOOK_S: Final = 2.0
REST_S: Final = 10.0
LONG_CALL_MS: Final = HOUR_MS
"""At a start, calls that began so long before the sample still count where ends count."""
ACCOUNTS_AT_ONCE: Final = 1_000

_EVENTS: Final[dict[What, Event]] = {
    "fire": "alert.fired",
    "repeat": "alert.repeated",
    "reset": "alert.reset",
    "penalty_over": "alert.reset",
}

Whose = tuple[int | None, int | None]
"""Customer and provider that an alert is about; neither: the whole installation."""

log = structlog.get_logger("control.alerts")


def whose_of(row: RowMapping) -> Whose:
    return row["customer_id"], row["provider_id"]


class _Watched:
    """One alert with what is measured for it."""

    def __init__(self, row: RowMapping) -> None:
        self.row = row
        self.measure = Measure(row["area"], row["sample_minutes"] * MINUTE_MS, row["minimum_calls"])

    @property
    def looks_at_calls(self) -> bool:
        return bool(self.row["area"] not in ("balance", "channels"))


class AlertWatch:
    """One of each installation."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._watched: dict[tuple[int, int], _Watched] = {}
        """By the alert's id and version."""
        self._looks = Looks(ctx.store, ctx.now_ms)
        self._number = -1
        """Of the last CDR that was measured; -1: none yet."""

    async def run(self) -> None:
        """Look until cancelled; what fails is tried again."""
        while True:
            try:
                if self._looks.is_needed():
                    await self.run_due()
            except (SQLAlchemyError, ServiceError, OSError) as error:
                log.error("alerts were not looked at", reason=str(error))
                await asyncio.sleep(REST_S)
            await asyncio.sleep(LOOK_S)

    async def run_due(self) -> int:
        """Measure and judge as of now; how many alerts fired, were repeated or reset."""
        rows = await self._read_alerts()
        if not rows:
            self._watched.clear()
            self._number = -1
            self._looks.rest()
            return 0
        await self._follow(rows)
        live = await self._live_calls(rows)
        balances = await self._balances({row["customer_id"] for row in rows if row["area"] == "balance"})
        now_ms = self._ctx.now_ms()
        due: list[tuple[RowMapping, int | None]] = []
        for row in rows:
            value = self._value(row, now_ms, live, balances)
            _, what = step(rule_of(row), state_of(row), now_ms, value)
            if what is not None:
                due.append((row, value))
        failed: Exception | None = None
        for row, value in due:
            try:
                await self._act(row["id"], row["row_version"], value, now_ms)
            except (SQLAlchemyError, ServiceError) as error:
                log.error("an alert was not acted upon", alert_id=row["id"], reason=str(error))
                failed = error
        if failed is not None:
            raise failed  # after the others have had their turn; it is tried again soon
        return len(due)

    # --- what is measured

    async def _read_alerts(self) -> list[RowMapping]:
        query = (
            select(alerts, *(column for column in alert_states.c if column.name != "alert_id"))
            .join(alert_states, alert_states.c.alert_id == alerts.c.id)
            .where(alerts.c.archived_ms.is_(None), alerts.c.enabled.is_(True))
            .order_by(alerts.c.id)
        )
        async with self._ctx.store.read() as tx:
            return list((await tx.execute(query)).mappings())

    async def _follow(self, rows: Sequence[RowMapping]) -> None:
        """Take in the calls that have arrived, and begin to measure for alerts that are new or changed."""
        wanted = {(row["id"], row["row_version"]): row for row in rows}
        self._watched = {key: watched for key, watched in self._watched.items() if key in wanted}
        by_whose: dict[Whose, list[_Watched]] = {}
        for watched in self._watched.values():
            by_whose.setdefault(whose_of(watched.row), []).append(watched)
        with_attempts = any(provider_id is not None for _, provider_id in by_whose)
        async with self._ctx.store.read() as tx:
            newest = await newest_number(tx)
            while 0 <= self._number < newest and by_whose:
                calls = await arrived(tx, self._number, newest, with_attempts=with_attempts)
                for call in calls:
                    for watched in (*by_whose.get((call.customer_id, None), ()), *by_whose.get((None, None), ())):
                        watched.measure.take(past(call))
                    for provider_id, one in past_attempts(call) if with_attempts else ():
                        for watched in by_whose.get((None, provider_id), ()):
                            watched.measure.take(one)
                self._number = calls[-1].number if calls else newest
            self._number = newest
            for key, row in wanted.items():
                if key not in self._watched:
                    self._watched[key] = watched = _Watched(row)
                    await self._fill(tx, watched, newest)

    async def _fill(self, tx: Any, watched: _Watched, upto: int) -> None:
        """Measure what a start has missed."""
        if not watched.looks_at_calls:
            return
        row = watched.row
        now_ms = self._ctx.now_ms()
        from_ms = max(now_ms - row["sample_minutes"] * MINUTE_MS, row["armed_ms"]) - LONG_CALL_MS
        found: list[tuple[int, Past]] = []
        customer_id, provider_id = whose_of(row)
        is_providers = provider_id is not None
        until_ms = now_ms + LONG_CALL_MS
        async for page in invited(tx, customer_id, from_ms, until_ms, upto, with_attempts=is_providers):
            for call in page:
                if is_providers:
                    found += [(call.number, one) for owner, one in past_attempts(call) if owner == provider_id]
                else:
                    found.append((call.number, past(call)))
            await asyncio.sleep(0)
        for place, (_, one) in enumerate(sorted(found, key=lambda each: each[0])):
            if place % ROWS == 0:
                await asyncio.sleep(0)
            watched.measure.take(one)

    async def _live_calls(self, rows: Iterable[RowMapping]) -> dict[Whose, list[Live]] | None:
        """Of each customer and each provider, and of all; None where the switch cannot say."""
        if not any(row["area"] in ("asr", "cps", "channels") for row in rows):
            return {}
        try:
            calls: list[LiveCall] = await self._ctx.switch.list_calls()
        except SwitchAway:
            return None
        found: dict[Whose, list[Live]] = {(None, None): []}
        for call in calls:
            one = Live(invited_ms=call.invited_ms, is_answered=call.answered_ms is not None)
            found.setdefault((call.customer_id, None), []).append(one)
            found[None, None].append(one)
            if call.provider_id is not None and call.direction == "outbound":
                found.setdefault((None, call.provider_id), []).append(one)
        return found

    async def _balances(self, customer_ids: set[int]) -> dict[int, int]:
        found: dict[int, int] = {}
        ids = sorted(customer_ids)
        for place in range(0, len(ids), ACCOUNTS_AT_ONCE):
            some = ids[place : place + ACCOUNTS_AT_ONCE]
            try:
                for account in await self._ctx.switch.read_accounts(some):
                    found[account.customer_id] = account.balance_nanos
            except SwitchAway:
                pass
            missing = [customer_id for customer_id in some if customer_id not in found]
            if missing:
                a = tables.accounts.c
                query = select(a.customer_id, a.balance_nanos).where(a.customer_id.in_(missing))
                async with self._ctx.store.read() as tx:
                    stored = {row.customer_id: row.balance_nanos for row in await tx.execute(query)}
                found.update({customer_id: stored.get(customer_id, 0) for customer_id in missing})
        return found

    def _value(
        self, row: RowMapping, now_ms: int, live: dict[Whose, list[Live]] | None, balances: dict[int, int]
    ) -> int | None:
        if row["area"] == "balance":
            return balances.get(row["customer_id"])
        if live is None and row["area"] in ("asr", "cps", "channels"):
            return None  # without the calls that are up, what is known is the bad half
        calls = [] if live is None else live.get(whose_of(row), [])
        return self._watched[row["id"], row["row_version"]].measure.value(now_ms, row["armed_ms"], calls)

    # --- what is done about it

    async def _act(self, alert_id: int, version: int, value: int | None, now_ms: int) -> None:
        """Judge once more inside the change, by what is stored then, and do what follows."""
        async with self._ctx.change() as change:
            query = (
                select(alerts, *(column for column in alert_states.c if column.name != "alert_id"))
                .join(alert_states, alert_states.c.alert_id == alerts.c.id)
                .where(alerts.c.id == alert_id, alerts.c.archived_ms.is_(None), alerts.c.row_version == version)
            )
            row = (await change.tx.execute(query)).mappings().first()
            if row is None:
                return
            state, what = step(rule_of(row), state_of(row), now_ms, value)
            if what is None:
                return
            if what == "fire" and state.penalty_until_ms is not None:
                await _punish(self._ctx, change, whose_of(row), state.penalty_until_ms)
            values: dict[str, Any] = {
                "armed_ms": state.armed_ms,
                "fired_ms": state.fired_ms,
                "told_ms": state.told_ms,
                "penalty_until_ms": state.penalty_until_ms,
            }
            if what != "repeat":
                values.update(value_nanos=value, value_ms=now_ms)
            own = update(alert_states).where(alert_states.c.alert_id == alert_id)
            await change.tx.execute(own.values(**values))
            await _tell(change, row, what, value, now_ms, state.penalty_until_ms)
        log.info("alert", alert=alert_id, what=what)


async def _tell(
    change: Change, row: RowMapping, what: What, value: int | None, now_ms: int, penalty_until_ms: int | None
) -> None:
    customer, currency, provider = "", "", ""
    if row["provider_id"] is not None:
        named = select(tables.providers.c.name).where(tables.providers.c.id == row["provider_id"])
        provider = (await change.tx.execute(named)).scalar_one_or_none() or ""
    if row["customer_id"] is not None:
        c = tables.customers.c
        query = select(c.name, c.currency).where(c.id == row["customer_id"])
        customer, currency = (await change.tx.execute(query)).one()
    payload = facts(dict(row), customer, currency, what, value, now_ms, penalty_until_ms, provider=provider)
    targets = targets_of(row["recipients"])
    await emit(change, _EVENTS[what], payload, targets=targets)
    if what == "fire" and row["area"] == "balance" and row["operator"] in ("<", "<="):
        # For those who ask for nothing else; recipients have been told.
        await emit(change, "balance.low", payload)
    if what != "repeat":
        shown = {name: payload[name] for name in ("area", "operator", "threshold", "value", "penalty_until")}
        await change.audit(what, "alert", row["id"], after=shown)


async def _punish(ctx: Context, change: Change, whose: Whose, until_ms: int) -> None:
    """No outbound calls of the customer, or to the provider, until then; a longer penalty stays, and who may not
    call anyway is left alone."""
    customer_id, provider_id = whose
    if provider_id is not None:
        provider = await PROVIDERS.row(change.tx, provider_id)
        if provider["penalty_until_ms"] is None or provider["penalty_until_ms"] < until_ms:
            await PROVIDERS.update_in(ctx, change, provider_id, {"penalty_until": ms_moment(until_ms).isoformat()})
        return
    assert customer_id is not None, "the installation has no penalty"
    customer = await CUSTOMERS.row(change.tx, customer_id)
    is_longer = customer["penalty_until_ms"] is not None and customer["penalty_until_ms"] >= until_ms
    if customer["status"] not in ("active", "penalty") or is_longer:
        return
    sent = {"status": "penalty", "penalty_until": ms_moment(until_ms).isoformat()}
    await CUSTOMERS.update_in(ctx, change, customer_id, sent)
