"""DIDs as clients write and read them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from control.services.fields import Amount, Channels, Id, Label, Moment, Notes
from control.services.pages import ListQuery

State = Literal["free", "allocated", "assigned", "cooling_off"]
Number = Annotated[str, Meta(min_length=1, max_length=40, examples=["442071838750"])]
Prefix = Annotated[str, Meta(max_length=16, pattern=r"^\+?[0-9]*$(?!\n)")]
Uri = Annotated[str, Meta(max_length=255, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])")]

AMOUNTS: Final = ("cost", "retail", "setup_cost", "setup_retail")


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a number rings."""

    kind: Literal["endpoint", "sip_user", "uri", "number"]
    id: Id | None = None
    """Of the customer's endpoint that receives calls, or of its SIP user."""
    value: Uri = ""
    """The SIP URI, or the external number."""


class DidFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: Number
    """E.164; it is shown as bare digits."""
    name: Label = ""
    description: Notes = ""
    destinations: Annotated[tuple[Destination, ...], Meta(max_length=16)] = ()
    order: Literal["serial", "random"] = "serial"
    """In which several destinations are tried."""
    provider_id: Id | None = None
    """Whose gateways its calls come from; null: any provider's."""
    provider_card_id: Id | None = None
    """The buy card that prices its calls' minutes; null: they cost nothing."""
    customer_id: Id | None = None
    """Whose it is. Set at creation; afterwards by allocate, assign and release."""
    customer_card_id: Id | None = None
    """The sell card that prices its calls' minutes; null: they are free."""
    cost: Amount = "0"
    """By the month, in the provider's currency."""
    retail: Amount = "0"
    """By the month, in the customer's currency."""
    setup_cost: Amount = "0"
    setup_retail: Amount = "0"
    """Once, when it is assigned."""
    channels: Channels | None = None
    enabled: bool = True


class DidNew(DidFields, frozen=True, kw_only=True):
    """With a customer and a destination it is assigned at once, with a customer alone it is allocated."""

    destination: Destination | UnsetType | None = UNSET
    """The only destination, instead of `destinations`."""

    def __post_init__(self) -> None:
        if not isinstance(self.destination, UnsetType):
            only = () if self.destination is None else (self.destination,)
            if self.destinations[:1] not in ((), only):
                raise ValueError("destination and destinations say different things")
            msgspec.structs.force_setattr(self, "destinations", self.destinations or only)
            msgspec.structs.force_setattr(self, "destination", UNSET)


class Did(DidFields, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    state: State
    destination: Destination | None
    """The first of `destinations`."""
    allocated_at: Moment | None
    assigned_at: Moment | None
    released_at: Moment | None
    cooling_off_until: Moment | None
    last_customer_id: int | None
    """Who gave it back last."""
    next_charge_on: str | None
    """The first day that is not charged yet, on the customer's calendar."""


class DidFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: Number | None = None
    prefix: Prefix | None = None
    """Numbers that begin so."""
    state: State | None = None
    customer_id: Id | None = None
    provider_id: Id | None = None
    customer_card_id: Id | None = None
    provider_card_id: Id | None = None
    enabled: bool | None = None
    search: Label = ""


class DidQuery(ListQuery, frozen=True, kw_only=True):
    """The same of a list by pages: a struct has one base."""

    number: Number | None = None
    prefix: Prefix | None = None
    """Numbers that begin so."""
    state: State | None = None
    customer_id: Id | None = None
    provider_id: Id | None = None
    customer_card_id: Id | None = None
    provider_card_id: Id | None = None
    enabled: bool | None = None
