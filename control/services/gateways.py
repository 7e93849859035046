"""Gateways: a provider's addresses, with their share of its calls and their health."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import SwitchAway, invalid
from control.services.fields import Channels, Codecs, Cps, Id, Label, Moment, Port, Transport, ms_moment
from control.services.hosts import Host, address_or_name
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery, Page
from control.services.records import gateway_record
from control.store import tables
from control.store.engine import Tx
from switch.outputs import GatewayHealth
from switch.snapshot import Record


class GatewayNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider_id: Id
    name: Label = ""
    host: Host
    """An address, or a name that is resolved ahead of calls (RFC 3263)."""
    port: Port | None = None
    transport: Transport = "udp"
    also_tcp: bool = False
    """A UDP gateway that takes requests over 1,300 bytes by TCP."""
    weight: Annotated[int, Meta(ge=0, le=65_535)] = 1
    channels: Channels | None = None
    flow_speed_cps: Cps | None = None
    enabled: bool = True
    probe: bool = False
    probe_interval_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] = 30_000
    probe_failures_max: Annotated[int, Meta(ge=1, le=100)] = 3
    probe_successes_min: Annotated[int, Meta(ge=1, le=100)] = 2
    tls_verify: bool = True
    codecs: Codecs = ()
    """Those that it takes, others are taken out of offers to it; none: any."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    is_up: bool
    reason: str
    changed_at: Moment


class Gateway(GatewayNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    health: Health | None = None
    """What the switch says of it; null while it says nothing."""


class GatewayQuery(ListQuery, frozen=True, kw_only=True):
    provider_id: Id | None = None
    enabled: bool | None = None
    transport: Transport | None = None


class Gateways(Noun[GatewayNew, Gateway]):
    name = "gateway"
    table = tables.gateways
    new = GatewayNew
    out = Gateway
    fixed = ("provider_id",)
    sorts = ("id", "host", "provider_id", "created_at", "updated_at")
    search = ("name", "host")

    async def check(self, ctx: Context, change: Change, new: GatewayNew, before: RowMapping | None) -> dict[str, Any]:
        await require(change.tx, tables.providers, "provider_id", "provider", new.provider_id)
        if new.also_tcp and new.transport != "udp":
            raise invalid("also_tcp", "only of a gateway that is reached by udp")
        return {"host": address_or_name("host", new.host)}

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return gateway_record(row)

    async def get(self, ctx: Context, row_id: int) -> Gateway:
        gateway = await super().get(ctx, row_id)
        return _with_health([gateway], await health_by_gateway(ctx))[0]

    async def page(self, ctx: Context, query: ListQuery) -> Page[Gateway]:
        page = await super().page(ctx, query)
        return Page(items=_with_health(page.items, await health_by_gateway(ctx)), next_cursor=page.next_cursor)


GATEWAYS: Final = Gateways()


class GatewayStats(msgspec.Struct, frozen=True, kw_only=True):
    gateway_id: int
    gateway: str
    provider_id: int
    provider: str
    health: Health | None


async def stats(ctx: Context) -> list[GatewayStats]:
    """Every gateway with its health, by provider."""
    health = await health_by_gateway(ctx)
    async with ctx.store.read() as tx:
        gateways, providers = tables.gateways, tables.providers
        query = (
            gateways.join(providers, providers.c.id == gateways.c.provider_id)
            .select()
            .with_only_columns(
                gateways.c.id, gateways.c.name, gateways.c.host, providers.c.id.label("provider_id"), providers.c.name
            )
            .where(gateways.c.archived_ms.is_(None))
            .order_by(providers.c.name_key, gateways.c.id)
        )
        rows = await tx.execute(query)
        return [
            GatewayStats(
                gateway_id=row_id,
                gateway=name or host,
                provider_id=provider_id,
                provider=provider,
                health=health.get(row_id),
            )
            for row_id, name, host, provider_id, provider in rows
        ]


async def health_by_gateway(ctx: Context) -> dict[int, Health]:
    """What the switch says; nothing while it is away."""
    if not ctx.switch.is_connected:
        return {}
    try:
        stats = await ctx.switch.stats()
    except SwitchAway:
        return {}
    return {health.gateway_id: _health(health) for health in stats.gateways}


def _health(health: GatewayHealth) -> Health:
    return Health(is_up=health.is_up, reason=health.reason, changed_at=ms_moment(health.changed_ms))


def _with_health(gateways: list[Gateway], health: dict[int, Health]) -> list[Gateway]:
    return [msgspec.structs.replace(gateway, health=health.get(gateway.id)) for gateway in gateways]
