"""Invoices: drafts made of a period's ledger, issued under the next number, and never changed after that.

An invoice charges nothing: calls, packages and fees moved the balance when they happened. What it holds is
fixed by two entry ids (`invoice_sums.Window`), so its figures do not move while it is a draft either.
The number is drawn in the transaction that issues it: whatever fails or dies, none is lost.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Select, and_, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from control.services import allocations, document_mail
from control.services.allocations import invoice_row
from control.services.context import Change, Context
from control.services.currencies import decimals_of
from control.services.errors import Conflict, FieldError, LostRace, Reference, invalid
from control.services.invoice_sums import Sums, Window, balance_before, last_entry_id, read_sums
from control.services.invoice_views import (
    Invoice,
    InvoiceDetail,
    InvoiceQuery,
    Party,
    invoice_of,
    line_rows,
    line_shown,
    mails_of,
    taxes_of,
    values_of,
)
from control.services.invoicing import InvoiceProfileNew, profile_of, profile_row
from control.services.ledger import BALANCE_NANOS_MAX
from control.services.number_series import draw
from control.services.outbox import emit
from control.services.pages import Page, contains, read_page
from control.services.payments import customer_row, live_customer_row
from control.services.periods import FIRST_DAY, LAST_DAY, Rule, day_at, day_start_ms, period_of
from control.store.engine import Tx
from control.store.invoice_tables import credit_notes, invoice_lines, invoice_profiles, invoices
from rating.money import format_amount, round_nanos

READ_WAIT_S: Final = 5.0


class InvoiceNew(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_day": "from", "to_day": "to"}
):
    from_day: date | None = None
    """The first day; after an invoice the day after its last, which is also what is taken where it is left out."""
    to_day: date | None = None
    """The last day, which must have begun; yesterday where it is left out."""
    issue: bool = False
    """Issue it at once."""


class IssueNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    send_mail: bool | None = None
    """As the customer's profile says where it is left out."""


class Span(msgspec.Struct, frozen=True):
    """A period to be invoiced: its days, its borders, and what is on the invoice before."""

    first: date
    until: date
    starts_ms: int
    ends_ms: int
    before: RowMapping | None

    @property
    def is_empty(self) -> bool:
        """The customer moved so far east that the invoice before ended later than these days do."""
        return self.ends_ms <= self.starts_ms


async def page(ctx: Context, query: InvoiceQuery) -> Page[Invoice]:
    """The youngest first unless asked otherwise."""
    now_ms = ctx.now_ms()
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        if query.customer_id is not None:
            await customer_row(tx, query.customer_id)
        rows, next_cursor = await read_page(
            tx, invoices, filtered(query, now_ms), ordered, ("id", "created_at", "updated_at")
        )
    return Page(items=[invoice_of(row, now_ms) for row in rows], next_cursor=next_cursor)


def filtered(query: InvoiceQuery, now_ms: int) -> Select[Any]:
    c = invoices.c
    statement = select(invoices).where(c.archived_ms.is_(None))
    if query.customer_id is not None:
        statement = statement.where(c.customer_id == query.customer_id)
    if query.number is not None:
        statement = statement.where(c.number == query.number)
    if query.search:
        statement = statement.where(contains(invoices, "number", query.search))
    if query.issued_from is not None:
        statement = statement.where(c.issued_day >= query.issued_from.isoformat())
    if query.issued_to is not None:
        statement = statement.where(c.issued_day <= query.issued_to.isoformat())
    if query.state is None:
        return statement
    is_open = and_(c.status == "issued", c.settled_ms.is_(None))
    is_touched = or_(c.paid_nanos != 0, c.credited_nanos != 0)
    conditions = {
        "draft": c.status == "draft",
        "paid": c.settled_ms.is_not(None),
        "overdue": and_(is_open, c.due_ms <= now_ms),
        "partially_paid": and_(is_open, c.due_ms > now_ms, is_touched),
        "issued": and_(is_open, c.due_ms > now_ms, ~is_touched),
    }
    return statement.where(conditions[query.state])


