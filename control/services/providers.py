"""Providers: the vendors that calls leave through, and how they want them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.currencies import check_currency
from control.services.did_references import dids_with
from control.services.errors import Reference
from control.services.fields import Channels, Cps, Currency, Label, Moment, Name, Notes, OwnHeaders, TechPrefix, Timers
from control.services.gateways import GATEWAYS
from control.services.nouns import Noun
from control.services.pages import ListQuery
from control.services.records import provider_record
from control.store import tables
from control.store.alert_tables import alerts
from control.store.engine import Tx
from switch.snapshot import Record

FinalStatus = Annotated[int, Meta(ge=300, le=699)]


class ProviderNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    enabled: bool = True
    currency: Currency = "USD"
    channels: Channels | None = None
    flow_speed_cps: Cps | None = None
    tech_prefix: TechPrefix = ""
    number_format: Literal["e164", "plus", "00", "011"] = "e164"
    """How the number leaves: bare digits, or with the prefix named."""
    timers: Timers = Timers()
    cause_table: dict[FinalStatus, Literal["next", "stop"]] = {}
    """SIP status to what follows it, over the defaults: the next vendor, or the end of the call."""
    send_pai: Literal["never", "pass", "always"] = "pass"
    """P-Asserted-Identity to it: none, that of customers with `trust_pai`, or one for each number that is shown."""
    pai_format: Literal["sip", "tel"] = "sip"
    """How we write one; a number that is not international stands in a SIP URI."""
    privacy: Literal["honour", "pass"] = "honour"
    """A caller's `Privacy: id` (or `user`, `header`): From and Contact name nobody and no identity goes out, or the
    header goes on with the identity, to a vendor that honours it."""
    allowed_headers: OwnHeaders = ()
    penalty_until: Moment | None = None
    """No call goes to it before then: set by an alert or by hand, over by itself."""
    notes: Notes = ""


class Provider(ProviderNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class ProviderQuery(ListQuery, frozen=True, kw_only=True):
    enabled: bool | None = None
    currency: Label | None = None


class Providers(Noun[ProviderNew, Provider]):
    name = "provider"
    table = tables.providers
    new = ProviderNew
    out = Provider
    fixed = ("currency",)
    moments = ("penalty_until",)
    sorts = ("name", "id", "created_at", "updated_at")
    search = ("name_key", "notes")

    async def check(self, ctx: Context, change: Change, new: ProviderNew, before: RowMapping | None) -> dict[str, Any]:
        key = self.columns(new)["name_key"]
        await self.check_unique(change.tx, before, "name", "Another provider has this name.", name_key=key)
        check_currency("currency", new.currency)
        return {}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        cards = tables.rate_cards
        query = select(cards.c.id, cards.c.name).where(cards.c.provider_id == row["id"], cards.c.archived_ms.is_(None))
        priced = [Reference("rate_card", str(row_id), name) for row_id, name in await tx.execute(query)]
        watching = select(alerts.c.id, alerts.c.name).where(
            alerts.c.provider_id == row["id"], alerts.c.archived_ms.is_(None)
        )
        watched = [Reference("alert", str(row_id), name) for row_id, name in await tx.execute(watching)]
        return priced + watched + await dids_with(tx, "provider_id", row["id"])

    async def archive_owned(self, change: Change, row: RowMapping) -> None:
        for gateway in await GATEWAYS.rows_of(change.tx, "provider_id", row["id"]):
            await GATEWAYS.archive_in(change, gateway["id"])

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return provider_record(row)


PROVIDERS: Final = Providers()
