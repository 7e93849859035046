"""Packages that customers have: since when, how many, until when; and what they were charged for them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services import package_charges as charging
from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import AMOUNT_NANOS_MAX, ROW_ID_MAX, Id, Moment, Notes, ms_moment
from control.services.nouns import Noun
from control.services.owners import check_customer
from control.services.package_terms import Assignment, Terms, terms_of, until_day, with_owner
from control.services.packages import assignable_row
from control.services.pages import ListQuery, Page, read_page
from control.services.payments import customer_row
from control.services.periods import FIRST_DAY, LAST_DAY, Frequency, day_at
from control.store.engine import Tx
from control.store.package_tables import customer_packages, package_charges, package_credits
from rating.money import ceil_div, format_amount

QUANTITY_MAX: Final = 1_000_000
AMOUNTS: Final = ("cost", "retail", "setup_cost", "setup_retail", "minimum_spend")


class CustomerPackageNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    package_id: Id
    """In the customer's currency; what it costs by now is what this costs from its start to its end."""
    quantity: Annotated[int, Meta(ge=1, le=QUANTITY_MAX)] = 1
    """How many; another number counts from the next period on."""
    start: date | None = None
    """The first day, on the customer's calendar; today where it is left out."""
    end: date | None = None
    """The last day; null: as long as the package says, or until somebody ends it. Days of a period that was
    charged and that it does not reach any more are given back."""
    auto_decrement: bool = True
    """Debit each period as it begins; false: nothing is charged until somebody asks for it."""
    notes_public: Notes = ""
    notes_private: Notes = ""


class PackageTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue said when this was assigned."""

    name: str
    currency: str
    cost: str
    retail: str
    setup_cost: str
    setup_retail: str
    frequency: Frequency
    day: int
    minimum_days: int
    free_minutes: int | None
    free_destination: str
    minimum_spend: str | None


class CustomerPackage(CustomerPackageNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    terms: PackageTerms
    last_day: date | None
    """By `end` and by the package's duration, whichever is first; null: it goes on."""
    next_charge: date | None
    """When the next period begins; null: none does."""


class CustomerPackageQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    package_id: Id | None = None
    auto_decrement: bool | None = None


