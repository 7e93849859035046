"""Looks at the store that are left out while they could find nothing new.

A part of the control process that waits for rows to be there, or to be due, looks every second or two; a
transaction that finds nothing costs a millisecond all the same. As long as this process has written nothing
since the look before, the same would be found: only the clock can make something due.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from control.store.engine import Store

ANYWAY_S: Final = 10.0
"""So long no look is left out for: somebody may have written past this process."""


class Looks:
    """Of one part; asked at its usual pace."""

    def __init__(
        self, store: Store, now_ms: Callable[[], int], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._writes = 0
        """Of the store when the last look began."""
        self._is_resting = False
        self._next_ms: int | None = None
        self._until_s = 0.0

    def is_needed(self) -> bool:
        """Whether to look now; if so, what is written from here on makes the next one needed too."""
        if (
            self._is_resting
            and self._writes == self._store.writes
            and self._monotonic_s() < self._until_s
            and (self._next_ms is None or self._now_ms() < self._next_ms)
        ):
            return False
        self._is_resting = False
        self._writes = self._store.writes
        return True

    def rest(self, next_ms: int | None = None) -> None:
        """The look that was needed has found nothing to do before `next_ms`; None: as things are, ever."""
        self._is_resting = True
        self._next_ms = next_ms
        self._until_s = self._monotonic_s() + ANYWAY_S