async def get(ctx: Context, invoice_id: int) -> InvoiceDetail:
    async with ctx.store.read() as tx:
        return await detail(tx, await invoice_row(tx, invoice_id), ctx.now_ms())


async def detail(tx: Tx, row: RowMapping, now_ms: int) -> InvoiceDetail:
    lines = await line_rows(tx, row["id"])
    c = credit_notes.c
    notes = select(c.number).where(c.invoice_id == row["id"]).order_by(c.serial)
    return InvoiceDetail(
        **values_of(row, now_ms),
        seller=msgspec.convert(row["seller"], Party) if row["seller"] else None,
        buyer=msgspec.convert(row["buyer"], Party) if row["buyer"] else None,
        lines=[line_shown(line) for line in lines],
        taxes=taxes_of(lines),
        allocations=await allocations.of_invoice(tx, row["id"]),
        credit_notes=list((await tx.execute(notes)).scalars()),
        mails=await mails_of(tx, "invoice", row["id"]),
    )


async def create(ctx: Context, customer_id: int, new: InvoiceNew) -> Invoice:
    """Make a draft of a period, and issue it where that is asked for.

    Raises:
        Invalid: days that are no period, or that do not follow the invoice before.
        Conflict: there is a draft already, which comes first.
    """
    # Calls of the period that have ended are to be on it; what comes later is on the next.
    await ctx.wait_read(READ_WAIT_S)
    async with ctx.store.read() as tx:
        customer = await live_customer_row(tx, customer_id)
        span = await _span(tx, customer, new, ctx.now_ms())
        window, sums, opening = await read_span(tx, customer_id, span)
    async with ctx.change() as change:
        await check_unchanged(change.tx, customer_id, span)
        row = await insert_draft(change, customer, span, window, sums, opening)
        if new.issue:
            row = await issue_in(ctx, change, row, None)
    return invoice_of(row, ctx.now_ms())


async def issue(ctx: Context, invoice_id: int, new: IssueNew, expected: int | None = None) -> Invoice:
    """Give a draft its number; one that has one stays as it is.

    Raises:
        Conflict: the installation does not say who sends invoices.
    """
    async with ctx.change() as change:
        row = await invoice_row(change.tx, invoice_id)
        if row["status"] == "draft":
            if expected is not None and expected != row["row_version"]:
                raise LostRace(expected, row["row_version"], is_precondition=True)
            row = await issue_in(ctx, change, row, new.send_mail)
    return invoice_of(row, ctx.now_ms())


async def discard(ctx: Context, invoice_id: int, expected: int | None = None) -> None:
    """Drop a draft. What is issued stays; a credit note takes it back."""
    async with ctx.change() as change:
        row = await invoice_row(change.tx, invoice_id)
        if row["status"] != "draft":
            raise Conflict("An invoice that was issued stays: a credit note takes it back.")
        if expected is not None and expected != row["row_version"]:
            raise LostRace(expected, row["row_version"], is_precondition=True)
        values = {"archived_ms": change.now_ms, "row_version": row["row_version"] + 1}
        await change.tx.execute(update(invoices).where(invoices.c.id == invoice_id).values(**values))
        await change.audit("archive", "invoice", invoice_id, before=invoice_of(row, change.now_ms))


async def _span(tx: Tx, customer: RowMapping, new: InvoiceNew, now_ms: int) -> Span:
    zone = customer["time_zone"]
    today = day_at(now_ms, zone)
    before = await last_row(tx, customer["id"])
    _check_no_draft(before)
    first = None if before is None else date.fromisoformat(before["until_day"])
    if first is None:
        profile = profile_of(await profile_row(tx, customer["id"]))
        yesterday = today - timedelta(days=1)
        first = new.from_day or period_of(rule_of(profile), yesterday).first
    elif new.from_day not in (None, first):
        raise invalid("from", f"the invoice before ends on {first - timedelta(days=1)}: this one begins on {first}")
    last = new.to_day or today - timedelta(days=1)
    for path, day in (("from", first), ("to", last)):
        if not FIRST_DAY < day < LAST_DAY:
            raise invalid(path, f"outside {FIRST_DAY} to {LAST_DAY}")
    if last < first:
        raise invalid("to", f"before {first}, the first day")
    if last > today:
        raise invalid("to", "that day has not begun")
    span = make_span(zone, first, last + timedelta(days=1), before)
    if span.is_empty:
        raise invalid("to", "the invoice before reaches beyond it: the customer's clocks were others then")
    return span


