"""Packages charged: one ledger entry a period, in advance; what a moved end gives back; spend that was missed.

Each charge has a row with a unique key of assignment, kind, period and step beside its entry, written in
one transaction with the day up to which the assignment is charged. So whatever dies meanwhile, and
however late it is done, each period is charged once. Periods that passed while nobody looked are charged
one by one; an entry counts from the day that its period began.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import func, insert, or_, select, update

from control.services import ledger
from control.services.assignment_steps import Done, work_through
from control.services.context import Change, Context
from control.services.currencies import decimals_of
from control.services.errors import Conflict
from control.services.fields import ms_moment
from control.services.outbox import emit
from control.services.package_terms import Assignment, tax_nanos, with_owner
from control.services.periods import LAST_DAY, Period, day_at, day_start_ms, period_of, periods_between, share_nanos
from control.store import tables
from control.store.engine import Tx
from control.store.package_tables import customer_packages, package_charges
from rating.money import HALF_UP, STEPS, format_amount, round_ratio

CHARGED_A_STEP: Final = 200
"""Charges in one transaction, for which nobody else writes."""
LATE_MS: Final = 60_000
"""Spend is judged so long after the end of its period: calls of its last second are in the store by then."""


class Sum(msgspec.Struct, frozen=True):
    net_nanos: int
    cost_nanos: int = 0


async def run_due(ctx: Context) -> int:
    """Charge every period that has begun; how many."""
    async with ctx.store.read() as tx:
        ids = await _due(tx, ctx.now_ms())
    return await work_through(ctx, ids, _charge_some, CHARGED_A_STEP)


async def _charge_some(change: Change, assignment: Assignment, most: int) -> Done:
    count = await charge_due(change, assignment, most) if assignment.row["auto_decrement"] else 0
    # What was cut short is looked at again, whether or not more is due.
    return Done(count, count, is_whole=count < most)


async def _due(tx: Tx, now_ms: int) -> list[int]:
    c = customer_packages.c
    # No clock on earth is a whole day ahead of UTC's.
    tomorrow = (ms_moment(now_ms).date() + timedelta(days=1)).isoformat()
    query = (
        with_owner()
        .where(c.auto_decrement.is_(True), c.next_day <= tomorrow)
        .where(or_(c.until_day.is_(None), c.next_day < c.until_day))
        .order_by(c.id)
    )
    found = [Assignment(row) for row in (await tx.execute(query)).mappings()]
    return [each.id for each in found if is_due(each, now_ms)]


def is_due(assignment: Assignment, now_ms: int) -> bool:
    day = date.fromisoformat(assignment.row["next_day"])
    today = day_at(now_ms, assignment.zone)
    return assignment.is_billed and day < assignment.until and max(day, assignment.first) <= today


def count_due(assignment: Assignment, now_ms: int) -> int:
    """How many periods `charge_due` would charge."""
    if not is_due(assignment, now_ms):
        return 0
    first = max(date.fromisoformat(assignment.row["next_day"]), assignment.first)
    until = min(assignment.until, day_at(now_ms, assignment.zone) + timedelta(days=1))
    return min(sum(1 for _ in periods_between(assignment.rule, first, until)), CHARGED_A_STEP)


async def charge_due(change: Change, assignment: Assignment, charges_max: int = CHARGED_A_STEP) -> int:
    """Charge an assignment's periods up to today, so many at most; how many it charged."""
    if not is_due(assignment, change.now_ms):
        return 0
    today = day_at(change.now_ms, assignment.zone)
    terms, rule = assignment.terms, assignment.rule
    day = date.fromisoformat(assignment.row["next_day"])
    count = 0
    if day == assignment.start and (terms.setup_retail_nanos or terms.setup_cost_nanos):
        whole = period_of(rule, day)
        first = Period(assignment.first, assignment.first + timedelta(days=1))
        setup = Sum(terms.setup_retail_nanos, terms.setup_cost_nanos)
        await _charge(change, assignment, "setup", whole, first, _times(setup, assignment.quantity))
    while day < assignment.until and max(day, assignment.first) <= today and count < charges_max:
        period = period_of(rule, day)
        part = assignment.part_of(period)
        if part is not None:
            await _charge(change, assignment, "period", period, part, _price(assignment, period, part))
            count += 1
        day = period.until
    charged = update(customer_packages).where(customer_packages.c.id == assignment.id)
    await change.tx.execute(charged.values(next_day=day.isoformat()))
    return count


