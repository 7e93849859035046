"""One try at a gateway: the INVITE there, its timers, and everything that may still come back from it.

An attempt outlives its place in the call: one that was given up is cancelled, and a 2xx that comes
all the same is ACKed and hung up at once, so that no vendor is left with a call that nobody has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mypy_extensions import trait

from switch.call.forwarding import Swap
from switch.outputs import Flow, Send
from switch.transaction.client import ClientTransaction, ClientUser
from switch.transaction.hop_by_hop import cancel
from switch.transaction.layer import Layer
from switch.transaction.timers import Timer, TimerOwner
from switch.transaction.unheard import request_alone
from switch.wire.message import Response

FIRST_REPLY: Final = 1
PDD: Final = 2
RING: Final = 3
GUARD: Final = 4

FORKS_MAX: Final = 16
"""Early dialogs of one attempt, and stray answers, that are remembered; a vendor that forks wider is on its own."""


@trait
class AttemptUser:
    """The call that an attempt belongs to."""

    def on_attempt_response(self, attempt: Attempt, response: Response, now: float) -> None:
        """Any response but 100, while the attempt is the call's own."""
        raise NotImplementedError

    def on_attempt_failed(self, attempt: Attempt, cause: str, now: float) -> None:
        """A timer ended it, or the gateway cannot be reached; it is given up by now."""
        raise NotImplementedError

    def on_stray_answer(self, attempt: Attempt, response: Response, now: float) -> None:
        """A 2xx of an attempt that was given up, or of a second fork."""
        raise NotImplementedError


class Attempt(ClientUser, TimerOwner):
    """Timers in ms; 0 switches one off."""

    def __init__(
        self, layer: Layer, user: AttemptUser, flow: Flow, first_reply_ms: int, pdd_ms: int, ring_ms: int
    ) -> None:
        self.layer: Layer = layer
        self.user: AttemptUser = user
        self.flow: Flow = flow
        self.first_reply_ms: int = first_reply_ms
        self.pdd_ms: int = pdd_ms
        self.ring_ms: int = ring_ms
        self.client: ClientTransaction | None = None
        self.started_at: float = 0.0
        self.progress_at: float = 0.0
        """First 18x; 0: none."""
        self.answered_at: float = 0.0
        self.ended_at: float = 0.0
        self.status: int = 0
        """Final status of the vendor, 0 while there is none."""
        self.cause: str = ""
        self.early: dict[bytes, Response] = {}
        """Last provisional response by To tag: the early dialogs of this attempt."""
        self.strays: dict[bytes, Send] = {}
        """ACKs that were sent to stray answers, by To tag, to be repeated with their 2xx."""
        self.is_given_up: bool = False
        self.swap: Swap | None = None
        """How this vendor knows the caller, where that is not how it came."""
        self._cancel_lines: list[bytes] = []
        self._is_cancelled: bool = False
        self._first_reply: Timer | None = None
        self._pdd: Timer | None = None
        self._ring: Timer | None = None
        self._guard: Timer | None = None

    def start(self, branch: bytes, data: bytes, now: float, *, is_reliable: bool) -> None:
        self.started_at = now
        timers = self.layer.timers
        if self.first_reply_ms:
            self._first_reply = timers.start(self.first_reply_ms, self, FIRST_REPLY, now)
        if self.pdd_ms:
            self._pdd = timers.start(self.pdd_ms, self, PDD, now)
        self.client = ClientTransaction(self.layer, branch, b"INVITE", data, self.flow, self, is_reliable=is_reliable)
        self.client.start(now)

    def give_up(self, cause: str, now: float, cancel_lines: Sequence[bytes] = ()) -> None:
        """Stop wanting an answer: CANCEL as soon as RFC 3261 §9.1 allows it, absorb what still comes."""
        if self.is_given_up:
            return
        self.is_given_up = True
        self._cancel_lines = list(cancel_lines)
        self.close(cause, now)
        client = self.client
        if client is None or not client.is_pending():
            return
        if client.has_provisional():
            self._send_cancel(client, now)
        else:
            client.stop_repeating()

    def close(self, cause: str, now: float) -> None:
        """The attempt is decided, one way or the other."""
        self.stop_timers()
        self.early = {}
        if not self.ended_at:
            self.ended_at = now
            self.cause = cause

    def stop_timers(self) -> None:
        if self._first_reply is not None:
            self._first_reply.stop()
            self._first_reply = None
        if self._pdd is not None:
            self._pdd.stop()
            self._pdd = None
        if self._ring is not None:
            self._ring.stop()
            self._ring = None

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        status = response.status
        if self._first_reply is not None:
            self._first_reply.stop()
            self._first_reply = None
        if status < 200:
            if self.is_given_up:
                self._send_cancel(transaction, now)
                return
            if status >= 180 and status < 190:
                self._note_progress(now)
            if status == 100:
                return
            is_open = not self.status  # later ones come from forks that have lost
            if is_open and response.to_tag and (response.to_tag in self.early or len(self.early) < FORKS_MAX):
                self.early[response.to_tag] = response
        elif self._guard is not None:
            self._guard.stop()
            self._guard = None
        if status >= 300:
            self.status = status
            if self.is_given_up:
                return
            self.is_given_up = True
            self.close("rejected", now)
            self.user.on_attempt_response(self, response, now)
        elif status >= 200 and self.is_given_up:
            self.user.on_stray_answer(self, response, now)
        else:
            self.user.on_attempt_response(self, response, now)

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        if self._guard is not None:
            self._guard.stop()
            self._guard = None
        if self.is_given_up:
            return
        self._fail("first_reply_timeout" if reason == "timeout" else "unreachable", now)

    def fire(self, kind: int, now: float) -> None:
        if kind == GUARD:
            # RFC 3261 §9.1: without a final response 64*T1 after the CANCEL, none will come.
            if self.client is not None:
                self.client.terminate()
        elif kind == FIRST_REPLY:
            self._fail("first_reply_timeout", now)
        elif kind == PDD:
            self._fail("pdd_timeout", now)
        else:
            self._fail("ring_timeout", now)

    def _note_progress(self, now: float) -> None:
        if self.progress_at:
            return
        self.progress_at = now
        if self._pdd is not None:
            self._pdd.stop()
            self._pdd = None
        if self.ring_ms:
            self._ring = self.layer.timers.start(self.ring_ms, self, RING, now)

    def _fail(self, cause: str, now: float) -> None:
        self.give_up(cause, now)
        self.user.on_attempt_failed(self, cause, now)

    def _send_cancel(self, invite: ClientTransaction, now: float) -> None:
        if self._is_cancelled:
            return
        self._is_cancelled = True
        layer = self.layer
        data = cancel(invite.data, self._cancel_lines)
        request_alone(layer, b"CANCEL", invite.branch, data, self.flow, now, is_reliable=invite.is_reliable)
        self._guard = layer.timers.start(layer.values.patience_ms, self, GUARD, now)
