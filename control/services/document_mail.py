"""Invoices and credit notes by mail: each recipient gets each document once.

A mail is queued in the transaction that issues its document. Before it goes to the server its row says so;
a process that dies in between leaves it `sending`, and it is not sent again by itself, since nobody knows
whether it was taken: once, and seldom not at all, is better than twice. What the server refuses, or cannot be drawn,
is tried again for two days, more and more seldom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog
import typst
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import RowMapping

from control.services import documents
from control.services.context import Change, Context
from control.services.errors import Conflict, MailFailed, ServiceError
from control.services.invoicing import profile_of, profile_row
from control.services.mail import Attachment
from control.store.contact_tables import contacts
from control.store.engine import Tx
from control.store.invoice_tables import document_mails

DELAYS_MS: Final = (60_000, 300_000, 1_800_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000)
"""After each try that failed; after the last one it is given up."""
MAILS_A_LOOK: Final = 50
NOT_DRAWN: Final = (ServiceError, typst.TypstError, OSError)
"""What can go wrong with one document's PDF: its mail waits, those behind it do not."""

log = structlog.get_logger("control.document_mail")


async def queue(
    change: Change, kind: documents.Kind, document_id: int, customer_id: int, recipients: Sequence[str]
) -> int:
    """Have a document mailed, to the customer's contacts where no recipients are named; to how many."""
    addresses = list(dict.fromkeys(recipients)) or await _contacts(change.tx, customer_id)
    c = document_mails.c
    last = select(func.max(c.round)).where(c.kind == kind, c.document_id == document_id)
    found = (await change.tx.execute(last)).scalar_one_or_none()
    rows = [
        {
            "kind": kind,
            "document_id": document_id,
            "recipient": address,
            "round": 0 if found is None else found + 1,
            "state": "pending",
            "next_ms": change.now_ms,
            "created_ms": change.now_ms,
        }
        for address in addresses
    ]
    if rows:
        await change.tx.execute(insert(document_mails), rows)
    return len(rows)


async def send_again(ctx: Context, kind: documents.Kind, document_id: int, recipients: Sequence[str]) -> int:
    """Queue a document once more, because somebody asks; to how many.

    Raises:
        Conflict: the installation sends no mail, the document is a draft, or there is nobody to send it to.
    """
    if ctx.mail is None:
        raise Conflict("The installation sends no mail: [mail] host.")
    async with ctx.change() as change:
        facts = await documents.facts_of(change.tx, kind, document_id)
        wanted = recipients or profile_of(await profile_row(change.tx, facts.customer_id)).recipients
        count = await queue(change, kind, document_id, facts.customer_id, wanted)
        if not count:
            raise Conflict("The customer has neither recipients nor a contact to send it to; name some.")
        await change.audit("send", kind, document_id, after={"recipients": count})
    return count


async def run_due(ctx: Context) -> int:
    """Send what is queued; how many mails the server took."""
    if ctx.mail is None:
        return 0
    c = document_mails.c
    due = select(document_mails).where(c.state == "pending", c.next_ms <= ctx.now_ms())
    async with ctx.store.read() as tx:
        rows = list((await tx.execute(due.order_by(c.next_ms, c.id).limit(MAILS_A_LOOK))).mappings())
    count = 0
    for row in rows:
        count += await _send(ctx, row)
    return count


async def _send(ctx: Context, row: RowMapping) -> bool:
    assert ctx.mail is not None
    if not await _claim(ctx, row):
        return False
    try:
        file = await documents.pdf(ctx, row["kind"], row["document_id"])
    except NOT_DRAWN as error:
        return await _put_off(ctx, row, error)
    try:
        await ctx.mail.send(
            row["recipient"], file.subject, file.text, [Attachment(file.name, "application/pdf", file.content)]
        )
    except MailFailed as error:
        return await _put_off(ctx, row, error)
    await _write(ctx, row, state="sent", error="", sent_ms=ctx.now_ms())
    return True


async def _put_off(ctx: Context, row: RowMapping, error: Exception) -> bool:
    """Have a mail tried again later, or never again; False: it was not sent."""
    attempts = row["attempts"] + 1
    is_over = attempts > len(DELAYS_MS)
    next_ms = ctx.now_ms() + (0 if is_over else DELAYS_MS[attempts - 1])
    await _write(ctx, row, state="failed" if is_over else "pending", error=str(error)[:500], next_ms=next_ms)
    log.warning("a document was not mailed", kind=row["kind"], id=row["document_id"], reason=str(error))
    return False


async def _claim(ctx: Context, row: RowMapping) -> bool:
    """Take one mail to be sent; False where somebody else has."""
    c = document_mails.c
    taken = (
        update(document_mails)
        .where(c.id == row["id"], c.state == "pending")
        .values(state="sending", attempts=row["attempts"] + 1)
        .returning(c.id)
    )
    async with ctx.store.begin() as tx:
        return (await tx.execute(taken)).first() is not None


async def _write(ctx: Context, row: RowMapping, **values: Any) -> None:
    async with ctx.store.begin() as tx:
        await tx.execute(update(document_mails).where(document_mails.c.id == row["id"]).values(**values))


async def _contacts(tx: Tx, customer_id: int) -> list[str]:
    c = contacts.c
    query = select(c.email).where(c.customer_id == customer_id, c.archived_ms.is_(None), c.enabled.is_(True))
    return list((await tx.execute(query.order_by(c.id))).scalars())