async def true_up(change: Change, assignment: Assignment) -> None:
    """After the end was moved: charge or give back what periods that were charged cost more or less by now."""
    c = package_charges.c
    query = (
        select(c.period, c.step, c.quantity, c.net_nanos, c.tax_nanos, c.cost_nanos)
        .where(c.customer_package_id == assignment.id, c.kind == "period")
        .order_by(c.period, c.step)
    )
    charged: dict[str, list[Any]] = {}
    for row in (await change.tx.execute(query)).mappings():
        charged.setdefault(row["period"], []).append(row)
    for key, rows in charged.items():
        period = period_of(assignment.rule, date.fromisoformat(key))
        part = assignment.part_of(period)
        quantity = rows[0]["quantity"]
        wanted = Sum(0) if part is None else _price(assignment, period, part, quantity)
        net = wanted.net_nanos - sum(row["net_nanos"] for row in rows)
        cost = wanted.cost_nanos - sum(row["cost_nanos"] for row in rows)
        if net or cost:
            shown = part or Period(period.first, period.first + timedelta(days=1))
            first = rows[0]
            tax = _tax_like(first["net_nanos"], first["tax_nanos"], net, assignment)
            await _charge(change, assignment, "period", period, shown, Sum(net, cost), len(rows), quantity, tax)


async def is_spend_due(ctx: Context) -> bool:
    """Whether there is a period that is over and whose spend is not judged."""
    async with ctx.store.read() as tx:
        return bool(await _spend_due(tx, ctx.now_ms()))


async def run_spend(ctx: Context) -> int:
    """Charge the spend that was missed in periods that are over; how many.

    Free minutes of their calls are to be given back before: what they give back is no spend.
    """
    async with ctx.store.read() as tx:
        due = await _spend_due(tx, ctx.now_ms())
        # Sums over a period's calls, of which there may be millions: not while others wait to write.
        spent = {each.id: await _spent(tx, each, ctx.now_ms()) for each in due}

    async def judge(change: Change, assignment: Assignment, _most: int) -> Done:
        return await _judge_spend(change, assignment, spent[assignment.id])

    return await work_through(ctx, list(spent), judge, CHARGED_A_STEP)


async def _spent(tx: Tx, assignment: Assignment, now_ms: int) -> tuple[Period, int]:
    due = _spend_part(assignment, now_ms)
    assert due is not None
    period, part = due
    return (part or period), 0 if part is None else await spent_on_calls(tx, assignment, part)


async def _spend_due(tx: Tx, now_ms: int) -> list[Assignment]:
    c = customer_packages.c
    today = ms_moment(now_ms).date().isoformat()
    query = (
        with_owner()
        .where(c.auto_decrement.is_(True), c.spend_day < today)
        .where(or_(c.until_day.is_(None), c.spend_day < c.until_day))
        .order_by(c.id)
    )
    found = [Assignment(row) for row in (await tx.execute(query)).mappings()]
    return [each for each in found if _spend_part(each, now_ms)]


def _spend_part(assignment: Assignment, now_ms: int) -> tuple[Period, Period | None] | None:
    """The next period whose spend is to be judged, and what of it counts; None: it is not over."""
    day = date.fromisoformat(assignment.row["spend_day"])
    if not assignment.is_billed or day >= assignment.until:
        return None
    period = period_of(assignment.rule, day)
    part = assignment.part_of(period)
    end = period.until if part is None else part.until
    if end >= LAST_DAY or day_start_ms(end, assignment.zone) + LATE_MS > now_ms:
        return None
    return period, part


async def _judge_spend(change: Change, assignment: Assignment, spent: tuple[Period, int]) -> Done:
    """Charge what the calls of the next period that is over cost less than agreed on."""
    due = _spend_part(assignment, change.now_ms) if assignment.row["auto_decrement"] else None
    if due is None or (due[1] or due[0]) != spent[0]:
        # Somebody has judged it, or moved its days, since the calls were added up.
        return Done(0, 0)
    period, part = due
    done = update(customer_packages).where(customer_packages.c.id == assignment.id)
    await change.tx.execute(done.values(spend_day=period.until.isoformat()))
    if part is None:
        return Done(0, 1)
    least = (assignment.terms.minimum_spend_nanos or 0) * assignment.quantity
    decimals = decimals_of(assignment.terms.currency)
    wanted = share_nanos(least, assignment.rule, period, part, decimals=decimals)
    missing = wanted - spent[1]
    if missing <= 0:
        return Done(0, 1)
    await _charge(change, assignment, "spend", period, part, Sum(missing))
    return Done(1, 1)


