"""The numbers that a customer shows as its own: its DIDs, and those that its CLI rules name.

A rule names a number where it is written out: all digits of one that is allowed, or that is sent
instead of others. Prefixes and expressions are no numbers.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select

from control.services.context import Context
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page, make_cursor, read_cursor
from control.store.cli_rule_tables import cli_rules
from control.store.did_tables import dids
from control.store.engine import Tx
from rating.numbers import normalise_e164


class CliNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number that the customer may call from."""

    number: str
    """E.164 digits."""
    name: str
    """Of the DID."""
    source: Literal["did", "rule"]


class CliNumberQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500)] = ""


async def page(ctx: Context, customer_id: int, query: CliNumberQuery) -> Page[CliNumber]:
    """Each number once, by number."""
    after = ""
    if query.cursor:
        after = str(read_cursor(query.cursor, "number", str)[0])
    c = dids.c
    own = (
        select(c.number, c.name)
        .where(c.customer_id == customer_id, c.archived_ms.is_(None), c.number > after)
        .order_by(c.number)
        .limit(query.limit + 1)
    )
    async with ctx.store.read() as tx:
        found = {number: CliNumber(number=number, name=name, source="did") for number, name in await tx.execute(own)}
        ruled = await _of_rules(tx, customer_id)
        taken = set(
            (await tx.execute(select(c.number).where(c.customer_id == customer_id, c.number.in_(ruled)))).scalars()
        )
    for number in ruled:
        if number > after and number not in taken:
            found[number] = CliNumber(number=number, name="", source="rule")
    items = [found[number] for number in sorted(found)]
    next_cursor = None
    if len(items) > query.limit:
        items = items[: query.limit]
        next_cursor = make_cursor("number", items[-1].number, 0)
    return Page(items=items, next_cursor=next_cursor)


async def _of_rules(tx: Tx, customer_id: int) -> list[str]:
    c = cli_rules.c
    query = select(c.action, c.match, c.to).where(
        c.customer_id == customer_id,
        c.archived_ms.is_(None),
        c.enabled.is_(True),
        c.action.in_(("allow", "rewrite", "force")),
    )
    found = (match if action == "allow" else to for action, match, to in await tx.execute(query))
    numbers = {text: normalise_e164(text) for text in found}
    # As it stands: what needs to be brought to the form of a number is a prefix or an expression.
    return sorted(text for text, number in numbers.items() if text == number)
