"""Many customers at once: bulk changes, and CSV files out and in."""

from __future__ import annotations

from typing import Any, Final

from control.api.downloads import streamed
from control.api.later import schedulable
from control.api.routing import Call, Route
from control.api.uploads import uploaded_bytes
from control.services import customer_bulk, customer_csv
from control.services.csv_cells import FILE_BYTES_MAX, ImportQuery
from control.services.customers import CUSTOMERS, CustomerFilter
from control.services.operations import many_of


async def edit_many(call: Call) -> Any:
    return await customer_bulk.edit(call.ctx, call.body)


async def archive_many(call: Call) -> Any:
    return await customer_bulk.archive(call.ctx, call.body)


async def export_csv(call: Call) -> Any:
    return streamed(customer_csv.csv_lines(call.ctx, call.query), "customers.csv")


async def import_csv(call: Call) -> Any:
    data, _name = await uploaded_bytes(call)
    return await customer_csv.load(call.ctx, data, call.query)


CUSTOMER_ROUTES: Final = (
    schedulable(
        Route(
            method="POST",
            path="/customers/bulk",
            handler=edit_many,
            summary="Change many customers, by ids or by a filter: all or none, with an audit row each. "
            "`preview` only says how many.",
            role="operator",
            body=customer_bulk.BulkEdit,
            reply=customer_bulk.BulkDone,
        ),
        many_of(CUSTOMERS, "update_many", customer_bulk.edit, customer_bulk.BulkEdit),
    ),
    schedulable(
        Route(
            method="POST",
            path="/customers/bulk/archive",
            handler=archive_many,
            summary="Archive many customers: all or none. 409 names those that have live calls.",
            role="operator",
            body=customer_bulk.Selection,
            reply=customer_bulk.BulkDone,
        ),
        many_of(CUSTOMERS, "archive_many", customer_bulk.archive, customer_bulk.Selection),
    ),
    Route(
        method="GET",
        path="/customers.csv",
        handler=export_csv,
        summary="Download the customers that match, by name. The file can be posted back.",
        role="read-only",
        query=CustomerFilter,
        reply="text/csv",
    ),
    Route(
        method="POST",
        path="/customers.csv",
        handler=import_csv,
        summary="Create and change customers by name, from a CSV file as the body or as a form's file. "
        "A bad line refuses the whole file; every mistake is named by line and column.",
        role="operator",
        query=ImportQuery,
        body=bytes,
        reply=customer_csv.Imported,
        body_bytes_max=FILE_BYTES_MAX,
    ),
)
