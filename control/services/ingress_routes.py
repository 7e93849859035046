"""Ingress routes: by which prices and through whom a customer's calls go."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import invalid
from control.services.fields import Amount, Channels, Cps, Id, Label, Moment, Notes, TechPrefix, amount_nanos
from control.services.nouns import Noun
from control.services.owners import check_customer, require
from control.services.pages import ListQuery
from control.services.records import ingress_route_record
from control.store import tables
from control.store.engine import Tx
from rating.numbers import PatternError
from switch.policy.dial_strings import compile_dial_string
from switch.snapshot import Record

ProfitMode = Literal["off", "rate", "worst_case", "expected"]
Strategy = Literal["lcr", "priority", "weighted", "round_robin"]
DialStringText = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])")]
CardIds = Annotated[tuple[Id, ...], Meta(max_length=1_000)]
Recording = Annotated[
    str,
    Meta(
        pattern=r"^(off|100|[0-9]{1,2})$(?!\n)",
        description="`off`, or the percentage of calls. It is kept, and no call is recorded yet.",
    ),
]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000, description="Lower goes first.")]


class IngressRouteNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    name: Label = ""
    rate_card_id: Id
    """A sell card in the customer's currency."""
    tech_prefix: TechPrefix = ""
    dial_strings: Annotated[tuple[DialStringText, ...], Meta(max_length=1_000)] = ()
    """Digits only is a prefix, anything else an RE2 expression; any of them passes; none: everything."""
    enabled: bool = True
    priority: Priority = 0
    channels: Channels | None = None
    flow_speed_cps: Cps | None = None
    cps_buffer_s: Annotated[int, Meta(ge=0, le=30)] = 0
    max_duration_s: Annotated[int, Meta(ge=1, le=604_800)] | None = None
    capped_rate: Amount | None = None
    vendor_capped_rate: Amount | None = None
    profit_mode: ProfitMode = "off"
    """Leaves out vendors that lose money: by the minute, at any length, or at the lengths of the route's own
    calls together (`worst_case` while it has fewer than 30 answered ones)."""
    block_connect_fee: bool = False
    lock_cards: CardIds = ()
    exclude_cards: CardIds = ()
    strategy: Strategy = "lcr"
    recording: Recording = "off"
    notes_public: Notes = ""
    notes_private: Notes = ""


class IngressRoute(IngressRouteNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class IngressRouteQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    rate_card_id: Id | None = None
    enabled: bool | None = None


class IngressRoutes(Noun[IngressRouteNew, IngressRoute]):
    name = "ingress_route"
    table = tables.ingress_routes
    new = IngressRouteNew
    out = IngressRoute
    amounts = ("capped_rate", "vendor_capped_rate")
    fixed = ("customer_id",)
    sorts = ("id", "priority", "customer_id", "created_at", "updated_at")
    search = ("name", "tech_prefix", "dial_strings")

    async def check(
        self, ctx: Context, change: Change, new: IngressRouteNew, before: RowMapping | None
    ) -> dict[str, Any]:
        customer = await check_customer(change.tx, new.customer_id)
        card = await require(change.tx, tables.rate_cards, "rate_card_id", "rate card", new.rate_card_id)
        if card["direction"] != "sell":
            raise invalid("rate_card_id", "a buy card: calls are sold by sell cards")
        if card["currency"] != customer["currency"]:
            raise invalid("rate_card_id", f"priced in {card['currency']}, the customer pays {customer['currency']}")
        for place, text in enumerate(new.dial_strings):
            try:
                compile_dial_string(text)
            except PatternError as error:
                raise invalid(f"dial_strings[{place}]", str(error)) from error
        for path in self.amounts:
            amount = getattr(new, path)
            if amount is not None and amount_nanos(path, amount) < 0:
                raise invalid(path, "below 0")
        for path in ("lock_cards", "exclude_cards"):
            for place, card_id in enumerate(getattr(new, path)):
                await check_buy_card(change.tx, f"{path}[{place}]", card_id)
        return {}

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return ingress_route_record(row)


INGRESS_ROUTES: Final = IngressRoutes()


async def check_buy_card(tx: Tx, path: str, card_id: int) -> RowMapping:
    card = await require(tx, tables.rate_cards, path, "rate card", card_id)
    if card["direction"] != "buy":
        raise invalid(path, f"rate card {card_id} is no buy card")
    return card
