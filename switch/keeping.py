"""Writes live calls again, so that the journal's old segments may go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

CALLS_AT_ONCE: Final = 500
"""So many records take about a millisecond."""


class Keeper(Protocol):
    """The engine as this part sees it."""

    def begin_keeping(self) -> None: ...
    def keep_calls(self, count_max: int) -> bool: ...


class Segments(Protocol):
    """The journal likewise."""

    needed_from: int

    @property
    def segment_number(self) -> int: ...
    @property
    def failure(self) -> str: ...


class Keeping:
    """Goes round the live calls after a segment was begun, a few at a time.

    A round is seen to its end also where its own records fill segments, and the next begins only after as
    many more: so with any number of calls, and segments of any size, at most half of what is written is
    written again, and yet old segments go.
    """

    def __init__(self, engine: Keeper, journal: Segments, flush: Callable[[], None]) -> None:
        """`flush` writes what the engine has to say."""
        self._engine = engine
        self._journal = journal
        self._flush = flush
        self._round_from = 0
        """Segment that the present round began in; 0: there is none."""
        self._next_from = journal.needed_from + 1

    def step(self) -> None:
        """Do a little, if there is something to do; called once a second."""
        journal = self._journal
        if journal.failure:
            return  # what memory holds is for the ends of calls
        if not self._round_from:
            if journal.segment_number < self._next_from:
                return
            self._round_from = journal.segment_number
            self._engine.begin_keeping()
        is_done = self._engine.keep_calls(CALLS_AT_ONCE)
        self._flush()
        if journal.failure:  # what was written again may be lost: begin anew once there is room
            self._round_from, self._next_from = 0, journal.segment_number
        elif is_done:
            journal.needed_from = self._round_from
            here = journal.segment_number
            self._next_from = here + (here - self._round_from) + 1
            self._round_from = 0
