"""Wall time that never goes back: peers and CDRs are compared by it."""

from __future__ import annotations

import time
from typing import Final

_OFFSET_S: Final = time.time() - time.monotonic()


def wall_s() -> float:
    """Seconds since the epoch, as they were when the drill began, moved on by the monotonic clock."""
    return _OFFSET_S + time.monotonic()


def wall_ms() -> int:
    return round(wall_s() * 1_000)