def rule_of(profile: InvoiceProfileNew) -> Rule:
    """By the month where a profile has no period of its own."""
    return Rule("monthly") if profile.frequency == "never" else Rule(profile.frequency, profile.day)


def make_span(zone: str, first: date, until: date, before: RowMapping | None) -> Span:
    starts_ms, ends_ms = day_start_ms(first, zone), day_start_ms(until, zone)
    if before is not None:
        # The very moment at which the one before ended, whatever zone the customer has moved to; never earlier.
        follows = first.isoformat() == before["until_day"]
        starts_ms = before["ends_ms"] if follows else max(starts_ms, before["ends_ms"])
    return Span(first, until, starts_ms, max(ends_ms, starts_ms), before)


async def read_span(tx: Tx, customer_id: int, span: Span) -> tuple[Window, Sums, int]:
    """What is on the invoice of a period by now, with the balance that it begins with."""
    upto = await last_entry_id(tx)
    window = Window(
        customer_id=customer_id,
        starts_ms=span.starts_ms,
        ends_ms=span.ends_ms,
        after_entry_id=upto if span.before is None else span.before["upto_entry_id"],
        upto_entry_id=upto,
    )
    if span.before is None:
        opening = await balance_before(tx, customer_id, span.starts_ms, upto)
    else:
        opening = span.before["closing_nanos"]
    return window, await read_sums(tx, window), opening


async def check_unchanged(tx: Tx, customer_id: int, span: Span) -> None:
    """Nobody has made an invoice since the span was read."""
    before = await last_row(tx, customer_id)
    _check_no_draft(before)
    if (None if before is None else before["id"]) != (None if span.before is None else span.before["id"]):
        raise Conflict("Another invoice was made meanwhile.")


async def insert_draft(
    change: Change, customer: RowMapping, span: Span, window: Window, sums: Sums, opening: int
) -> RowMapping:
    most = max(abs(sums.net_nanos), abs(sums.gross_nanos), abs(sums.payments_nanos))
    if most > BALANCE_NANOS_MAX:
        what = f"{format_amount(most)} {customer['currency']}"
        raise Conflict(f"A sum of the period is {what}: beyond what can be counted. Invoice shorter periods.")
    values = {
        "customer_id": customer["id"],
        "status": "draft",
        "currency": customer["currency"],
        "time_zone": customer["time_zone"],
        "from_day": span.first.isoformat(),
        "until_day": span.until.isoformat(),
        "starts_ms": span.starts_ms,
        "ends_ms": span.ends_ms,
        "after_entry_id": window.after_entry_id,
        "upto_entry_id": window.upto_entry_id,
        "opening_nanos": opening,
        "net_nanos": sums.net_nanos,
        "tax_nanos": sums.tax_nanos,
        "gross_nanos": sums.gross_nanos,
        "total_nanos": round_nanos(sums.gross_nanos, decimals_of(customer["currency"]), "half_up"),
        "payments_nanos": sums.payments_nanos,
        "closing_nanos": opening - sums.gross_nanos + sums.payments_nanos,
        "due_days": 0,
        "created_by": change.actor.name,
        "created_ms": change.now_ms,
        "updated_ms": change.now_ms,
    }
    made = await change.tx.execute(insert(invoices).values(**values).returning(invoices))
    row: RowMapping = made.mappings().one()
    lines = [
        {"invoice_id": row["id"], "position": position, **msgspec.structs.asdict(line)}
        for position, line in enumerate(sums.lines, 1)
    ]
    if lines:
        await change.tx.execute(insert(invoice_lines), lines)
    await change.audit("create", "invoice", row["id"], after=invoice_of(row, change.now_ms))
    return row


