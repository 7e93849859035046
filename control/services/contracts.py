"""Vendors' contracts tied to a customer account: revisions that nobody edits, and their signed copies.

What a contract says is its last revision; another text, other dates or other rates are another revision,
and the contract is a draft again. A revision goes from draft to sent to signed; it is expired when its last
day is over, whatever it was. Days are UTC's.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, NotFound, Reference, invalid
from control.services.fields import Id, Label, Moment, Name, Notes, check_name, moment_or_none, ms_moment
from control.services.nouns import Noun
from control.services.outbox import emit
from control.services.owners import check_customer, require
from control.services.pages import ListQuery, Page, read_page
from control.services.periods import FIRST_DAY, LAST_DAY
from control.store import tables
from control.store.contract_tables import contract_files, contract_revisions, contracts
from control.store.engine import Tx

FILE_BYTES_MAX: Final = 10 * 1_048_576
PDF_BEGINS: Final = b"%PDF-"

State = Literal["draft", "sent", "signed", "expired"]
Terms = Annotated[str, Meta(min_length=1, max_length=200_000, pattern=r"^(?![\s\S]*\x00)")]


class ContractNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    provider_id: Id | None = None
    """The vendor whose contract it is."""
    title: Name
    reference: Label = ""
    """Its number with the other side."""
    required_by: date | None = None
    """The day by which it is to be signed; overdue after it."""
    notes: Notes = ""


class Contract(ContractNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    revisions: int
    """How many there are."""
    ends: date | None
    """The last day of the last revision; null: it does not end."""


class ContractShown(Contract, frozen=True, kw_only=True):
    state: State
    """Of the last revision."""
    is_overdue: bool
    """Required by a day that is over, and neither signed nor expired."""
    provider: str | None


class ContractQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    provider_id: Id | None = None
    state: State | None = None
    overdue: bool | None = None


class ContractRevisionNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: Terms
    """What is agreed on, word for word."""
    starts: date | None = None
    ends: date | None = None
    """The last day; null: until somebody ends it by another revision."""
    rate_card_id: Id | None = None
    """The prices that it is about: one of the vendor's buy cards."""