class ChargeShown(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    kind: Literal["setup", "period", "spend"]
    period: date
    """The first day of the whole period."""
    first_day: date
    last_day: date
    step: int
    """0; above it, a correction because the end was moved."""
    quantity: int
    net: str
    tax: str
    cost: str
    entry_id: int | None
    """Of the ledger; null where nothing was to be paid."""
    created_at: Moment


class ChargeQuery(ListQuery, frozen=True, kw_only=True):
    pass


class PackageUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Free minutes of the period that runs now, in seconds."""

    period: date | None
    """Its first day; null: the package does not hold today, or has no free minutes."""
    last_day: date | None
    free_s: int
    used_s: int
    left_s: int


class Charged(msgspec.Struct, frozen=True, kw_only=True):
    periods: int
    is_preview: bool


class ChargeNow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    preview: bool = False
    """Only say how many periods would be charged."""


class CustomerPackages(Noun[CustomerPackageNew, CustomerPackage]):
    name = "customer_package"
    table = customer_packages
    new = CustomerPackageNew
    out = CustomerPackage
    fixed = ("customer_id", "package_id")
    sorts = ("id", "start", "customer_id", "created_at", "updated_at")
    search = ("notes_public", "notes_private")

    async def check(
        self, ctx: Context, change: Change, new: CustomerPackageNew, before: RowMapping | None
    ) -> dict[str, Any]:
        customer = await check_customer(change.tx, new.customer_id)
        start = day_at(change.now_ms, customer["time_zone"]) if new.start is None else new.start
        for path, day in (("start", start), ("end", new.end)):
            if day is not None and not FIRST_DAY <= day < LAST_DAY:
                raise invalid(path, f"outside {FIRST_DAY} to {LAST_DAY - timedelta(days=1)}")
        if before is None:
            terms = terms_of(await assignable_row(change.tx, new.package_id, customer["currency"]))
        else:
            terms = msgspec.convert(before["terms"], Terms)
        if new.end is not None and new.end < start:
            raise invalid("end", "before the start")
        self._check_least(terms, start, new.end, before)
        if before is None or before["quantity"] != new.quantity:
            _check_sums(terms, new.quantity)
        until = until_day(terms, start, new.end)
        values: dict[str, Any] = {
            "start": start.isoformat(),
            "until_day": None if until is None else until.isoformat(),
        }
        if before is None:
            values |= {"terms": msgspec.to_builtins(terms), "next_day": values["start"]}
            values["spend_day"] = values["start"] if terms.minimum_spend_nanos else LAST_DAY.isoformat()
            if terms.free_minutes is None:
                values |= {"free_number": ROW_ID_MAX, "free_entry_id": ROW_ID_MAX}
        elif values["start"] != before["start"]:
            await self._move_start(change.tx, before)
            values["next_day"] = values["start"]
            values["spend_day"] = values["start"] if terms.minimum_spend_nanos else LAST_DAY.isoformat()
        return values

    async def update_in(
        self, ctx: Context, change: Change, row_id: int, sent: dict[str, Any], expected: int | None = None
    ) -> CustomerPackage:
        out = await super().update_in(ctx, change, row_id, sent, expected)
        await charging.true_up(change, await read_assignment(change.tx, row_id))
        return out

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        c = package_charges.c
        charged = select(c.id).where(c.customer_package_id == row["id"]).limit(1)
        if (await tx.execute(charged)).first() is not None:
            raise Conflict("It was charged: give it an end instead.")
        return []

    def shown(self, row: RowMapping) -> dict[str, Any]:
        terms = row["terms"]
        amounts = {
            name: None if terms[f"{name}_nanos"] is None else format_amount(terms[f"{name}_nanos"]) for name in AMOUNTS
        }
        until = row["until_day"]
        is_over = row["next_day"] >= (until or LAST_DAY.isoformat())
        return {
            "terms": {**terms, **amounts},
            "last_day": None if until is None else date.fromisoformat(until) - timedelta(days=1),
            "next_charge": None if is_over else row["next_day"],
        }

    def _check_least(self, terms: Terms, start: date, end: date | None, before: RowMapping | None) -> None:
        least = start + timedelta(days=min(terms.minimum_days, (LAST_DAY - start).days))
        is_new = before is None or before["end"] != (None if end is None else end.isoformat())
        if end is not None and is_new and end + timedelta(days=1) < least:
            detail = f"The package is had for {terms.minimum_days} days at least: until {least - timedelta(days=1)}."
            raise Conflict(detail, errors=[FieldError("end", detail)])

    async def _move_start(self, tx: Tx, before: RowMapping) -> None:
        c = package_charges.c
        if (await tx.execute(select(c.id).where(c.customer_package_id == before["id"]).limit(1))).first() is not None:
            detail = "The start cannot be moved after it was charged."
            raise Conflict(detail, errors=[FieldError("start", detail)])


CUSTOMER_PACKAGES: Final = CustomerPackages()


def _check_sums(terms: Terms, quantity: int) -> None:
    """Refuse so many that a period of them could not be booked."""
    for path in AMOUNTS:
        if (getattr(terms, f"{path}_nanos") or 0) * quantity > AMOUNT_NANOS_MAX:
            raise invalid("quantity", f"{path} of so many is above {format_amount(AMOUNT_NANOS_MAX)}")


async def read_assignment(tx: Tx, row_id: int) -> Assignment:
    row = (await tx.execute(with_owner().where(customer_packages.c.id == row_id))).mappings().one()
    return Assignment(row)


async def page_charges(ctx: Context, row_id: int, query: ChargeQuery) -> Page[ChargeShown]:
    """The latest first unless asked otherwise."""
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        await CUSTOMER_PACKAGES.row(tx, row_id)
        statement = select(package_charges).where(package_charges.c.customer_package_id == row_id)
        rows, next_cursor = await read_page(tx, package_charges, statement, ordered, ("id",))
    return Page(items=[charge_shown(row) for row in rows], next_cursor=next_cursor)


def charge_shown(row: RowMapping) -> ChargeShown:
    return ChargeShown(
        id=row["id"],
        kind=row["kind"],
        period=date.fromisoformat(row["period"]),
        first_day=date.fromisoformat(row["first_day"]),
        last_day=date.fromisoformat(row["until_day"]) - timedelta(days=1),
        step=row["step"],
        quantity=row["quantity"],
        net=format_amount(row["net_nanos"]),
        tax=format_amount(row["tax_nanos"]),
        cost=format_amount(row["cost_nanos"]),
        entry_id=row["entry_id"],
        created_at=ms_moment(row["created_ms"]),
    )


async def usage(ctx: Context, row_id: int) -> PackageUsage:
    """How much of the free minutes of the period that runs is left."""
    async with ctx.store.read() as tx:
        await CUSTOMER_PACKAGES.row(tx, row_id)
        return await usage_of(tx, await read_assignment(tx, row_id), ctx.now_ms())


async def usage_of(tx: Tx, assignment: Assignment, now_ms: int) -> PackageUsage:
    period = assignment.period_at(now_ms)
    part = assignment.part_of(period)
    today = day_at(now_ms, assignment.zone)
    if assignment.terms.free_minutes is None or part is None or not part.first <= today < part.until:
        return PackageUsage(period=None, last_day=None, free_s=0, used_s=0, left_s=0)
    free_s = allowance_s(assignment, now_ms)
    c = package_credits.c
    used = select(func.coalesce(func.sum(c.seconds), 0)).where(
        c.customer_package_id == assignment.id, c.period == period.key
    )
    used_s = int((await tx.execute(used)).scalar_one())
    return PackageUsage(
        period=part.first, last_day=part.last, free_s=free_s, used_s=used_s, left_s=max(0, free_s - used_s)
    )


def allowance_s(assignment: Assignment, at_ms: int) -> int:
    """Free seconds of the period at that time: of a part of one its share by days, rounded up."""
    period = assignment.period_at(at_ms)
    part = assignment.part_of(period)
    if part is None:
        return 0
    whole = (assignment.terms.free_minutes or 0) * 60 * assignment.quantity
    return whole if assignment.rule.frequency == "once" else ceil_div(whole * part.days, period.days)


async def charge(ctx: Context, row_id: int, new: ChargeNow) -> Charged:
    """Charge the periods that have begun and were not charged, whether or not that is done by itself."""
    if new.preview:
        async with ctx.store.read() as tx:
            await CUSTOMER_PACKAGES.row(tx, row_id)
            return Charged(periods=charging.count_due(await read_assignment(tx, row_id), ctx.now_ms()), is_preview=True)
    async with ctx.change() as change:
        await CUSTOMER_PACKAGES.row(change.tx, row_id)
        count = await charging.charge_due(change, await read_assignment(change.tx, row_id))
        if count:
            await change.audit("charge", "customer_package", row_id, after={"periods": count})
    return Charged(periods=count, is_preview=False)


async def end_all(change: Change, customer_id: int, last_day: date) -> int:
    """End what a customer has by this day, as where its client leaves; minimum days do not hold it back.

    Returns:
        How many were ended or cut. Those that begin after the day are archived.
    """
    await customer_row(change.tx, customer_id)
    count = 0
    for row in await CUSTOMER_PACKAGES.rows_of(change.tx, "customer_id", customer_id):
        if row["until_day"] is not None and row["until_day"] <= (last_day + timedelta(days=1)).isoformat():
            continue
        count += 1
        if row["start"] > last_day.isoformat():
            await CUSTOMER_PACKAGES.archive_in(change, row["id"])
            continue
        before = CUSTOMER_PACKAGES.struct(row)
        until = (last_day + timedelta(days=1)).isoformat()
        after = await CUSTOMER_PACKAGES.write(change, row, {"end": last_day.isoformat(), "until_day": until})
        await change.audit(
            "update", "customer_package", row["id"], before=before, after=CUSTOMER_PACKAGES.struct(after)
        )
        await charging.true_up(change, await read_assignment(change.tx, row["id"]))
    return count