async def spent_on_calls(tx: Tx, assignment: Assignment, part: Period) -> int:
    """What calls that ended within these days cost, net, with corrections and free minutes that count for them."""
    c = tables.ledger_entries.c
    query = select(func.coalesce(func.sum(c.net_nanos), 0)).where(
        c.customer_id == assignment.customer_id,
        c.at_ms >= part.start_ms(assignment.zone),
        c.at_ms < part.end_ms(assignment.zone),
        c.cdr_number.is_not(None),
    )
    return int((await tx.execute(query)).scalar_one())


def _times(price: Sum, quantity: int) -> Sum:
    return Sum(price.net_nanos * quantity, price.cost_nanos * quantity)


def _price(assignment: Assignment, period: Period, part: Period, quantity: int | None = None) -> Sum:
    """Of a part of a period: its share by days of the price of all, rounded once."""
    terms = assignment.terms
    whole = _times(Sum(terms.retail_nanos, terms.cost_nanos), assignment.quantity if quantity is None else quantity)
    decimals = decimals_of(terms.currency)
    net, cost = (
        share_nanos(amount, assignment.rule, period, part, decimals=decimals)
        for amount in (whole.net_nanos, whole.cost_nanos)
    )
    return Sum(net, cost)


def _tax_like(net_nanos: int, taxed_nanos: int, more_nanos: int, assignment: Assignment) -> int:
    """Tax of a correction, by the rate that the period was charged with: the customer's may be another by now."""
    decimals = decimals_of(assignment.terms.currency)
    if net_nanos <= 0:
        return tax_nanos(more_nanos, assignment.tax_ppm, decimals)
    return round_ratio(more_nanos * taxed_nanos, net_nanos, STEPS[decimals], HALF_UP)


async def _charge(
    change: Change,
    assignment: Assignment,
    kind: str,
    period: Period,
    part: Period,
    price: Sum,
    step: int = 0,
    quantity: int | None = None,
    tax: int | None = None,
) -> None:
    """Write one charge with its entry; without one where nothing is to be paid."""
    if abs(price.cost_nanos) > ledger.BALANCE_NANOS_MAX:
        raise Conflict(f"A period would cost us {format_amount(price.cost_nanos)}: beyond what can be counted.")
    quantity = assignment.quantity if quantity is None else quantity
    if tax is None:
        tax = tax_nanos(price.net_nanos, assignment.tax_ppm, decimals_of(assignment.terms.currency))
    entry_id = None
    if price.net_nanos:
        # A period counts from its beginning, missed spend for the period that missed it.
        at_ms = part.end_ms(assignment.zone) - 1 if kind == "spend" else part.start_ms(assignment.zone)
        entry_id = await ledger.append(
            change,
            customer_id=assignment.customer_id,
            kind="package",
            amount_nanos=-(price.net_nanos + tax),
            net_nanos=price.net_nanos,
            tax_nanos=tax,
            at_ms=min(at_ms, change.now_ms) if step == 0 else change.now_ms,
            description=_description(assignment, kind, part, step, quantity),
            reference=f"package {assignment.id} {kind} {period.key}" + (f" {step}" if step else ""),
        )
    values = {
        "customer_package_id": assignment.id,
        "customer_id": assignment.customer_id,
        "kind": kind,
        "period": period.key,
        "first_day": part.first.isoformat(),
        "until_day": part.until.isoformat(),
        "step": step,
        "quantity": quantity,
        "net_nanos": price.net_nanos,
        "tax_nanos": tax,
        "cost_nanos": price.cost_nanos,
        "entry_id": entry_id,
        "created_ms": change.now_ms,
    }
    await change.tx.execute(insert(package_charges).values(**values))
    if entry_id is not None:
        payload = {
            "customer_id": assignment.customer_id,
            "customer_package_id": assignment.id,
            "package": assignment.terms.name,
            "kind": kind,
            "from": part.first.isoformat(),
            "to": part.last.isoformat(),
            "quantity": quantity,
            "net": format_amount(price.net_nanos),
            "tax": format_amount(tax),
            "currency": assignment.terms.currency,
            "entry_id": entry_id,
        }
        await emit(change, "package.charged", payload, customer_id=assignment.customer_id)


def _description(assignment: Assignment, kind: str, part: Period, step: int, quantity: int) -> str:
    name = assignment.terms.name + (f" × {quantity}" if quantity != 1 else "")
    if kind == "setup":
        return f"{name}: setup"
    days = f"{part.first} to {part.last}" if part.last < LAST_DAY - timedelta(days=1) else f"from {part.first}"
    if kind == "spend":
        return f"{name}: minimum spend, {days}"
    return f"{name}: {days}" + (", correction" if step else "")
