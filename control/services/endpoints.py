"""IP endpoints: where a customer's calls come from, or are brought to.

`direction` is seen from the customer's switch: `egress` sends calls to us, `ingress` receives them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.did_references import dids_ringing
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import (
    Channels,
    Codecs,
    Cps,
    Digits,
    Id,
    Label,
    Moment,
    Port,
    Small,
    TechPrefix,
    Transport,
)
from control.services.hosts import Host, address_or_name, network_text
from control.services.nouns import Noun
from control.services.owners import check_customer
from control.services.pages import ListQuery
from control.services.records import endpoint_record
from control.store import tables
from control.store.engine import Tx
from rating.numbers import PatternError, compile_dial_pattern
from switch.snapshot import Record

Direction = Literal["egress", "ingress"]
CliPrefix = Annotated[str, Meta(max_length=20, pattern=r"^\+?[0-9]*$(?!\n)")]
ForceFrom = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9+*#._~-]*$(?!\n)")]
StripDigits = Annotated[int, Meta(ge=0, le=20)]
DialPattern = Annotated[str, Meta(max_length=128)]


class EndpointNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    direction: Direction
    host: Host
    """An address, a CIDR block where it sends calls, or a name where it receives them."""
    transport: Transport | None = None
    port: Port | None = None
    channels: Channels | None = None
    flow_speed_cps: Cps | None = None
    codecs: Codecs = ()
    manufacturer: Label = ""
    version: Label = ""
    """The far side's software, for information."""
    dial_pattern: DialPattern = ""
    cli_prefix: CliPrefix = ""
    tech_prefix: TechPrefix = ""
    strip_digits: StripDigits = 0
    bandwidth_kbps: Small | None = None
    force_from: ForceFrom = ""
    enabled: bool = True


class Endpoint(EndpointNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    sends_calls: bool
    receives_calls: bool


class EndpointQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    direction: Direction | None = None
    enabled: bool | None = None
    tech_prefix: Digits | None = None


class Endpoints(Noun[EndpointNew, Endpoint]):
    name = "endpoint"
    table = tables.endpoints
    new = EndpointNew
    out = Endpoint
    fixed = ("customer_id",)
    sorts = ("id", "host", "customer_id", "created_at", "updated_at")
    search = ("host", "tech_prefix", "manufacturer")

    async def check(self, ctx: Context, change: Change, new: EndpointNew, before: RowMapping | None) -> dict[str, Any]:
        await check_customer(change.tx, new.customer_id)
        check_dial_pattern("dial_pattern", new.dial_pattern)
        if new.direction == "ingress":
            return {"host": address_or_name("host", new.host)}
        if before is not None and before["direction"] == "ingress":
            ringing = await dids_ringing(change.tx, self.name, before)
            if ringing:
                detail = "DIDs ring this endpoint: it has to receive calls."
                raise Conflict(detail, errors=[FieldError("direction", detail)], references=ringing)
        host = network_text("host", new.host)
        await self._check_shared(change.tx, host, new, before)
        return {"host": host}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        return await dids_ringing(tx, self.name, row)

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return endpoint_record(row)

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {"sends_calls": row["direction"] == "egress", "receives_calls": row["direction"] == "ingress"}

    async def _check_shared(self, tx: Tx, host: str, new: EndpointNew, before: RowMapping | None) -> None:
        """Whose call it is must follow from address and tech prefix, once two customers share an address."""
        endpoints = self.table
        query = (
            select(endpoints, tables.customers.c.name)
            .join(tables.customers, tables.customers.c.id == endpoints.c.customer_id)
            .where(endpoints.c.host == host, endpoints.c.direction == "egress", endpoints.c.archived_ms.is_(None))
            .order_by(endpoints.c.id)
        )
        if before is not None:
            query = query.where(endpoints.c.id != before["id"])
        others = list((await tx.execute(query)).mappings())
        is_shared = any(other["customer_id"] != new.customer_id for other in others)
        for other in others:
            is_same_way = None in (other["transport"], new.transport) or other["transport"] == new.transport
            if other["tech_prefix"] == new.tech_prefix and (is_shared or is_same_way):
                prefix = f"tech prefix {new.tech_prefix}" if new.tech_prefix else "no tech prefix"
                owner = "this customer" if other["customer_id"] == new.customer_id else f"customer {other['name']}"
                detail = f"{host} with {prefix} belongs to {owner} already."
                raise Conflict(
                    detail,
                    errors=[FieldError("tech_prefix", detail)],
                    references=[
                        Reference(noun="endpoint", id=str(other["id"]), name=host),
                        Reference(noun="customer", id=str(other["customer_id"]), name=other["name"]),
                    ],
                )
        prefixes = [other["tech_prefix"] for other in others]
        if is_shared and len(set(prefixes)) < len(prefixes):
            names = ", ".join(sorted({other["name"] for other in others}))
            detail = f"{host} has endpoints of {names} that tech prefixes do not tell apart."
            raise Conflict(detail, errors=[FieldError("host", detail)])


ENDPOINTS: Final = Endpoints()


def check_dial_pattern(path: str, text: str) -> None:
    if text:
        try:
            compile_dial_pattern(text)
        except PatternError as error:
            raise invalid(path, str(error)) from error