async def issue_in(ctx: Context, change: Change, row: RowMapping, send_mail: bool | None) -> RowMapping:
    """Number a draft, put payments against it, and have it mailed."""
    settings = ctx.billing
    if not settings.seller_name:
        detail = "Who sends invoices is not set: [billing] seller_name."
        raise Conflict(detail, errors=[FieldError("seller_name", detail)])
    customer = await customer_row(change.tx, row["customer_id"])
    profile = profile_of(await profile_row(change.tx, row["customer_id"]))
    serial, number = await draw(change, "invoice", settings.invoice_prefix, settings.number_digits)
    due_days = settings.due_days if profile.due_days is None else profile.due_days
    issued = day_at(change.now_ms, customer["time_zone"])
    due = issued + timedelta(days=due_days)
    values = {
        "status": "issued",
        "number": number,
        "serial": serial,
        "issued_ms": change.now_ms,
        "issued_day": issued.isoformat(),
        "due_days": due_days,
        "due_day": due.isoformat(),
        "due_ms": day_start_ms(due + timedelta(days=1), customer["time_zone"]),
        "seller": msgspec.to_builtins(seller_party(ctx)),
        "buyer": msgspec.to_builtins(buyer_party(customer, profile)),
        "row_version": row["row_version"] + 1,
        "updated_ms": change.now_ms,
    }
    written = update(invoices).where(invoices.c.id == row["id"]).values(**values).returning(invoices)
    after: RowMapping = (await change.tx.execute(written)).mappings().one()
    before, shown = invoice_of(row, change.now_ms), invoice_of(after, change.now_ms)
    await change.audit("issue", "invoice", row["id"], before=before, after=shown)
    payload = {
        "customer_id": row["customer_id"],
        "invoice_id": row["id"],
        "number": number,
        "from": shown.from_day.isoformat(),
        "to": shown.to_day.isoformat(),
        "net": shown.net,
        "tax": shown.tax,
        "total": shown.total,
        "currency": row["currency"],
        "due_on": due.isoformat(),
    }
    await emit(change, "invoice.issued", payload, customer_id=row["customer_id"])
    # One that leaves nothing to pay is settled by being issued.
    await allocations.move(change, after)
    await allocations.settle(change, row["customer_id"])
    if profile.send_mail if send_mail is None else send_mail:
        await document_mail.queue(change, "invoice", row["id"], row["customer_id"], profile.recipients)
    await _move_profile(change, row)
    return await invoice_row(change.tx, row["id"])


async def _move_profile(change: Change, row: RowMapping) -> None:
    """What is invoiced by itself goes on where this one ends."""
    c = invoice_profiles.c
    later = update(invoice_profiles).where(c.customer_id == row["customer_id"], c.since_day < row["until_day"])
    await change.tx.execute(later.values(since_day=row["until_day"]))


def seller_party(ctx: Context) -> Party:
    settings = ctx.billing
    return Party(
        name=settings.seller_name,
        address=settings.seller_address.strip(),
        tax_id=settings.seller_tax_id,
        contact=settings.seller_contact.strip(),
        payment_details=settings.payment_details.strip(),
        footer=settings.footer,
    )


def buyer_party(customer: RowMapping, profile: InvoiceProfileNew) -> Party:
    return Party(
        name=profile.billing_name or customer["name"],
        address=(profile.billing_address or customer["address"]).strip(),
        tax_id=profile.tax_id,
        reference=profile.reference,
    )


async def last_row(tx: Tx, customer_id: int) -> RowMapping | None:
    c = invoices.c
    query = select(invoices).where(c.customer_id == customer_id, c.archived_ms.is_(None))
    return (await tx.execute(query.order_by(c.ends_ms.desc(), c.id.desc()).limit(1))).mappings().first()


def _check_no_draft(before: RowMapping | None) -> None:
    if before is not None and before["status"] == "draft":
        detail = "There is a draft already: issue it or drop it first."
        raise Conflict(detail, references=[Reference("invoice", str(before["id"]))])
