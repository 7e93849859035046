"""What staff do with a client from its page: suspend, reactivate, activate, decommission, convert.

Each is a change of the client's fields by the same rules as a `PATCH`; with a time it is scheduled.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec

from control.services import occupancies
from control.services.clients import CLIENTS, Client, Kind
from control.services.context import Change, Context
from control.services.days import DayText, begin_ms, parse_day
from control.services.errors import Conflict, FieldError, invalid, named_as
from control.services.fields import Moment
from control.services.periods import day_at


class SuspendNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: Moment | None = None
    """Now where it is left out."""
    until: Moment | None = None
    """When the client is active again by itself."""


class When(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: Moment | None = None
    """Now where it is left out."""


class Conversion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Kind
    release_offices_on: DayText | None = None
    """The day that a client which becomes virtual hands back what it still has; from that day on they are free."""


async def suspend(ctx: Context, client_id: int, new: SuspendNew, expected: int | None) -> Client:
    sent: dict[str, Any] = {"reactivate_at": new.until}
    if new.at is None:
        sent |= {"status": "suspended", "suspend_at": None}
    else:
        await _check_status(ctx, client_id, ("active", "scheduled"), "suspended")
        sent |= {"suspend_at": new.at}
    with named_as("", {"suspend_at": "at", "reactivate_at": "until"}):
        return await CLIENTS.update(ctx, client_id, sent, expected)


async def reactivate(ctx: Context, client_id: int, new: When, expected: int | None) -> Client:
    """End a suspension, now or at a time; a suspension that has not begun is taken back."""
    client = await CLIENTS.get(ctx, client_id)
    if new.at is not None:
        with named_as("", {"reactivate_at": "at"}):
            return await CLIENTS.update(ctx, client_id, {"reactivate_at": new.at}, expected)
    sent: dict[str, Any] = {"suspend_at": None, "reactivate_at": None}
    if client.status == "suspended":
        sent["status"] = "active"
    elif client.suspend_at is None:
        raise _refusal(f"The client is {client.status}, not suspended.")
    return await CLIENTS.update(ctx, client_id, sent, expected)


async def activate(ctx: Context, client_id: int, expected: int | None) -> Client:
    """Start a client now: one whose start lies ahead starts today instead."""
    client = await CLIENTS.get(ctx, client_id)
    if client.status not in ("new", "scheduled"):
        raise _refusal(f"The client is {client.status}, and was activated before.")
    sent: dict[str, Any] = {"status": "active"}
    now_ms = ctx.now_ms()
    if (begin_ms("start_date", client.start_date, client.time_zone) or now_ms) > now_ms:
        sent["start_date"] = day_at(now_ms, client.time_zone).isoformat()
    return await CLIENTS.update(ctx, client_id, sent, expected)


async def decommission(ctx: Context, client_id: int, new: When, expected: int | None) -> Client:
    """End a client for good, now or at a time; until then `cancel_decommission` takes it back."""
    sent: dict[str, Any] = {"status": "inactive"} if new.at is None else {"decommission_at": new.at}
    if new.at is not None:
        await _check_status(ctx, client_id, ("new", "scheduled", "active", "suspended"), "inactive")
    with named_as("", {"decommission_at": "at"}):
        return await CLIENTS.update(ctx, client_id, sent, expected)


async def cancel_decommission(ctx: Context, client_id: int, expected: int | None) -> Client:
    client = await CLIENTS.get(ctx, client_id)
    if client.decommission_at is None:
        detail = "is inactive, which cannot be taken back" if client.status == "inactive" else "has no decommission_at"
        raise _refusal(f"The client {detail}.")
    return await CLIENTS.update(ctx, client_id, {"decommission_at": None}, expected)


async def convert(ctx: Context, client_id: int, new: Conversion, expected: int | None) -> Client:
    """Make a client virtual or residential; one that becomes virtual says when its offices are free.

    Both happen or neither does. Its services, numbers and users stay as they are.
    """
    async with ctx.change() as change:
        sent: dict[str, Any] = {"type": new.type}
        if new.type == "virtual":
            sent["offices"] = []
            if new.release_offices_on is not None:
                await _release(change, client_id, parse_day("release_offices_on", new.release_offices_on))
        elif new.release_offices_on is not None:
            raise invalid("release_offices_on", "only of a client that becomes virtual")
        return await CLIENTS.update_in(ctx, change, client_id, sent, expected)


async def _release(change: Change, client_id: int, day: date) -> None:
    row = await CLIENTS.row(change.tx, client_id)
    if day < day_at(change.now_ms, row["time_zone"]):
        raise invalid("release_offices_on", "before today")
    await occupancies.release(change, client_id, day)


async def _check_status(ctx: Context, client_id: int, allowed: tuple[str, ...], then: str) -> None:
    """What is set for later must be possible by then, as `client_rules.MOVES` says of what is set now."""
    client = await CLIENTS.get(ctx, client_id)
    if client.is_management or client.status not in allowed:
        what = "the management client" if client.is_management else f"a client that is {client.status}"
        raise _refusal(f"{what[0].upper()}{what[1:]} cannot become {then}.")


def _refusal(detail: str) -> Conflict:
    return Conflict(detail, errors=[FieldError("status", detail)])
