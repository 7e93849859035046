"""Routes of invoices: made, issued, mailed, paid, taken back; and who is invoiced how."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Response
from msgspec import Meta

from control.api.downloads import PDF, document
from control.api.later import schedulable
from control.api.routing import API, Call, Created, Route
from control.services import allocations, credit_notes, document_mail, documents, invoices, invoicing
from control.services.email_addresses import check_email
from control.services.fields import Label
from control.services.idempotency import Answer
from control.services.invoice_views import Invoice, InvoiceDetail, InvoiceQuery
from control.services.operations import Operation, of_customer
from control.services.pages import Page

_CUSTOMER: Final = "/customers/{customer_id:int}"
_INVOICE: Final = "/invoices/{invoice_id:int}"
_NOTE: Final = "/credit-notes/{row_id:int}"


class SendNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    recipients: Annotated[tuple[Label, ...], Meta(max_length=20)] = ()
    """Who it goes to this time; none: the profile's recipients, or the customer's contacts."""


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    mails: int


def pdf_response(file: documents.Pdf) -> Response[bytes]:
    return document(file.name, file.content, file.sha256)


async def read_profile(call: Call) -> Any:
    return await invoicing.read(call.ctx, call.path["customer_id"])


async def change_profile(call: Call) -> Any:
    return await invoicing.change_profile(call.ctx, call.path["customer_id"], call.body, call.version)


async def list_invoices(call: Call) -> Any:
    return await invoices.page(call.ctx, call.query)


async def list_own_invoices(call: Call) -> Any:
    query = msgspec.structs.replace(call.query, customer_id=call.path["customer_id"])
    return await invoices.page(call.ctx, query)


async def create_invoice(call: Call) -> Created:
    made = await invoices.create(call.ctx, call.path["customer_id"], call.body)
    return Created(made, f"{API}/invoices/{made.id}")


async def read_invoice(call: Call) -> Any:
    return await invoices.get(call.ctx, call.path["invoice_id"])


async def discard_invoice(call: Call) -> None:
    await invoices.discard(call.ctx, call.path["invoice_id"], call.version)


async def issue_invoice(call: Call) -> Any:
    return await invoices.issue(call.ctx, call.path["invoice_id"], call.body, call.version)


async def download_invoice(call: Call) -> Any:
    return pdf_response(await documents.pdf(call.ctx, "invoice", call.path["invoice_id"]))


async def send_invoice(call: Call) -> Queued:
    return Queued(mails=await _send(call, "invoice", call.path["invoice_id"]))


async def _send(call: Call, kind: documents.Kind, document_id: int) -> int:
    for place, address in enumerate(call.body.recipients):
        check_email(f"recipients[{place}]", address)
    return await document_mail.send_again(call.ctx, kind, document_id, call.body.recipients)


async def allocate(call: Call) -> Created:
    made = await allocations.allocate(call.ctx, call.path["invoice_id"], call.body)
    return Created(made, f"{API}/allocations?invoice_id={made.invoice_id}")


async def settle(call: Call) -> Any:
    return await allocations.settle_now(call.ctx, call.path["customer_id"])


async def list_allocations(call: Call) -> Any:
    return await allocations.page(call.ctx, call.query)


async def release(call: Call) -> Any:
    return await allocations.release(call.ctx, call.path["allocation_id"])


async def create_credit_note(call: Call) -> Answer:
    return await credit_notes.create(call.ctx, call.path["invoice_id"], call.body, call.key)


async def list_credit_notes(call: Call) -> Any:
    return await credit_notes.page(call.ctx, call.query)


async def read_credit_note(call: Call) -> Any:
    return await credit_notes.get(call.ctx, call.path["row_id"])


async def download_credit_note(call: Call) -> Any:
    return pdf_response(await documents.pdf(call.ctx, "credit_note", call.path["row_id"]))


async def send_credit_note(call: Call) -> Queued:
    return Queued(mails=await _send(call, "credit_note", call.path["row_id"]))


INVOICE_ROUTES: Final = (
    Route(
        method="GET",
        path=_CUSTOMER + "/invoicing",
        handler=read_profile,
        summary="Read how a customer is invoiced.",
        role="read-only",
        reply=invoicing.InvoiceProfile,
    ),
    schedulable(
        Route(
            method="PATCH",
            path=_CUSTOMER + "/invoicing",
            handler=change_profile,
            summary="Change how a customer is invoiced: the fields sent and no other.",
            role="billing",
            patches=invoicing.InvoiceProfileNew,
            reply=invoicing.InvoiceProfile,
        ),
        Operation(noun="invoice_profile", action="update", do=invoicing.change_profile, whose=of_customer),
        row="customer_id",
    ),
    Route(
        method="GET",
        path="/invoices",
        handler=list_invoices,
        summary="List invoices, the youngest first. `search` looks into number; `sort` takes id, created_at, "
        "updated_at.",
        role="read-only",
        query=InvoiceQuery,
        sorts=("id", "created_at", "updated_at"),
        reply=Page[Invoice],
    ),
    Route(
        method="GET",
        path=_CUSTOMER + "/invoices",
        handler=list_own_invoices,
        summary="List a customer's invoices, the youngest first. `search` looks into number; `sort` takes id, "
        "created_at, updated_at.",
        role="read-only",
        query=InvoiceQuery,
        sorts=("id", "created_at", "updated_at"),
        reply=Page[Invoice],
    ),
    Route(
        method="POST",
        path=_CUSTOMER + "/invoices",
        handler=create_invoice,
        summary="Make a draft of what a customer was charged in a period, or issue it at once. It charges nothing.",
        role="billing",
        body=invoices.InvoiceNew,
        reply=Invoice,
        status=201,
    ),
    Route(
        method="GET",
        path=_INVOICE,
        handler=read_invoice,
        summary="Read one invoice with its lines, taxes, allocations and mails.",
        role="read-only",
        reply=InvoiceDetail,
    ),
    Route(
        method="DELETE",
        path=_INVOICE,
        handler=discard_invoice,
        summary="Drop a draft. 409 of an invoice that was issued.",
        role="billing",
        status=204,
    ),
    Route(
        method="POST",
        path=_INVOICE + "/issue",
        handler=issue_invoice,
        summary="Issue a draft under the next number. A second time changes nothing.",
        role="billing",
        body=invoices.IssueNew,
        reply=Invoice,
        takes_version=True,
    ),
    Route(
        method="GET",
        path=_INVOICE + "/pdf",
        handler=download_invoice,
        summary="Download an issued invoice: the same bytes each time.",
        role="read-only",
        reply=PDF,
        also_refuses=(409,),
    ),
    Route(
        method="POST",
        path=_INVOICE + "/send",
        handler=send_invoice,
        summary="Mail an invoice once more.",
        role="billing",
        body=SendNew,
        reply=Queued,
    ),
    Route(
        method="POST",
        path=_INVOICE + "/allocations",
        handler=allocate,
        summary="Put a payment, or a part of it, against an invoice.",
        role="billing",
        body=allocations.AllocationNew,
        reply=allocations.Allocation,
        status=201,
    ),
    Route(
        method="POST",
        path=_INVOICE + "/credit-notes",
        handler=create_credit_note,
        summary="Take a part of an invoice back, or all of it; the balance has it when this is answered.",
        role="billing",
        body=credit_notes.CreditNoteNew,
        reply=credit_notes.CreditNote,
        status=201,
        takes_key=True,
    ),
    Route(
        method="POST",
        path=_CUSTOMER + "/allocate",
        handler=settle,
        summary="Put what is left of a customer's payments against what is open, the oldest first of both.",
        role="billing",
        reply=allocations.Allocated,
    ),
    Route(
        method="GET",
        path="/allocations",
        handler=list_allocations,
        summary="List what was put against invoices, the youngest first. `sort` takes id, created_at.",
        role="read-only",
        query=allocations.AllocationQuery,
        sorts=("id", "created_at"),
        reply=Page[allocations.Allocation],
    ),
    Route(
        method="POST",
        path="/allocations/{allocation_id:int}/release",
        handler=release,
        summary="Take an allocation off its invoice. A second time changes nothing.",
        role="billing",
        reply=allocations.Allocation,
    ),
    Route(
        method="GET",
        path="/credit-notes",
        handler=list_credit_notes,
        summary="List credit notes, the youngest first. `sort` takes id, created_at.",
        role="read-only",
        query=credit_notes.CreditNoteQuery,
        sorts=("id", "created_at"),
        reply=Page[credit_notes.CreditNote],
    ),
    Route(
        method="GET",
        path=_NOTE,
        handler=read_credit_note,
        summary="Read one credit note.",
        role="read-only",
        reply=credit_notes.CreditNote,
    ),
    Route(
        method="GET",
        path=_NOTE + "/pdf",
        handler=download_credit_note,
        summary="Download a credit note: the same bytes each time.",
        role="read-only",
        reply=PDF,
    ),
    Route(
        method="POST",
        path=_NOTE + "/send",
        handler=send_credit_note,
        summary="Mail a credit note once more.",
        role="billing",
        body=SendNew,
        reply=Queued,
    ),
)
