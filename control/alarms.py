"""What the switch complains about: every alarm is logged, and those that stop calls stay in health while they stand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from switch.outputs import Alarm, Event

_STANDS: Final = "journal_failed"
_ENDS: Final = "journal_recovered"
RECENT_MAX: Final = 200

log = structlog.get_logger("control")


class Alarms:
    """The events of the switch; what one process of it said does not stand for the next."""

    def __init__(self, started_ms: Callable[[], int]) -> None:
        """`started_ms` tells which process of the switch is heard now: its start, 0 before any."""
        self._started_ms = started_ms
        self._standing = ""
        self._of_ms = 0
        self._recent: deque[Alarm] = deque(maxlen=RECENT_MAX)

    def note(self, event: Event) -> None:
        if not isinstance(event, Alarm):
            log.info("gateway health", gateway=event.gateway_id, is_up=event.is_up, reason=event.reason)
            return
        log.error("switch alarm", name=event.name, detail=event.detail)
        if event not in self._recent:  # those that stand are told again with each connection
            self._recent.append(event)
        if event.name == _STANDS:
            self._standing, self._of_ms = event.detail, self._started_ms()
        elif event.name == _ENDS:
            self._standing = ""

    def faults(self) -> list[str]:
        """In words, for health."""
        stands = self._standing and self._of_ms == self._started_ms()
        return [f"the switch takes no new calls: {self._standing}"] if stands else []

    def recent(self) -> list[Alarm]:
        """What was complained about since this process began, the newest first."""
        return list(reversed(self._recent))
