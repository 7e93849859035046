"""Revisions of a rate card: one compiled price list each, in force from a time on, rolled back in one call.

A revision is never edited. What is in force follows from the card's activations: of those that have
begun the last counts. Rolling back cancels that one, so what was before is in force again.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping

from control.own_process import own_process
from control.services.context import Change, Context
from control.services.deck_import import DeckDiff, ImportOptions, ImportReport, diff_decks, import_deck
from control.services.errors import Conflict, FieldError, Invalid, NotFound, invalid
from control.services.fields import Id, Label, Moment, moment_ms, ms_moment
from control.services.loss_report import Losses
from control.services.margins import losses_of_deck
from control.services.pages import ListQuery, Page, contains, read_page
from control.services.problems import convert, decode
from control.services.rate_cards import RATE_CARDS
from control.store import tables
from control.store.engine import Tx
from rating.decks import Deck

OWN_PROCESS_BYTES: Final = 262_144
"""Larger files are compiled in a process of their own: seconds of work would hold up the API and the
reading of the journal. Smaller ones take less time than starting a process does."""
DECK_SUFFIXES: Final = (".trie", ".rates")

State = Literal["ready", "scheduled", "active", "superseded"]


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    card_id: int
    state: State
    is_active: bool
    active_from: Moment | None
    """When it came into force last, or will; null where it never did."""
    rows: int
    file_name: str
    sha256: str
    note: str
    created_at: Moment
    created_by: str


class RevisionQuery(ListQuery, frozen=True, kw_only=True):
    pass


class LoadQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file is read and what becomes of it; the defaults find out most of it."""

    file_name: Label = ""
    """Of a file that comes as the body; its ending says what it is."""
    note: Label = ""
    """Kept with the revision."""
    dry_run: bool = False
    """Check the file and keep nothing."""
    diff: bool = False
    """Compare it with what is in force, or with the revision of `against`."""
    against: Id | None = None
    """The revision that `diff` compares with."""
    losses: bool = False
    """Say where it would lose money with the cards that it is tied to …"""
    losses_at: Moment | None = None
    """… by the prices of that time; left out: now."""
    activate: bool = False
    """Put it in force at once …"""
    activate_at: Moment | None = None
    """… or at a time."""
    columns: Annotated[str, Meta(max_length=4_000)] = ""
    """JSON object: field to the header of its column, or its place from 0."""
    first_s: Annotated[int, Meta(ge=0, le=86_400)] = 1
    """First increment of rows that name none, in seconds …"""
    next_s: Annotated[int, Meta(ge=1, le=86_400)] = 1
    """… and each further one."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals."""
    date_format: Label = ""
    """As `strptime` takes it; left out: ISO 8601."""
    time_zone: Label = "UTC"
    """Of dates without an offset."""
    encoding: Label = "utf-8"
    """Of a text file."""
    delimiter: Literal["", ",", ";", "\t", "|"] = ""
    """Between the cells of a text file; left out: found out."""
    sheet: Label = ""
    """Of a spreadsheet; left out: the first."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    revision: Revision | None
    """None of a dry run."""
    report: ImportReport
    diff: DeckDiff | None
    losses: Losses | None = None


async def page(ctx: Context, card_id: int, query: RevisionQuery) -> Page[Revision]:
    """The youngest first."""
    revisions = tables.revisions
    statement = select(revisions).where(revisions.c.card_id == card_id)
    if query.search:
        statement = statement.where(contains(revisions, "file_name", query.search))
    ordered = msgspec.structs.replace(query, sort=query.sort or "-id")
    async with ctx.store.read() as tx:
        await RATE_CARDS.row(tx, card_id)
        activations = await _activations(tx, card_id)
        rows, next_cursor = await read_page(tx, revisions, statement, ordered, ("id",))
    items = [_shown(row, activations, ctx.now_ms()) for row in rows]
    return Page(items=items, next_cursor=next_cursor)


async def get(ctx: Context, card_id: int, revision_id: int) -> Revision:
    async with ctx.store.read() as tx:
        return await _read(tx, card_id, revision_id, ctx.now_ms())


async def load(ctx: Context, card_id: int, file: Path, sha256: str, asked: LoadQuery) -> Loaded:
    """Compile a price list into a new revision; every bad row is reported, and one refuses them all.

    Raises:
        Invalid: the bad rows, each with line and column.
    """
    options = _options(asked)
    async with ctx.store.read() as tx:
        await RATE_CARDS.row(tx, card_id)
        old = await _compared(ctx, tx, card_id, asked) if asked.diff else None
        _activation_ms(ctx, asked.activate, asked.activate_at)
    path = f"decks/{card_id}/{secrets.token_hex(8)}"
    base = ctx.data_folder / path
    await asyncio.to_thread(base.parent.mkdir, parents=True, exist_ok=True)
    is_kept = False
    try:
        is_thrown_away = asked.dry_run and not asked.diff and not asked.losses
        report = await _compile(file, None if is_thrown_away else base, options)
        if report.errors:
            raise Invalid([FieldError("file", each.reason, each.line, each.column) for each in report.errors])
        diff = None
        if asked.diff:
            diff = await asyncio.to_thread(diff_decks, old, Deck.open(base), ctx.now_ms())
        # Before it is kept: where it shall be in force at once, what was in force until now still is.
        losses = await losses_of_deck(ctx, card_id, str(base), asked.losses_at) if asked.losses else None
        if asked.dry_run:
            kept_nothing = msgspec.structs.replace(report, written=False)
            return Loaded(rows=report.rows, revision=None, report=kept_nothing, diff=diff, losses=losses)
        revision = await _keep(ctx, card_id, path, report.rows, sha256, asked)
        is_kept = True
    finally:
        if not is_kept:
            await asyncio.to_thread(_remove_deck, base)
    return Loaded(rows=report.rows, revision=revision, report=report, diff=diff, losses=losses)


async def activate(ctx: Context, card_id: int, revision_id: int, at: Any = None) -> Revision:
    """Put a revision in force, now or at a time to come; calls that are up keep their prices."""
    from_ms = _activation_ms(ctx, True, at)
    async with ctx.change() as change:
        before = await _read(change.tx, card_id, revision_id, change.now_ms)
        await _activate(change, card_id, revision_id, from_ms or 0)
        after = await _read(change.tx, card_id, revision_id, change.now_ms)
        await change.audit("activate", "revision", revision_id, before=before, after=after)
        return after


async def roll_back(ctx: Context, card_id: int) -> Revision:
    """Put in force again what was before the active revision; that one can be activated anew."""
    async with ctx.change() as change:
        await RATE_CARDS.row(change.tx, card_id)
        begun = [each for each in await _activations(change.tx, card_id) if each["active_from_ms"] <= change.now_ms]
        if len({each["revision_id"] for each in begun}) < 2:
            raise Conflict("The card has no revision to roll back to.")
        active = begun[-1]["revision_id"]
        # The same revision activated twice in a row is one step, not two.
        while begun[-1]["revision_id"] == active:
            await _cancel(change, begun.pop()["id"])
        await _publish(change, card_id)
        revision = await _read(change.tx, card_id, begun[-1]["revision_id"], change.now_ms)
        await change.audit("roll_back", "rate_card", card_id, before={"revision_id": active}, after=revision)
        return revision


async def cancel(ctx: Context, card_id: int, revision_id: int) -> Revision:
    """Take back activations that have not begun."""
    async with ctx.change() as change:
        before = await _read(change.tx, card_id, revision_id, change.now_ms)
        ahead = [
            each
            for each in await _activations(change.tx, card_id)
            if each["revision_id"] == revision_id and each["active_from_ms"] > change.now_ms
        ]
        if not ahead:
            raise Conflict("The revision is not scheduled.")
        for each in ahead:
            await _cancel(change, each["id"])
        await _publish(change, card_id)
        after = await _read(change.tx, card_id, revision_id, change.now_ms)
        await change.audit("cancel", "revision", revision_id, before=before, after=after)
        return after


async def open_deck(ctx: Context, tx: Tx, card_id: int, revision_id: int) -> Deck:
    """A revision's deck, mapped.

    Raises:
        Conflict: its files are missing or damaged.
    """
    row = await _row(tx, card_id, revision_id)
    try:
        return Deck.open(ctx.data_folder / row["path"])
    except (OSError, ValueError) as error:
        raise Conflict(f"The deck of revision {revision_id} cannot be read: {error}") from error


async def active_revision(tx: Tx, card_id: int, now_ms: int) -> int | None:
    begun = [each for each in await _activations(tx, card_id) if each["active_from_ms"] <= now_ms]
    return begun[-1]["revision_id"] if begun else None


async def _compile(file: Path, base: Path | None, options: ImportOptions) -> ImportReport:
    """Import a file beside the event loop: in a thread, or a large one in a process that lives for it."""
    size = await asyncio.to_thread(file.stat)
    is_large = size.st_size > OWN_PROCESS_BYTES
    pool = own_process() if is_large else None
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, import_deck, file, base, options)
    except ValueError as error:
        raise invalid("file", str(error)) from error
    finally:
        if pool is not None:
            pool.shutdown(wait=False)


def _remove_deck(base: Path) -> None:
    for suffix in DECK_SUFFIXES:
        base.with_name(base.name + suffix).unlink(missing_ok=True)


async def _keep(ctx: Context, card_id: int, path: str, rows: int, sha256: str, asked: LoadQuery) -> Revision:
    async with ctx.change() as change:
        await RATE_CARDS.row(change.tx, card_id)
        values = {
            "card_id": card_id,
            "path": path,
            "rows": rows,
            "file_name": asked.file_name,
            "sha256": sha256,
            "note": asked.note,
            "created_ms": change.now_ms,
            "created_by": change.actor.name,
        }
        made = insert(tables.revisions).values(**values).returning(tables.revisions.c.id)
        revision_id = (await change.tx.execute(made)).scalar_one()
        from_ms = _activation_ms(ctx, asked.activate, asked.activate_at)
        if from_ms is not None:
            await _activate(change, card_id, revision_id, from_ms)
        revision = await _read(change.tx, card_id, revision_id, change.now_ms)
        await change.audit("load", "revision", revision_id, after=revision)
        return revision


def _activation_ms(ctx: Context, is_now: bool, at: Any) -> int | None:
    """When a revision comes into force: 0 for now, None for not at all."""
    if at is None:
        return 0 if is_now else None
    at_ms = moment_ms("activate_at", at)
    if at_ms < ctx.now_ms():
        raise invalid("activate_at", "in the past")
    return at_ms


async def _activate(change: Change, card_id: int, revision_id: int, from_ms: int) -> None:
    values = {
        "card_id": card_id,
        "revision_id": revision_id,
        # What is in force at once begins when it is made, to the millisecond: nobody waits for it.
        "active_from_ms": max(from_ms, change.now_ms),
        "created_ms": change.now_ms,
    }
    await change.tx.execute(insert(tables.activations).values(**values))
    await _publish(change, card_id)


async def _cancel(change: Change, activation_id: int) -> None:
    activations = tables.activations
    await change.tx.execute(
        update(activations).where(activations.c.id == activation_id).values(cancelled_ms=change.now_ms)
    )


async def _publish(change: Change, card_id: int) -> None:
    """Send the card with its revisions; its own version counts up, for what it sells has changed."""
    row = await RATE_CARDS.write(change, await RATE_CARDS.row(change.tx, card_id), {})
    change.put.append(await RATE_CARDS.record(change.tx, row))


async def _activations(tx: Tx, card_id: int) -> list[RowMapping]:
    """Not cancelled, in the order in which they take effect."""
    activations = tables.activations
    query = (
        select(activations)
        .where(activations.c.card_id == card_id, activations.c.cancelled_ms.is_(None))
        .order_by(activations.c.active_from_ms, activations.c.id)
    )
    return list((await tx.execute(query)).mappings())


async def _row(tx: Tx, card_id: int, revision_id: int) -> RowMapping:
    await RATE_CARDS.row(tx, card_id)
    revisions = tables.revisions
    query = select(revisions).where(revisions.c.id == revision_id, revisions.c.card_id == card_id)
    row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("revision", revision_id)
    return row


async def _read(tx: Tx, card_id: int, revision_id: int, now_ms: int) -> Revision:
    row = await _row(tx, card_id, revision_id)
    return _shown(row, await _activations(tx, card_id), now_ms)


async def _compared(ctx: Context, tx: Tx, card_id: int, asked: LoadQuery) -> Deck | None:
    against = asked.against or await active_revision(tx, card_id, ctx.now_ms())
    return None if against is None else await open_deck(ctx, tx, card_id, against)


def _shown(row: RowMapping, activations: list[RowMapping], now_ms: int) -> Revision:
    begun = [each for each in activations if each["active_from_ms"] <= now_ms]
    own = [each for each in activations if each["revision_id"] == row["id"]]
    is_active = bool(begun) and begun[-1]["revision_id"] == row["id"]
    ahead = [each for each in own if each["active_from_ms"] > now_ms]
    state: State = "active" if is_active else "scheduled" if ahead else "superseded" if own else "ready"
    shown = begun[-1] if is_active else ahead[0] if ahead else own[-1] if own else None
    return Revision(
        id=row["id"],
        card_id=row["card_id"],
        state=state,
        is_active=is_active,
        active_from=None if shown is None else ms_moment(shown["active_from_ms"]),
        rows=row["rows"],
        file_name=row["file_name"],
        sha256=row["sha256"],
        note=row["note"],
        created_at=ms_moment(row["created_ms"]),
        created_by=row["created_by"],
    )


def _options(asked: LoadQuery) -> ImportOptions:
    """How the importer shall read the file; what it cannot do is refused in the query's words."""
    values = {name: getattr(asked, name) for name in ImportOptions.__struct_fields__}
    values["columns"] = decode(asked.columns.encode(), dict[str, str | int]) if asked.columns else {}
    return convert(values, ImportOptions)
