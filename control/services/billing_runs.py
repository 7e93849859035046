"""What billing does by itself: packages charged, free minutes given back, invoices made and mailed.

One loop, and each part tried on its own: one that fails is said aloud, tried again at the next look, and
holds up no other. All of them catch up on what passed while nobody looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from control.services import document_mail, free_minutes, invoice_runs, overdue_invoices, package_charges
from control.services.context import Context
from control.services.errors import ServiceError

LOOK_S: Final = 15.0
"""How late after midnight a period is charged."""

READ_WAIT_S: Final = 5.0


async def _spend(ctx: Context) -> int:
    """Judge minimum spend when all calls of its period are in the store, and what was free of them was given back."""
    if not await package_charges.is_spend_due(ctx) or not await ctx.wait_read(READ_WAIT_S):
        return 0
    await free_minutes.run_due(ctx)
    return await package_charges.run_spend(ctx)


PARTS: Final[tuple[tuple[str, Callable[[Context], Awaitable[int]]], ...]] = (
    ("free minutes", free_minutes.run_due),
    ("packages", package_charges.run_due),
    ("minimum spend", _spend),
    ("invoices", invoice_runs.run_due),
    ("invoices overdue", overdue_invoices.mark_overdue),
    ("mails", document_mail.run_due),
)

log = structlog.get_logger("control.billing")


async def run(ctx: Context) -> None:
    """Look until cancelled."""
    while True:
        await run_due(ctx)
        await asyncio.sleep(LOOK_S)


async def run_due(ctx: Context) -> dict[str, int]:
    """Do what is due, in this order; what came of each part that did something."""
    done: dict[str, int] = {}
    for name, part in PARTS:
        try:
            count = await part(ctx)
        except (SQLAlchemyError, ServiceError, OSError) as error:
            log.error("billing failed", part=name, reason=str(error))
            continue
        if count:
            done[name] = count
            log.info("billed", part=name, count=count)
    return done
