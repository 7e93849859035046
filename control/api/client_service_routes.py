"""What clients use: telephone services, users and Wi-Fi, network information, broadband usage."""

from __future__ import annotations

from typing import Any, Final

from control.api.client_routes import OF_CLIENT
from control.api.crud import noun_routes
from control.api.routing import Call, Route, address_of
from control.services import broadband, client_users
from control.services.broadband import AllUsageQuery, Usage, UsagePost, UsagePosted, UsageQuery
from control.services.client_users import (
    CLIENT_USERS,
    ClientUserQuery,
    ClientUserShown,
    WifiAnswer,
    WifiCheck,
)
from control.services.networks import NETWORKS, NetworkQuery
from control.services.pages import Page
from control.services.telephone_services import TELEPHONE_SERVICES, TelephoneServiceQuery


async def new_wifi_password(call: Call) -> Any:
    user = await CLIENT_USERS.new_password(call.ctx, call.path["row_id"])
    (shown,) = await CLIENT_USERS.answers(call.ctx, [user])
    return shown


async def check_wifi(call: Call) -> Any:
    return await client_users.check_wifi(call.ctx, call.body, address_of(call.request))


async def post_usage(call: Call) -> Any:
    return await broadband.post(call.ctx, call.body)


async def list_usage(call: Call) -> Any:
    return await broadband.of_client(call.ctx, call.path["client_id"], call.query)


async def list_all_usage(call: Call) -> Any:
    return await broadband.of_all(call.ctx, call.query)


CLIENT_SERVICE_ROUTES: Final = (
    *noun_routes(TELEPHONE_SERVICES, "/telephone-services", TelephoneServiceQuery, owner=OF_CLIENT),
    *noun_routes(CLIENT_USERS, "/client-users", ClientUserQuery, owner=OF_CLIENT),
    *noun_routes(NETWORKS, "/network-info", NetworkQuery, owner=OF_CLIENT),
    Route(
        method="POST",
        path="/client-users/{row_id:int}/wifi-password",
        handler=new_wifi_password,
        summary="Make another Wi-Fi password, which this answer alone shows.",
        role="operator",
        reply=ClientUserShown,
    ),
    Route(
        method="POST",
        path="/wifi-accounts/check",
        is_throttled=True,
        handler=check_wifi,
        summary="Whether the network may let somebody in, for its RADIUS server; with the VLANs of the client.",
        role="operator",
        body=WifiCheck,
        reply=WifiAnswer,
    ),
    Route(
        method="POST",
        path="/broadband-usage",
        handler=post_usage,
        summary="Post figures of days, of any clients: the same again changes nothing, others replace. All or none.",
        role="operator",
        body=UsagePost,
        reply=UsagePosted,
    ),
    Route(
        method="GET",
        path="/broadband-usage",
        handler=list_all_usage,
        summary="Every client's usage, by name: in total, by day or by month.",
        role="read-only",
        query=AllUsageQuery,
        reply=Page[Usage],
    ),
    Route(
        method="GET",
        path="/clients/{client_id:int}/broadband-usage",
        handler=list_usage,
        summary="A client's usage by day or month, the latest first.",
        role="read-only",
        query=UsageQuery,
        reply=Page[Usage],
    ),
)
