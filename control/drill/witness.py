"""What was seen from outside: calls by their callers, legs by vendors, payments and kills by us.

Times are milliseconds since the epoch by `control.drill.clock`; None: it did not happen.
"""

from __future__ import annotations

import msgspec

from control.drill.plan import CallPlan


class DialogSeen(msgspec.Struct, kw_only=True):
    """What either end knows of a dialog."""

    invited_ms: int
    is_cancelled: bool = False
    bye_sent_ms: int | None = None
    bye_status: int = 0
    """Final response to our BYE; 0: none."""
    bye_done_ms: int | None = None
    bye_received_ms: int | None = None
    """First copy of the far end's."""


class CallSeen(DialogSeen, kw_only=True):
    """A call as its caller knows it."""

    plan: CallPlan
    call_id: str
    status: int = 0
    """Final response to the INVITE; 0: none ever came."""
    final_ms: int | None = None
    """First copy of it."""

    @property
    def is_answered(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_ended(self) -> bool:
        """Its end was acknowledged: by us, or to us."""
        return self.bye_received_ms is not None or 200 <= self.bye_status < 300


class LegSeen(DialogSeen, kw_only=True):
    """An INVITE as a vendor knows it."""

    serial: int
    vendor: str
    number: str
    status: int = 0
    """Final response that was sent; 0: none."""
    answered_ms: int | None = None
    """When the first 200 was sent."""
    is_acked: bool = False

    @property
    def is_up(self) -> bool:
        """Answered, and nobody has ended it: what costs money for ever."""
        return self.answered_ms is not None and self.bye_received_ms is None and not self.bye_status


class Payment(msgspec.Struct, kw_only=True):
    """One payment, repeated under one key until it was acknowledged."""

    customer: str
    key: str
    amount: str
    tries: int = 0
    is_acknowledged: bool = False


class Kill(msgspec.Struct, kw_only=True):
    victim: str
    """`switch`, `control`, `both`."""
    how: str
    """In words: at a random moment, at the nth write …"""
    at_ms: int
    recovered_s: float | None = None
    """Until all that was killed answered again; None: it never did."""


class Witness(msgspec.Struct, kw_only=True):
    calls: list[CallSeen] = []
    legs: list[LegSeen] = []
    payments: list[Payment] = []
    kills: list[Kill] = []
    looks: int = 0
    """How often all accounts were looked at while calls ran …"""
    overdrawn: list[str] = []
    """… and what was seen wrong with them."""
