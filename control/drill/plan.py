"""What a drill does: its options, and the calls that are drawn from its seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Final, Literal

import msgspec

from control.drill.carrier import CUSTOMERS, DESTINATIONS, CustomerPlan

SERIAL_DIGITS: Final = 7
"""The last digits of every number dialled say which call it is, whatever a switch changes in headers."""

Ending = Literal["caller", "callee", "cancel", "busy", "unavailable", "silence"]
"""Who hangs up an answered call, or why it is not answered: the caller cancels while it rings, the
called party is busy, the first vendor fails (503) or says nothing, and the second one answers."""

ENDINGS: Final[tuple[tuple[Ending, int], ...]] = (
    ("caller", 46),
    ("callee", 26),
    ("cancel", 9),
    ("busy", 7),
    ("unavailable", 8),
    ("silence", 4),
)
"""Shares of a hundred."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    calls: int = 100
    """Calls to place, at least: they go on until the kills are done."""
    rate: float = 10.0
    """Calls a second."""
    kills: int = 5
    seed: int = 0
    at_write: int | None = None
    """The switch is killed as it writes its journal for the Nth time, at the next kill for the N+1st …"""


class CallPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One call as its peers will play it."""

    serial: int
    customer: CustomerPlan
    number: str
    """E.164 digits, without the customer's tech prefix."""
    ending: Ending
    ring_s: float
    """INVITE to the vendor's final answer, or to the caller's CANCEL."""
    talk_s: float

    @property
    def dialled(self) -> str:
        return self.customer.tech_prefix + self.number


def draw_calls(rng: Random) -> Iterator[CallPlan]:
    """Calls without end; the same ones for the same seed."""
    endings = [ending for ending, _ in ENDINGS]
    shares = [share for _, share in ENDINGS]
    serial = 0
    while True:
        serial += 1
        customer = rng.choices(CUSTOMERS, [each.share for each in CUSTOMERS])[0]
        destination = rng.choice([each for each in DESTINATIONS if each.prefix in customer.dials])
        yield CallPlan(
            serial=serial,
            customer=customer,
            number=f"{destination.prefix}{serial:0{SERIAL_DIGITS}d}",
            ending=rng.choices(endings, shares)[0],
            ring_s=round(rng.uniform(0.05, 0.8), 3),
            talk_s=round(rng.uniform(0.2, 7.0), 3),
        )


def serial_of(number: str) -> int:
    """Which call a dialled number belongs to; 0: none."""
    digits = number[-SERIAL_DIGITS:]
    return int(digits) if digits.isdecimal() else 0
