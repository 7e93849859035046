"""DIDs: the steps of their life, many at once, files, and what they were charged."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from control.api.downloads import streamed
from control.api.later import schedulable
from control.api.routing import Call, Route
from control.api.uploads import uploaded_bytes
from control.services import cli_numbers, did_bulk, did_csv, did_life, did_views
from control.services.context import Context
from control.services.csv_cells import FILE_BYTES_MAX, ImportQuery
from control.services.customers import CUSTOMERS
from control.services.did_fields import DidFilter
from control.services.dids import DIDS
from control.services.operations import Do, many_of, step_of
from control.services.pages import ListQuery, Page

_DID: Final = "/dids/{row_id:int}"


async def allocate(call: Call) -> Any:
    return await did_life.allocate(call.ctx, call.path["row_id"], call.body, call.version)


async def assign(call: Call) -> Any:
    return await did_life.assign(call.ctx, call.path["row_id"], call.body, call.version)


async def release(call: Call) -> Any:
    return await did_life.release(call.ctx, call.path["row_id"], call.body, call.version)


async def set_free(call: Call) -> Any:
    return await did_life.set_free(call.ctx, call.path["row_id"], call.version)


async def edit_many(call: Call) -> Any:
    return await did_bulk.edit(call.ctx, call.body)


async def step_many(call: Call) -> Any:
    return await did_bulk.take_step(call.ctx, call.body)


async def export_csv(call: Call) -> Any:
    return streamed(did_csv.csv_lines(call.ctx, call.query), "dids.csv")


async def import_csv(call: Call) -> Any:
    data, _name = await uploaded_bytes(call)
    return await did_csv.load(call.ctx, data, call.query)


async def list_charges(call: Call) -> Any:
    return await did_views.page_charges(call.ctx, call.query)


async def list_charges_of_did(call: Call) -> Any:
    did_id = call.path["row_id"]
    await DIDS.get(call.ctx, did_id)
    query = did_views.DidChargeQuery(**msgspec.structs.asdict(call.query), did_id=did_id)
    return await did_views.page_charges(call.ctx, query)


async def read_summary(call: Call) -> Any:
    return await did_views.summary(call.ctx, call.path["customer_id"])


async def list_cli_numbers(call: Call) -> Any:
    customer_id = call.path["customer_id"]
    await CUSTOMERS.get(call.ctx, customer_id)
    return await cli_numbers.page(call.ctx, customer_id, call.query)


async def _set_free(ctx: Context, did_id: int, _sent: Any, expected: int | None) -> Any:
    return await did_life.set_free(ctx, did_id, expected)


def _step(name: str, handler: Any, service: Do, summary: str, body: Any = None) -> Route:
    route = Route(
        method="POST",
        path=f"{_DID}/{name}",
        handler=handler,
        summary=summary,
        role="operator",
        body=body,
        reply=DIDS.answer,
        takes_version=True,
    )
    return schedulable(route, step_of(DIDS, name, service, body), row="row_id")


DID_ROUTES: Final = (
    _step("allocate", allocate, did_life.allocate, "Keep a free number for a customer.", did_life.Allocate),
    _step(
        "assign",
        assign,
        did_life.assign,
        "Put a free or allocated number in service: it rings, and is charged from today on. 409 where another "
        "customer has it.",
        did_life.Assign,
    ),
    _step(
        "release",
        release,
        did_life.release,
        "Take a number from its customer. One that was in service cools off until a date; one that was only "
        "allocated is free.",
        did_life.Release,
    ),
    _step("free", set_free, _set_free, "End a number's cooling-off."),
    schedulable(
        Route(
            method="POST",
            path="/dids/bulk",
            handler=edit_many,
            summary="Change many DIDs, by ids or by a filter: all or none, with an audit row each. "
            "`preview` only says how many.",
            role="operator",
            body=did_bulk.DidBulkEdit,
            reply=did_bulk.DidBulkDone,
        ),
        many_of(DIDS, "update_many", did_bulk.edit, did_bulk.DidBulkEdit),
    ),
    schedulable(
        Route(
            method="POST",
            path="/dids/bulk/step",
            handler=step_many,
            summary="Allocate, assign, release, free or archive many DIDs: all or none. 409 names those that "
            "stand in the way.",
            role="operator",
            body=did_bulk.DidBulkStep,
            reply=did_bulk.DidBulkDone,
        ),
        many_of(DIDS, "step_many", did_bulk.take_step, did_bulk.DidBulkStep),
    ),
    Route(
        method="GET",
        path="/dids.csv",
        handler=export_csv,
        summary="Download the DIDs that match, by number. The file can be posted back.",
        role="read-only",
        query=DidFilter,
        reply="text/csv",
    ),
    Route(
        method="POST",
        path="/dids.csv",
        handler=import_csv,
        summary="Create and change DIDs by number, from a CSV file as the body or as a form's file. "
        "A bad line refuses the whole file; every mistake is named by line and column.",
        role="operator",
        query=ImportQuery,
        body=bytes,
        reply=did_csv.DidImported,
        body_bytes_max=FILE_BYTES_MAX,
    ),
    Route(
        method="GET",
        path=f"{_DID}/charges",
        handler=list_charges_of_did,
        summary="List what a number was charged, the latest first.",
        role="read-only",
        query=ListQuery,
        sorts=("id",),
        reply=Page[did_views.DidCharge],
    ),
    Route(
        method="GET",
        path="/did-charges",
        handler=list_charges,
        summary="List what numbers were charged, the latest first.",
        role="read-only",
        query=did_views.DidChargeQuery,
        sorts=("id",),
        reply=Page[did_views.DidCharge],
    ),
    Route(
        method="GET",
        path="/customers/{customer_id:int}/dids/summary",
        handler=read_summary,
        summary="What a customer's numbers come to.",
        role="read-only",
        reply=did_views.DidSummary,
    ),
    Route(
        method="GET",
        path="/customers/{customer_id:int}/cli-numbers",
        handler=list_cli_numbers,
        summary="List the numbers that a customer may call from: its DIDs, and those that its CLI rules name.",
        role="read-only",
        query=cli_numbers.CliNumberQuery,
        reply=Page[cli_numbers.CliNumber],
    ),
)
