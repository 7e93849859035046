"""A vendor: rings, answers, is busy, fails, says nothing, hangs up, as the call's plan has it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Final

from control.drill.clock import wall_ms
from control.drill.dialog import Dialog, sdp
from control.drill.endpoint import Address, Endpoint, Resender
from control.drill.plan import CallPlan, serial_of
from control.drill.witness import LegSeen
from switch.wire.build import response_to
from switch.wire.message import Request

RING_MAX_S: Final = 10.0
"""So long rings what its caller gives up; where the CANCEL is lost with the switch, the phone is busy then."""


class _Leg:
    """An INVITE that came, and the dialog that it may become."""

    def __init__(self, invite: Request, dialog: Dialog, seen: LegSeen) -> None:
        self.invite = invite
        self.dialog = dialog
        self.seen = seen
        self.resender: Resender | None = None
        """Of the final response, until its ACK."""
        self.acked = asyncio.Event()
        self.settled = asyncio.Event()
        """It has a final response, or its end has come."""


class Vendor:
    """One gateway; `plans` says by serial what becomes of each call."""

    def __init__(
        self, name: str, *, is_first: bool, switch: Address, rng: Random, plans: Mapping[int, CallPlan]
    ) -> None:
        self.seen: list[LegSeen] = []
        self._name = name
        self._is_first = is_first
        self._rng = rng
        self._plans = plans
        self._endpoint = Endpoint(switch, self._receive)
        self._by_branch: dict[bytes, _Leg] = {}
        self._by_tag: dict[bytes, _Leg] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, at: Address) -> None:
        await self._endpoint.open(at)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._endpoint.close()

    async def rest(self) -> None:
        """Until no leg has anything left to say or to wait for."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _receive(self, request: Request) -> None:
        method = request.method
        leg = self._by_tag.get(request.to_tag) if request.to_tag else None
        if method == b"INVITE" and not request.to_tag:
            self._ring(request)
        elif method == b"CANCEL":
            self._cancel(request)
        elif leg is None:
            if method != b"ACK":
                self._endpoint.answer(request, response_to(request, 481, b"Call/Transaction Does Not Exist"))
        elif method == b"ACK":
            self._acknowledge(leg)
        elif method == b"BYE":
            if leg.seen.bye_received_ms is None:
                leg.seen.bye_received_ms = wall_ms()
            self._acknowledge(leg, is_ack=False)
            self._endpoint.answer(request, leg.dialog.answer(request, 200))
        elif not leg.seen.is_up:
            self._endpoint.answer(request, leg.dialog.answer(request, 481))
        else:
            leg.dialog.refresh(request)
            body = sdp(self._endpoint.at) if method == b"INVITE" else b""
            self._endpoint.answer(request, leg.dialog.answer(request, 200, body=body))

    def _ring(self, invite: Request) -> None:
        number = invite.target.user_text()
        seen = LegSeen(serial=serial_of(number), vendor=self._name, number=number, invited_ms=wall_ms())
        self.seen.append(seen)
        leg = _Leg(invite, Dialog.called(self._endpoint.at, self._rng, invite), seen)
        self._by_branch[invite.via.branch] = leg
        self._by_tag[leg.dialog.tag] = leg
        plan = self._plans.get(seen.serial)
        if plan is None:
            self._finish(leg, 486)
            return
        task = asyncio.create_task(self._play(leg, plan))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, leg: _Leg, plan: CallPlan) -> None:
        if plan.ending == "silence" and self._is_first:
            return
        self._endpoint.answer(leg.invite, leg.dialog.answer(leg.invite, 180))
        with suppress(TimeoutError):
            await asyncio.wait_for(leg.settled.wait(), RING_MAX_S if plan.ending == "cancel" else plan.ring_s)
        if leg.settled.is_set():
            return
        if plan.ending == "busy" or plan.ending == "cancel":
            self._finish(leg, 486)
        elif plan.ending == "unavailable" and self._is_first:
            self._finish(leg, 503)
        else:
            self._finish(leg, 200)
            await leg.acked.wait()
            if plan.ending == "callee" or not leg.seen.is_acked:
                await self._hang_up(leg, plan.talk_s)

    async def _hang_up(self, leg: _Leg, after_s: float) -> None:
        """BYE after the talk, unless it is over by then; at once where the 200 was never acknowledged."""
        seen = leg.seen
        if seen.is_acked:
            await asyncio.sleep(after_s)
        if not seen.is_up:
            return
        data, branch = leg.dialog.request(b"BYE")
        seen.bye_sent_ms = wall_ms()
        final = await self._endpoint.request(data, branch, b"BYE").final
        seen.bye_done_ms = wall_ms()
        if final is not None:
            seen.bye_status = final.status

    def _finish(self, leg: _Leg, status: int) -> None:
        """Send a final response until its ACK comes (RFC 3261 §13.3.1.4, §17.2.1)."""
        body = sdp(self._endpoint.at) if status == 200 else b""
        data = leg.dialog.answer(leg.invite, status, body=body)
        leg.seen.status = status
        if status == 200:
            leg.seen.answered_ms = wall_ms()
        leg.settled.set()
        self._endpoint.answer(leg.invite, data)
        # `answer` has sent it once, and copies of the INVITE bring it again.
        leg.resender = Resender(self._endpoint.send, data, on_timeout=leg.acked.set, is_sent=True)

    def _acknowledge(self, leg: _Leg, *, is_ack: bool = True) -> None:
        if leg.resender is not None:
            leg.resender.stop()
            if is_ack:
                leg.seen.is_acked = True
            leg.acked.set()
        leg.settled.set()

    def _cancel(self, request: Request) -> None:
        leg = self._by_branch.get(request.via.branch)
        if leg is None:
            self._endpoint.answer(request, response_to(request, 481, b"Call/Transaction Does Not Exist"))
            return
        self._endpoint.answer(request, leg.dialog.answer(request, 200))
        leg.seen.is_cancelled = True
        if not leg.seen.status:
            self._finish(leg, 487)
