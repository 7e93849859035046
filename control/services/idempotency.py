"""What moves money is done once for each `Idempotency-Key`, however often it is asked for.

The key is kept with the request's digest and the answer, in the very transaction that did it: a
repeat finds all of it, whatever restarted meanwhile. A key belongs to its customer; it never expires.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict
from control.store import tables

IN_SWITCH: Final = "is_in_switch"
"""Field of everything that is answered here: whether the switch's balance has it."""


class Done(msgspec.Struct, frozen=True):
    """What a request has done: how clients read it, where it is, and the entry that it made."""

    value: msgspec.Struct
    """Has the field `is_in_switch`."""
    entry_id: int | None = None
    location: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The answer as it goes out, byte by byte: what a repeat gets too."""

    status: int
    """As asked for; 202 where the switch does not have it yet."""
    body: bytes
    location: str = ""

    @property
    def is_pending(self) -> bool:
        return self.status == 202


Act = Callable[[Change], Awaitable[Done]]


async def once(ctx: Context, customer_id: int, key: str, request: Any, status: int, act: Act) -> Answer:
    """Do `act` within a change, or repeat the answer of the one time that it was done under this key.

    Args:
        key: empty: the caller did not send one, and it is done each time.
        request: everything that the request says; the same key with another one is refused.
        status: of the answer when the switch has the entry, or there is none.
    Raises:
        Conflict: the key was used for another request.
    """
    digest = hashlib.sha256(msgspec.json.encode(request)).digest()
    kept: RowMapping | None = None
    async with ctx.change() as change:
        if key:
            kept = await _find(change, customer_id, key)
        if kept is None:
            done = await act(change)
            answer = _answer(done.value, done.location, status)
            if key:
                await _keep(change, customer_id, key, digest, done.entry_id, answer)
    if kept is None:
        if change.is_pending and done.entry_id is not None:
            answer = _answer(done.value, done.location, 202)
            if key:
                await _correct(ctx, customer_id, key, answer)
        return answer
    if kept["request"] != digest:
        raise Conflict(f"Idempotency-Key {key} was used for another request.")
    return await _repeat(ctx, kept)


async def _repeat(ctx: Context, kept: RowMapping) -> Answer:
    answer = Answer(kept["status"], kept["body"].encode(), kept["location"])
    entry_id = kept["entry_id"]
    # A crash may have come between the commit and the switch's word: nobody was told 201 then.
    if not answer.is_pending and entry_id is not None and not await ctx.publisher.book(entry_id):
        body = msgspec.json.decode(answer.body)
        answer = Answer(202, msgspec.json.encode({**body, IN_SWITCH: False}), answer.location)
        await _correct(ctx, kept["customer_id"], kept["key"], answer)
    return answer


def _answer(value: msgspec.Struct, location: str, status: int) -> Answer:
    if status == 202:
        value = msgspec.structs.replace(value, **{IN_SWITCH: False})
    return Answer(status, msgspec.json.encode(value), location)


async def _find(change: Change, customer_id: int, key: str) -> RowMapping | None:
    keys = tables.idempotency_keys
    query = select(keys).where(keys.c.customer_id == customer_id, keys.c.key == key)
    return (await change.tx.execute(query)).mappings().first()


async def _keep(
    change: Change, customer_id: int, key: str, digest: bytes, entry_id: int | None, answer: Answer
) -> None:
    values = {
        "customer_id": customer_id,
        "key": key,
        "request": digest,
        "entry_id": entry_id,
        "status": answer.status,
        "body": answer.body.decode(),
        "location": answer.location,
        "created_ms": change.now_ms,
    }
    await change.tx.execute(insert(tables.idempotency_keys).values(**values))


async def _correct(ctx: Context, customer_id: int, key: str, answer: Answer) -> None:
    """Keep the answer that was given in the end."""
    keys = tables.idempotency_keys
    row = update(keys).where(keys.c.customer_id == customer_id, keys.c.key == key)
    async with ctx.store.begin() as tx:
        await tx.execute(row.values(status=answer.status, body=answer.body.decode()))
