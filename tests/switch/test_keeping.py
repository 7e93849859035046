"""Live calls are written again after each new segment, a few at a time, and never for its own sake."""

from __future__ import annotations

from switch.keeping import CALLS_AT_ONCE, Keeping


class Switch:
    """An engine with so many live calls, and a journal whose segments take so many records each."""

    def __init__(self, calls: int, per_segment: int = 1_000_000) -> None:
        self.calls = calls
        self.per_segment = per_segment
        self.written = 0
        self.kept = self.flushed = 0
        self.unkept = 0
        self.rounds = 0
        self.needed_from = 1
        self.failure = ""
        self.keeping = Keeping(self, self, self.flush)

    @property
    def segment_number(self) -> int:
        return 1 + self.written // self.per_segment

    def begin_keeping(self) -> None:
        self.rounds += 1
        self.unkept = self.calls

    def keep_calls(self, count_max: int) -> bool:
        count = min(count_max, self.unkept)
        self.unkept -= count
        self.kept += count
        return not self.unkept

    def flush(self) -> None:
        self.written += self.kept - self.flushed
        self.flushed = self.kept

    def fill_segment(self) -> None:
        self.written = self.per_segment * self.segment_number


def test_nothing_is_written_again_before_a_segment_is_full() -> None:
    switch = Switch(calls=10)
    for _ in range(5):
        switch.keeping.step()
    assert (switch.rounds, switch.kept, switch.needed_from) == (0, 0, 1)


def test_after_a_new_segment_every_call_is_written_again_and_old_ones_may_go() -> None:
    switch = Switch(calls=CALLS_AT_ONCE + 1)
    switch.fill_segment()
    switch.keeping.step()
    assert (switch.kept, switch.needed_from) == (CALLS_AT_ONCE, 1)  # one call still has its record there
    switch.keeping.step()
    assert (switch.kept, switch.needed_from) == (CALLS_AT_ONCE + 1, 2)
    for _ in range(5):
        switch.keeping.step()
    assert switch.rounds == 1


def test_without_calls_old_segments_go_at_once() -> None:
    switch = Switch(calls=0)
    switch.fill_segment()
    switch.keeping.step()
    assert switch.needed_from == 2


def test_a_round_that_fills_segments_itself_comes_to_its_end_and_does_not_begin_another() -> None:
    switch = Switch(calls=10_000, per_segment=1_500)
    switch.fill_segment()
    for _ in range(1_000):
        switch.keeping.step()
    assert switch.rounds == 1
    assert switch.needed_from == 2
    assert switch.segment_number > 7
    # As many segments of other records as the round took itself, and the next one begins.
    took = switch.segment_number - switch.needed_from
    for _ in range(took):
        switch.fill_segment()
        switch.keeping.step()
    assert switch.rounds == 1
    switch.fill_segment()
    switch.keeping.step()
    assert switch.rounds == 2


def test_a_failing_journal_is_left_alone_and_the_round_begins_anew_once_it_works() -> None:
    switch = Switch(calls=2 * CALLS_AT_ONCE)
    switch.fill_segment()
    switch.keeping.step()
    switch.failure = "disk full"
    kept = switch.kept
    switch.keeping.step()
    assert switch.kept == kept
    switch.failure = ""

    def fails() -> None:
        switch.failure = "disk full again"

    switch.keeping._flush = fails
    switch.keeping.step()
    assert switch.needed_from == 1
    switch.failure, switch.keeping._flush = "", switch.flush
    for _ in range(3):
        switch.keeping.step()
    assert (switch.rounds, switch.needed_from) == (2, 2)
