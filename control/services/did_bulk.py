"""Many DIDs at once: change the fields of a selection, or take a step of its life, with all or with none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy.engine import RowMapping

from control.services import bulk, did_charges, did_life
from control.services.context import Change, Context
from control.services.did_fields import Destination, DidFilter, DidNew, DidQuery
from control.services.dids import DIDS, with_digits
from control.services.errors import invalid
from control.services.fields import Amount, Channels, Id, Label, Moment
from control.services.memos import remembering
from control.services.problems import convert

Ids = Annotated[tuple[Id, ...], Meta(max_length=bulk.ROWS_MAX)]
Action = Literal["allocate", "assign", "release", "free", "archive"]

NOT_ALIKE: Final = ("number", "customer_id")
"""Fields that no patch of many takes: one is each number's own, the other moves by steps."""


class DidSelection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """DIDs by id or by filter: one of the two."""

    ids: Ids | None = None
    filter: DidFilter | None = None
    """Without a field in it: every DID."""
    preview: bool = False
    """Only say what would happen."""
    expected: Annotated[int, Meta(ge=0)] | None = None
    """How many the selection had when it was looked at; 409 where it has others by now."""


class DidBulkEdit(DidSelection, frozen=True, kw_only=True):
    patch: dict[str, Any] = {}
    """Fields of a DID, as `PATCH` takes them."""


class DidBulkStep(DidSelection, frozen=True, kw_only=True):
    """A step of life, with what that step takes beside it."""

    action: Action
    customer_id: Id | UnsetType = UNSET
    customer_card_id: Id | UnsetType | None = UNSET
    destination: Destination | UnsetType = UNSET
    destinations: Annotated[tuple[Destination, ...], Meta(max_length=16)] | UnsetType = UNSET
    retail: Amount | UnsetType = UNSET
    setup_retail: Amount | UnsetType = UNSET
    channels: Channels | UnsetType | None = UNSET
    until: Moment | UnsetType = UNSET
    reason: Label | UnsetType = UNSET


class DidNamed(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    number: str


class DidBulkDone(msgspec.Struct, frozen=True, kw_only=True):
    matched: int
    changed: int
    """The others are so already: no version is counted up and nothing is audited for them."""
    is_preview: bool
    dids: list[DidNamed]
    """The first of those that change."""


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the other steps take."""


async def edit(ctx: Context, asked: DidBulkEdit) -> DidBulkDone:
    """Change every DID of the selection; one audit row each."""
    if not asked.patch:
        raise invalid("patch", "nothing to change")
    for name in asked.patch:
        if name not in DidNew.__struct_fields__:
            raise invalid(f"patch.{name}", f"Object contains unknown field `{name}`")
        if name in NOT_ALIKE:
            raise invalid(f"patch.{name}", "not of many at once")

    async def act(change: Change, row: RowMapping) -> bool:
        after = await DIDS.update_in(ctx, change, row["id"], asked.patch)
        return bool(after.row_version != row["row_version"])

    return await _each(ctx, asked, act, "patch")


async def take_step(ctx: Context, asked: DidBulkStep) -> DidBulkDone:
    """Take a step of life with every DID of the selection."""
    step = _step(asked)

    async def act(change: Change, row: RowMapping) -> bool:
        await step(change, row)
        return True

    return await _each(ctx, asked, act, "")


def _step(asked: DidBulkStep) -> Callable[[Change, RowMapping], Awaitable[object]]:
    """The step, with its own fields; one that it does not take is refused."""
    common = ("action", *DidSelection.__struct_fields__)
    sent = {name: value for name, value in msgspec.to_builtins(asked).items() if name not in common}
    if asked.action == "allocate":
        allocate = convert(sent, did_life.Allocate)
        return lambda change, row: did_life.allocate_in(change, row, allocate)
    if asked.action == "assign":
        assign = convert(sent, did_life.Assign)
        return lambda change, row: did_life.assign_in(change, row, assign)
    if asked.action == "release":
        release = convert(sent, did_life.Release)
        return lambda change, row: did_life.release_in(change, row, release)
    convert(sent, _Nothing)
    if asked.action == "free":
        return did_life.set_free_in
    return lambda change, row: DIDS.archive_in(change, row["id"])


@asynccontextmanager
async def _together(change: Change) -> AsyncIterator[None]:
    """Parties are read once, and charges booked at the end: nothing but DIDs changes in between."""
    with remembering(change):
        async with did_charges.together(change):
            yield


async def _each(ctx: Context, asked: DidSelection, act: bulk.Act, place: str) -> DidBulkDone:
    by_filter = None
    if asked.filter is not None:
        by_filter = DIDS.filtered(with_digits(DidQuery(**msgspec.structs.asdict(asked.filter))))
    done = await bulk.each(
        ctx,
        bulk.Selected(
            noun=DIDS,
            plural="DIDs",
            label="number",
            ids=asked.ids,
            statement=by_filter,
            every=DIDS.filtered(DidQuery()),
            expected=asked.expected,
            is_preview=asked.preview,
            place=place,
        ),
        act,
        _together,
    )
    named = [DidNamed(id=row["id"], number=row["number"]) for row in done.named]
    return DidBulkDone(matched=done.matched, changed=done.changed, is_preview=asked.preview, dids=named)
