"""Where the phones of a SIP user are registered."""

from __future__ import annotations

from typing import Any, Final

from control.api.routing import Call, Route
from control.services import registrations
from control.services.pages import Page
from control.services.registrations import Registration


async def list_registrations(call: Call) -> Any:
    return Page(items=await registrations.of_user(call.ctx, call.path["sip_user_id"]), next_cursor=None)


async def remove_registration(call: Call) -> None:
    await registrations.remove(call.ctx, call.path["sip_user_id"], call.path["registration_id"])


REGISTRATION_ROUTES: Final = [
    Route(
        method="GET",
        path="/sip-users/{sip_user_id:int}/registrations",
        handler=list_registrations,
        summary="The contacts that a SIP user's phones have registered, as the switch has them now.",
        role="read-only",
        reply=Page[Registration],
    ),
    Route(
        method="DELETE",
        path="/sip-users/{sip_user_id:int}/registrations/{registration_id:str}",
        handler=remove_registration,
        summary="Forget a contact: it is not rung until its phone registers again.",
        role="operator",
        status=204,
    ),
]
