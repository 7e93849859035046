"""What must be so after every restart, whatever happened before it: the invariants of crash consistency.

(i) what a customer began with, and paid, less every charge, is the balance; (ii) every call whose end
was acknowledged, and every payment, is there once; (iii) no CDR ends before it begins or charges what
was not answered; (iv) calls that are gone hold nothing. And no vendor was sent a call that the switch knows nothing of.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import suppress

from switch.frames import BookEntries, EndCall, Entry
from switch.records import Cdr
from tests.e2e.plane import Plane

PAYMENT_NANOS = 1_234_567


def check_cdrs(plane: Plane, ended: set[str]) -> list[Cdr]:
    """Every call whose BYE was answered has one CDR; none has two; times and charges belong together."""
    cdrs = plane.cdrs()
    seen = Counter(cdr.call_id for cdr in cdrs)
    assert [call_id for call_id, count in seen.items() if count > 1] == []
    assert ended - seen.keys() == set()
    assert len({cdr.id for cdr in cdrs}) == len(cdrs)
    for cdr in cdrs:
        assert cdr.ended_ms >= cdr.invited_ms
        if cdr.answered_ms is None:
            assert cdr.gross_nanos == 0
        else:
            assert cdr.invited_ms <= cdr.answered_ms <= cdr.ended_ms
            assert cdr.gross_nanos == cdr.net_nanos + cdr.tax_nanos > 0
    return cdrs


class Books:
    """What the outside was told by one plane: calls that ended, and entries that were booked."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.ended: set[str] = set()
        """Call-IDs whose BYE was answered."""
        self.reached: set[str] = set()
        """Call-IDs of INVITEs that a vendor saw."""
        self.sent: list[Entry] = []
        """In order of ids; the last one may not be known to be booked."""
        self.booked = 0
        """Acknowledged, of those sent."""
        self._ids = itertools.count(1)

    def pay(self) -> None:
        """One more payment; a switch that dies over it leaves it open."""
        self.sent.append(Entry(next(self._ids), self.plane.place.base, PAYMENT_NANOS))
        with suppress(ConnectionError, EOFError, TimeoutError, FileNotFoundError):
            self._send()

    def settle(self) -> None:
        """Send again what was not acknowledged, as the control plane does when the switch is back."""
        if self.booked < len(self.sent):
            self._send()

    def _send(self) -> None:
        # All of them, from the first: what is booked already is passed over.
        assert self.plane.refusal(BookEntries(id=1, entries=tuple(self.sent))) == ""
        self.booked = len(self.sent)

    def end_live_calls(self) -> None:
        """By order of an administrator: those that no peer knows to be up."""
        for call in self.plane.live_calls():
            assert self.plane.ask(EndCall(id=1, cdr_id=call.cdr_id, by="test"), bool)

    def check(self, *, calls: int = 0) -> None:
        """All four, with so many calls still up."""
        plane = self.plane
        cdrs = check_cdrs(plane, self.ended)
        account = plane.account()
        paid = sum(entry.amount_nanos for entry in self.sent[: self.booked])
        assert account.balance_nanos == plane.balance_nanos + paid - sum(cdr.gross_nanos for cdr in cdrs)
        live = plane.live_calls()
        assert account.holds == len(live) == calls
        assert account.held_nanos == sum(call.held_nanos for call in live)
        here, seen = {call.call_id for call in live}, {cdr.call_id for cdr in cdrs}
        assert here & seen == set()
        assert self.reached <= here | seen
