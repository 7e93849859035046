"""The transaction layer: finds the transaction of a message and holds what all of them share.

Server transactions are found by the top Via's branch, sent-by and the method (RFC 3261 §17.2.3),
client transactions by our own branch and the CSeq method (§17.1.3).
"""

from __future__ import annotations

from typing import Final

from switch.outputs import Close, Flow, Send
from switch.transaction.timers import Timer, Timers
from switch.wire.message import Request

MAGIC_COOKIE: Final = b"z9hG4bK"


class TimerValues:
    """RFC 3261's T1, T2 and T4, in milliseconds, and what follows from them."""

    def __init__(self, t1_ms: int = 500, t2_ms: int = 4_000, t4_ms: int = 5_000) -> None:
        self.t1_ms: int = t1_ms
        self.t2_ms: int = t2_ms
        self.t4_ms: int = t4_ms
        self.patience_ms: int = 64 * t1_ms
        """Timers B, D, F, H, J, L and M."""


class Transaction:
    """What both kinds have in common: one registry can hold them, and their timers stop together."""

    def __init__(self) -> None:
        self._repeat: Timer | None = None
        self._give_up: Timer | None = None
        self._linger: Timer | None = None

    def terminate(self) -> None:
        raise NotImplementedError

    def _stop_timers(self) -> None:
        if self._repeat is not None:
            self._repeat.stop()
            self._repeat = None
        if self._give_up is not None:
            self._give_up.stop()
            self._give_up = None
        if self._linger is not None:
            self._linger.stop()
            self._linger = None


class Layer:
    """Registry of transactions, their timers, and the messages they want sent."""

    def __init__(self, values: TimerValues) -> None:
        self.values: TimerValues = values
        self.timers: Timers = Timers()
        self.servers: dict[bytes, Transaction] = {}
        self.clients: dict[bytes, Transaction] = {}
        self.sends: list[Send | Close] = []
        self.tokens: dict[int, Transaction] = {}
        """Sends on streams whose failure a client transaction wants to hear of."""
        self._last_token: int = 0
        self.is_of_call: bool = False
        """Whether the message at hand belongs to a call; what is kept of messages goes by it."""

    def send(self, flow: Flow, data: bytes) -> None:
        self.sends.append(Send(flow, data))

    def send_watched(self, flow: Flow, data: bytes, transaction: Transaction) -> int:
        """Send, and have `transaction` told if the transport cannot deliver."""
        self._last_token += 1
        token = self._last_token
        self.tokens[token] = transaction
        self.sends.append(Send(flow, data, token))
        return token

    def size(self) -> int:
        return len(self.servers) + len(self.clients)


def server_key(request: Request, method: bytes) -> bytes:
    """Names the server transaction that `request` belongs to, as if its method were `method`.

    Source: RFC 3261 §17.2.3; peers of RFC 2543 send no magic cookie and are matched by what stays
    the same over all copies of a request.
    """
    via = request.via
    branch = via.branch
    if branch[:7] == MAGIC_COOKIE:
        if via.port:
            return branch + b" " + via.host + b":%d " % via.port + method
        return branch + b" " + via.host + b" " + method
    return b"%b %d %b %b %b" % (request.call_id, request.cseq, request.from_tag, via.raw, method)
