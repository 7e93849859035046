"""Many calls at once from one thread, and a vendor that answers from another.

`Peer` says one thing at a time; this keeps hundreds of calls under way and remembers, for each, the
last thing that its caller was told. That is what CDRs are compared with after an accident.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.e2e.peer import SDP, Address, Dialog, Peer, Seen, reply

LOOK_S = 0.02


class Vendor(threading.Thread):
    """Answers every INVITE with `status`, everything else with 200; counts what came."""

    def __init__(self, at: Address, switch: Address, *, status: int = 200, reason: str = "OK") -> None:
        super().__init__(daemon=True)
        self.peer = Peer(at, switch)
        self.status = status
        self.reason = reason
        self.counts: dict[str, int] = {}
        self.answered: set[str] = set()
        """Call-IDs."""
        self.is_paused = False
        """Hears and says nothing."""
        self._is_ended = False

    def __enter__(self) -> Vendor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ended = True
        self.join()
        self.peer.__exit__()

    def run(self) -> None:
        while not self._is_ended:
            request = self.peer.receive(LOOK_S)
            self.peer.seen.clear()
            if request is None or request.status or self.is_paused:
                continue
            method = request.method
            self.counts[method] = self.counts.get(method, 0) + 1
            if method == "INVITE":
                self.answered.add(request.header("Call-ID"))
                self.peer.send(reply(self.peer, request, self.status, self.reason, body=SDP))
            elif method != "ACK":
                self.peer.send(reply(self.peer, request, 200, "OK"))


class Caller:
    """Places calls from one UDP address; each is ACKed, held for a time and ended by BYE."""

    def __init__(self, at: Address, switch: Address) -> None:
        self.peer = Peer(at, switch)
        self.dialogs: dict[str, Dialog] = {}
        self.answered: set[str] = set()
        """Call-IDs whose caller saw a 200 to the INVITE."""
        self.ended: set[str] = set()
        """Call-IDs whose BYE was answered with 200."""
        self.refused: dict[str, Seen] = {}
        """The last refusal, by Call-ID."""
        self.setup_s: list[float] = []
        self._begun: dict[str, float] = {}
        self._byes: list[tuple[float, str]] = []
        self._open: set[str] = set()
        """Calls that have still to come to their end, or to their answer where nobody hangs up."""
        self._hold_s = 0.0
        self._hangs_up = True

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.__exit__()

    def run(
        self,
        count: int,
        *,
        per_s: float = 100.0,
        hold_s: float = 0.0,
        until: Callable[[], bool] | None = None,
        settle_s: float = 5.0,
        hangs_up: bool = True,
    ) -> None:
        """Place `count` calls and see them to their end, or stop at once when `until` says so.

        Args:
            settle_s: how long the last calls may take once all are placed.
            hangs_up: False leaves the answered ones up.
        """
        self._hold_s, self._hangs_up = hold_s, hangs_up
        began, placed = time.monotonic(), 0
        last = began + count / per_s + hold_s + settle_s
        while (now := time.monotonic()) < last and not (until is not None and until()):
            while placed < count and began + placed / per_s <= now:
                self._invite()
                placed += 1
            while self._byes and self._byes[0][0] <= now:
                self._send(self.dialogs[heapq.heappop(self._byes)[1]].inside("BYE", 2))
            if placed == count and not self._open:
                return
            self._hear()

    def hang_up_all(self, settle_s: float = 5.0) -> None:
        """BYE to every call that is still up."""
        self._open = self.answered - self.ended
        self._byes = [(0.0, call_id) for call_id in self._open]
        self.run(0, settle_s=settle_s)

    def _invite(self) -> None:
        dialog = Dialog(self.peer, "442071000001")
        self.dialogs[dialog.call_id] = dialog
        self._open.add(dialog.call_id)
        self._begun[dialog.call_id] = time.monotonic()
        self._send(dialog.invite())

    def _send(self, text: str) -> None:
        with suppress(OSError):  # a switch that is dead is what such a test is about
            self.peer.send(text)

    def _hear(self) -> None:
        for _ in range(64):
            seen = self.peer.receive(0.001)
            if seen is None:
                return
            self._take(seen)
        self.peer.seen.clear()

    def _take(self, seen: Seen) -> None:
        call_id = seen.header("Call-ID")
        dialog = self.dialogs.get(call_id)
        if dialog is None:
            return
        if not seen.status:
            if seen.method != "ACK":
                self._send(reply(self.peer, seen, 200, "OK"))
        elif seen.method == "BYE" and seen.status >= 200:
            self._open.discard(call_id)
            if seen.status == 200:
                self.ended.add(call_id)
        elif seen.method == "INVITE" and seen.status >= 200:
            self._send(dialog.ack(seen))
            if seen.status >= 300:
                self.refused[call_id] = seen
                self._open.discard(call_id)
            elif call_id not in self.answered:
                self._note_answer(call_id)

    def _note_answer(self, call_id: str) -> None:
        now = time.monotonic()
        self.answered.add(call_id)
        self.setup_s.append(now - self._begun[call_id])
        if self._hangs_up:
            heapq.heappush(self._byes, (now + self._hold_s, call_id))
        else:
            self._open.discard(call_id)
