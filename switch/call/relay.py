"""A request inside a dialog on its way from one peer to the other, and its responses back.

Every method goes through: re-INVITE, UPDATE, INFO, PRACK, REFER, MESSAGE, BYE and those to come.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import trait

from switch.call.forwarding import Swap, forward_response
from switch.call.hops import Hops
from switch.call.leg import Leg, contact_uri
from switch.call.screen import PLAIN, Screen
from switch.call.session_timer import NOT_ASKED, SessionAsk
from switch.outputs import Flow
from switch.transaction.client import ClientTransaction, ClientUser
from switch.transaction.hop_by_hop import cancel
from switch.transaction.layer import Layer
from switch.transaction.server import ServerTransaction, ServerUser
from switch.transaction.timers import Timer, TimerOwner
from switch.transaction.unheard import request_alone
from switch.wire.build import response_to
from switch.wire.message import Message, Request, Response

TIMER_C_MS: Final = 181_000
"""A re-INVITE may ring that long, counted anew with each provisional response (RFC 3261 §16.6 step 11)."""


@trait
class RelayUser:
    """The call whose dialog it is."""

    def on_refreshed(self, relay: Relay, response: Response, now: float) -> None:
        """A 2xx to a re-INVITE or UPDATE, each copy of it, before it goes on; it may be edited."""
        raise NotImplementedError

    def edited(self, message: Message) -> bytes | None:
        """A body as it goes on; None: as it came."""
        raise NotImplementedError

    def on_relayed(self, relay: Relay, now: float) -> None:
        """The request has had its final response, or will have none."""
        raise NotImplementedError


class Relay(ClientUser, ServerUser, TimerOwner):
    """One in-dialog request between two legs."""

    def __init__(
        self,
        layer: Layer,
        hops: Hops,
        user: RelayUser,
        server: ServerTransaction,
        sender: Leg,
        receiver: Leg,
        swap: Swap | None,
        *,
        is_from_caller: bool,
    ) -> None:
        request = server.request
        assert request is not None, "a fresh transaction"
        self.layer: Layer = layer
        self.hops: Hops = hops
        self.user: RelayUser = user
        self.server: ServerTransaction = server
        self.sender: Leg = sender
        self.receiver: Leg = receiver
        self.swap: Swap | None = swap
        self.is_from_caller: bool = is_from_caller
        self.screen: Screen = PLAIN
        """Of its responses."""
        self.method: bytes = request.method
        self.is_refreshing: bool = self.method == b"INVITE" or self.method == b"UPDATE"
        self.contact: bytes = contact_uri(request) if self.is_refreshing else b""
        self.session_ask: SessionAsk = NOT_ASKED
        """What it asks of the session timer."""
        self.is_settled: bool = False
        """The session timer that it asks for has been agreed upon; a copy of its 2xx begins no new one."""
        self.client: ClientTransaction | None = None
        self._is_cancel_wanted: bool = False
        self._is_cancelled: bool = False
        self._patience: Timer | None = None
        server.user = self

    def start(self, branch: bytes, data: bytes, flow: Flow, now: float, *, is_reliable: bool) -> None:
        request = self.server.request
        if self.method == b"INVITE" and request is not None:
            self.server.respond(100, response_to(request, 100, b"Trying", via_value=self.server.via_value), now)
        client = ClientTransaction(self.layer, branch, self.method, data, flow, self, is_reliable=is_reliable)
        self.client = client
        client.start(now)

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        status = response.status
        if transaction.is_invite:
            self._note(transaction, status, now)
        if status == 100:
            return
        if status != 481 and status != 408:
            self.receiver.alive_at = now
        if self.is_refreshing and 200 <= status < 300:
            # RFC 3261 §12.2.1.2 and §12.2.2: both ends have now agreed on the new targets.
            self.sender.refresh_target(self.contact, self.hops)
            self.receiver.refresh_target(contact_uri(response), self.hops)
            self.user.on_refreshed(self, response, now)
        swap = self.swap
        if swap is None:
            data = forward_response(response, screen=self.screen, body=self.user.edited(response))
        elif self.is_from_caller:
            data = forward_response(
                response, from_value=swap.caller_side, screen=self.screen, body=self.user.edited(response)
            )
        else:
            data = forward_response(
                response, to_value=swap.callee_side, screen=self.screen, body=self.user.edited(response)
            )
        self.server.respond(status, data, now)
        if status >= 200:
            self.user.on_relayed(self, now)

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        self._give_up(503 if reason != "timeout" else 408, now)

    def on_cancel(self, transaction: ServerTransaction, cancel_request: Request, now: float) -> None:
        """Cancel a re-INVITE onwards, as soon as RFC 3261 §9.1 allows it; its own 487 ends it."""
        self._is_cancel_wanted = True
        client = self.client
        if client is not None and client.has_provisional():
            self._send_cancel(client, now)

    def fire(self, kind: int, now: float) -> None:
        client = self.client
        if client is None or not client.is_pending():
            return
        if not self._is_cancelled:
            self._send_cancel(client, now)
        else:
            client.terminate()
            self._give_up(408, now)

    def _note(self, client: ClientTransaction, status: int, now: float) -> None:
        """A re-INVITE has been answered with this: wait on for so long, or no more."""
        if status < 200 and self._is_cancelled:
            return
        if self._patience is not None:
            self._patience.stop()
            self._patience = None
        if status >= 200:
            return
        if self._is_cancel_wanted:
            self._send_cancel(client, now)
        else:
            self._patience = self.layer.timers.start(TIMER_C_MS, self, 0, now)

    def _send_cancel(self, client: ClientTransaction, now: float) -> None:
        if self._is_cancelled:
            return
        self._is_cancelled = True
        layer = self.layer
        data = cancel(client.data)
        request_alone(layer, b"CANCEL", client.branch, data, client.flow, now, is_reliable=client.is_reliable)
        if self._patience is not None:
            self._patience.stop()
        self._patience = layer.timers.start(layer.values.patience_ms, self, 0, now)

    def _give_up(self, status: int, now: float) -> None:
        """No final response will come."""
        request = self.server.request
        if request is not None and (status != 408 or self.method == b"INVITE"):
            phrase = b"Request Timeout" if status == 408 else b"Service Unavailable"
            self.server.respond(status, response_to(request, status, phrase, via_value=self.server.via_value), now)
        else:
            # RFC 4320 §4.2: a 408 to a non-INVITE would only come too late.
            self.server.terminate()
        self.user.on_relayed(self, now)
