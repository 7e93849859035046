"""Wrong answers, counted by whoever gave them: too many, and nothing more is judged for a while."""

from __future__ import annotations

from typing import Final

TALLIES_MAX: Final = 50_000
"""Addresses, and user names, that are counted at once; the oldest give way."""


class _Tally:
    def __init__(self, now_s: float) -> None:
        self.failures: int = 0
        self.first_s: float = now_s
        self.last_s: float = now_s


class Throttle:
    """Failures by name (an address, a user) in a window.

    Args:
        failures_max: failures within `window_s` that block a name.
        window_s: for this long after the last of them it stays blocked.
    """

    def __init__(self, failures_max: int, window_s: float) -> None:
        self._failures_max: int = failures_max
        self._window_s: float = window_s
        self._tallies: dict[str, _Tally] = {}

    def is_blocked(self, name: str, now_s: float) -> bool:
        tally = self._tallies.get(name)
        if tally is None or tally.failures < self._failures_max:
            return False
        if now_s - tally.last_s < self._window_s:
            return True
        del self._tallies[name]
        return False

    def fail(self, name: str, now_s: float) -> None:
        tally = self._tallies.get(name)
        if tally is None or now_s - tally.first_s >= self._window_s:
            # Taken out first, so that dictionary order stays the order of age.
            self._tallies.pop(name, None)
            if len(self._tallies) >= TALLIES_MAX:
                del self._tallies[next(iter(self._tallies))]
            tally = self._tallies[name] = _Tally(now_s)
        tally.failures += 1
        tally.last_s = now_s

    def __len__(self) -> int:
        return len(self._tallies)
