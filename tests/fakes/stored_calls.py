"""CDRs put into a store past the journal, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from control.services.call_entries import last_numbers
from control.services.cdr_rows import insert_batch
from control.services.cdrs import last_number
from control.services.context import Context
from control.services.replay_calls import PastCall
from control.services.rollups import add_batch
from switch.records import Attempt, CallEnded, Candidate, Cdr
from tests.fakes.cdrs import make_cdr
from tests.fakes.control import START_MS


def stored_call(
    number: int,
    duration_ms: int = 60_000,
    *,
    invited_ms: int = START_MS - 3_600_000,
    is_answered: bool = True,
    attempts: Iterable[Attempt] = (),
    explanation: Iterable[Candidate] = (),
    **fields: Any,
) -> Cdr:
    """The `number`-th call; answered two seconds after its INVITE."""
    answered_ms = invited_ms + 2_000 if is_answered else None
    return make_cdr(
        number,
        **fields,
        invited_ms=invited_ms,
        answered_ms=answered_ms,
        ended_ms=invited_ms + 2_000 + duration_ms,
        duration_ms=duration_ms if is_answered else 0,
        attempts=tuple(attempts),
        explanation=tuple(explanation),
    )


async def store_calls(ctx: Context, calls: Iterable[Cdr]) -> None:
    first = await last_number(ctx) + 1
    calls = list(calls)
    async with ctx.store.begin() as tx:
        last, _ = await last_numbers(tx)
        await insert_batch(tx, [(first + place, CallEnded(cdr)) for place, cdr in enumerate(calls)])
        await add_batch(tx, last, calls)


def past_call(cdr: Cdr, number: int = 1) -> PastCall:
    """As a replay reads it from the store."""
    values: dict[str, Any] = {
        name: getattr(cdr, name) for name in PastCall.__struct_fields__ if name in Cdr.__struct_fields__
    }
    values["number"] = number
    values["attempts"] = msgspec.json.encode(cdr.attempts).decode()
    values["explanation"] = msgspec.json.encode(cdr.explanation).decode()
    return PastCall(**values)
