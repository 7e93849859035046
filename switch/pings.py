"""Keeps the way to registered phones open, and the list of contacts short.

A phone behind a NAT is reached as long as its NAT remembers the way. OPTIONS makes it answer, and its
answer is what the NAT goes by (RFC 4787 §4.3). Phones on a stream keep their own way open (RFC 5626 §4.4.1),
and are gone when their connection is.
"""

from __future__ import annotations

import heapq
from typing import Final

from switch.bindings import Binding
from switch.board import Board
from switch.transaction.client import ClientTransaction, ClientUser
from switch.transaction.timers import Timer, TimerOwner
from switch.wire.message import Response

TICK_MS: Final = 1_000
ANSWER_S: Final = 5.0
STALE_MAX: Final = 1_024
"""Contacts that were taken out and still wait for their end; more are looked for and dropped."""
_TICK: Final = 1


class Ping(ClientUser):
    """One OPTIONS to one contact."""

    def __init__(self, binding: Binding) -> None:
        self.binding: Binding = binding
        self.client: ClientTransaction | None = None
        self.is_answered: bool = False

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Any answer is one: phones that do not know OPTIONS are there all the same."""
        self.is_answered = True
        self.binding.answered_at = now
        self.binding.misses = 0

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        return


class Pings(TimerOwner):
    """One timer for all bindings: pings that are due, answers that did not come, contacts that are over.

    Args:
        interval_s: between two pings of a contact; 0: none are sent.
    """

    def __init__(self, board: Board, interval_s: float) -> None:
        self.board: Board = board
        self.interval_s: float = interval_s
        self._ends: list[tuple[float, int, Binding]] = []
        self._due: list[tuple[float, int, Binding]] = []
        self._open: list[tuple[float, int, Ping]] = []
        self._serial: int = 0
        self._timer: Timer | None = None

    def watch(self, binding: Binding, now: float) -> None:
        """See to it that a binding ends; a refreshed one is looked at again when it would have ended before."""
        if not binding.is_watched:
            binding.is_watched = True
            self._serial += 1
            heapq.heappush(self._ends, (binding.expires_at, self._serial, binding))
        if self._timer is None:
            self._timer = self.board.layer.timers.start(TICK_MS, self, _TICK, now)

    def begin(self, binding: Binding, now: float) -> None:
        """Ping a new binding from now on, where it needs it."""
        if not self.interval_s or not self._needs_pings(binding):
            return
        self._serial += 1
        # Not all at once after a restart, or a power cut in a whole street.
        at = now + self.interval_s * (0.5 + self.board.rng.random() / 2.0)
        heapq.heappush(self._due, (at, self._serial, binding))

    def fire(self, kind: int, now: float) -> None:
        bindings = self.board.bindings
        most = 2 * bindings.count + STALE_MAX
        if len(self._ends) > most:
            self._ends = self._current(self._ends)
        if len(self._due) > most:
            self._due = self._current(self._due)
        while self._ends and self._ends[0][0] <= now:
            binding = heapq.heappop(self._ends)[2]
            binding.is_watched = False
            if binding.expires_at > now:
                self.watch(binding, now)
            else:
                bindings.discard(binding)
        while self._open and self._open[0][0] <= now:
            ping = heapq.heappop(self._open)[2]
            if not ping.is_answered:
                ping.binding.misses += 1
            if ping.client is not None:
                ping.client.terminate()
        while self._due and self._due[0][0] <= now:
            binding = heapq.heappop(self._due)[2]
            if binding.expires_at <= now or binding not in bindings.by_user.get(binding.user_id, ()):
                continue
            self._send(binding, now)
            self._serial += 1
            heapq.heappush(self._due, (now + self.interval_s, self._serial, binding))
        self._timer = None
        if bindings.count or self._open:
            self._timer = self.board.layer.timers.start(TICK_MS, self, _TICK, now)
        else:
            self._ends = []  # whoever is in there has been taken out by hand
            self._due = []

    def _current(self, queue: list[tuple[float, int, Binding]]) -> list[tuple[float, int, Binding]]:
        """A queue without the contacts that are gone: phones that change theirs all the time leave many."""
        by_user = self.board.bindings.by_user
        kept = [each for each in queue if each[2] in by_user.get(each[2].user_id, ())]
        heapq.heapify(kept)
        return kept

    def _needs_pings(self, binding: Binding) -> bool:
        return not self.board.hops.locals[binding.flow.listener].is_reliable

    def _send(self, binding: Binding, now: float) -> None:
        board = self.board
        local = board.hops.locals[binding.flow.listener]
        branch = board.ids.branch()
        lines = [
            b"OPTIONS " + binding.uri + b" SIP/2.0",
            local.via_start + branch,
            b"Max-Forwards: 70",
            b"From: <sip:ping@%b>;tag=%b" % (local.shown_host, board.ids.tag()),
            b"To: <" + binding.uri + b">",
            b"Call-ID: " + board.ids.tag(),
            b"CSeq: 1 OPTIONS",
            b"Contact: " + local.contact,
        ]
        if binding.path:
            lines.append(b"Route: " + binding.path)
        lines.append(b"Content-Length: 0\r\n\r\n")
        ping = Ping(binding)
        client = ClientTransaction(
            board.layer, branch, b"OPTIONS", b"\r\n".join(lines), binding.flow, ping, is_reliable=local.is_reliable
        )
        ping.client = client
        self._serial += 1
        heapq.heappush(self._open, (now + ANSWER_S, self._serial, ping))
        client.start(now)
