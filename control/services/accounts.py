"""What a customer has: balance, what its calls hold of it, what is left, what today cost.

The switch knows these while it runs; one question serves a whole page. While it is away, the store
answers for it: without holds, and without calls that it has not read from the journal yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import and_, false, func, or_, select
from sqlalchemy.engine import RowMapping

from control.services.context import Context
from control.services.errors import SwitchAway
from control.services.fields import EPOCH, ms_moment
from control.store import tables
from control.store.engine import Tx
from rating.money import format_amount
from switch.frames import Account


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a customer as clients read it; decimal strings of its currency."""

    balance: str
    held: str
    """By calls that are up."""
    available: str
    """Balance + debit limit - held: what new calls may still hold."""
    spent_today: str
    """By calls that ended today in the customer's time zone, gross."""
    is_balance_live: bool
    """False: from the store, for the switch is away or does not know the customer; nothing is shown as held."""


async def read_money(ctx: Context, customers: Sequence[RowMapping]) -> dict[int, Money]:
    """Of each of these rows, by customer."""
    live = await _ask_switch(ctx, [row["id"] for row in customers])
    missing = [row for row in customers if row["id"] not in live]
    found = {customer_id: _of_account(account) for customer_id, account in live.items()}
    if missing:
        async with ctx.store.read() as tx:
            found.update(await _read_store(tx, missing, ctx.now_ms()))
    return found


async def _ask_switch(ctx: Context, customer_ids: list[int]) -> dict[int, Account]:
    if not customer_ids or not ctx.switch.is_connected:
        return {}
    try:
        accounts = await ctx.switch.read_accounts(customer_ids)
    except SwitchAway:
        return {}
    return {account.customer_id: account for account in accounts}


async def _read_store(tx: Tx, customers: Sequence[RowMapping], now_ms: int) -> dict[int, Money]:
    accounts, entries = tables.accounts, tables.ledger_entries
    ids = [row["id"] for row in customers]
    query = select(accounts.c.customer_id, accounts.c.balance_nanos).where(accounts.c.customer_id.in_(ids))
    balances: dict[int, int] = {row[0]: row[1] for row in await tx.execute(query)}
    today = [
        and_(entries.c.customer_id == row["id"], entries.c.at_ms >= day_start_ms(row["time_zone"], now_ms))
        for row in customers
    ]
    spent_query = (
        select(entries.c.customer_id, func.sum(entries.c.amount_nanos))
        .where(entries.c.kind == "call", or_(false(), *today))
        .group_by(entries.c.customer_id)
    )
    spent = {customer_id: -int(nanos) for customer_id, nanos in (await tx.execute(spent_query)).all()}
    return {
        row["id"]: Money(
            balance=format_amount(balances.get(row["id"], 0)),
            held="0",
            available=format_amount(balances.get(row["id"], 0) + row["debit_limit_nanos"]),
            spent_today=format_amount(spent.get(row["id"], 0)),
            is_balance_live=False,
        )
        for row in customers
    }


def day_start_ms(time_zone: str, now_ms: int) -> int:
    """When the day began that it is now in this zone, as milliseconds since the epoch."""
    local = ms_moment(now_ms).astimezone(ZoneInfo(time_zone))
    # Where clocks go forward at midnight, the day begins at the first time that exists; fold 0 finds it.
    start = datetime(local.year, local.month, local.day, tzinfo=local.tzinfo)
    return int((start - EPOCH).total_seconds()) * 1000


def _of_account(account: Account) -> Money:
    return Money(
        balance=format_amount(account.balance_nanos),
        held=format_amount(account.held_nanos),
        available=format_amount(account.available_nanos),
        spent_today=format_amount(account.spent_today_nanos),
        is_balance_live=True,
    )
