"""Client transactions: a request of ours on its way, and the responses that come back.

Source: RFC 3261 §17.1 with RFC 6026 §7.2.
"""

from __future__ import annotations

from mypy_extensions import trait

from switch.outputs import Flow
from switch.transaction.hop_by_hop import ack_to_failure
from switch.transaction.layer import Layer, Transaction
from switch.transaction.machine import (
    ACCEPTED,
    ACK_AGAIN,
    ACK_PASS_UP_AND_LINGER,
    CALLING,
    COMPLETED,
    INVITE_CLIENT,
    NON_INVITE_CLIENT,
    PASS_UP,
    PASS_UP_AND_LINGER,
    PASS_UP_AND_STOP,
    PROCEEDING,
    RECEIVE_1XX,
    RECEIVE_2XX,
    RECEIVE_FAILURE,
    REPORT_ERROR,
    REPORT_TIMEOUT,
    RESEND_LATER_AGAIN,
    TERMINATED,
    TIMER_GIVE_UP,
    TIMER_LINGER,
    TIMER_RETRANSMIT,
    TRANSPORT_ERROR,
    TRYING,
    Table,
)
from switch.transaction.timers import TimerOwner
from switch.wire.message import Response


@trait
class ClientUser:
    """Who sent a request and wants its responses."""

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Every response, copies of a 2xx to INVITE included; copies of failures are not passed."""
        raise NotImplementedError

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        """Nothing final came in time (`timeout`), or the transport failed (its reason)."""
        raise NotImplementedError


class ClientTransaction(Transaction, TimerOwner):
    """One request of ours. `start` sends it."""

    def __init__(
        self,
        layer: Layer,
        branch: bytes,
        method: bytes,
        data: bytes,
        flow: Flow,
        user: ClientUser,
        *,
        is_reliable: bool,
    ) -> None:
        """
        Args:
            branch: the top Via's branch in `data`.
        """
        super().__init__()
        self.layer: Layer = layer
        self.branch: bytes = branch
        self.method: bytes = method
        self.key: bytes = branch + b" " + method
        self.data: bytes = data
        """The request as sent; kept while it may be resent, ACKed or cancelled."""
        self.flow: Flow = flow
        self.user: ClientUser | None = user
        self.is_reliable: bool = is_reliable
        self.is_invite: bool = method == b"INVITE"
        self.table: Table = INVITE_CLIENT if self.is_invite else NON_INVITE_CLIENT
        self.state: int = CALLING if self.is_invite else TRYING
        self._ack: bytes = b""
        self._token: int = 0
        self._repeat_ms: int = 0

    def start(self, now: float) -> None:
        layer = self.layer
        layer.clients[self.key] = self
        self._token = layer.send_watched(self.flow, self.data, self)
        if not self.is_reliable:
            self._repeat_ms = layer.values.t1_ms
            self._repeat = layer.timers.start(self._repeat_ms, self, TIMER_RETRANSMIT, now)
        self._give_up = layer.timers.start(layer.values.patience_ms, self, TIMER_GIVE_UP, now)

    def receive(self, response: Response, now: float) -> None:
        status = response.status
        event = RECEIVE_1XX if status < 200 else RECEIVE_2XX if status < 300 else RECEIVE_FAILURE
        self._step(event, response, "", now)

    def transport_failed(self, reason: str, now: float) -> None:
        flow = self.flow
        if flow.connection and (self.state == CALLING or self.state == TRYING):
            # The stream that the peer had is gone; its address may still take a new one.
            self.flow = Flow(flow.listener, flow.address, 0, flow.server_name, flow.tls_verify)
            self._token = self.layer.send_watched(self.flow, self.data, self)
            return
        self._step(TRANSPORT_ERROR, None, reason, now)

    def fire(self, kind: int, now: float) -> None:
        self._step(kind, None, "timeout", now)

    def stop_repeating(self) -> None:
        """Send no more copies, but go on listening: the user has given this try up.

        RFC 3261 §9.1 allows no CANCEL before a provisional response, so silence is all we have.
        """
        if self._repeat is not None:
            self._repeat.stop()
            self._repeat = None

    def has_provisional(self) -> bool:
        return self.state == PROCEEDING

    def is_pending(self) -> bool:
        """No final response yet."""
        return self.state == CALLING or self.state == PROCEEDING or self.state == TRYING

    def terminate(self) -> None:
        self.state = TERMINATED
        self._stop_timers()
        layer = self.layer
        if layer.clients.get(self.key) is self:
            del layer.clients[self.key]
        if self._token:
            layer.tokens.pop(self._token, None)
            self._token = 0
        self.user = None
        self.data = b""
        self._ack = b""

    def _step(self, event: int, response: Response | None, reason: str, now: float) -> None:
        entry = self.table[self.state].get(event)
        if entry is None:
            return
        self.state = entry[0]
        action = entry[1]
        user = self.user
        layer = self.layer
        if action == PASS_UP or action == PASS_UP_AND_STOP:
            if action == PASS_UP_AND_STOP:
                self._stop_timers()
            if user is not None and response is not None:
                user.on_response(self, response, now)
        elif action == PASS_UP_AND_LINGER:
            self._settle(now, layer.values.patience_ms if self.state == ACCEPTED else layer.values.t4_ms)
            if self.state == COMPLETED:
                self.user = None  # copies are absorbed here
            if user is not None and response is not None:
                user.on_response(self, response, now)
        elif action == ACK_PASS_UP_AND_LINGER:
            assert response is not None
            self._ack = ack_to_failure(self.data, response)
            layer.send(self.flow, self._ack)
            self._settle(now, layer.values.patience_ms)
            self.user = None
            if user is not None:
                user.on_response(self, response, now)
        elif action == ACK_AGAIN:
            layer.send(self.flow, self._ack)
        elif action == RESEND_LATER_AGAIN:
            layer.send(self.flow, self.data)
            doubled = 2 * self._repeat_ms
            if not self.is_invite:
                doubled = layer.values.t2_ms if self.state == PROCEEDING else min(doubled, layer.values.t2_ms)
            self._repeat_ms = doubled
            self._repeat = layer.timers.start(doubled, self, TIMER_RETRANSMIT, now)
        elif action == REPORT_TIMEOUT or action == REPORT_ERROR:
            self.terminate()
            if user is not None:
                user.on_no_response(self, reason, now)
        else:
            self.terminate()

    def _settle(self, now: float, linger_ms: int) -> None:
        """A final response has come: stop repeating, drop the request, absorb copies for a while."""
        self._stop_timers()
        layer = self.layer
        if self._token:
            layer.tokens.pop(self._token, None)
            self._token = 0
        self.data = b""
        # Timers D and K are zero on streams; M stays, since forked 2xx may follow (RFC 6026 §7.2).
        if self.is_reliable and self.state == COMPLETED:
            self.terminate()
        else:
            self._linger = layer.timers.start(linger_ms, self, TIMER_LINGER, now)
