"""Replay: what calls of the past would have brought under other prices, routes or limits.

Each call is decided again at the time of its INVITE, by the switch's own code, over the
configuration of now with each card's revision of then and what is proposed on top. It is priced by
the length that it had. Nothing of the running switch is touched.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import func, select

from control.services.context import Context
from control.services.errors import Conflict, NotFound, invalid
from control.services.fields import Amount, Id, Moment, amount_nanos, moment_ms
from control.services.ingress_routes import INGRESS_ROUTES, ProfitMode, Strategy
from control.services.pages import Page
from control.services.rate_cards import RATE_CARDS
from control.services.replay_calls import Changes, DeckChange, RouteChange
from control.services.replay_job import ReplayJob
from control.services.replay_report import ReplayResult
from control.services.replay_runs import Run, parent_id
from control.store import tables
from control.store.engine import Tx

CALLS_MAX: Final = 5_000_000
DAYS_MAX: Final = 31

_DAY_MS: Final = 86_400_000


class DeckProposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    card_id: Id
    revision_id: Id
    """Prices all calls instead of what was in force."""


class RouteProposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    route_id: Id | None = None
    """Left out: every route."""
    strategy: Strategy | UnsetType = UNSET
    profit_mode: ProfitMode | UnsetType = UNSET
    capped_rate: Amount | UnsetType | None = UNSET
    """Null lifts the cap."""
    vendor_capped_rate: Amount | UnsetType | None = UNSET


class ReplayNew(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    since: Moment
    """INVITEs from this time on …"""
    until: Moment
    """… and before this one."""
    customer_id: Id | None = None
    decks: Annotated[tuple[DeckProposal, ...], Meta(max_length=100)] = ()
    routes: Annotated[tuple[RouteProposal, ...], Meta(max_length=1_000)] = ()


class Replay(Run, frozen=True, kw_only=True):
    result: ReplayResult | None = None
    """Once it is done; lists leave it out."""


async def create(ctx: Context, new: ReplayNew) -> Replay:
    """Let a replay begin as soon as those before it are done.

    Raises:
        Invalid: times that are no range, or a card, revision or route that is not there.
        Conflict: too many calls, or too many replays waiting.
    """
    from_ms, to_ms = moment_ms("from", new.since), moment_ms("to", new.until)
    if from_ms >= to_ms:
        raise invalid("to", "not after from")
    if to_ms - from_ms > DAYS_MAX * _DAY_MS:
        raise invalid("to", f"more than {DAYS_MAX} days after from")
    async with ctx.store.read() as tx:
        changes = Changes(
            decks=tuple([await _deck(tx, place, each) for place, each in enumerate(new.decks)]),
            routes=tuple([await _route(tx, place, each) for place, each in enumerate(new.routes)]),
        )
        calls = await _count(tx, from_ms, to_ms, new.customer_id)
    if calls > CALLS_MAX:
        raise Conflict(f"More than {CALLS_MAX} calls: choose a shorter time.")
    asked: dict[str, Any] = msgspec.to_builtins(new)
    run = ctx.replays.add(
        asked,
        calls,
        ctx.actor.name,
        lambda base: ReplayJob(
            parent=parent_id(),
            store_url=ctx.store.url,
            data_folder=str(ctx.data_folder),
            base=str(base),
            from_ms=from_ms,
            to_ms=to_ms,
            customer_id=new.customer_id,
            changes=changes,
            max_duration_s=ctx.max_duration_s,
        ),
    )
    return _shown(run)


def page(ctx: Context) -> Page[Replay]:
    """All that are kept, the youngest first, without their results."""
    return Page(items=[_shown(run) for run in ctx.replays.all()], next_cursor=None)


async def get(ctx: Context, replay_id: int) -> Replay:
    run = ctx.replays.get(replay_id)
    if run.state != "done":
        return _shown(run)
    content = await _read(ctx, replay_id, ".json")
    return _shown(run, msgspec.json.decode(content, type=ReplayResult))


def cancel(ctx: Context, replay_id: int) -> Replay:
    return _shown(ctx.replays.cancel(replay_id))


async def table(ctx: Context, replay_id: int) -> bytes:
    """The destinations of a replay that is done, as CSV.

    Raises:
        Conflict: it is not.
    """
    run = ctx.replays.get(replay_id)
    if run.state != "done":
        raise Conflict(f"The replay is {run.state}.")
    return await _read(ctx, replay_id, ".csv")


async def _read(ctx: Context, replay_id: int, suffix: str) -> bytes:
    path = ctx.replays.base(replay_id).with_suffix(suffix)
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise Conflict(f"The result of replay {replay_id} cannot be read: {error.strerror}.") from error


async def _deck(tx: Tx, place: int, asked: DeckProposal) -> DeckChange:
    path = f"decks[{place}]"
    try:
        await RATE_CARDS.row(tx, asked.card_id)
    except NotFound as error:
        raise invalid(f"{path}.card_id", str(error)) from error
    revisions = tables.revisions.c
    query = select(revisions.path).where(revisions.id == asked.revision_id, revisions.card_id == asked.card_id)
    deck = (await tx.execute(query)).scalar_one_or_none()
    if deck is None:
        raise invalid(f"{path}.revision_id", f"card {asked.card_id} has no revision {asked.revision_id}")
    return DeckChange(card_id=asked.card_id, revision_id=asked.revision_id, path=deck)


async def _route(tx: Tx, place: int, asked: RouteProposal) -> RouteChange:
    path = f"routes[{place}]"
    if asked.route_id is not None:
        try:
            await INGRESS_ROUTES.row(tx, asked.route_id)
        except NotFound as error:
            raise invalid(f"{path}.route_id", str(error)) from error
    fields: dict[str, str | int | None] = {}
    if asked.strategy is not UNSET:
        fields["strategy"] = asked.strategy
    if asked.profit_mode is not UNSET:
        fields["profit_mode"] = asked.profit_mode
    for name in ("capped_rate", "vendor_capped_rate"):
        amount = getattr(asked, name)
        if amount is not UNSET:
            nanos = None if amount is None else amount_nanos(f"{path}.{name}", amount)
            if nanos is not None and nanos < 0:
                raise invalid(f"{path}.{name}", "below 0")
            fields[f"{name}_nanos"] = nanos
    if not fields:
        raise invalid(path, "proposes nothing")
    return RouteChange(route_id=asked.route_id, fields=fields)


async def _count(tx: Tx, from_ms: int, to_ms: int, customer_id: int | None) -> int:
    """Calls of that time, as far as they may be replayed and one more."""
    cdrs = tables.cdrs.c
    query = select(cdrs.number).where(cdrs.invited_ms >= from_ms, cdrs.invited_ms < to_ms)
    if customer_id is not None:
        query = query.where(cdrs.customer_id == customer_id)
    return int((await tx.execute(select(func.count()).select_from(query.limit(CALLS_MAX + 1).subquery()))).scalar_one())


def _shown(run: Run, result: ReplayResult | None = None) -> Replay:
    return Replay(**msgspec.structs.asdict(run), result=result)
