"""The life of a DID: free → allocated → assigned → cooling off → free, by steps that somebody asks for.

Only a free number, or one that is allocated to the same customer, can be assigned, so a number never
has two customers. One that was in service cools off after its release, so that calls for whoever had it
do not ring at the next one; one that was only allocated is free at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services import did_charges
from control.services.context import Change, Context
from control.services.did_fields import Destination, Did, DidNew, State
from control.services.dids import DIDS
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import Amount, Channels, Id, Label, Moment, moment_ms, ms_moment
from control.services.owners import check_customer
from control.services.telephone_services import forget_number
from control.store.did_tables import dids

COOLING_OFF_DAYS: Final = 30
"""Where a release says nothing else."""
DAY_MS: Final = 86_400_000
ROWS_MAX: Final = 500
"""Numbers set free in one transaction: others wait for it."""


class Allocate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id


class Assign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    customer_id: Id | UnsetType = UNSET
    """Of a number that is allocated it need not be said."""
    customer_card_id: Id | UnsetType | None = UNSET
    destination: Destination | UnsetType = UNSET
    destinations: Annotated[tuple[Destination, ...], Meta(max_length=16)] | UnsetType = UNSET
    retail: Amount | UnsetType = UNSET
    setup_retail: Amount | UnsetType = UNSET
    channels: Channels | UnsetType | None = UNSET


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    until: Moment | None = None
    """End of the cooling-off; thirty days from now where it is left out."""
    reason: Label = ""
    """For the audit trail."""


Step = Callable[[Change, RowMapping], Awaitable[RowMapping]]


async def allocate(ctx: Context, did_id: int, asked: Allocate, expected: int | None = None) -> Did:
    return await _step(ctx, did_id, expected, lambda change, row: allocate_in(change, row, asked))


async def assign(ctx: Context, did_id: int, asked: Assign, expected: int | None = None) -> Did:
    return await _step(ctx, did_id, expected, lambda change, row: assign_in(change, row, asked))


async def release(ctx: Context, did_id: int, asked: Release, expected: int | None = None) -> Did:
    return await _step(ctx, did_id, expected, lambda change, row: release_in(change, row, asked))


async def set_free(ctx: Context, did_id: int, expected: int | None = None) -> Did:
    return await _step(ctx, did_id, expected, set_free_in)


async def allocate_in(change: Change, row: RowMapping, asked: Allocate) -> RowMapping:
    """Keep a free number for a customer."""
    _check_state(row, "allocated", "free")
    await check_customer(change.tx, asked.customer_id)
    new = _with(row, {"customer_id": asked.customer_id})
    values = await DIDS.checked(change, new, "allocated", row)
    columns = {**DIDS.columns(new), **values, "allocated_at_ms": change.now_ms}
    return await DIDS.move(change, "allocate", row, columns)


async def assign_in(change: Change, row: RowMapping, asked: Assign) -> RowMapping:
    """Put a number in service for a customer, and charge what is left of the month.

    Raises:
        Conflict: it is another customer's, in service already, or cools off.
    """
    _check_state(row, "assigned", "free", "allocated")
    sent = msgspec.to_builtins(asked)
    customer_id = sent.setdefault("customer_id", row["customer_id"])
    if customer_id is None:
        raise invalid("customer_id", "needed: the number is free")
    if row["customer_id"] not in (None, customer_id):
        detail = f"{row['number']} is allocated to customer {row['customer_id']}."
        references = [Reference("customer", str(row["customer_id"]))]
        raise Conflict(detail, errors=[FieldError("customer_id", detail)], references=references)
    new = _with(row, sent)
    values = await DIDS.checked(change, new, "assigned", row)
    stamps = {"allocated_at_ms": row["allocated_at_ms"] or change.now_ms, "assigned_at_ms": change.now_ms}
    after = await DIDS.move(change, "assign", row, {**DIDS.columns(new), **values, **stamps})
    return await did_charges.begin(change, after)


async def release_in(change: Change, row: RowMapping, asked: Release) -> RowMapping:
    """Take a number from its customer: out of calls at once, charged no more."""
    _check_state(row, "released", "allocated", "assigned")
    until_ms = change.now_ms + COOLING_OFF_DAYS * DAY_MS
    if asked.until is not None:
        until_ms = moment_ms("until", asked.until)
        if until_ms <= change.now_ms:
            raise invalid("until", f"not after now ({ms_moment(change.now_ms).isoformat()})")
    await did_charges.end(change, row)
    values: dict[str, Any] = {**_NOBODYS, "last_customer_id": row["customer_id"], "released_at_ms": change.now_ms}
    if row["state"] == "assigned":
        values.update(state="cooling_off", cooling_off_until_ms=until_ms)
    after = await DIDS.move(change, "release", row, values)
    await forget_number(change, row["id"])
    if asked.reason:
        await change.audit("release_reason", DIDS.name, row["id"], after={"reason": asked.reason})
    return after


async def set_free_in(change: Change, row: RowMapping) -> RowMapping:
    """End the cooling-off."""
    _check_state(row, "set free", "cooling_off")
    return await DIDS.move(change, "free", row, {"state": "free", "cooling_off_until_ms": None})


async def release_numbers(change: Change, customer_id: int, reason: str) -> int:
    """Release every number of a customer, those in service into their cooling-off; how many."""
    rows = await DIDS.rows_of(change.tx, "customer_id", customer_id)
    for row in rows:
        await release_in(change, row, Release(reason=reason[:255]))
    return len(rows)


async def end_cooling_off(ctx: Context) -> int:
    """Set every number free whose cooling-off is over; how many."""
    count = 0
    while True:
        async with ctx.store.read() as tx:
            is_over = dids.c.cooling_off_until_ms <= ctx.now_ms()
            cools = (dids.c.state == "cooling_off") & dids.c.archived_ms.is_(None)
            ids = list((await tx.execute(select(dids.c.id).where(is_over, cools).limit(ROWS_MAX))).scalars())
        if not ids:
            return count
        async with ctx.change() as change:
            for did_id in ids:
                row = (await change.tx.execute(select(dids).where(dids.c.id == did_id))).mappings().one()
                if row["state"] == "cooling_off" and row["archived_ms"] is None:
                    await set_free_in(change, row)
                    count += 1


_NOBODYS: Final[dict[str, Any]] = {
    "state": "free",
    "customer_id": None,
    "customer_card_id": None,
    "destinations": [],
    "allocated_at_ms": None,
    "assigned_at_ms": None,
    "cooling_off_until_ms": None,
}


def _with(row: RowMapping, sent: dict[str, Any]) -> DidNew:
    return DIDS.merged(row, sent)


def _check_state(row: RowMapping, becomes: str, *wanted: State) -> None:
    if row["state"] in wanted:
        return
    told = f"{row['number']} is {row['state'].replace('_', ' ')}"
    if row["state"] == "cooling_off":
        told += f" until {ms_moment(row['cooling_off_until_ms']).isoformat()}"
    references = [] if row["customer_id"] is None else [Reference("customer", str(row["customer_id"]))]
    detail = f"{told}: only {' or '.join(wanted).replace('_', ' ')} numbers can be {becomes}."
    raise Conflict(detail, errors=[FieldError("state", detail)], references=references)


async def _step(ctx: Context, did_id: int, expected: int | None, act: Step) -> Did:
    async with ctx.change() as change:
        row = await DIDS.row(change.tx, did_id)
        DIDS.check_version(row, expected)
        return DIDS.struct(await act(change, row))
