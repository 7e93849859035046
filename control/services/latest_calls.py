"""Latest calls: those that are up, from the INVITE on, and those that have just ended, refused ones included.

Live calls are the switch's, ended ones are CDRs. A call that ends between the two questions is in the
first answer; one that ended before the first is waited for until the store has it. So none is missed.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Select, and_, or_, select
from sqlalchemy.engine import RowMapping

from control.services.context import Context
from control.services.customers import CUSTOMERS
from control.services.errors import SwitchAway, invalid
from control.services.fields import Id, Moment, moment_or_none, ms_moment
from control.services.live_calls import is_cdr_id
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Search, contains, make_cursor, read_cursor
from control.store import tables
from rating.money import format_amount
from switch.frames import LiveCall

LATEST_MAX: Final = 10_000
"""So far back a search or a filter by state looks: it is for what has just happened, and costs the same always."""
READ_WAIT_S: Final = 0.5

State = Literal["waiting", "trying", "ringing", "answered", "ending", "ended", "failed", "refused"]

_ENDED: Final = ("ended", "failed", "refused")
_COLUMNS: Final = (
    *("id", "customer_id", "endpoint_id", "sip_user_id", "route_id", "provider_id", "gateway_id"),
    *("source", "call_id", "cli_in", "cli_out", "dialled_in", "dialled_out", "invited_ms", "answered_ms", "ended_ms"),
    *("direction", "duration_ms", "status", "cause", "gross_nanos"),
)
_SEARCHED: Final = ("cli_in", "cli_out", "dialled_in", "dialled_out", "call_id", "source")
_SEARCHED_BY_OWNER: Final = ("cli_in", "dialled_in", "call_id", "source")


class LatestCall(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Of its CDR, which a live call does not have yet."""
    customer_id: int
    endpoint_id: int | None
    sip_user_id: int | None
    route_id: int | None
    provider_id: int | None
    """Of the last attempt, as `gateway_id`."""
    gateway_id: int | None
    direction: str
    state: State
    """Live: `waiting` (for its route's call rate), `trying`, `ringing`, `answered`, `ending`. Over: `ended` after an
    answer, `failed` at a vendor or given up by the caller, `refused` before any vendor was asked."""
    cli: str
    dialled: str
    source: str
    call_id: str
    invited: Moment
    answered: Moment | None
    ended: Moment | None
    duration_ms: int
    status: int
    """Final status of the INVITE; 0 while there is none."""
    cause: str
    held: str
    spent: str
    """So far; of a call that is over, its gross charge."""


class LatestPage(msgspec.Struct, frozen=True, kw_only=True):
    items: list[LatestCall]
    next_cursor: str | None
    has_live: bool
    """False: the switch is away, and calls that are up are not in the list."""


_InState = Annotated[State | None, Meta(description="In this state.")]
_Found = Annotated[
    Search, Meta(description="Part of a number, of the Call-ID or of the source address, among the last 10,000 calls.")
]
_Rows = Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX, description="Rows on a page.")]
_Cursor = Annotated[str, Meta(max_length=500, description="`next_cursor` of the page before.")]


class LatestQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Annotated[Id | None, Meta(description="Of this customer.")] = None
    state: _InState = None
    search: _Found = ""
    limit: _Rows = PAGE_ROWS
    cursor: _Cursor = ""


class CustomerLatestQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same below a customer, and for its own contacts."""

    state: _InState = None
    search: _Found = ""
    limit: _Rows = PAGE_ROWS
    cursor: _Cursor = ""


async def page(ctx: Context, query: LatestQuery, *, is_own: bool = False) -> LatestPage:
    """The latest INVITE first.

    Args:
        is_own: for a contact, who searches by what it sent and not by what became of it.
    """
    before = _before(query.cursor)
    has_live = True
    live: list[LatestCall] = []
    if query.state not in _ENDED:
        try:
            found = await ctx.switch.list_calls(query.customer_id, with_waiting=True)
            live = [_of_live(call) for call in found if _is_wanted(call, query)]
        except SwitchAway:
            has_live = False
    rows: list[RowMapping] = []
    if query.state is None or query.state in _ENDED:
        await ctx.wait_read(READ_WAIT_S)
        async with ctx.store.read() as tx:
            rows = list((await tx.execute(_statement(query, before, is_own=is_own))).mappings())
    calls = {call.id: call for call in live}
    calls.update((row["id"], _of_row(row, is_own=is_own)) for row in rows)
    ordered = sorted(calls.values(), key=_key, reverse=True)
    if before is not None:
        ordered = [call for call in ordered if _key(call) < before]
    next_cursor = None
    if len(ordered) > query.limit:
        ordered = ordered[: query.limit]
        invited_ms, cdr_id = _key(ordered[-1])
        next_cursor = make_cursor("-invited", cdr_id, invited_ms)
    return LatestPage(items=ordered, next_cursor=next_cursor, has_live=has_live)


async def page_of(ctx: Context, customer_id: int, query: CustomerLatestQuery) -> LatestPage:
    """Of one customer.

    Raises:
        NotFound: there is no such customer.
    """
    await CUSTOMERS.get(ctx, customer_id)
    return await page(ctx, LatestQuery(customer_id=customer_id, **msgspec.structs.asdict(query)))


def _statement(query: LatestQuery, before: tuple[int, str] | None, *, is_own: bool) -> Select[Any]:
    cdrs = tables.cdrs
    wanted = []
    if query.customer_id is not None:
        wanted.append(cdrs.c.customer_id == query.customer_id)
    if before is not None:
        invited_ms, cdr_id = before
        same = and_(cdrs.c.invited_ms == invited_ms, cdrs.c.id < cdr_id)
        wanted.append(or_(cdrs.c.invited_ms < invited_ms, same))
    filters = _filters(query, is_own=is_own)
    statement = select(*(cdrs.c[name] for name in _COLUMNS))
    if filters:
        latest = select(cdrs.c.number).where(*wanted).order_by(cdrs.c.invited_ms.desc()).limit(LATEST_MAX).subquery()
        statement = statement.where(cdrs.c.number.in_(select(latest.c.number)), *filters)
    else:
        statement = statement.where(*wanted)
    return statement.order_by(cdrs.c.invited_ms.desc(), cdrs.c.id.desc()).limit(query.limit + 1)


def _filters(query: LatestQuery, *, is_own: bool) -> list[Any]:
    cdrs = tables.cdrs
    found: list[Any] = []
    if query.state == "ended":
        found.append(cdrs.c.answered_ms.is_not(None))
    elif query.state == "failed":
        found += [cdrs.c.answered_ms.is_(None), cdrs.c.provider_id.is_not(None)]
    elif query.state == "refused":
        found += [cdrs.c.answered_ms.is_(None), cdrs.c.provider_id.is_(None)]
    if query.search:
        names = _SEARCHED_BY_OWNER if is_own else _SEARCHED
        found.append(or_(*(contains(cdrs, name, query.search) for name in names)))
    return found


def _is_wanted(call: LiveCall, query: LatestQuery) -> bool:
    if query.state is not None and call.state != query.state:
        return False
    text = query.search.lower()
    return not text or any(text in field.lower() for field in (call.cli, call.dialled, call.call_id, call.source))


def _before(cursor: str) -> tuple[int, str] | None:
    if not cursor:
        return None
    cdr_id, invited_ms = read_cursor(cursor, "-invited", str)
    if not is_cdr_id(str(cdr_id)):
        raise invalid("cursor", "not a cursor of this list")
    return invited_ms, str(cdr_id)


def _key(call: LatestCall) -> tuple[int, str]:
    return round(call.invited.timestamp() * 1000), call.id


def _of_live(call: LiveCall) -> LatestCall:
    return LatestCall(
        id=call.cdr_id,
        customer_id=call.customer_id,
        endpoint_id=call.endpoint_id,
        sip_user_id=call.sip_user_id,
        route_id=call.route_id,
        provider_id=call.provider_id,
        gateway_id=call.gateway_id,
        direction=call.direction,
        state=call.state,  # type: ignore[arg-type]
        cli=call.cli,
        dialled=call.dialled,
        source=call.source,
        call_id=call.call_id,
        invited=ms_moment(call.invited_ms),
        answered=moment_or_none(call.answered_ms),
        ended=None,
        duration_ms=call.duration_ms,
        status=200 if call.answered_ms is not None else 0,
        cause="",
        held=format_amount(call.held_nanos),
        spent=format_amount(call.spent_nanos),
    )


def _of_row(row: RowMapping, *, is_own: bool) -> LatestCall:
    state: State = "ended"
    if row["answered_ms"] is None:
        state = "refused" if row["provider_id"] is None else "failed"
    same = ("id", "customer_id", "endpoint_id", "sip_user_id", "route_id", "provider_id", "gateway_id")
    facts = ("direction", "source", "call_id", "duration_ms", "status", "cause")
    return LatestCall(
        **{name: row[name] for name in (*same, *facts)},
        state=state,
        # As a live call shows them; a contact reads what it sent.
        cli=row["cli_in"] if is_own else row["cli_out"] or row["cli_in"],
        dialled=row["dialled_in"] if is_own else row["dialled_out"] or row["dialled_in"],
        invited=ms_moment(row["invited_ms"]),
        answered=moment_or_none(row["answered_ms"]),
        ended=ms_moment(row["ended_ms"]),
        held="0",
        spent=format_amount(row["gross_nanos"]),
    )
