"""Stats as a customer's contacts see them: their own calls, without costs, profit, routes or vendors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from control.services import stats, summary
from control.services.context import Context
from control.services.days import Bound
from control.services.fields import Label, Moment
from control.services.portal_views import own_customer_id
from control.services.stats import PrefixDigits, StatsQuery
from control.services.summary import LiveNow, SummaryQuery
from control.services.time_slots import Step


class PortalStatsQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    group: Annotated[Literal["prefix", "code"] | None, Meta(description="A row for each of these.")] = None
    step: Step | None = None
    since: Bound | None = None
    until: Bound | None = None
    time_zone: Annotated[Label | None, Meta(description="Left out: the customer's.")] = None
    prefix: PrefixDigits | None = None
    code: Annotated[int, Meta(ge=0, le=999)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class OwnFigures(msgspec.Struct, frozen=True, kw_only=True):
    """As `control.services.stats.Figures`; `control.services.quality` says what the first ones are."""

    calls: int
    answered: int
    asr: float | None
    ner: float | None
    acd_s: float | None
    pdd_ms: int | None
    currency: str
    minutes: float
    billed_minutes: float
    net: str
    tax: str
    charge: str
    codes: dict[str, int]


class OwnStatsRow(OwnFigures, frozen=True, kw_only=True):
    at: Moment
    until: Moment
    key: str | None
    cps: float
    cps_max: int | None
    channels_max: int | None


class OwnStats(msgspec.Struct, frozen=True, kw_only=True, rename={"since": "from", "until": "to"}):
    since: Moment
    until: Moment
    time_zone: str
    step: str | None
    group: str | None
    is_complete: bool
    is_cut: bool
    items: list[OwnStatsRow]


class OwnPeriod(OwnFigures, frozen=True, kw_only=True):
    at: Moment
    until: Moment


class OwnSummary(msgspec.Struct, frozen=True, kw_only=True):
    time_zone: str
    is_complete: bool
    live: LiveNow
    today: OwnPeriod
    yesterday: OwnPeriod
    this_month: OwnPeriod
    last_month: OwnPeriod


async def read(ctx: Context, query: PortalStatsQuery) -> OwnStats:
    fields = {name: getattr(query, name) for name in query.__struct_fields__}
    found = await stats.read(ctx, StatsQuery(**fields, customer_id=own_customer_id(ctx)))
    shown: OwnStats = _part(found, OwnStats, items=[_part(row, OwnStatsRow) for row in found.items])
    return shown


async def read_summary(ctx: Context) -> OwnSummary:
    found = await summary.of_customer(ctx, own_customer_id(ctx), SummaryQuery())
    periods = ("today", "yesterday", "this_month", "last_month")
    shown: OwnSummary = _part(found, OwnSummary, **{name: _part(getattr(found, name), OwnPeriod) for name in periods})
    return shown


def _part(row: msgspec.Struct, kind: Any, **more: Any) -> Any:
    """The fields of a row that this view has. An attempt of a customer is a call; vendors' are none of it."""
    names = {name: "attempts" if name == "calls" else name for name in kind.__struct_fields__}
    return kind(**{name: getattr(row, source) for name, source in names.items()} | more)
