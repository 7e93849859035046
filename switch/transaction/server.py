"""Server transactions: a request that came to us, and the responses that we send to it.

Source: RFC 3261 §17.2 with RFC 6026 §7.1.
"""

from __future__ import annotations

from mypy_extensions import trait

from switch.outputs import Flow
from switch.transaction.layer import Layer, Transaction
from switch.transaction.machine import (
    ACCEPTED,
    ACK,
    INVITE_SERVER,
    NON_INVITE_SERVER,
    PROCEEDING,
    REPORT_ERROR,
    REPORT_TIMEOUT,
    REQUEST,
    RESEND,
    RESEND_LATER_AGAIN,
    SEND,
    SEND_1XX,
    SEND_2XX,
    SEND_AND_LINGER,
    SEND_AND_REPEAT,
    SEND_FAILURE,
    STOP_AND_LINGER,
    TERMINATED,
    TIMER_GIVE_UP,
    TIMER_LINGER,
    TIMER_RETRANSMIT,
    TRYING,
    Table,
)
from switch.transaction.timers import TimerOwner
from switch.wire.message import Request


@trait
class ServerUser:
    """Who answers a request, where it wants to hear how its answer fared."""

    def on_no_ack(self, transaction: ServerTransaction, now: float) -> None:
        """A failure response was never ACKed (timer H)."""

    def on_cancel(self, transaction: ServerTransaction, cancel: Request, now: float) -> None:
        """A CANCEL for this INVITE came while it had no final response."""


class ServerTransaction(Transaction, TimerOwner):
    """One request and its responses, INVITE or not, on UDP or a stream."""

    def __init__(
        self,
        layer: Layer,
        key: bytes,
        request: Request,
        reply_flow: Flow,
        via_value: bytes,
        *,
        is_reliable: bool,
        user: ServerUser | None = None,
    ) -> None:
        """
        Args:
            reply_flow: where responses go (RFC 3261 §18.2.2, RFC 3581 §4).
            via_value: the request's top Via with `received` and `rport` filled in.
        """
        super().__init__()
        self.layer: Layer = layer
        self.key: bytes = key
        self.request: Request | None = request
        self.reply_flow: Flow = reply_flow
        self.via_value: bytes = via_value
        self.is_reliable: bool = is_reliable
        self.is_invite: bool = request.method == b"INVITE"
        self.user: ServerUser | None = user
        self.table: Table = INVITE_SERVER if self.is_invite else NON_INVITE_SERVER
        self.state: int = PROCEEDING if self.is_invite else TRYING
        self.status_last: int = 0
        """Status of the last response sent; 0 before any."""
        self._response: bytes = b""
        self._repeat_ms: int = 0
        layer.servers[key] = self

    # What the peer does.

    def receive_copy(self, now: float) -> None:
        """The same request arrived again."""
        self._step(REQUEST, now)

    def receive_ack(self, now: float) -> None:
        """The ACK to our failure response (one to a 2xx is not part of the transaction)."""
        self._step(ACK, now)

    # What our side does.

    def respond(self, status: int, data: bytes, now: float) -> bool:
        """Send a response; False if the state forbids it (a final one has already gone)."""
        event = SEND_1XX if status < 200 else SEND_2XX if status < 300 else SEND_FAILURE
        if event not in self.table[self.state]:
            return False
        self._response = data
        self.status_last = status
        self._step(event, now)
        return True

    def has_final(self) -> bool:
        return self.status_last >= 200

    def fire(self, kind: int, now: float) -> None:
        self._step(kind, now)

    def terminate(self) -> None:
        """Forget everything at once."""
        self.state = TERMINATED
        self._stop_timers()
        if self.layer.servers.get(self.key) is self:
            del self.layer.servers[self.key]
        self.request = None
        self.user = None
        self._response = b""

    def _step(self, event: int, now: float) -> None:
        entry = self.table[self.state].get(event)
        if entry is None:
            return
        self.state = entry[0]
        action = entry[1]
        layer = self.layer
        if action == SEND or action == RESEND:
            if self._response:
                layer.send(self.reply_flow, self._response)
        elif action == SEND_AND_LINGER:
            layer.send(self.reply_flow, self._response)
            # Nothing that can still happen is the user's business, and a call is not to stay in memory
            # for what its transactions absorb.
            self.request = None
            self.user = None
            if self.is_invite or self.state == ACCEPTED:
                # In Accepted a late copy of the INVITE is absorbed; nothing is resent by us.
                self._response = b""
            self._start_linger(layer.values.patience_ms, now)
        elif action == SEND_AND_REPEAT:
            layer.send(self.reply_flow, self._response)
            self.request = None
            if not self.is_reliable:
                self._repeat_ms = layer.values.t1_ms
                self._repeat = layer.timers.start(self._repeat_ms, self, TIMER_RETRANSMIT, now)
            self._give_up = layer.timers.start(layer.values.patience_ms, self, TIMER_GIVE_UP, now)
        elif action == RESEND_LATER_AGAIN:
            layer.send(self.reply_flow, self._response)
            self._repeat_ms = min(2 * self._repeat_ms, layer.values.t2_ms)
            self._repeat = layer.timers.start(self._repeat_ms, self, TIMER_RETRANSMIT, now)
        elif action == STOP_AND_LINGER:
            self._stop_timers()
            self._response = b""
            self._start_linger(layer.values.t4_ms, now)
        elif action == REPORT_TIMEOUT or action == REPORT_ERROR:
            user = self.user
            self.terminate()
            if user is not None and action == REPORT_TIMEOUT:
                user.on_no_ack(self, now)
        else:
            self.terminate()

    def _start_linger(self, interval_ms: int, now: float) -> None:
        # Timers J and I are zero on streams; L stays, since it is the 2xx that it waits for.
        if self.is_reliable and self.state != ACCEPTED:
            self.terminate()
        else:
            self._linger = self.layer.timers.start(interval_ms, self, TIMER_LINGER, now)
