"""The client's view in the portal: its card, its networks, its broadband usage, its bills."""

from __future__ import annotations

from typing import Any, Final

from control.api.client_billing_routes import bill_pdf
from control.api.downloads import PDF
from control.api.routing import Call, Route
from control.services import portal_client
from control.services.broadband import Usage, UsageQuery
from control.services.client_bills import Bill, BillRow
from control.services.pages import Page


async def read_client(call: Call) -> Any:
    return await portal_client.card(call.ctx)


async def change_client(call: Call) -> Any:
    return await portal_client.change(call.ctx, call.body, call.version)


async def list_networks(call: Call) -> Any:
    return await portal_client.network_info(call.ctx)


async def list_usage(call: Call) -> Any:
    return await portal_client.usage(call.ctx, call.query)


async def list_bills(call: Call) -> Any:
    return await portal_client.page_bills(call.ctx, call.query)


async def read_bill(call: Call) -> Any:
    return await portal_client.get_bill(call.ctx, call.path["bill_id"])


async def download_bill(call: Call) -> Any:
    return await bill_pdf(await portal_client.get_bill(call.ctx, call.path["bill_id"]))


CLIENT_PORTAL_ROUTES: Final = (
    Route(
        method="GET",
        path="/portal/client",
        handler=read_client,
        summary="The client whose telephony this is: status, offices, dates, whether internet is on.",
        role="customer",
        reply=portal_client.OwnClient,
        also_refuses=(404,),
    ),
    Route(
        method="PATCH",
        path="/portal/client",
        handler=change_client,
        summary="Set the reference that the client's own books have for its bills.",
        role="customer",
        patches=portal_client.OwnClientPatch,
        reply=portal_client.OwnClient,
    ),
    Route(
        method="GET",
        path="/portal/network-info",
        handler=list_networks,
        summary="The client's networks.",
        role="customer",
        reply=Page[portal_client.OwnNetwork],
        also_refuses=(404,),
    ),
    Route(
        method="GET",
        path="/portal/broadband-usage",
        handler=list_usage,
        summary="The client's broadband usage by day or month, the latest first.",
        role="customer",
        query=UsageQuery,
        reply=Page[Usage],
    ),
    Route(
        method="GET",
        path="/portal/bills",
        handler=list_bills,
        summary="List the client's bills, the latest number first; also by month or billing reference.",
        role="customer",
        query=portal_client.OwnBillQuery,
        reply=Page[BillRow],
        also_refuses=(404,),
    ),
    Route(
        method="GET",
        path="/portal/bills/{bill_id:int}",
        handler=read_bill,
        summary="Read one of the client's bills with its lines.",
        role="customer",
        reply=Bill,
    ),
    Route(
        method="GET",
        path="/portal/bills/{bill_id:int}/pdf",
        handler=download_bill,
        summary="Download one of the client's bills.",
        role="customer",
        reply=PDF,
    ),
)
