"""Routes of the customers' portal for what is billed: invoices, credit notes, packages."""

from __future__ import annotations

from typing import Any, Final

from control.api.downloads import PDF
from control.api.invoice_routes import pdf_response
from control.api.routing import Call, Route
from control.services import portal_bills as bills
from control.services.pages import Page
from control.services.portal_views import OwnQuery


async def list_invoices(call: Call) -> Any:
    return await bills.page_invoices(call.ctx, call.query)


async def read_invoice(call: Call) -> Any:
    return await bills.get_invoice(call.ctx, call.path["invoice_id"])


async def download_invoice(call: Call) -> Any:
    return pdf_response(await bills.invoice_pdf(call.ctx, call.path["invoice_id"]))


async def list_credit_notes(call: Call) -> Any:
    return await bills.page_credit_notes(call.ctx, call.query)


async def download_credit_note(call: Call) -> Any:
    return pdf_response(await bills.credit_note_pdf(call.ctx, call.path["note_id"]))


async def list_packages(call: Call) -> Any:
    return await bills.page_packages(call.ctx, call.query)


PORTAL_BILL_ROUTES: Final = (
    Route(
        method="GET",
        path="/portal/invoices",
        handler=list_invoices,
        summary="List the customer's invoices, the youngest first.",
        role="customer",
        query=OwnQuery,
        reply=Page[bills.OwnInvoice],
    ),
    Route(
        method="GET",
        path="/portal/invoices/{invoice_id:int}",
        handler=read_invoice,
        summary="Read one of the customer's invoices with its lines and what paid it.",
        role="customer",
        reply=bills.OwnInvoiceDetail,
    ),
    Route(
        method="GET",
        path="/portal/invoices/{invoice_id:int}/pdf",
        handler=download_invoice,
        summary="Download one of the customer's invoices.",
        role="customer",
        reply=PDF,
    ),
    Route(
        method="GET",
        path="/portal/credit-notes",
        handler=list_credit_notes,
        summary="List the customer's credit notes, the youngest first.",
        role="customer",
        query=OwnQuery,
        reply=Page[bills.OwnCreditNote],
    ),
    Route(
        method="GET",
        path="/portal/credit-notes/{note_id:int}/pdf",
        handler=download_credit_note,
        summary="Download one of the customer's credit notes.",
        role="customer",
        reply=PDF,
    ),
    Route(
        method="GET",
        path="/portal/packages",
        handler=list_packages,
        summary="List what the customer has beside its calls, with what is left of the free minutes.",
        role="customer",
        query=OwnQuery,
        reply=Page[bills.OwnPackage],
    ),
)
