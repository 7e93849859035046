"""DIDs: numbers of ours, from whom they come, whose they are, and where they ring.

A number is `free`, `allocated` to a customer, `assigned` (in service), or `cooling_off` after a customer
has given it back. It changes hands by the steps of `control.services.did_life` alone; what may be
changed in place are its fields. The switch knows those that are assigned and enabled, and no others.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services import did_charges
from control.services.context import Change, Context
from control.services.did_checks import check_client, check_destinations, check_parties
from control.services.did_fields import AMOUNTS, Did, DidNew, State
from control.services.errors import Conflict, FieldError, Invalid, Reference, gathered, invalid
from control.services.fields import amount_nanos
from control.services.nouns import Noun
from control.services.outbox import emit
from control.services.pages import ListQuery
from control.services.records import did_record, rings
from control.store import tables
from control.store.did_tables import dids
from control.store.engine import Tx
from rating.numbers import normalise_e164
from switch.snapshot import Key, Record


class Dids(Noun[DidNew, Did]):
    name = "did"
    table = dids
    new = DidNew
    out = Did
    amounts = AMOUNTS
    moments = ("allocated_at", "assigned_at", "released_at", "cooling_off_until")
    fixed = ("number",)
    sorts = ("number", "id", "state", "created_at", "updated_at")
    search = ("number", "name", "description")

    @property
    def title(self) -> str:
        return "DID"

    async def check(self, ctx: Context, change: Change, new: DidNew, before: RowMapping | None) -> dict[str, Any]:
        if before is not None:
            if before["customer_id"] != new.customer_id:
                detail = "A number changes hands by allocate, assign and release."
                raise Conflict(detail, errors=[FieldError("customer_id", detail)])
            return await self.checked(change, new, before["state"], before)
        state: State = "free" if new.customer_id is None else "assigned" if new.destinations else "allocated"
        return {**await self.checked(change, new, state, None), **_stamps(state, change.now_ms)}

    async def checked(self, change: Change, new: DidNew, state: State, before: RowMapping | None) -> dict[str, Any]:
        """Columns of the row in this state, or `Invalid` with all that is wrong with it."""
        found: list[FieldError] = []
        number = normalise_e164(new.number)
        if number is None:
            found.append(FieldError("number", "no E.164 number: 7 to 15 digits with the country's code first"))
        for path in AMOUNTS:
            with gathered(found):
                if amount_nanos(path, getattr(new, path)) < 0:
                    raise invalid(path, "below 0")
        if state == "assigned" and not new.destinations:
            found.append(FieldError("destinations", "needed: a number in service rings somewhere"))
        await check_parties(change, new, found)
        if new.customer_id is not None and (before is None or before["customer_id"] != new.customer_id):
            with gathered(found):
                await check_client(change, new.customer_id)
        destinations = await check_destinations(change, new, number, found)
        if found:
            raise Invalid(found)
        if before is None:
            await self.check_unique(change.tx, None, "number", f"There is a DID {number} already.", number=number)
        return {"number": number, "destinations": destinations, "state": state}

    async def create_in(self, ctx: Context, change: Change, new: DidNew, **more: Any) -> Did:
        made = await super().create_in(ctx, change, new, **more)
        if made.state == "assigned":
            made = self.struct(await did_charges.begin(change, await self.row(change.tx, made.id)))
        return made

    async def update_in(
        self, ctx: Context, change: Change, row_id: int, sent: dict[str, Any], expected: int | None = None
    ) -> Did:
        if any(name in sent for name in AMOUNTS):
            # Months that have begun cost what was agreed when they did.
            await did_charges.charge_due(change, await self.row(change.tx, row_id))
        return await super().update_in(ctx, change, row_id, sent, expected)

    def merged(self, before: RowMapping, sent: dict[str, Any]) -> DidNew:
        sent = dict(sent)
        if isinstance(sent.get("number"), str):
            sent["number"] = normalise_e164(sent["number"]) or sent["number"]
        if "destination" in sent and "destinations" not in sent:
            only = sent.pop("destination")
            sent["destinations"] = [] if only is None else [only]
        return super().merged(before, sent)

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        if row["customer_id"] is None:
            return []
        customers = tables.customers
        name = (await tx.execute(select(customers.c.name).where(customers.c.id == row["customer_id"]))).scalar_one()
        raise Conflict(
            f"The number is {row['state']} to {name}; release it first.",
            references=[Reference("customer", str(row["customer_id"]), name)],
        )

    async def record(self, tx: Tx, row: RowMapping) -> Record | None:
        return did_record(row) if rings(row) else None

    def shown(self, row: RowMapping) -> dict[str, Any]:
        first = row["destinations"][0] if row["destinations"] else None
        return {"destination": first, "next_charge_on": row["charge_from"]}

    def filtered(self, query: ListQuery) -> Any:
        statement = super().filtered(query)
        prefix = (getattr(query, "prefix", None) or "").removeprefix("+")
        if prefix:
            # A range of texts: what both databases find by the index, whatever LIKE and other signs do there.
            statement = statement.where(self.table.c.number >= prefix)
            if prefix.strip("9"):
                statement = statement.where(self.table.c.number < str(int(prefix) + 1).zfill(len(prefix)))
        return statement

    async def page(self, ctx: Context, query: ListQuery) -> Any:
        return await super().page(ctx, with_digits(query))

    def check_version(self, row: RowMapping, expected: int | None) -> None:
        """Refuse where `If-Match` names another version."""
        self._checked_version(row, {}, expected)

    async def move(self, change: Change, action: str, before: RowMapping, values: dict[str, Any]) -> RowMapping:
        """Write what a step of its life changes, with an audit row and an event of it."""
        row = await self.write(change, before, values)
        await self._announce(change, action, before, row)
        return row

    async def _announce(self, change: Change, action: str, before: RowMapping | None, row: RowMapping) -> Did:
        out = await super()._announce(change, action, before, row)
        if before is not None and rings(before) and not rings(row):
            change.remove.append(Key(kind=self.name, id=row["id"]))
        owner_id = row["customer_id"] or (before["customer_id"] if before is not None else None)
        facts = {"id": out.id, "number": out.number, "action": action, "state": out.state, "enabled": out.enabled}
        await emit(change, "did.changed", {**facts, "customer_id": owner_id})
        return out


DIDS: Final = Dids()


def with_digits(query: Any) -> Any:
    """A filter whose number is written as the store has it."""
    if query.number is None:
        return query
    return msgspec.structs.replace(query, number=normalise_e164(query.number) or query.number)


def _stamps(state: State, now_ms: int) -> dict[str, Any]:
    return {
        "allocated_at_ms": None if state == "free" else now_ms,
        "assigned_at_ms": now_ms if state == "assigned" else None,
    }
