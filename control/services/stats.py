"""How calls went, from their sums: by time, and by customer, provider, route, prefix or code.

Calls count where their INVITE came, on the clocks of the customer, or of any zone that is asked for. Sums
come from minutes and quarters of an hour (`control.services.rollups`); the database divides them into
hours and days, so an answer costs what its own owner's time costs, however many others call.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, Table, select

from control.services.context import Context
from control.services.days import Bound, since_ms, until_ms
from control.services.errors import NotFound, invalid
from control.services.fields import Id, Label, Moment, check_time_zone, ms_moment
from control.services.periods import day_at, day_start_ms
from control.services.quality import Quality, quality
from control.services.rollups import ALL, MINUTE_MS, MINUTES_KEPT_MS, QUARTER_MS
from control.services.stats_sums import Asked, is_complete, read_peaks, read_rows
from control.services.time_slots import DAY_MS, HOUR_MS, UNITS, Slot, Step
from control.store import tables
from control.store.engine import Tx
from control.store.rollup_tables import (
    call_rollups,
    prefix_rollups,
    provider_rollups,
)
from rating.money import format_amount

Group = Literal["customer", "provider", "route", "prefix", "code"]

SLOTS_MAX: Final = 3_000
"""Steps of one answer; more are asked for in parts."""
PrefixDigits = Annotated[str, Meta(max_length=20, pattern=r"^[0-9]+$(?!\n)")]


class StatsQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    group: Annotated[Group | None, Meta(description="A row for each of these, instead of one for all.")] = None
    step: Annotated[
        Step | None,
        Meta(description="A row for each of these on the zone's clocks; left out: one for the whole time."),
    ] = None
    since: Annotated[
        Bound | None,
        Meta(
            description="Of INVITEs: a time, or a day or month of the zone. "
            "Left out: the last three hours, the day, 30 days or 12 months, by the step."
        ),
    ] = None
    until: Annotated[Bound | None, Meta(description="A time, or through a day or month; left out: now.")] = None
    time_zone: Annotated[
        Label | None, Meta(description="Whose days, months and hours; left out: the customer's, or UTC.")
    ] = None
    customer_id: Id | None = None
    provider_id: Annotated[Id | None, Meta(description="Attempts at its gateways, instead of calls.")] = None
    route_id: Annotated[Id | None, Meta(description="An ingress route.")] = None
    prefix: Annotated[PrefixDigits | None, Meta(description="Prefixes of sell cards that begin so.")] = None
    code: Annotated[int, Meta(ge=0, le=999)] | None = None
    """A final SIP status."""
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Of groups, those with the most attempts first.")] = 100


class OwnStatsQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    """The same, as the path or the login says whose."""

    group: Annotated[Literal["route", "prefix", "code"] | None, Meta(description="A row for each of these.")] = None
    step: Step | None = None
    since: Bound | None = None
    until: Bound | None = None
    time_zone: Annotated[Label | None, Meta(description="Left out: the customer's.")] = None
    route_id: Id | None = None
    prefix: PrefixDigits | None = None
    code: Annotated[int, Meta(ge=0, le=999)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class ProviderStatsQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    group: Annotated[Literal["code"] | None, Meta(description="A row for each final SIP status.")] = None
    step: Step | None = None
    since: Bound | None = None
    until: Bound | None = None
    time_zone: Annotated[Label | None, Meta(description="Left out: UTC.")] = None
    code: Annotated[int, Meta(ge=0, le=999)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class Figures(Quality, frozen=True, kw_only=True):
    """What calls of one currency came to, corrections in."""

    currency: str
    minutes: float
    """Of talk, four decimals."""
    billed_minutes: float
    net: str
    """What they were sold for."""
    tax: str
    charge: str
    """Net and tax."""
    cost: str
    profit: str
    """Net less cost."""
    codes: dict[str, int]
    """Attempts by final SIP status; empty where rows are by prefix."""


class StatsRow(Figures, frozen=True, kw_only=True):
    at: Moment
    """Where the step begins, or the whole time …"""
    until: Moment
    """… and ends."""
    key: str | None
    """Id, prefix or code of the group; route 0 is none."""
    name: str
    cps: float
    """Mean of new calls a second, four decimals."""
    cps_max: int | None
    """The most that were let in within a second, and up at once: as seen by looking every second, of all
    calls, of a customer or of a provider; none of what was not watched."""
    channels_max: int | None


class Stats(msgspec.Struct, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    since: Moment
    """As asked for, to whole quarters of an hour, or minutes …"""
    until: Moment
    time_zone: str
    step: str | None
    group: str | None
    is_complete: bool
    """False while calls that were stored before there were sums are still being added."""
    is_cut: bool
    """There are more groups than `limit`."""
    items: list[StatsRow]
    """By time, then by attempts. Steps without calls are left out."""


_GROUPS: Final[dict[Group, tuple[Table, str]]] = {
    "customer": (call_rollups, "customer_id"),
    "provider": (provider_rollups, "provider_id"),
    "route": (call_rollups, "route_id"),
    "prefix": (prefix_rollups, "prefix"),
    "code": (call_rollups, "status"),
}
_DEFAULTS: Final[dict[Step | None, int]] = {None: DAY_MS, "minute": 3 * HOUR_MS, "hour": DAY_MS, "day": 29 * DAY_MS}


async def read(ctx: Context, query: StatsQuery) -> Stats:
    """One answer.

    Raises:
        NotFound: no such customer or provider.
        Invalid: filters that do not go together, or more steps than one answer holds.
    """
    async with ctx.store.read() as tx:
        asked = await _fill_in(ctx, tx, query)
        complete = await is_complete(tx)
        found, is_cut = await read_rows(tx, asked, query.limit)
        peaks = await read_peaks(tx, asked, found)
        names = await _names(tx, query.group, {key for _, key, _ in found})
    items = [
        _row(slot, key, figures(sums, currency), peaks.get((slot, key)), names)
        for (slot, key, currency), sums in found.items()
    ]
    items.sort(key=lambda row: (row.at, -row.attempts, row.key or "", row.currency))
    return Stats(
        since=ms_moment(asked.start_ms),
        until=ms_moment(asked.end_ms),
        time_zone=asked.time_zone,
        step=query.step,
        group=query.group,
        is_complete=complete,
        is_cut=is_cut,
        items=items,
    )


async def _fill_in(ctx: Context, tx: Tx, query: StatsQuery) -> Asked:
    table, where = _table_of(query)
    zone = await _zone_of(tx, query)
    start_ms, end_ms = _range_of(ctx, query, zone)
    column = None
    if query.group is not None:
        column = table.c[_GROUPS[query.group][1]]
    owner: tuple[Literal["customer", "provider"], int] | None = None
    if (query.route_id, query.prefix, query.code) == (None, None, None) and query.group in (
        None,
        "customer",
        "provider",
    ):
        is_provider = table is provider_rollups
        # Of providers together nothing is watched: one call is tried at several.
        if query.provider_id is not None or not is_provider or query.group == "provider":
            owner = ("provider", query.provider_id or 0) if is_provider else ("customer", query.customer_id or 0)
    return Asked(table, column, where, owner, query.step, start_ms, end_ms, zone)


def _table_of(query: StatsQuery) -> tuple[Table, tuple[ColumnElement[bool], ...]]:
    """Where the sums are that answer the question, and the conditions on them."""
    table = call_rollups
    if query.provider_id is not None or query.group == "provider":
        table = provider_rollups
    elif query.prefix is not None or query.group == "prefix":
        table = prefix_rollups
    if query.group is not None and query.group != "code" and _GROUPS[query.group][0] is not table:
        raise invalid("group", "not together with this filter")
    columns = {"customer_id": "customer_id", "provider_id": "provider_id", "route_id": "route_id", "code": "status"}
    where: list[ColumnElement[bool]] = []
    for name, column in columns.items():
        value = getattr(query, name)
        if value is None:
            continue
        if column not in table.c:
            raise invalid(name, "not together with this group or filter")
        where.append(table.c[column] == value)
    if query.group == "code" and "status" not in table.c:
        raise invalid("group", "codes are not kept by prefix")
    if query.prefix is not None:
        if table is not prefix_rollups:
            raise invalid("prefix", "not together with this group or filter")
        where.append(table.c.prefix.startswith(query.prefix, autoescape=True))
    if table is call_rollups and (query.customer_id, query.route_id) == (None, None) and query.group in (None, "code"):
        where.append(table.c.customer_id == ALL)
    return table, tuple(where)


async def _zone_of(tx: Tx, query: StatsQuery) -> str:
    zone = None
    for name, table in (("customer", tables.customers), ("provider", tables.providers)):
        row_id = getattr(query, f"{name}_id")
        if row_id is None:
            continue
        columns = table.c.time_zone if name == "customer" else table.c.id
        zone = (await tx.execute(select(columns).where(table.c.id == row_id))).scalar_one_or_none()
        if zone is None:
            raise NotFound(name, row_id)
    if query.time_zone is not None:
        check_time_zone("time_zone", query.time_zone)
        return query.time_zone
    return zone if isinstance(zone, str) else "UTC"


def _range_of(ctx: Context, query: StatsQuery, zone: str) -> tuple[int, int]:
    """From and to, on whole minutes or quarters of an hour."""
    now_ms = ctx.now_ms()
    end_ms = now_ms if query.until is None else until_ms("to", query.until, zone)
    if query.since is not None:
        start_ms = since_ms("from", query.since, zone)
    elif query.step in ("day", None):
        start_ms = day_start_ms(day_at(end_ms - (_DEFAULTS[query.step] if query.step else 0), zone), zone)
    elif query.step == "month":
        last = day_at(end_ms, zone)
        start_ms = day_start_ms(last.replace(year=last.year - 1, day=1), zone)
    else:
        start_ms = end_ms - _DEFAULTS[query.step]
    if query.step == "minute" and start_ms < now_ms - MINUTES_KEPT_MS:
        raise invalid("from", f"minutes are kept for {MINUTES_KEPT_MS // HOUR_MS} hours")
    grain = MINUTE_MS if query.step == "minute" else QUARTER_MS
    start_ms -= start_ms % grain
    end_ms += -end_ms % grain
    if start_ms >= end_ms:
        raise invalid("to", "not after from")
    unit = DAY_MS if query.step is None else UNITS[query.step]
    if (end_ms - start_ms) // unit > SLOTS_MAX:
        raise invalid("from", f"more than {SLOTS_MAX} steps; ask for less, or for longer ones")
    return start_ms, end_ms


async def _names(tx: Tx, group: Group | None, keys: set[str | None]) -> dict[str, str]:
    """What a group's id is called."""
    named = {"customer": tables.customers, "provider": tables.providers, "route": tables.ingress_routes}
    wanted = sorted(key for key in keys if key is not None)
    if group in named:
        c = named[group].c
        query = select(c.id, c.name).where(c.id.in_([int(key) for key in wanted]))
        return {str(row_id): name for row_id, name in await tx.execute(query)}
    return {}


