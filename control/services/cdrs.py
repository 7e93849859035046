"""CDRs as everybody reads them: listed, found and exported. Never edited, never deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, Select, Text, cast, or_, select
from sqlalchemy.engine import RowMapping

from control.services.cdr_zones import ZoneWanted, on_clocks
from control.services.context import Context
from control.services.days import Bound, since_ms, until_ms
from control.services.errors import NotFound, invalid
from control.services.fields import ROW_ID_MAX, Id, Moment, moment_or_none, ms_moment
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page, make_cursor, read_cursor
from control.services.payments import customer_row
from control.store import tables
from control.store.engine import Tx
from rating.money import format_amount
from switch.records import Attempt, Candidate

EXPORT_ROWS: Final = 1_000
"""Rows read at a time by an export, each time in a short transaction of its own."""

LOOKED_AT: Final = 10_000
"""Calls that one page of a list is looked for in: some thirty milliseconds."""


class AttemptShown(msgspec.Struct, frozen=True, kw_only=True):
    provider_id: int
    provider: str
    gateway_id: int
    card_id: int
    revision_id: int
    prefix: str
    rate: str
    cost: str
    billed_s: int
    dialled_out: str
    destination: str
    """Inbound calls: what rang; empty for others."""
    started: Moment
    first_progress: Moment | None
    answered: Moment | None
    ended: Moment
    status: int
    cause: str


class CandidateShown(msgspec.Struct, frozen=True, kw_only=True):
    card_id: int
    provider_id: int
    outcome: str
    rate: str
    margin: str
    detail: str


class CdrShown(msgspec.Struct, frozen=True, kw_only=True):
    """A call as clients read it: money as decimal strings of `currency`, times in UTC."""

    id: str
    customer_id: int
    client_id: int | None
    endpoint_id: int | None
    sip_user_id: int | None
    route_id: int | None
    provider_id: int | None
    """Of the last attempt, as `gateway_id`."""
    gateway_id: int | None
    did_id: int | None
    """Of inbound calls: the number that was called."""
    direction: str
    source: str
    transport: str
    call_id: str
    cli_in: str
    cli_out: str
    dialled_in: str
    dialled_out: str
    invited: Moment
    first_progress: Moment | None
    answered: Moment | None
    ended: Moment
    pdd_ms: int | None
    duration_ms: int
    billed_s: int
    release: str
    cause: str
    status: int
    currency: str
    card_id: int | None
    revision_id: int | None
    prefix: str
    destination: str
    rate: str
    net: str
    tax: str
    gross: str
    cost: str
    margin: str
    user_agent: str
    codecs: str
    recording: str
    attempts: list[AttemptShown]
    explanation: list[CandidateShown]
    decision: str
    """In words: which rule about the calling number decided and how, or why the call was refused."""


Text200 = Annotated[str, Meta(max_length=200, pattern=r"^(?![\s\S]*\x00)")]


Outcome = Literal[
    "no_rate",
    "blocked",
    "capped",
    "locked_out",
    "excluded",
    "margin",
    "connect_fee",
    "currency",
    "channels",
    "cps",
    "codecs",
    "unhealthy",
    "insecure",
    "disabled",
    "not_reached",
    "bandwidth",
    "unregistered",
    "penalty",
]


class CustomerCdrFilter(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    """Which calls of one customer: those of which all that is given is so."""

    client_id: Id | None = None
    provider_id: Id | None = None
    """Of the last attempt."""
    did_id: Id | None = None
    endpoint_id: Id | None = None
    """Of this endpoint of the caller."""
    sip_user_id: Id | None = None
    """Of this SIP user as the caller."""
    route_id: Id | None = None
    """By this ingress route."""
    since: Bound | None = None
    """INVITEs from this time on …"""
    until: Bound | None = None
    """… and before this one. Days and months are those of the customer, or of UTC, and count whole."""
    cause: Text200 | None = None
    status: Annotated[int, Meta(ge=0, le=999)] | None = None
    answered: bool | None = None
    direction: Literal["inbound", "outbound"] | None = None
    number: Text200 | None = None
    """Digits that stand anywhere in the calling or the called number, as received or as sent."""
    call_id: Text200 | None = None
    source: Text200 | None = None
    """Beginning of the address that the INVITE came from."""
    skipped: Outcome | None = None
    """Calls for which a vendor was passed over for this reason: `margin` finds those that would have lost money."""


class CdrFilter(CustomerCdrFilter, frozen=True, kw_only=True):
    customer_id: Id | None = None


class CdrQuery(CdrFilter, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500)] = ""


class CustomerCdrQuery(CustomerCdrFilter, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500)] = ""


class CdrExportQuery(CdrFilter, frozen=True, kw_only=True):
    after: Annotated[int, Meta(ge=0, le=ROW_ID_MAX)] = 0
    """`Tandem-Next-Cursor` of the export before: what has come since, each call exactly once."""
    time_zone: ZoneWanted = None


_EQUALS: Final = (
    "customer_id",
    "client_id",
    "provider_id",
    "did_id",
    "endpoint_id",
    "sip_user_id",
    "route_id",
    "cause",
    "status",
    "direction",
    "call_id",
)
"""Fields of a filter that the column of the same name must have."""


async def page(ctx: Context, query: CdrQuery) -> Page[CdrShown]:
    """The newest INVITE first; fewer than `limit` where so many have been looked through before."""
    query = await on_clocks(ctx, query, query.customer_id)
    async with ctx.store.read() as tx:
        within = stretch(query.customer_id, query.since, query.until)
        rows, next_cursor = await read_newest(tx, _filtered(query), within, query.cursor, query.limit)
    return Page(items=[shown(row) for row in rows], next_cursor=next_cursor)


async def page_of(ctx: Context, customer_id: int, query: CustomerCdrQuery) -> Page[CdrShown]:
    """The same of one customer, whether or not it was archived."""
    async with ctx.store.read() as tx:
        await customer_row(tx, customer_id)
    return await page(ctx, CdrQuery(customer_id=customer_id, **msgspec.structs.asdict(query)))


def stretch(customer_id: int | None, since: str | None, until: str | None) -> list[ColumnElement[bool]]:
    """Of a filter, what the indexes of CDRs know."""
    c = tables.cdrs.c
    found: list[ColumnElement[bool]] = []
    if customer_id is not None:
        found.append(c.customer_id == customer_id)
    if since is not None:
        found.append(c.invited_ms >= since_ms("from", since, "UTC"))
    if until is not None:
        found.append(c.invited_ms < until_ms("to", until, "UTC"))
    return found


async def read_newest(
    tx: Tx, statement: Select[Any], within: list[ColumnElement[bool]], cursor: str, limit: int
) -> tuple[list[RowMapping], str | None]:
    """One page of a filtered statement over CDRs, and where the next one begins.

    What no index knows is looked for in `LOOKED_AT` of the calls `within` at most, so that no page takes
    longer than that, however rare it is; the cursor then stands behind the last one looked at.
    """
    c = tables.cdrs.c
    order = (c.invited_ms.desc(), c.number.desc())
    walked = select(c.invited_ms, c.number).where(*within)
    if cursor:
        invited_ms, number = read_cursor(cursor, "-invited", int)
        # The first term says less than the second and is what an index can begin at.
        before = (c.invited_ms <= invited_ms) & or_(c.invited_ms < invited_ms, c.number < number)
        statement, walked = statement.where(before), walked.where(before)
    last = (await tx.execute(walked.order_by(*order).offset(LOOKED_AT - 1).limit(1))).first()
    if last is not None:
        statement = statement.where((c.invited_ms >= last[0]) & or_(c.invited_ms > last[0], c.number >= last[1]))
    rows = list((await tx.execute(statement.order_by(*order).limit(limit + 1))).mappings())
    if len(rows) > limit:
        rows = rows[:limit]
        return rows, make_cursor("-invited", rows[-1]["invited_ms"], rows[-1]["number"])
    return rows, None if last is None else make_cursor("-invited", last[0], last[1])


async def cdr_row_of(tx: Tx, cdr_id: str) -> RowMapping:
    row = (await tx.execute(select(tables.cdrs).where(tables.cdrs.c.id == cdr_id))).mappings().first()
    if row is None:
        raise NotFound("cdr", cdr_id)
    return row


async def last_number(ctx: Context) -> int:
    """Where an export that begins now ends, and the next one begins."""
    async with ctx.store.read() as tx:
        return await newest_number(tx)


async def newest_number(tx: Tx) -> int:
    """Of the CDR that came last; 0 where there is none."""
    query = select(tables.cdrs.c.number).order_by(tables.cdrs.c.number.desc()).limit(1)
    return (await tx.execute(query)).scalar_one_or_none() or 0


async def export(ctx: Context, query: CdrExportQuery, upto: int) -> AsyncIterator[list[CdrShown]]:
    """Calls in the order in which they came to the store, up to the number given, some at a time."""
    cdrs = tables.cdrs
    statement = _filtered(query).where(cdrs.c.number <= upto).order_by(cdrs.c.number).limit(EXPORT_ROWS)
    after = query.after
    while True:
        async with ctx.store.read() as tx:
            rows = list((await tx.execute(statement.where(cdrs.c.number > after))).mappings())
        if rows:
            yield [shown(row) for row in rows]
        if len(rows) < EXPORT_ROWS:
            return
        after = rows[-1]["number"]


def check(query: CdrFilter) -> None:
    """Refuse a filter that cannot be: a download has begun, and cannot, once its rows are asked for."""
    _filtered(query)


def _filtered(query: CdrFilter) -> Select[Any]:
    cdrs = tables.cdrs.c
    statement = select(tables.cdrs)
    for name in _EQUALS:
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(cdrs[name] == value)
    statement = statement.where(*stretch(None, query.since, query.until))
    if query.answered is not None:
        statement = statement.where(cdrs.answered_ms.is_not(None) if query.answered else cdrs.answered_ms.is_(None))
    if query.number is not None:
        digits = query.number.strip().removeprefix("+")
        if not digits:
            raise invalid("number", "no digits")
        numbers = (cdrs.cli_in, cdrs.cli_out, cdrs.dialled_in, cdrs.dialled_out)
        statement = statement.where(or_(*(column.contains(digits, autoescape=True) for column in numbers)))
    if query.source is not None:
        statement = statement.where(cast(cdrs.source, Text).startswith(query.source, autoescape=True))
    if query.skipped is not None:
        # Candidates are stored as arrays of JSON. Inside a text every quote is escaped, so this is no other field.
        statement = statement.where(cdrs.explanation.contains(f',"{query.skipped}",', autoescape=True))
    return statement


_attempts: Final = msgspec.json.Decoder(tuple[Attempt, ...])
_candidates: Final = msgspec.json.Decoder(tuple[Candidate, ...])
_SAME: Final = tuple(
    name for name in CdrShown.__struct_fields__ if name in tables.cdrs.c and name not in ("attempts", "explanation")
)
_MONEY: Final = ("rate", "net", "tax", "gross", "cost", "margin")


def shown(row: RowMapping) -> CdrShown:
    fields: dict[str, Any] = {name: row[name] for name in _SAME}
    fields.update((name, format_amount(row[f"{name}_nanos"])) for name in _MONEY)
    return CdrShown(
        **fields,
        invited=ms_moment(row["invited_ms"]),
        first_progress=moment_or_none(row["progress_ms"]),
        answered=moment_or_none(row["answered_ms"]),
        ended=ms_moment(row["ended_ms"]),
        attempts=[attempt_shown(attempt) for attempt in _attempts.decode(row["attempts"])],
        explanation=[candidate_shown(candidate) for candidate in _candidates.decode(row["explanation"])],
    )


def attempt_shown(attempt: Attempt) -> AttemptShown:
    return AttemptShown(
        provider_id=attempt.provider_id,
        provider=attempt.provider_name,
        gateway_id=attempt.gateway_id,
        card_id=attempt.card_id,
        revision_id=attempt.revision_id,
        prefix=attempt.prefix,
        rate=format_amount(attempt.rate_nanos),
        cost=format_amount(attempt.cost_nanos),
        billed_s=attempt.billed_s,
        dialled_out=attempt.dialled_out,
        destination=attempt.destination,
        started=ms_moment(attempt.started_ms),
        first_progress=moment_or_none(attempt.progress_ms),
        answered=moment_or_none(attempt.answered_ms),
        ended=ms_moment(attempt.ended_ms),
        status=attempt.status,
        cause=attempt.cause,
    )


def candidate_shown(candidate: Candidate) -> CandidateShown:
    return CandidateShown(
        card_id=candidate.card_id,
        provider_id=candidate.provider_id,
        outcome=candidate.outcome,
        rate=format_amount(candidate.rate_nanos),
        margin=format_amount(candidate.margin_nanos),
        detail=candidate.detail,
    )
