"""What clients send and read of recalculations."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta
from sqlalchemy.engine import RowMapping

from control.services.fields import Digits, Id, Label, Moment, moment_or_none, ms_moment
from control.services.pages import ListQuery
from control.services.repricing import Price
from rating.money import format_amount

Side = Literal["sell", "buy"]
State = Literal["computing", "previewed", "applying", "applied", "discarded", "failed"]
DurationS = Annotated[int, Meta(ge=0, le=31_536_000)]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)", examples=["2026-11-22"])]


class Filters(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    """Which answered calls; all that is given must hold. A day or a time is needed."""

    day: Day | None = None
    """Of the INVITE, in each customer's own time zone."""
    since: Moment | None = None
    """INVITEs from this time on …"""
    until: Moment | None = None
    """… and before this one."""
    customer_id: Id | None = None
    route_id: Id | None = None
    card_id: Id | None = None
    """Sell card that the CDR was priced by."""
    revision_id: Id | None = None
    prefix: Annotated[Digits, Meta(min_length=1)] | None = None
    """Beginning of the number called, in E.164 digits."""
    provider_id: Id | None = None
    """Vendor of the last attempt."""
    causes: Annotated[tuple[Label, ...], Meta(min_length=1, max_length=40)] | None = None
    """How the calls ended. Left out: with `max_duration_s` alone those that a timer ended, else all."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How they are priced anew, each from its CDR; what earlier recalculations did is not built upon."""

    max_duration_s: DurationS | None = None
    """Calls that a timer ended count as no longer than this; with `causes`, all of those."""
    card_id: Id | None = None
    """Price by this card: the revision that it had in force when each call came in …"""
    revision_id: Id | None = None
    """… or by this one of it. A buy card corrects what its vendor's calls cost."""
    side: Side | None = None
    """What is priced: `sell` moves customers' balances, `buy` is noted for profit. Default: the card's, or sell."""


class RecalculationNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    filters: Filters
    rule: Rule
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])")]


class UndoNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Label = ""


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one customer that change; amounts with tax."""

    customer_id: int
    customer: str
    side: Side
    currency: str
    calls: int
    before: str
    after: str
    difference: str


class Sums(NamedTuple):
    """What all lines of one come to."""

    totals: list[Total]
    problems: dict[str, int]
    changed: int
    booked: int


class Recalculation(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    kind: Literal["rule", "undo"]
    state: State
    """`computing` → `previewed` → `applying` → `applied`; large ones take a while at each arrow."""
    filters: Any
    rule: Any
    reason: str
    undoes_id: int | None
    undone_by_id: int | None
    created_at: Moment
    created_by: str
    applied_at: Moment | None
    applied_by: str | None
    calls: int
    """CDRs looked at."""
    changed: int
    """Sides of calls that cost something else than before."""
    booked: int
    """Of those, what is in the balances and costs: all, once it is applied."""
    totals: list[Total]
    problems: dict[str, int]
    """Calls that cannot be priced by the rule and stay as they are, by the reason."""
    error: str


class RecalculationQuery(ListQuery, frozen=True, kw_only=True):
    state: State | None = None
    kind: Literal["rule", "undo"] | None = None


class LineQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    side: Side | None = None
    """Of what customers pay, or of what vendors cost."""
    problem: Label | None = None
    """With this problem."""


class PriceShown(msgspec.Struct, frozen=True, kw_only=True):
    duration_ms: int
    billed_s: int
    net: str
    tax: str
    gross: str
    rate: str
    card_id: int | None
    revision_id: int | None
    prefix: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one call."""

    id: int
    recalculation_id: int
    cdr_id: str
    customer_id: int
    provider_id: int | None
    """Of the buy side: who is paid."""
    side: Side
    currency: str
    before: PriceShown
    after: PriceShown
    difference: str
    """What the call costs more than before, tax in."""
    problem: str
    """`not_reproduced`, `currency`, `no_revision`, `deck_missing`, `no_rate`, `blocked`, `tax_unknown`; empty: none."""
    is_booked: bool
    entry_id: int | None
    """The ledger's adjustment, where the balance moved."""


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """A booked line, as the CDR that it corrects shows it."""

    recalculation_id: int
    side: Side
    at: Moment
    by: str
    reason: str
    before: str
    after: str
    difference: str
    entry_id: int | None


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """What a call costs with all that was corrected since; the CDR's own figures never change."""

    billed_s: int
    net: str
    tax: str
    gross: str
    cost: str
    margin: str


def line_shown(row: RowMapping) -> Line:
    return Line(
        id=row["id"],
        recalculation_id=row["recalculation_id"],
        cdr_id=row["cdr_id"],
        customer_id=row["customer_id"],
        provider_id=row["provider_id"],
        side=row["side"],
        currency=row["currency"],
        before=price_shown(read_price(row["before"])),
        after=price_shown(read_price(row["after"])),
        difference=format_amount(row["after_nanos"] - row["before_nanos"]),
        problem=row["problem"],
        is_booked=row["is_booked"],
        entry_id=row["entry_id"],
    )


def price_shown(price: Price) -> PriceShown:
    return PriceShown(
        duration_ms=price.duration_ms,
        billed_s=price.billed_s,
        net=format_amount(price.net_nanos),
        tax=format_amount(price.tax_nanos),
        gross=format_amount(price.gross_nanos),
        rate=format_amount(price.rate_nanos),
        card_id=price.card_id,
        revision_id=price.revision_id,
        prefix=price.prefix,
    )


def recalculation_shown(row: RowMapping, undone_by_id: int | None, sums: Sums) -> Recalculation:
    applied_by = row["applied_by"]
    return Recalculation(
        id=row["id"],
        kind=row["kind"],
        state=row["state"],
        filters=row["filters"],
        rule=row["rule"],
        reason=row["reason"],
        undoes_id=row["undoes_id"],
        undone_by_id=undone_by_id,
        created_at=ms_moment(row["created_ms"]),
        created_by=row["created_by"]["name"],
        applied_at=moment_or_none(row["applied_ms"]),
        applied_by=None if applied_by is None else applied_by["name"],
        calls=row["calls"],
        changed=sums.changed,
        booked=sums.booked,
        totals=sums.totals,
        problems=sums.problems,
        error=row["error"],
    )


def read_price(text: str) -> Price:
    return msgspec.json.decode(text, type=Price)


def write_price(price: Price) -> str:
    return msgspec.json.encode(price).decode()
