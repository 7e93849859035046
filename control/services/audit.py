"""The audit trail: who changed what, from what to what. It is only ever added to."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Context
from control.services.errors import invalid
from control.services.fields import Label, Moment, moment_ms, ms_moment
from control.services.pages import ListQuery, Page, contains, read_page
from control.store import tables


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    at: Moment
    actor_kind: str
    actor_id: int | None
    actor_name: str
    action: str
    noun: str
    noun_id: str
    before: Any
    after: Any


class AuditQuery(ListQuery, frozen=True, kw_only=True, rename={"from_time": "from", "to_time": "to"}):
    """Times are half-open: `from` is in, `to` is not."""

    noun: Label | None = None
    noun_id: Label | None = None
    actor_name: Label | None = None
    action: Label | None = None
    from_time: Moment | None = None
    """From this time on …"""
    to_time: Moment | None = None
    """… and before this one."""


async def page(ctx: Context, query: AuditQuery) -> Page[AuditRow]:
    """Newest first unless asked otherwise."""
    audit = tables.audit
    statement = select(audit)
    for name in ("noun", "noun_id", "actor_name", "action"):
        value = getattr(query, name)
        if value is not None:
            statement = statement.where(audit.c[name] == value)
    if query.from_time is not None:
        statement = statement.where(audit.c.at_ms >= moment_ms("from", query.from_time))
    if query.to_time is not None:
        statement = statement.where(audit.c.at_ms < moment_ms("to", query.to_time))
    if query.search:
        statement = statement.where(contains(audit, "before", query.search) | contains(audit, "after", query.search))
    if query.sort not in ("", "id", "-id"):
        raise invalid("sort", "id or -id")
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        rows, next_cursor = await read_page(tx, audit, statement, ordered, ("id",))
    return Page(items=[_shown(row) for row in rows], next_cursor=next_cursor)


def _shown(row: RowMapping) -> AuditRow:
    return AuditRow(
        id=row["id"],
        at=ms_moment(row["at_ms"]),
        actor_kind=row["actor_kind"],
        actor_id=row["actor_id"],
        actor_name=row["actor_name"],
        action=row["action"],
        noun=row["noun"],
        noun_id=row["noun_id"],
        before=None if row["before"] is None else msgspec.json.decode(row["before"]),
        after=None if row["after"] is None else msgspec.json.decode(row["after"]),
    )
