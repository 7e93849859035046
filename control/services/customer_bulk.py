"""Many customers at once: change or archive all of a selection, or none of it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy.engine import RowMapping

from control.services import bulk
from control.services.context import Change, Context
from control.services.customers import CUSTOMERS, CustomerFilter, CustomerNew, CustomerQuery, Tag
from control.services.errors import Conflict, Reference, SwitchAway, invalid
from control.services.fields import Id

Tags = Annotated[tuple[Tag, ...], Meta(max_length=50)]
Ids = Annotated[tuple[Id, ...], Meta(max_length=bulk.ROWS_MAX)]


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
        calls = [] if ctx.is_rehearsal else await ctx.switch.list_calls()
    except SwitchAway as error:
        raise Conflict("Whether the customers have live calls is not known while the switch is away.") from error

    async def act(change: Change, row: RowMapping) -> bool:
        own = [call for call in calls if call.customer_id == row["id"]]
        if own:
            references = [Reference(noun="call", id=call.cdr_id, name=call.dialled) for call in own[: bulk.NAMED_MAX]]
            raise Conflict(f"The customer has {len(own)} live calls.", references=references)
        await CUSTOMERS.archive_in(change, row["id"])
        return True

    return await _each(ctx, asked, act)


async def _each(ctx: Context, asked: Selection, act: bulk.Act) -> BulkDone:
    by_filter = None
    if asked.filter is not None:
        by_filter = CUSTOMERS.filtered(CustomerQuery(**msgspec.structs.asdict(asked.filter)))
    done = await bulk.each(
        ctx,
        bulk.Selected(
            noun=CUSTOMERS,
            plural="customers",
            label="name",
            ids=asked.ids,
            statement=by_filter,
            every=CUSTOMERS.filtered(CustomerQuery()),
            expected=asked.expected,
            is_preview=asked.preview,
            place="patch",
        ),
        act,
    )
    named = [Named(id=row["id"], name=row["name"]) for row in done.named]
    return BulkDone(matched=done.matched, changed=done.changed, is_preview=asked.preview, customers=named)
