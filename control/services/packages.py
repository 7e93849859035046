"""The catalogue of packages: what customers can have beside their calls, and what it costs them.

An assignment (`customer_packages`) copies what stands here at that moment, so that changing or
archiving a package changes nothing that was agreed on.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.currencies import check_currency
from control.services.errors import Conflict, FieldError, Invalid, Reference, invalid
from control.services.fields import Amount, Currency, Moment, Name, Notes, amount_nanos
from control.services.nouns import Noun
from control.services.pages import ListQuery
from control.services.periods import Frequency
from control.store.engine import Tx
from control.store.package_tables import customer_packages, packages
from rating.numbers import PatternError
from switch.policy.dial_strings import compile_dial_string

DAY_MAX: Final[dict[Frequency, int]] = {"once": 1, "daily": 1, "weekly": 7, "monthly": 31}
DAYS_MAX: Final = 36_500

DurationUnit = Literal["day", "week", "month", "year"]
Pattern = Annotated[str, Meta(max_length=500, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])")]


class PackageNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    description: Notes = ""
    """Shown to customers who have it."""
    currency: Currency = "USD"
    duration: Annotated[int, Meta(ge=1, le=DAYS_MAX)] | None = None
    """So many `duration_unit`s after its start an assignment ends by itself; null: it goes on."""
    duration_unit: DurationUnit = "month"
    cost: Amount = "0"
    """What one costs us a period."""
    retail: Amount = "0"
    """What one costs the customer a period, net; tax comes on top."""
    setup_cost: Amount = "0"
    setup_retail: Amount = "0"
    """Charged once, at the start."""
    frequency: Frequency = "monthly"
    """How often it is charged, in advance. `once`: at the start and never again."""
    day: Annotated[int, Meta(ge=1, le=31)] = 1
    """On which a period begins: of a week 1 (Monday) to 7, of a month 1 to 31 (a shorter month's last)."""
    minimum_days: Annotated[int, Meta(ge=0, le=DAYS_MAX)] = 0
    """An assignment cannot end before it has lasted so long."""
    free_minutes: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    """Of each period, given back as calls are charged; what is left of them does not go on to the next."""
    free_destination: Pattern = ""
    """Which numbers are free: digits are a prefix, anything else an RE2 expression from the first digit on;
    empty: all of them."""
    minimum_spend: Amount | None = None
    """What calls of a period cost at least, net: the rest is charged when it is over."""
    enabled: bool = True
    """Whether it can be assigned anew."""
    notes: Notes = ""


class Package(PackageNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class PackageQuery(ListQuery, frozen=True, kw_only=True):
    currency: Currency | None = None
    frequency: Frequency | None = None
    """Charged that often."""
    enabled: bool | None = None


class Packages(Noun[PackageNew, Package]):
    name = "package"
    table = packages
    new = PackageNew
    out = Package
    amounts = ("cost", "retail", "setup_cost", "setup_retail", "minimum_spend")
    fixed = ("currency",)
    sorts = ("name", "id", "created_at", "updated_at")
    search = ("name_key", "description")

    async def check(self, ctx: Context, change: Change, new: PackageNew, before: RowMapping | None) -> dict[str, Any]:
        columns = self.columns(new)
        detail = "Another package has this name."
        await self.check_unique(change.tx, before, "name", detail, name_key=columns["name_key"])
        check_currency("currency", new.currency)
        found = [
            FieldError(path, "below 0")
            for path in self.amounts
            if getattr(new, path) is not None and amount_nanos(path, getattr(new, path)) < 0
        ]
        if new.day > DAY_MAX[new.frequency]:
            found.append(FieldError("day", f"1 to {DAY_MAX[new.frequency]} with frequency {new.frequency}"))
        if new.free_destination and new.free_minutes is None:
            found.append(FieldError("free_destination", "needs free_minutes"))
        if found:
            raise Invalid(found)
        if new.free_destination:
            try:
                compile_dial_string(new.free_destination)
            except PatternError as error:
                raise invalid("free_destination", str(error)) from error
        return {}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        c = customer_packages.c
        using = select(c.id).where(c.package_id == row["id"], c.archived_ms.is_(None)).limit(100)
        return [Reference("customer_package", str(each)) for each in (await tx.execute(using)).scalars()]


PACKAGES: Final = Packages()


async def assignable_row(tx: Tx, package_id: int, currency: str) -> RowMapping:
    """A package that a customer who pays in this currency can be given.

    Raises:
        NotFound, Invalid, Conflict: there is none, it is priced in another currency, or it is not sold any more.
    """
    row = await PACKAGES.row(tx, package_id)
    if row["currency"] != currency:
        raise invalid("package_id", f"priced in {row['currency']}, the customer pays {currency}")
    if not row["enabled"]:
        detail = "The package is not sold any more."
        raise Conflict(detail, errors=[FieldError("package_id", detail)])
    return row