class SignedCopy(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: int
    sha256: str
    signed_by: str
    signed_on: date
    uploaded_at: Moment
    uploaded_by: str


class ContractRevision(msgspec.Struct, frozen=True, kw_only=True):
    """Never changed; what happened to it is told beside its words."""

    id: int
    contract_id: int
    number: int
    text: str
    starts: date | None
    ends: date | None
    rate_card_id: int | None
    state: State
    created_at: Moment
    created_by: str
    sent_at: Moment | None
    signed_at: Moment | None
    signed_copy: SignedCopy | None


class ContractRevisionQuery(ListQuery, frozen=True, kw_only=True):
    pass


class SignQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    signed_by: Label = ""
    """Who signed for the other side."""
    signed_on: date | None = None
    """Today where it is left out."""
    file_name: Label = ""


class Contracts(Noun[ContractNew, Contract]):
    name = "contract"
    table = contracts
    new = ContractNew
    out = Contract
    fixed = ("customer_id",)
    sorts = ("id", "title", "customer_id", "created_at", "updated_at")
    search = ("title", "reference")

    async def check(self, ctx: Context, change: Change, new: ContractNew, before: RowMapping | None) -> dict[str, Any]:
        await check_customer(change.tx, new.customer_id)
        check_name("title", new.title)
        if new.provider_id is not None and (before is None or before["provider_id"] != new.provider_id):
            await require(change.tx, tables.providers, "provider_id", "provider", new.provider_id)
        _check_day("required_by", new.required_by)
        return {} if before is not None else {"stage": "draft"}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        c = contract_revisions.c
        signed = select(c.id).where(c.contract_id == row["id"], c.signed_ms.is_not(None)).limit(1)
        if (await tx.execute(signed)).first() is not None:
            raise Conflict("A contract that was signed is kept.")
        return []

    async def page(self, ctx: Context, query: ListQuery) -> Page[Contract]:
        assert isinstance(query, ContractQuery)
        today = _today(ctx)
        statement = self.filtered(query)
        c = contracts.c
        is_over = and_(c.ends.is_not(None), c.ends < today)
        if query.state is not None:
            statement = statement.where(is_over if query.state == "expired" else and_(c.stage == query.state, ~is_over))
        if query.overdue is not None:
            is_overdue = and_(c.required_by.is_not(None), c.required_by < today, c.stage != "signed", ~is_over)
            statement = statement.where(is_overdue if query.overdue else or_(c.required_by.is_(None), ~is_overdue))
        async with ctx.store.read() as tx:
            rows, next_cursor = await read_page(tx, contracts, statement, query, self.sorts)
        return Page(items=[self.struct(row) for row in rows], next_cursor=next_cursor)

    @property
    def answer(self) -> type[ContractShown]:
        return ContractShown

    async def answers(self, ctx: Context, rows: list[Contract]) -> list[Any]:
        c, providers = contracts.c, tables.providers
        query = (
            select(c.id, c.stage, providers.c.name)
            .outerjoin(providers, providers.c.id == c.provider_id)
            .where(c.id.in_([row.id for row in rows]))
        )
        async with ctx.store.read() as tx:
            facts = {row_id: (stage, name) for row_id, stage, name in await tx.execute(query)}
        today = date.fromisoformat(_today(ctx))
        found = []
        for row in rows:
            stage, provider = facts[row.id]
            state = _state(stage, row.ends, today)
            is_late = row.required_by is not None and row.required_by < today
            found.append(
                ContractShown(
                    **msgspec.structs.asdict(row),
                    state=state,
                    is_overdue=is_late and state in ("draft", "sent"),
                    provider=provider,
                )
            )
        return found


CONTRACTS: Final = Contracts()


async def add_revision(ctx: Context, contract_id: int, new: ContractRevisionNew) -> ContractRevision:
    """Write what is agreed on from now on; the contract is a draft until it is sent and signed again."""
    for path in ("starts", "ends"):
        _check_day(path, getattr(new, path))
    if new.starts is not None and new.ends is not None and new.ends < new.starts:
        raise invalid("ends", "before it starts")
    async with ctx.change() as change:
        contract = await CONTRACTS.row(change.tx, contract_id)
        await _check_card(change.tx, contract, new.rate_card_id)
        values = {
            **msgspec.to_builtins(new),
            "contract_id": contract_id,
            "number": contract["revisions"] + 1,
            "created_by": change.actor.name,
            "created_ms": change.now_ms,
        }
        made = await change.tx.execute(insert(contract_revisions).values(**values).returning(contract_revisions))
        shown = _revision(made.mappings().one(), None, _today(ctx))
        facts = {"stage": "draft", "ends": values["ends"], "revisions": values["number"]}
        await CONTRACTS.write(change, contract, facts)
        await change.audit("create", "contract_revision", shown.id, after=shown)
    return shown


async def page_revisions(ctx: Context, contract_id: int, query: ContractRevisionQuery) -> Page[ContractRevision]:
    """The latest first unless asked otherwise."""
    ordered = msgspec.structs.replace(query, sort=query.sort or "-number")
    async with ctx.store.read() as tx:
        await CONTRACTS.row(tx, contract_id)
        statement = select(contract_revisions).where(contract_revisions.c.contract_id == contract_id)
        rows, next_cursor = await read_page(tx, contract_revisions, statement, ordered, ("number", "id"))
        files = await _files(tx, [row["id"] for row in rows])
    today = _today(ctx)
    return Page(items=[_revision(row, files.get(row["id"]), today) for row in rows], next_cursor=next_cursor)


async def get_revision(ctx: Context, contract_id: int, number: int) -> ContractRevision:
    async with ctx.store.read() as tx:
        row = await _row(tx, contract_id, number)
        files = await _files(tx, [row["id"]])
    return _revision(row, files.get(row["id"]), _today(ctx))


async def mark_sent(ctx: Context, contract_id: int) -> ContractRevision:
    """The last revision went to the other side; one that did before stays as it is."""
    async with ctx.change() as change:
        contract = await CONTRACTS.row(change.tx, contract_id)
        if not contract["revisions"]:
            raise Conflict("The contract has no revision to send.")
        row = await _row(change.tx, contract_id, contract["revisions"])
        if row["sent_ms"] is None and row["signed_ms"] is None:
            row = await _write(change, row, {"sent_ms": change.now_ms})
            await CONTRACTS.write(change, contract, {"stage": "sent"})
            await change.audit("send", "contract_revision", row["id"], after={"contract_id": contract_id})
        files = await _files(change.tx, [row["id"]])
    return _revision(row, files.get(row["id"]), _today(ctx))


async def sign(
    ctx: Context, contract_id: int, number: int, content: bytes, name: str, query: SignQuery
) -> ContractRevision:
    """Keep a revision's signed copy.

    Raises:
        Invalid: the file is no PDF, by its own bytes.
        Conflict: the revision has one already, or a later revision has taken its place.
    """
    if not content.startswith(PDF_BEGINS) or b"%%EOF" not in content[-2_048:]:
        raise invalid("file", "not a PDF")
    if len(content) > FILE_BYTES_MAX:
        raise invalid("file", f"above {FILE_BYTES_MAX} bytes")
    _check_day("signed_on", query.signed_on)
    async with ctx.change() as change:
        contract = await CONTRACTS.row(change.tx, contract_id)
        row = await _row(change.tx, contract_id, number)
        if row["signed_ms"] is not None:
            raise Conflict("The revision has a signed copy already.")
        if number != contract["revisions"]:
            raise Conflict(f"Revision {contract['revisions']} has taken its place.")
        signed_on = query.signed_on or date.fromisoformat(_today(ctx))
        values = {
            "revision_id": row["id"],
            "name": (query.file_name or name or f"contract-{contract_id}-{number}.pdf")[:255],
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "content": content,
            "signed_by": query.signed_by,
            "signed_on": signed_on.isoformat(),
            "uploaded_by": change.actor.name,
            "uploaded_ms": change.now_ms,
        }
        await change.tx.execute(insert(contract_files).values(**values))
        row = await _write(change, row, {"signed_ms": change.now_ms})
        await CONTRACTS.write(change, contract, {"stage": "signed"})
        shown = _revision(row, (await _files(change.tx, [row["id"]]))[row["id"]], _today(ctx))
        await change.audit("sign", "contract_revision", row["id"], after=shown.signed_copy)
        payload = {
            "customer_id": contract["customer_id"],
            "contract_id": contract_id,
            "title": contract["title"],
            "revision": number,
            "signed_on": signed_on.isoformat(),
        }
        await emit(change, "contract.signed", payload, customer_id=contract["customer_id"])
    return shown


async def signed_copy(ctx: Context, contract_id: int, number: int) -> tuple[str, bytes, str]:
    """Name, bytes and SHA-256 of a revision's signed copy."""
    async with ctx.store.read() as tx:
        row = await _row(tx, contract_id, number)
        query = select(contract_files).where(contract_files.c.revision_id == row["id"])
        file = (await tx.execute(query)).mappings().first()
    if file is None:
        raise NotFound("signed_copy", number)
    return file["name"], file["content"], file["sha256"]


async def _row(tx: Tx, contract_id: int, number: int) -> RowMapping:
    await CONTRACTS.row(tx, contract_id)
    c = contract_revisions.c
    row = None
    if 0 < number < 2**31:
        query = select(contract_revisions).where(c.contract_id == contract_id, c.number == number)
        row = (await tx.execute(query)).mappings().first()
    if row is None:
        raise NotFound("contract_revision", number)
    return row


async def _write(change: Change, row: RowMapping, values: dict[str, Any]) -> RowMapping:
    written = update(contract_revisions).where(contract_revisions.c.id == row["id"]).values(**values)
    after: RowMapping = (await change.tx.execute(written.returning(contract_revisions))).mappings().one()
    return after


async def _files(tx: Tx, revision_ids: list[int]) -> dict[int, SignedCopy]:
    """Facts of signed copies, without their bytes."""
    c = contract_files.c
    columns = [column for column in contract_files.c if column.name != "content"]
    rows = await tx.execute(select(*columns).where(c.revision_id.in_(revision_ids)))
    return {
        row["revision_id"]: SignedCopy(
            name=row["name"],
            size=row["size"],
            sha256=row["sha256"],
            signed_by=row["signed_by"],
            signed_on=date.fromisoformat(row["signed_on"]),
            uploaded_at=ms_moment(row["uploaded_ms"]),
            uploaded_by=row["uploaded_by"],
        )
        for row in rows.mappings()
    }


async def _check_card(tx: Tx, contract: RowMapping, card_id: int | None) -> None:
    if card_id is None:
        return
    card = await require(tx, tables.rate_cards, "rate_card_id", "rate card", card_id)
    if card["direction"] != "buy" or contract["provider_id"] not in (None, card["provider_id"]):
        detail = "The rate card is not one of the vendor's."
        raise Conflict(detail, errors=[FieldError("rate_card_id", detail)])


def _revision(row: RowMapping, file: SignedCopy | None, today: str) -> ContractRevision:
    stage = "signed" if row["signed_ms"] is not None else "draft" if row["sent_ms"] is None else "sent"
    ends = None if row["ends"] is None else date.fromisoformat(row["ends"])
    return ContractRevision(
        id=row["id"],
        contract_id=row["contract_id"],
        number=row["number"],
        text=row["text"],
        starts=None if row["starts"] is None else date.fromisoformat(row["starts"]),
        ends=ends,
        rate_card_id=row["rate_card_id"],
        state=_state(stage, ends, date.fromisoformat(today)),
        created_at=ms_moment(row["created_ms"]),
        created_by=row["created_by"],
        sent_at=moment_or_none(row["sent_ms"]),
        signed_at=moment_or_none(row["signed_ms"]),
        signed_copy=file,
    )


def _state(stage: str, ends: date | None, today: date) -> State:
    if ends is not None and ends < today:
        return "expired"
    state: State = msgspec.convert(stage, State)
    return state


def _today(ctx: Context) -> str:
    return ms_moment(ctx.now_ms()).date().isoformat()


def _check_day(path: str, day: date | None) -> None:
    if day is not None and not FIRST_DAY <= day < LAST_DAY:
        raise invalid(path, f"outside {FIRST_DAY} to {LAST_DAY}")
