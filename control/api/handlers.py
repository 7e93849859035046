"""Handlers of what is not a plain row: calls, files, keys, the installation itself."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar import Response
from sqlalchemy.exc import SQLAlchemyError

from control.api.downloads import streamed
from control.api.metrics import CONTENT_TYPE, metrics_text
from control.api.routing import API, Call, Created
from control.api.uploads import uploaded_file
from control.services import audit, cdr_detail, cdrs, gateways, live_calls, revision_rows, revisions, simulation_log
from control.services.admin_keys import ADMIN_KEYS
from control.services.cdr_export import csv_lines, json_lines, parquet_file
from control.services.cdr_parquet import MEDIA_TYPE as PARQUET
from control.services.cdr_zones import zone_of
from control.services.context import current_version
from control.services.currencies import all_currencies
from control.services.fields import Moment, ms_moment
from control.services.pages import Page
from control.services.pricing import price_call as price
from control.services.rate_cards import RATE_CARDS


async def list_cdrs(call: Call) -> Any:
    return await cdrs.page(call.ctx, call.query)


async def list_cdrs_of(call: Call) -> Any:
    return await cdrs.page_of(call.ctx, call.path["customer_id"], call.query)


async def read_cdr(call: Call) -> Any:
    return await cdr_detail.get(call.ctx, call.path["cdr_id"])


async def export_csv(call: Call) -> Any:
    cdrs.check(call.query)
    await zone_of(call.ctx, call.query.time_zone, call.query.customer_id)  # refused before the answer begins
    upto = await cdrs.last_number(call.ctx)
    return streamed(csv_lines(call.ctx, call.query, upto), "cdrs.csv", Tandem_Next_Cursor=str(upto))


async def export_parquet(call: Call) -> Any:
    cdrs.check(call.query)
    await zone_of(call.ctx, call.query.time_zone, call.query.customer_id)
    upto = await cdrs.last_number(call.ctx)
    return streamed(parquet_file(call.ctx, call.query, upto), "cdrs.parquet", PARQUET, Tandem_Next_Cursor=str(upto))


async def export_json_lines(call: Call) -> Any:
    cdrs.check(call.query)
    await zone_of(call.ctx, call.query.time_zone, call.query.customer_id)
    upto = await cdrs.last_number(call.ctx)
    lines = json_lines(call.ctx, call.query, upto)
    return streamed(lines, "cdrs.jsonl", "application/jsonl", Tandem_Next_Cursor=str(upto))


async def list_calls(call: Call) -> Any:
    return await live_calls.page(call.ctx, call.query)


async def end_call(call: Call) -> None:
    await live_calls.end_call(call.ctx, call.path["cdr_id"])


async def simulate(call: Call) -> Any:
    return await simulation_log.simulate_and_note(call.ctx, call.body)


async def price_call(call: Call) -> Any:
    return await price(call.ctx, call.path["card_id"], call.body)


async def list_revisions(call: Call) -> Any:
    return await revisions.page(call.ctx, call.path["card_id"], call.query)


async def read_revision(call: Call) -> Any:
    return await revisions.get(call.ctx, call.path["card_id"], call.path["revision_id"])


async def load_revision(call: Call) -> Any:
    card_id = call.path["card_id"]
    await RATE_CARDS.get(call.ctx, card_id)
    async with uploaded_file(call) as file:
        asked = msgspec.structs.replace(call.query, file_name=call.query.file_name or file.name[:255])
        loaded = await revisions.load(call.ctx, card_id, file.path, file.sha256, asked)
    if loaded.revision is None:
        return Response(msgspec.json.encode(loaded), status_code=200, media_type="application/json")
    return Created(loaded, f"{API}/rate-cards/{card_id}/revisions/{loaded.revision.id}")


class ActivateNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: Moment | None = None
    """Now where it is left out."""


async def activate_revision(call: Call) -> Any:
    return await revisions.activate(call.ctx, call.path["card_id"], call.path["revision_id"], call.body.at)


async def cancel_revision(call: Call) -> Any:
    return await revisions.cancel(call.ctx, call.path["card_id"], call.path["revision_id"])


async def roll_back(call: Call) -> Any:
    return await revisions.roll_back(call.ctx, call.path["card_id"])


async def list_rate_rows(call: Call) -> Any:
    return await revision_rows.page(call.ctx, call.path["card_id"], call.path["revision_id"], call.query)


async def diff_revision(call: Call) -> Any:
    return await revision_rows.diff(call.ctx, call.path["card_id"], call.path["revision_id"], call.query)


async def issue_key(call: Call) -> Created:
    made = await ADMIN_KEYS.issue(call.ctx, call.body)
    return Created(made, f"{API}/admin-keys/{made.id}")


async def list_audit(call: Call) -> Any:
    return await audit.page(call.ctx, call.query)


async def gateway_stats(call: Call) -> Any:
    return Page(items=await gateways.stats(call.ctx), next_cursor=None)


class AlarmRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the switch complained about."""

    name: str
    detail: str
    at: Moment


async def list_currencies(call: Call) -> Any:
    return Page(items=all_currencies(), next_cursor=None)


async def list_alarms(call: Call) -> Any:
    found = [AlarmRow(name=each.name, detail=each.detail, at=ms_moment(each.at_ms)) for each in call.ctx.alarms()]
    return Page(items=found, next_cursor=None)


class Health(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["ok", "degraded"]
    """`degraded`: some part is away; the answer's own status is 503 where the store is it."""
    store: Literal["ok", "failed"]
    switch: Literal["connected", "away"]
    snapshot_version: int | None
    """Of the configuration that is stored."""
    faults: list[str]
    """What is wrong, a line each: a damaged journal, a configuration that the switch does not take."""


async def health(call: Call) -> Any:
    version: int | None = None
    try:
        async with call.ctx.store.read() as tx:
            version = await current_version(tx)
    except (SQLAlchemyError, OSError):
        version = None
    is_connected = call.ctx.switch.is_connected
    faults = call.ctx.faults()
    found = Health(
        status="ok" if is_connected and version is not None and not faults else "degraded",
        store="failed" if version is None else "ok",
        switch="connected" if is_connected else "away",
        snapshot_version=version,
        faults=faults,
    )
    if version is None:
        return Response(msgspec.json.encode(found), status_code=503, media_type="application/json")
    return found


async def metrics(call: Call) -> Any:
    return Response(await metrics_text(call.ctx), media_type=CONTENT_TYPE)
