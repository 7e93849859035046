"""Where the phones of a SIP user are registered, as the switch has it now."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from control.services.context import Context
from control.services.errors import NotFound
from control.services.fields import Moment, moment_or_none, ms_moment
from control.services.sip_users import SIP_USERS
from switch.frames import RegistrationRow

_ID: Final = re.compile(r"[0-9a-f]{16}")


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    contact: str
    """The phone's own word; calls go to `source`."""
    source: str
    transport: str
    user_agent: str
    path: str
    q: str
    """From 0.000 to 1.000; the highest rings first."""
    registered: Moment
    expires: Moment
    answered: Moment | None
    """When it last answered a ping."""
    is_reachable: bool
    """False: it answered pings and has stopped; it is not rung until it registers again."""


async def of_user(ctx: Context, sip_user_id: int) -> list[Registration]:
    """A user's contacts, in the order of their coming.

    Raises:
        NotFound: no such user.
    """
    await SIP_USERS.get(ctx, sip_user_id)
    return [_shown(row) for row in await ctx.switch.list_registrations(sip_user_id)]


async def remove(ctx: Context, sip_user_id: int, registration_id: str) -> None:
    """Forget a contact, audited; the phone comes back with its next REGISTER unless it may not.

    Raises:
        NotFound: no such user, or no such contact.
    """
    await SIP_USERS.get(ctx, sip_user_id)
    if not _ID.fullmatch(registration_id) or not await ctx.switch.remove_registration(sip_user_id, registration_id):
        raise NotFound("registration", registration_id)
    async with ctx.change() as change:
        await change.audit("end", "registration", registration_id, before={"sip_user_id": sip_user_id})


def _shown(row: RegistrationRow) -> Registration:
    return Registration(
        id=row.id,
        contact=row.contact,
        source=row.source,
        transport=row.transport,
        user_agent=row.user_agent,
        path=row.path,
        q=f"{row.q // 1000}.{row.q % 1000:03d}",
        registered=ms_moment(row.registered_ms),
        expires=ms_moment(row.expires_ms),
        answered=moment_or_none(row.answered_ms),
        is_reachable=row.is_reachable,
    )
