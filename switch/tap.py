"""Puts what goes in and out into the ring of messages, as far as it belongs to calls.

The engine says of each message whether it found a call for it. What it found none for is a stranger's, or
no call's: of that a sample is kept, so that no flood can wash out what carriers have said.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from switch.outputs import Address, Close, Send
from switch.pump import Core
from switch.ring import Ring
from switch.ring_format import RECEIVED, SENT


class Told(Protocol):
    """The transaction layer, which knows whether the message at hand belongs to a call."""

    is_of_call: bool


class Tap:
    """Between the shells and the engine; one per switch."""

    def __init__(self, engine: Core, layer: Told, ring: Ring, strangers_per_s: int) -> None:
        self._receive = engine.receive
        self._layer = layer
        self._add = ring.add
        self._strangers_per_s = strangers_per_s
        self._left = strangers_per_s
        self._filled_at = 0.0
        self.wall_offset_s = time.time() - time.monotonic()

    def receive(self, data: bytes, listener: int, source: Address, now: float, connection: int = 0) -> None:
        """As the engine's own, and the message is kept, also one that the engine stumbles over."""
        layer = self._layer
        layer.is_of_call = False
        try:
            self._receive(data, listener, source, now, connection)
        finally:
            if layer.is_of_call or self._may_sample(now):
                self._add(RECEIVED, listener, source, data, int((now + self.wall_offset_s) * 1e6))

    def note_sends(self, sends: Sequence[Send | Close], now: float) -> None:
        at_us = int((now + self.wall_offset_s) * 1e6)
        add = self._add
        for send in sends:
            if type(send) is not Send:
                continue
            data = send.data
            if (send.is_loose or (data[:1] == b"O" and is_probe(data))) and not self._may_sample(now):
                continue
            flow = send.flow
            add(SENT, flow.listener, flow.address, data, at_us)

    def _may_sample(self, now: float) -> bool:
        if now - self._filled_at >= 1.0:
            self._filled_at = now
            self._left = self._strangers_per_s
        if self._left <= 0:
            return False
        self._left -= 1
        return True


def is_probe(data: bytes) -> bool:
    """Whether it is an OPTIONS of ours outside any dialog: whether a gateway is there."""
    if not data.startswith(b"OPTIONS "):
        return False
    start = data.find(b"\r\nTo:")
    return b";tag=" not in data[start + 2 : data.find(b"\r\n", start + 2)]