def figures(sums: dict[str, Any], currency: str) -> dict[str, Any]:
    """Fields of `Figures` from sums of a table."""
    net, tax, cost = sums["net_nanos"], sums.get("tax_nanos", 0), sums["cost_nanos"]
    measured = quality(
        *(sums[name] for name in ("attempts", "answered", "effective", "duration_ms", "pdd_ms", "pdd_calls"))
    )
    return {
        **msgspec.structs.asdict(measured),
        "currency": currency,
        "minutes": round(sums["duration_ms"] / 60_000, 4),
        "billed_minutes": round(sums["billed_s"] / 60, 4),
        "net": format_amount(net),
        "tax": format_amount(tax),
        "charge": format_amount(net + tax),
        "cost": format_amount(cost),
        "profit": format_amount(net - cost),
        "codes": dict(sorted(sums["codes"].items())),
    }


def _row(
    slot: Slot, key: str | None, shown: dict[str, Any], peaks: tuple[int, int] | None, names: dict[str, str]
) -> StatsRow:
    return StatsRow(
        **shown,
        at=ms_moment(slot.start_ms),
        until=ms_moment(slot.end_ms),
        key=key,
        name=names.get(key or "", ""),
        cps=round(shown["attempts"] * 1000 / (slot.end_ms - slot.start_ms), 4),
        channels_max=None if peaks is None else peaks[0],
        cps_max=None if peaks is None else peaks[1],
    )
