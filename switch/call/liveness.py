"""How calls are found whose end nobody told: the settings that calls read, flat and in their units."""

from __future__ import annotations

from typing import Final

from config.settings import Liveness as Settings

STEPS: Final = 8
"""Spread of the keep-alive interval over calls. A few fixed lengths rather than any: timers of one
length share a queue (`transaction.timers`), and starting one there is an append."""


class Liveness:
    """One per switch. Set once, before there are calls."""

    def __init__(self) -> None:
        self.session_expires_s: int = 1_800
        """Session timer that is offered; 0: none."""
        self.session_min_s: int = 90
        self.is_offered_to_all: bool = False
        """Also to callees of callers that know no session timers."""
        self.keepalive_failures: int = 3
        self.keepalive_of: int = 4
        self.recovery_probe_ms: int = 20_000
        self._keepalive_ms: list[int] = []
        self.set_keepalive(300)

    def follow(self, settings: Settings) -> None:
        """Take all of it from the settings."""
        self.session_expires_s = settings.session_expires_s
        self.session_min_s = settings.session_min_s
        self.is_offered_to_all = settings.session_offer == "all"
        self.keepalive_failures = settings.keepalive_failures
        self.keepalive_of = settings.keepalive_of
        self.recovery_probe_ms = int(settings.recovery_probe_s * 1000.0)
        self.set_keepalive(settings.keepalive_s)

    def set_keepalive(self, seconds: int) -> None:
        """Probe each side so often, or up to a quarter sooner; 0: never."""
        longest_ms = seconds * 1000
        self._keepalive_ms = [longest_ms * (4 * STEPS - step) // (4 * STEPS) for step in range(STEPS)]

    def keepalive_ms(self, step: int) -> int:
        """The interval of a call that drew this step (0 to `STEPS` - 1); 0: it is not probed."""
        return self._keepalive_ms[step]

    def recovery_ms(self, step: int) -> int:
        """When a restored call is first probed: all are due at once, so they are spread over as long again."""
        return self.recovery_probe_ms * (STEPS + step) // STEPS
