"""One call, live or ended, with how it was decided and its SIP messages, as long as the ring has them."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services import call_texts
from control.services.cdrs import AttemptShown, CandidateShown, attempt_shown, candidate_shown
from control.services.context import Context
from control.services.decision_log import Decided, Names, cards_of, decision_lines, vendors_of
from control.services.errors import NotFound, SwitchAway
from control.services.fields import Moment
from control.services.ladder import Arrow, Party, ladder_svg
from control.services.live_calls import is_cdr_id
from control.store import tables
from switch.frames import CallDecision
from switch.records import Attempt, Candidate
from switch.ring_format import RECEIVED, RING_FILE
from switch.ring_read import Kept, RingFile

BEFORE_MS: Final = 5_000
"""A call by password begins with a challenge, before its own INVITE."""
AFTER_MS: Final = 40_000
"""Copies and late answers come until RFC 3261's timers have run out."""
NEAR_MS: Final = 50
"""So close to the start of an attempt is its INVITE."""
READ_WAIT_S: Final = 1.0

_attempts: Final = msgspec.json.Decoder(tuple[Attempt, ...])
_candidates: Final = msgspec.json.Decoder(tuple[Candidate, ...])


class MessageShown(msgspec.Struct, frozen=True, kw_only=True):
    at: Moment
    direction: Literal["received", "sent"]
    """By the switch."""
    transport: str
    peer: str
    """Address and port that it came from or went to."""
    party: str
    """Who that is, as far as the call's record tells."""
    name: str
    """`INVITE`, or `200 OK (INVITE)`."""
    text: str
    """The whole message; digest answers, passwords in URIs and media keys are masked."""


class CallTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A call's messages and its decision log."""

    id: str
    customer_id: int
    call_id: str
    is_live: bool
    decision: list[str]
    """Each step in words, in order."""
    candidates: list[CandidateShown]
    attempts: list[AttemptShown]
    messages: list[MessageShown]
    kept_since: Moment | None
    """The oldest message of any call that is kept; null: none is."""
    is_complete: bool
    """False: the ring has begun again since the INVITE, or keeps nothing."""


class _Found(msgspec.Struct, frozen=True):
    call: Decided
    names: Names
    kept: list[Kept]
    oldest_us: int | None


async def read(ctx: Context, cdr_id: str) -> CallTrace:
    """The call with its messages.

    Raises:
        NotFound: neither a live call nor a CDR has this id.
        SwitchAway: there is no CDR, and only the switch could tell.
    """
    found = await _find(ctx, cdr_id)
    call = found.call
    parties = _parties(found)
    return CallTrace(
        id=call.id,
        customer_id=call.customer_id,
        call_id=call.call_id,
        is_live=call.ended_ms is None,
        decision=decision_lines(call, found.names),
        candidates=[candidate_shown(each) for each in call.candidates],
        attempts=[attempt_shown(each) for each in call.attempts],
        messages=[_message(kept, parties) for kept in found.kept],
        kept_since=None if found.oldest_us is None else _moment(found.oldest_us),
        is_complete=_is_complete(found),
    )


async def read_text(ctx: Context, cdr_id: str) -> str:
    """The same for a terminal: the decision, then message after message."""
    trace = await read(ctx, cdr_id)
    out = [f"call {trace.id}", *(f"  {line}" for line in trace.decision), ""]
    if not trace.is_complete:
        out += ["(messages from the beginning of this call are not kept any more)", ""]
    for each in trace.messages:
        way = "from" if each.direction == "received" else "to"
        out += [f"--- {_stamp(each.at)} {each.direction} {way} {each.peer} {each.party} ({each.transport})", each.text]
    return "\n".join(out) + "\n"


async def read_ladder(ctx: Context, cdr_id: str) -> str:
    """The same as a picture."""
    found = await _find(ctx, cdr_id)
    call = found.call
    names = _parties(found)
    ours = Party("Tandem", "")
    order = [call.source, *(peer for peer in names if peer != call.source)]
    columns = {peer: index if index == 0 else index + 1 for index, peer in enumerate(order)}
    parties = [Party(names.get(call.source) or "caller", call.source), ours]
    parties += [Party(names[peer], peer) for peer in order[1:]]
    began_us = found.kept[0].at_us if found.kept else 0
    seen: set[tuple[str, int, bytes]] = set()
    arrows = []
    for kept in found.kept:
        mark = (kept.peer, kept.direction, kept.data)
        column = columns[kept.peer]
        source, target = (column, 1) if kept.direction == RECEIVED else (1, column)
        arrows.append(
            Arrow(
                source=source,
                target=target,
                label=call_texts.name_of(kept.data) + (" SDP" if call_texts.has_session(kept.data) else ""),
                clock=_moment(kept.at_us).strftime("%H:%M:%S.%f"),
                after_ms=(kept.at_us - began_us) / 1000,
                kind=_kind(kept.data),
                is_again=mark in seen,
            )
        )
        seen.add(mark)
    title = f"{call.cli_in or 'anonymous'} → {call.dialled_in}  ·  {_moment(call.invited_ms * 1000):%Y-%m-%d} UTC"
    end = "up" if call.ended_ms is None else f"{call.status} {call.cause}"
    note = "" if _is_complete(found) else "Older messages of this call are not kept any more."
    return ladder_svg(f"{title}  ·  {end}", parties, 1, arrows, note)


