"""Many customers at once: change or archive all of a selection, or none of it.

A preview does the whole of it in a transaction that is then given up, so that it says what would
happen, refusals included.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.customers import CUSTOMERS, CustomerFilter, CustomerNew, CustomerQuery, Tag
from control.services.errors import Conflict, FieldError, Invalid, Reference, SwitchAway, invalid
from control.services.fields import Id

ROWS_MAX: Final = 5_000
"""A change holds the store's only writer; so many rows take some fifteen seconds, for which CDRs wait."""
NAMED_MAX: Final = 100
"""Customers that an answer names; a preview is for looking at."""

Tags = Annotated[tuple[Tag, ...], Meta(max_length=50)]
Ids = Annotated[tuple[Id, ...], Meta(max_length=ROWS_MAX)]


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Customers by id or by filter: one of the two."""

    ids: Ids | None = None
    filter: CustomerFilter | None = None
    """Without a field in it: every customer."""
    preview: bool = False
    """Only say what would happen."""
    expected: Annotated[int, Meta(ge=0)] | None = None
    """How many the selection had when it was looked at; 409 where it has others by now."""


class BulkEdit(Selection, frozen=True, kw_only=True):
    patch: dict[str, Any] = {}
    """Fields of a customer, as `PATCH` takes them."""
    add_tags: Tags = ()
    remove_tags: Tags = ()


class Named(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    name: str


class BulkDone(msgspec.Struct, frozen=True, kw_only=True):
    matched: int
    changed: int
    """The others are so already: no version is counted up and nothing is audited for them."""
    is_preview: bool
    customers: list[Named]
    """The first of those that change."""


async def edit(ctx: Context, asked: BulkEdit) -> BulkDone:
    """Change every customer of the selection; one audit row each.

    Raises:
        Invalid: a field that no customer takes.
        Conflict: some do not take the change; they are named, and none is changed.
    """
    for name in asked.patch:
        if name not in CustomerNew.__struct_fields__:
            raise invalid(f"patch.{name}", f"Object contains unknown field `{name}`")
    if not asked.patch and not asked.add_tags and not asked.remove_tags:
        raise invalid("patch", "nothing to change")
    if "tags" in asked.patch and (asked.add_tags or asked.remove_tags):
        raise invalid("patch.tags", "either all tags, or those to add and to remove")

    async def act(change: Change, row: RowMapping) -> bool:
        sent = dict(asked.patch)
        if asked.add_tags or asked.remove_tags:
            kept = [tag for tag in row["tags"] if tag not in asked.remove_tags]
            sent["tags"] = [*kept, *(tag for tag in dict.fromkeys(asked.add_tags) if tag not in kept)]
        after = await CUSTOMERS.update_in(ctx, change, row["id"], sent)
        return bool(after.row_version != row["row_version"])

    return await _each(ctx, asked, act)


async def archive(ctx: Context, asked: Selection) -> BulkDone:
    """Archive every customer of the selection, as one `DELETE` each would.

    Raises:
        Conflict: some have live calls; both are named, and none is archived.
    """
    try:
        calls = await ctx.switch.list_calls()
    except SwitchAway as error:
        raise Conflict("Whether the customers have live calls is not known while the switch is away.") from error

    async def act(change: Change, row: RowMapping) -> bool:
        own = [call for call in calls if call.customer_id == row["id"]]
        if own:
            references = [Reference(noun="call", id=call.cdr_id, name=call.dialled) for call in own[:NAMED_MAX]]
            raise Conflict(f"The customer has {len(own)} live calls.", references=references)
        await CUSTOMERS.archive_in(change, row["id"])
        return True

    return await _each(ctx, asked, act)


class _Preview(Exception):
    """All went well, and none of it shall stay."""


async def _each(ctx: Context, asked: Selection, act: Callable[[Change, RowMapping], Awaitable[bool]]) -> BulkDone:
    matched, changed = 0, 0
    named: list[Named] = []
    with suppress(_Preview):
        async with ctx.change() as change:
            rows = await _selected(change, asked)
            matched = len(rows)
            if asked.expected is not None and matched != asked.expected:
                raise Conflict(f"The selection has {matched} customers by now, and not {asked.expected}.")
            refused: list[tuple[RowMapping, Conflict]] = []
            for row in rows:
                try:
                    is_changed = await act(change, row)
                except Conflict as error:
                    refused.append((row, error))
                    continue
                except Invalid as error:
                    where = [msgspec.structs.replace(each, path=f"patch.{each.path}") for each in error.errors]
                    raise Invalid(where) from error
                changed += is_changed
                if is_changed and len(named) < NAMED_MAX:
                    named.append(Named(id=row["id"], name=row["name"]))
            if refused:
                raise _refusal(refused, matched)
            if asked.preview:
                raise _Preview
    return BulkDone(matched=matched, changed=changed, is_preview=asked.preview, customers=named)


async def _selected(change: Change, asked: Selection) -> list[RowMapping]:
    if (asked.ids is None) == (asked.filter is None):
        raise invalid("ids", "either ids or a filter")
    c = CUSTOMERS.table.c
    if asked.filter is not None:
        statement = CUSTOMERS.filtered(CustomerQuery(**msgspec.structs.asdict(asked.filter)))
        rows = list((await change.tx.execute(statement.order_by(c.id).limit(ROWS_MAX + 1))).mappings())
        if len(rows) > ROWS_MAX:
            raise invalid("filter", f"more than {ROWS_MAX} customers")
        return rows
    statement = CUSTOMERS.filtered(CustomerQuery())
    found: dict[int, RowMapping] = {}
    wanted = list(dict.fromkeys(asked.ids or ()))
    # A statement takes some thousand parameters on either database.
    for at in range(0, len(wanted), 500):
        part = statement.where(c.id.in_(wanted[at : at + 500]))
        found.update({row["id"]: row for row in (await change.tx.execute(part)).mappings()})
    missing = [
        FieldError(f"ids[{index}]", f"there is no customer {row_id}")
        for index, row_id in enumerate(asked.ids or ())
        if row_id not in found
    ]
    if missing:
        raise Invalid(missing)
    return [found[row_id] for row_id in wanted]


def _refusal(refused: list[tuple[RowMapping, Conflict]], matched: int) -> Conflict:
    errors: list[FieldError] = []
    references: list[Reference] = []
    for row, error in refused[:NAMED_MAX]:
        path = f"patch.{error.errors[0].path}" if error.errors else ""
        errors.append(FieldError(path, f"{row['name']}: {error}"))
        references += [Reference(noun="customer", id=str(row["id"]), name=row["name"]), *error.references]
    detail = f"{len(refused)} of {matched} customers stand in the way; nothing was changed."
    return Conflict(detail, errors=errors, references=references)
