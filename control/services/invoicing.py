"""Who is invoiced how: a customer's own period, terms, address and recipients.

Without a profile invoices are made on demand alone.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import RowMapping

from control.services.context import Context
from control.services.email_addresses import check_email
from control.services.errors import LostRace, invalid
from control.services.fields import Label, Moment, Notes, ms_moment
from control.services.payments import customer_row, live_customer_row
from control.services.periods import Rule, day_at, period_of
from control.services.problems import convert
from control.store.engine import Tx
from control.store.invoice_tables import invoice_profiles, invoices

DAY_MAX = {"never": 31, "daily": 1, "weekly": 7, "monthly": 31}


class InvoiceProfileNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    frequency: Literal["never", "daily", "weekly", "monthly"] = "never"
    """How often an invoice is made by itself, from the period that runs when it is set; `never`: on demand alone."""
    day: Annotated[int, Meta(ge=1, le=31)] = 1
    """On which a period begins, as of packages: of a week 1 to 7, of a month 1 to 31."""
    due_days: Annotated[int, Meta(ge=0, le=365)] | None = None
    """Days to pay; null: the installation's."""
    auto_issue: bool = True
    """False: what is made by itself stays a draft until somebody issues it, and the next one waits for it."""
    send_mail: bool = True
    """Mail each invoice when it is issued."""
    auto_allocate: bool = True
    """Put payments against invoices by themselves, the oldest first."""
    recipients: Annotated[tuple[Label, ...], Meta(max_length=20)] = ()
    """E-mail addresses; none: the customer's contacts that are enabled."""
    billing_name: Label = ""
    """On the invoice; empty: the customer's name, and its address."""
    billing_address: Notes = ""
    tax_id: Label = ""
    reference: Label = ""
    """The customer's own: an order or a cost centre."""


class InvoiceProfile(InvoiceProfileNew, frozen=True, kw_only=True):
    customer_id: int
    row_version: int
    """0 while nobody has set anything."""
    next_from: date | None
    """First day of the next period that is invoiced by itself; null: none is."""
    updated_at: Moment | None


async def read(ctx: Context, customer_id: int) -> InvoiceProfile:
    async with ctx.store.read() as tx:
        await customer_row(tx, customer_id)
        return _shown(customer_id, await profile_row(tx, customer_id))


async def change_profile(ctx: Context, customer_id: int, sent: dict[str, Any], expected: int | None) -> InvoiceProfile:
    """Change the fields in `sent`; what is not set yet has its default."""
    async with ctx.change() as change:
        customer = await live_customer_row(change.tx, customer_id)
        row = await profile_row(change.tx, customer_id)
        before = _shown(customer_id, row)
        sent = dict(sent)
        read_version = sent.pop("row_version", None)
        for version, is_precondition in ((expected, True), (read_version, False)):
            if version is not None and version != before.row_version:
                raise LostRace(version, before.row_version, is_precondition=is_precondition)
        new = convert({**_fields(before), **sent}, InvoiceProfileNew)
        _check(new)
        values = msgspec.to_builtins(new)
        values |= {"row_version": before.row_version + 1, "updated_ms": change.now_ms}
        if new.frequency == "never":
            values["since_day"] = None
        elif (new.frequency, new.day) != (before.frequency, before.day) or before.next_from is None:
            today = day_at(change.now_ms, customer["time_zone"])
            begins = period_of(Rule(new.frequency, new.day), today).first.isoformat()
            values["since_day"] = await _last_until(change.tx, customer_id) or begins
        if row is None:
            await change.tx.execute(insert(invoice_profiles).values(customer_id=customer_id, **values))
        else:
            of_customer = invoice_profiles.c.customer_id == customer_id
            await change.tx.execute(update(invoice_profiles).where(of_customer).values(**values))
        after = _shown(customer_id, await profile_row(change.tx, customer_id))
        await change.audit("update", "invoice_profile", customer_id, before=before, after=after)
    return after


async def profile_row(tx: Tx, customer_id: int) -> RowMapping | None:
    query = select(invoice_profiles).where(invoice_profiles.c.customer_id == customer_id)
    return (await tx.execute(query)).mappings().first()


async def _last_until(tx: Tx, customer_id: int) -> str | None:
    """Where the last invoice ends: the next one begins there, so that nothing falls in between."""
    c = invoices.c
    query = select(func.max(c.until_day)).where(c.customer_id == customer_id, c.archived_ms.is_(None))
    until: str | None = (await tx.execute(query)).scalar_one_or_none()
    return until


def profile_of(row: RowMapping | None) -> InvoiceProfileNew:
    """What a customer's row says, or what holds without one."""
    if row is None:
        return InvoiceProfileNew()
    return convert({name: row[name] for name in InvoiceProfileNew.__struct_fields__}, InvoiceProfileNew)


def _check(new: InvoiceProfileNew) -> None:
    if new.day > DAY_MAX[new.frequency]:
        raise invalid("day", f"1 to {DAY_MAX[new.frequency]} with frequency {new.frequency}")
    for place, address in enumerate(new.recipients):
        check_email(f"recipients[{place}]", address)


def _fields(profile: InvoiceProfile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in InvoiceProfileNew.__struct_fields__}


def _shown(customer_id: int, row: RowMapping | None) -> InvoiceProfile:
    since = None if row is None else row["since_day"]
    return InvoiceProfile(
        **msgspec.structs.asdict(profile_of(row)),
        customer_id=customer_id,
        row_version=0 if row is None else row["row_version"],
        next_from=None if since is None else date.fromisoformat(since),
        updated_at=None if row is None else ms_moment(row["updated_ms"]),
    )
