"""Vendors that answer every call at once: false answer supervision, told by the times alone."""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.1
"""No phone is picked up within this long of the INVITE."""
STREAK: Final = 10
"""So many quick answers on end, with nothing else between them, are no chance."""


class QuickAnswers:
    """Counts, by vendor, answers in a row that came too soon to be people's."""

    def __init__(self) -> None:
        self._streaks: dict[int, int] = {}

    def note_answer(self, provider_id: int, after_s: float) -> bool:
        """An attempt was answered; True where this one makes a streak, once for each streak."""
        if after_s > QUICK_S:
            self._streaks.pop(provider_id, None)
            return False
        streak = self._streaks.get(provider_id, 0) + 1
        self._streaks[provider_id] = streak
        return streak == STREAK

    def note_failure(self, provider_id: int) -> None:
        """An attempt was refused or ran out: this vendor does not answer everything."""
        if self._streaks:
            self._streaks.pop(provider_id, None)
