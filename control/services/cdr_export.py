"""CDRs as files: CSV for spreadsheets, JSON lines for programs. Streamed, however many there are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import msgspec

from control.services.cdr_parquet import parquet
from control.services.cdr_zones import on_clocks, zone_of, zoned
from control.services.cdrs import CdrExportQuery, CdrShown, export
from control.services.context import Context

_FIELDS: Final = tuple(name for name in CdrShown.__struct_fields__ if name != "explanation")
_OURS: Final = frozenset({"rate", "net", "tax", "gross", "cost", "margin"})
"""Texts that we made ourselves: a negative margin is a number and shall stay one."""

_NUMBER: Final = re.compile(r"\+?[0-9]+")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127)}

_json: Final = msgspec.json.Encoder()


async def csv_lines(ctx: Context, query: CdrExportQuery, upto: int) -> AsyncIterator[bytes]:
    """RFC 4180 with a header line; the attempts of a call are one cell of JSON."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_FIELDS)
    yield text.getvalue().encode()
    async for rows in await zoned_cdrs(ctx, query, upto):
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows([_cell(name, getattr(row, name)) for name in _FIELDS] for row in rows)
        yield text.getvalue().encode()


async def json_lines(ctx: Context, query: CdrExportQuery, upto: int) -> AsyncIterator[bytes]:
    """One CDR a line, as the API shows it."""
    async for rows in await zoned_cdrs(ctx, query, upto):
        yield _json.encode_lines(rows)


async def zoned_cdrs(ctx: Context, query: CdrExportQuery, upto: int) -> AsyncIterator[list[CdrShown]]:
    """What is exported, on the clocks that were asked for."""
    query = await on_clocks(ctx, query, query.customer_id)
    return zoned(export(ctx, query, upto), await zone_of(ctx, query.time_zone, query.customer_id))


async def parquet_file(ctx: Context, query: CdrExportQuery, upto: int) -> AsyncIterator[bytes]:
    async for piece in parquet(await zoned_cdrs(ctx, query, upto), CdrShown):
        yield piece


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list):
        return _json.encode(value).decode()
    if not isinstance(value, str) or name in _OURS:
        return str(value)
    return inert(value)


def inert(text: str) -> str:
    """A text that no spreadsheet takes for a formula, and no terminal for a command.

    Callers choose their own User-Agent, numbers and Call-ID, and `=cmd|…` in a cell runs on the
    machine of whoever opens the file. A leading quote makes it text; a plain number may stay.
    """
    visible = text.translate(_CONTROLS)
    if visible.startswith(_FORMULA) and not _NUMBER.fullmatch(visible):
        return "'" + visible
    return visible
