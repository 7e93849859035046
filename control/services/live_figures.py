"""Live figures as events: channels, CPS and balances, of all customers or of one."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from control.services.context import Context
from control.services.errors import Conflict
from control.services.fields import Id, Moment, ms_moment
from control.services.load_watch import Busy, Look, TooMany, busiest
from control.services.payments import customer_row
from rating.money import format_amount
from switch.frames import Account

ALLOWED_S: Final = 10.0
"""A key or a login that ends is noticed so soon."""
IsAllowed = Callable[[], Awaitable[bool]]


class LiveQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Annotated[Id | None, Meta(description="Only this customer.")] = None


class LiveCustomer(msgspec.Struct, frozen=True, kw_only=True):
    customer_id: int
    channels: int
    cps: float
    balance: str | None
    """None where the switch does not know it."""
    held: str | None
    available: str | None


class LiveProvider(msgspec.Struct, frozen=True, kw_only=True):
    provider_id: int
    channels: int
    cps: float


class LiveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One event."""

    at: Moment
    is_live: bool
    """False: the switch is away, and nothing is known."""
    channels: int
    cps: float
    customers: list[LiveCustomer]
    """The busiest ones, with calls up or let in since the event before."""
    providers: list[LiveProvider]


class OwnLiveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The same of one customer, for its contacts."""

    at: Moment
    is_live: bool
    channels: int
    cps: float
    balance: str | None
    held: str | None
    available: str | None


def figures(look: Look, customer_id: int | None) -> LiveFigures:
    if customer_id is None:
        shown, total = busiest(look.customers), look.total
        providers = [LiveProvider(provider_id=n, channels=b.channels, cps=b.cps) for n, b in look.providers.items()]
    else:
        # Vendors' figures are of all customers together.
        shown, total, providers = [customer_id], look.customers.get(customer_id, Busy()), []
    return LiveFigures(
        at=ms_moment(look.at_ms),
        is_live=look.is_live,
        channels=total.channels,
        cps=total.cps,
        customers=[_customer(look, each) for each in shown] if look.is_live else [],
        providers=providers,
    )


def own_figures(look: Look, customer_id: int) -> OwnLiveFigures:
    busy, money = look.customers.get(customer_id, Busy()), _money(look.accounts.get(customer_id))
    return OwnLiveFigures(at=ms_moment(look.at_ms), is_live=look.is_live, channels=busy.channels, cps=busy.cps, **money)


async def events(
    ctx: Context,
    customer_id: int | None,
    show: Callable[[Look], msgspec.Struct],
    is_allowed: IsAllowed,
    *,
    is_own: bool,
    is_endless: bool,
) -> AsyncGenerator[bytes, None]:
    """Server-sent events (WHATWG HTML §9.2): one a look while whoever reads them is let in, or only the first."""
    looked_s = time.monotonic()
    yield b"retry: 3000\n\n"
    async with aclosing(ctx.load.follow(customer_id, is_own=is_own)) as looks:
        async for look in looks:
            if time.monotonic() - looked_s >= ALLOWED_S:
                if not await is_allowed():
                    return
                looked_s = time.monotonic()
            yield b"event: figures\nid: %d\ndata: %s\n\n" % (look.at_ms, msgspec.json.encode(show(look)))
            if not is_endless:
                return


async def check(ctx: Context, customer_id: int | None, *, is_own: bool = False) -> None:
    """Before the answer has begun.

    Raises:
        NotFound: no such customer.
        Conflict: as many read already as may.
    """
    if customer_id is not None:
        async with ctx.store.read() as tx:
            await customer_row(tx, customer_id)
    try:
        ctx.load.check_room(customer_id, is_own=is_own)
    except TooMany as error:
        raise Conflict("Too many read live figures already.") from error


def _customer(look: Look, customer_id: int) -> LiveCustomer:
    busy = look.customers.get(customer_id, Busy())
    money = _money(look.accounts.get(customer_id))
    return LiveCustomer(customer_id=customer_id, channels=busy.channels, cps=busy.cps, **money)


def _money(account: Account | None) -> dict[str, str | None]:
    if account is None:
        return {"balance": None, "held": None, "available": None}
    return {
        "balance": format_amount(account.balance_nanos),
        "held": format_amount(account.held_nanos),
        "available": format_amount(account.available_nanos),
    }
