"""Routes of vendors' contracts: their revisions, and the signed copies of these."""

from __future__ import annotations

from typing import Any, Final

from control.api.crud import Owner, noun_routes
from control.api.downloads import PDF, document
from control.api.routing import API, Call, Created, Route
from control.api.uploads import uploaded_bytes
from control.services import contracts
from control.services.contracts import CONTRACTS, ContractQuery
from control.services.customers import CUSTOMERS
from control.services.pages import Page

_CUSTOMER: Final = Owner(CUSTOMERS, "/customers", "customer_id")
_CONTRACT: Final = "/contracts/{row_id:int}"
_REVISION: Final = _CONTRACT + "/revisions/{number:int}"


async def list_revisions(call: Call) -> Any:
    return await contracts.page_revisions(call.ctx, call.path["row_id"], call.query)


async def add_revision(call: Call) -> Created:
    made = await contracts.add_revision(call.ctx, call.path["row_id"], call.body)
    return Created(made, f"{API}/contracts/{made.contract_id}/revisions/{made.number}")


async def read_revision(call: Call) -> Any:
    return await contracts.get_revision(call.ctx, call.path["row_id"], call.path["number"])


async def mark_sent(call: Call) -> Any:
    return await contracts.mark_sent(call.ctx, call.path["row_id"])


async def upload_signed(call: Call) -> Created:
    path = call.path
    content, name = await uploaded_bytes(call)
    made = await contracts.sign(call.ctx, path["row_id"], path["number"], content, name, call.query)
    return Created(made, f"{API}/contracts/{path['row_id']}/revisions/{path['number']}/signed-copy")


async def download_signed(call: Call) -> Any:
    return document(*await contracts.signed_copy(call.ctx, call.path["row_id"], call.path["number"]))


CONTRACT_ROUTES: Final = (
    *noun_routes(CONTRACTS, "/contracts", ContractQuery, owner=_CUSTOMER),
    Route(
        method="GET",
        path=_CONTRACT + "/revisions",
        handler=list_revisions,
        summary="List what a contract has said, the latest first. `sort` takes number, id.",
        role="read-only",
        query=contracts.ContractRevisionQuery,
        reply=Page[contracts.ContractRevision],
    ),
    Route(
        method="POST",
        path=_CONTRACT + "/revisions",
        handler=add_revision,
        summary="Write what is agreed on from now on. Earlier revisions stay as they are.",
        role="operator",
        body=contracts.ContractRevisionNew,
        reply=contracts.ContractRevision,
        status=201,
    ),
    Route(
        method="GET",
        path=_REVISION,
        handler=read_revision,
        summary="Read one revision.",
        role="read-only",
        reply=contracts.ContractRevision,
    ),
    Route(
        method="POST",
        path=_CONTRACT + "/send",
        handler=mark_sent,
        summary="Note that the last revision went to the other side. A second time changes nothing.",
        role="operator",
        reply=contracts.ContractRevision,
    ),
    Route(
        method="POST",
        path=_REVISION + "/signed-copy",
        handler=upload_signed,
        summary="Keep the signed copy of the last revision: a PDF of 10 MiB at most, as the body or as a form's file.",
        role="operator",
        query=contracts.SignQuery,
        body=bytes,
        file_type=PDF,
        reply=contracts.ContractRevision,
        status=201,
        # The form around the file takes some, too.
        body_bytes_max=contracts.FILE_BYTES_MAX + 65_536,
    ),
    Route(
        method="GET",
        path=_REVISION + "/signed-copy",
        handler=download_signed,
        summary="Download a revision's signed copy.",
        role="read-only",
        reply=PDF,
    ),
)
