"""What clients buy and are billed for: the catalogue, purchases, bills."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from control.api.client_routes import OF_CLIENT
from control.api.crud import noun_routes
from control.api.routing import Call, Route
from control.services import client_bills
from control.services.client_bill_pdf import pdf
from control.services.client_bills import Bill, BillPreview, BillQuery, BillRow, PreviewQuery
from control.services.pages import Page
from control.services.products import PRODUCTS, ProductQuery
from control.services.purchases import PURCHASES, Cancellation, Purchase, PurchaseQuery


async def cancel_purchase(call: Call) -> Any:
    return await PURCHASES.cancel(call.ctx, call.path["client_id"], call.path["row_id"], call.body)


async def list_bills(call: Call) -> Any:
    return await client_bills.page(call.ctx, call.query)


async def read_bill(call: Call) -> Any:
    return await client_bills.get(call.ctx, call.path["bill_id"])


async def read_bill_pdf(call: Call) -> Any:
    return await bill_pdf(await client_bills.get(call.ctx, call.path["bill_id"]))


async def bill_pdf(bill: Bill) -> Response[bytes]:
    name = f'inline; filename="bill-{bill.number:06d}.pdf"'
    headers = {"Content-Disposition": name, "Cache-Control": "no-store"}
    return Response(await pdf(bill), media_type="application/pdf", headers=headers)


async def preview_bill(call: Call) -> Any:
    return await client_bills.preview(call.ctx, call.path["client_id"], call.query)


CLIENT_BILLING_ROUTES: Final = (
    *noun_routes(PRODUCTS, "/products", ProductQuery, role="billing"),
    *noun_routes(PURCHASES, "/purchases", PurchaseQuery, owner=OF_CLIENT, role="billing"),
    Route(
        method="POST",
        path="/clients/{client_id:int}/purchases/{row_id:int}/cancel",
        handler=cancel_purchase,
        summary="End a purchase after its notice, or on a later day.",
        role="billing",
        body=Cancellation,
        reply=Purchase,
    ),
    Route(
        method="GET",
        path="/bills",
        handler=list_bills,
        summary="List clients' bills, the latest number first; also by billing reference. `search` looks into "
        "names and references; `sort` takes number, month, client_id.",
        role="read-only",
        query=BillQuery,
        sorts=client_bills.SORTS,
        reply=Page[BillRow],
    ),
    Route(
        method="GET",
        path="/bills/{bill_id:int}",
        handler=read_bill,
        summary="Read one bill with its lines.",
        role="read-only",
        reply=Bill,
    ),
    Route(
        method="GET",
        path="/bills/{bill_id:int}/pdf",
        handler=read_bill_pdf,
        summary="The same as a page to print.",
        role="read-only",
        reply="application/pdf",
    ),
    Route(
        method="GET",
        path="/clients/{client_id:int}/bill-preview",
        handler=preview_bill,
        summary="What a month that is not billed yet comes to, as things are now.",
        role="read-only",
        query=PreviewQuery,
        reply=BillPreview,
    ),
)
