"""The customers' end: places calls, sees each to its end, remembers what it was told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Final

from control.drill.clock import wall_ms
from control.drill.dialog import Dialog, sdp
from control.drill.endpoint import Address, ClientTransaction, Endpoint
from control.drill.plan import CallPlan
from control.drill.witness import CallSeen
from switch.wire.build import response_to
from switch.wire.message import Request, Response

PATIENCE_S: Final = 15.0
"""A caller rings no longer than this; then it cancels."""
CANCELLED_S: Final = 6.0
"""And waits so long for what becomes of that."""
CALLEE_LATE_S: Final = 40.0
"""A callee that was to hang up and is not heard of: its BYE may have been repeated for 32 s."""


class _Live:
    """A call under way."""

    def __init__(self, dialog: Dialog, seen: CallSeen) -> None:
        self.dialog = dialog
        self.seen = seen
        self.ended = asyncio.Event()
        """The far end has hung up."""


class Caller:
    """One address from which all customers call; each call is `play`ed by a task of its own."""

    def __init__(self, switch: Address, rng: Random) -> None:
        self.seen: list[CallSeen] = []
        self._rng = rng
        self._endpoint = Endpoint(switch, self._receive)
        self._live: dict[bytes, _Live] = {}

    async def open(self, at: Address) -> None:
        await self._endpoint.open(at)

    def close(self) -> None:
        self._endpoint.close()

    async def play(self, plan: CallPlan) -> None:
        """One call from INVITE to its end."""
        at = self._endpoint.at
        dialog = Dialog.calling(at, self._rng, self._endpoint.switch, plan.dialled, "15551230000")
        seen = CallSeen(plan=plan, call_id=dialog.call_id.decode(), invited_ms=wall_ms())
        self.seen.append(seen)
        live = self._live[dialog.call_id] = _Live(dialog, seen)
        data, branch = dialog.request(b"INVITE", body=sdp(at))
        transaction = self._endpoint.request(data, branch, b"INVITE")
        final = await self._final(live, transaction, branch)
        if final is None:
            return
        seen.status, seen.final_ms = final.status, wall_ms()
        if final.status >= 300:
            dialog.remote = final.to_value()
            # The ACK of a failure is part of the INVITE's transaction (RFC 3261 §17.1.1.3).
            transaction.ack, _ = dialog.request(b"ACK", branch=branch, cseq=1)
            self._endpoint.send(transaction.ack)
            return
        dialog.confirm(final)
        transaction.ack, _ = dialog.request(b"ACK", cseq=1)
        self._endpoint.send(transaction.ack)
        await self._talk(live)

    def is_alive(self, call_id: bytes) -> bool:
        live = self._live.get(call_id)
        return live is not None and live.seen.is_answered and not live.ended.is_set()

    async def _final(self, live: _Live, transaction: ClientTransaction, branch: bytes) -> Response | None:
        """The INVITE's final response; what rings too long is cancelled."""
        plan = live.seen.plan
        patience_s = plan.ring_s if plan.ending == "cancel" else PATIENCE_S
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(transaction.final), patience_s)
        while not transaction.is_heard:
            # Nothing may be cancelled that was not answered at all (RFC 3261 §9.1).
            with suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(transaction.final), 0.05)
        live.seen.is_cancelled = True
        data, _ = live.dialog.request(b"CANCEL", branch=branch, cseq=1)
        cancel = self._endpoint.request(data, branch, b"CANCEL")
        await asyncio.wait((transaction.final, cancel.final), return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(transaction.final), CANCELLED_S)
        transaction.abandon()
        return None

    async def _talk(self, live: _Live) -> None:
        plan, seen = live.seen.plan, live.seen
        talk_s = 0.0 if seen.is_cancelled else plan.talk_s
        if plan.ending == "callee":
            talk_s += CALLEE_LATE_S
        with suppress(TimeoutError):
            await asyncio.wait_for(live.ended.wait(), talk_s)
        if live.ended.is_set():
            return
        data, branch = live.dialog.request(b"BYE")
        seen.bye_sent_ms = wall_ms()
        final = await self._endpoint.request(data, branch, b"BYE").final
        seen.bye_done_ms = wall_ms()
        if final is not None:
            seen.bye_status = final.status

    def _receive(self, request: Request) -> None:
        live = self._live.get(request.call_id)
        if request.method == b"ACK":
            return
        if live is None:
            self._endpoint.answer(request, response_to(request, 481, b"Call/Transaction Does Not Exist"))
            return
        if request.method == b"BYE":
            if live.seen.bye_received_ms is None:
                live.seen.bye_received_ms = wall_ms()
            live.ended.set()
            self._endpoint.answer(request, live.dialog.answer(request, 200))
        elif live.ended.is_set() or live.seen.bye_sent_ms is not None:
            self._endpoint.answer(request, live.dialog.answer(request, 481))
        else:
            live.dialog.refresh(request)
            body = sdp(self._endpoint.at) if request.method == b"INVITE" else b""
            self._endpoint.answer(request, live.dialog.answer(request, 200, body=body))
