"""Health of one gateway: what probes said, and how long it asked to be left alone.

Probes move it between up and down by thresholds both ways, so that one lost packet takes nothing
out and one lucky answer brings nothing back. A 503, no answer or a transport error is a failed
probe; any other final response shows a server that works. A 503 with Retry-After, to a call or to
a probe, rests this gateway alone for that long, whether it is probed or not (RFC 3261 §21.5.4).
"""

from __future__ import annotations

from typing import Final

REST_MAX_S: Final = 3600.0
"""Longest rest that a Retry-After can ask for: a vendor's slip must not cost it a day's traffic."""


class Health:
    """One gateway's state; starts up, since a call tells more than waiting for probes."""

    def __init__(self) -> None:
        self.is_up: bool = True
        self.reason: str = ""
        """Why it is down, or why it last came up; empty: never judged."""
        self.changed_ms: int = 0
        """Wall clock of the last change; 0: none yet."""
        self.failures: int = 0
        """Failed probes in a row."""
        self.successes: int = 0
        """Good probes in a row."""
        self.rest_until_s: float = 0.0
        """Monotonic; before it no call goes there."""

    def is_usable(self, now_s: float) -> bool:
        return self.is_up and now_s >= self.rest_until_s

    def probe_answered(self, status: int, now_ms: int, failures_max: int, successes_min: int) -> bool:
        """A final response to a probe.

        Returns:
            Whether the gateway went up or down by it.
        """
        if status == 503:
            return self.probe_failed("503 to the probe", now_ms, failures_max)
        self.failures = 0
        self.successes += 1
        if self.is_up or self.successes < successes_min:
            return False
        self.is_up = True
        self.reason = f"{self.successes} probes answered, last with {status}"
        self.changed_ms = now_ms
        return True

    def probe_failed(self, reason: str, now_ms: int, failures_max: int) -> bool:
        """No response in time, a 503, or a transport error that `reason` names.

        Returns:
            Whether the gateway went down by it.
        """
        self.successes = 0
        self.failures += 1
        if not self.is_up:
            self.reason = reason
            return False
        if self.failures < failures_max:
            return False
        self.is_up = False
        self.reason = f"{reason} ({self.failures} in a row)" if self.failures > 1 else reason
        self.changed_ms = now_ms
        return True

    def rest(self, retry_after_s: float, now_s: float) -> None:
        """Leave the gateway alone as its 503's Retry-After asks; a shorter wish ends no longer one."""
        until_s = now_s + min(max(retry_after_s, 0.0), REST_MAX_S)
        self.rest_until_s = max(until_s, self.rest_until_s)

    def probing_ended(self, now_ms: int) -> bool:
        """The gateway is not probed any more: nothing would bring it up again.

        Returns:
            Whether it had been down.
        """
        self.failures = 0
        self.successes = 0
        if self.is_up:
            return False
        self.is_up = True
        self.reason = "not probed"
        self.changed_ms = now_ms
        return True

    def why_not(self, now_s: float) -> str:
        """In words, why no call goes there; empty when it is usable."""
        if not self.is_up:
            return self.reason
        if now_s < self.rest_until_s:
            return f"Retry-After, {self.rest_until_s - now_s:.0f} s left"
        return ""
