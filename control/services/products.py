"""The catalogue: products and services that clients can buy, with prices by the month and once.

A price is in whole units of the currency's smallest coin, so that a whole month costs exactly it. It may
change at any time: what was bought before keeps the price that it was bought at.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.currencies import check_currency, decimals_of
from control.services.errors import invalid
from control.services.fields import Amount, Currency, Label, Moment, Name, Notes, amount_nanos, name_key
from control.services.nouns import Noun
from control.services.pages import ListQuery
from control.store.client_bill_tables import products
from rating.money import STEPS

ProductKind = Literal["product", "service"]
PRICE_NANOS_MAX: Final = 10**15
"""A million units a month; a purchase of thousands of them is still a sum that fits."""
NoticeDays = Annotated[int, Meta(ge=0, le=1_000)]


class ProductNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    kind: ProductKind = "product"
    description: Notes = ""
    currency: Currency = "USD"
    monthly_price: Amount = "0"
    """Of one, each month; a part of a month costs its days' share."""
    setup_price: Amount = "0"
    """Of one, once."""
    notice_days: NoticeDays = 0
    """How long it is still billed for once it is cancelled."""
    enabled: bool = True
    """Whether it can be bought."""


class Product(ProductNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class ProductQuery(ListQuery, frozen=True, kw_only=True):
    kind: ProductKind | None = None
    currency: Label | None = None
    enabled: bool | None = None


class Products(Noun[ProductNew, Product]):
    name = "product"
    table = products
    new = ProductNew
    out = Product
    amounts = ("monthly_price", "setup_price")
    fixed = ("currency", "kind")
    sorts = ("name", "id", "kind", "created_at", "updated_at")
    search = ("name_key", "description")

    async def check(self, ctx: Context, change: Change, new: ProductNew, before: RowMapping | None) -> dict[str, Any]:
        key = name_key(new.name)
        await self.check_unique(change.tx, before, "name", "Another product has this name.", name_key=key)
        check_currency("currency", new.currency)
        for path in self.amounts:
            _check_price(path, getattr(new, path), new.currency)
        return {}


PRODUCTS: Final = Products()


def _check_price(path: str, text: str, currency: str) -> None:
    nanos = amount_nanos(path, text)
    if nanos < 0:
        raise invalid(path, "below 0")
    if nanos > PRICE_NANOS_MAX:
        raise invalid(path, "above 1000000")
    decimals = decimals_of(currency)
    if nanos % STEPS[decimals]:
        raise invalid(path, f"{currency} has {decimals} decimals")