async def _find(ctx: Context, cdr_id: str) -> _Found:
    call = await _decided(ctx, cdr_id)
    async with ctx.store.read() as tx:
        customer = await tx.execute(select(tables.customers.c.name).where(tables.customers.c.id == call.customer_id))
        providers, cards = tables.providers.c, tables.rate_cards.c
        vendors = await tx.execute(select(providers.id, providers.name).where(providers.id.in_(vendors_of(call))))
        priced = await tx.execute(select(cards.id, cards.name).where(cards.id.in_(cards_of(call))))
        names = Names(
            customer.scalar_one_or_none() or "",
            {row.id: row.name for row in vendors},
            {row.id: row.name for row in priced},
        )
    ended_ms = ctx.now_ms() if call.ended_ms is None else call.ended_ms
    kept, oldest_us = await asyncio.to_thread(
        _read_ring,
        ctx.data_folder / RING_FILE,
        call.call_id,
        (call.invited_ms - BEFORE_MS) * 1000,
        (ended_ms + AFTER_MS) * 1000,
    )
    return _Found(call, names, kept, oldest_us)


def _read_ring(path: Path, call_id: str, from_us: int, to_us: int) -> tuple[list[Kept], int | None]:
    try:
        ring = RingFile(path)
    except (OSError, ValueError):
        return [], None  # none is kept, or the switch has just begun another
    try:
        return ring.find([_wire(call_id)], from_us, to_us), ring.oldest_us()
    finally:
        ring.close()


def _wire(call_id: str) -> bytes:
    r"""As it was on the wire: a CDR writes bytes that are no UTF-8 as `\xff`."""
    if "\\x" not in call_id:
        return call_id.encode()
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), call_id.encode())


async def _decided(ctx: Context, cdr_id: str) -> Decided:
    if not is_cdr_id(cdr_id):
        raise NotFound("call", cdr_id)
    row = await _cdr(ctx, cdr_id)
    if row is None:
        away: SwitchAway | None = None
        try:
            live = await ctx.switch.read_call(cdr_id)
        except SwitchAway as error:
            live, away = None, error
        if live is not None:
            return _of_live(live)
        await ctx.wait_read(READ_WAIT_S)  # it may have ended just now
        row = await _cdr(ctx, cdr_id)
        if row is None:
            raise NotFound("call", cdr_id) if away is None else away
    return _of_row(row)


async def _cdr(ctx: Context, cdr_id: str) -> RowMapping | None:
    async with ctx.store.read() as tx:
        return (await tx.execute(select(tables.cdrs).where(tables.cdrs.c.id == cdr_id))).mappings().first()


_SAME: Final = tuple(name for name in Decided.__struct_fields__ if name in tables.cdrs.c and name != "attempts")


def _of_row(row: RowMapping) -> Decided:
    fields: dict[str, Any] = {name: row[name] for name in _SAME}
    return Decided(
        **fields, attempts=_attempts.decode(row["attempts"]), candidates=_candidates.decode(row["explanation"])
    )


def _of_live(live: CallDecision) -> Decided:
    call = live.call
    same = [name for name in Decided.__struct_fields__ if name in CallDecision.__struct_fields__]
    return Decided(
        **{name: getattr(live, name) for name in same},
        id=call.cdr_id,
        customer_id=call.customer_id,
        endpoint_id=call.endpoint_id,
        sip_user_id=call.sip_user_id,
        route_id=call.route_id,
        direction=call.direction,
        source=call.source,
        call_id=call.call_id,
        invited_ms=call.invited_ms,
        answered_ms=call.answered_ms,
        ended_ms=None,
        release="",
        cause="",
        status=0,
    )


def _parties(found: _Found) -> dict[str, str]:
    """Who is behind each address that said or was told something, in the order in which they came in."""
    call = found.call
    parties: dict[str, str] = {}
    for kept in found.kept:
        if not parties.get(kept.peer):
            is_caller = kept.peer == call.source
            parties[kept.peer] = _caller(found) if is_caller else _called(kept, call.attempts)
    return parties


def _caller(found: _Found) -> str:
    """The customer; of an inbound call, who brought it."""
    call = found.call
    if call.direction == "outbound":
        return found.names.customer
    return call.attempts[0].provider_name if call.attempts else ""


def _called(kept: Kept, attempts: tuple[Attempt, ...]) -> str:
    """The vendor whose attempt began with this very message, or what an inbound call rang at."""
    if kept.direction == RECEIVED or not kept.data.startswith(b"INVITE "):
        return ""
    at_ms = kept.at_us / 1000
    nearest = min(attempts, key=lambda attempt: abs(attempt.started_ms - at_ms), default=None)
    if nearest is None or abs(nearest.started_ms - at_ms) > NEAR_MS:
        return ""
    return nearest.destination or nearest.provider_name


def _message(kept: Kept, parties: dict[str, str]) -> MessageShown:
    return MessageShown(
        at=_moment(kept.at_us),
        direction="received" if kept.direction == RECEIVED else "sent",
        transport=call_texts.transport_of(kept.data),
        peer=kept.peer,
        party=parties.get(kept.peer, ""),
        name=call_texts.name_of(kept.data),
        text=call_texts.readable(kept.data),
    )


def _kind(data: bytes) -> str:
    if not data.startswith(b"SIP/2.0 "):
        return "request"
    return {b"1": "progress", b"2": "success"}.get(data[8:9], "failure")


def _is_complete(found: _Found) -> bool:
    return found.oldest_us is not None and bool(found.kept) and found.oldest_us <= found.call.invited_ms * 1000 + 1000


def _moment(at_us: int) -> Moment:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


def _stamp(at: Moment) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
