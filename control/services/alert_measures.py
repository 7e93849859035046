"""What alerts look at, measured over a sliding sample of calls: pure, for live calls and for history alike.

A call is judged by the sample that its INVITE falls into, as soon as it is decided: when it is answered,
or when it ends unanswered. So a customer whose good calls are all still up is not judged by its failed ones
alone. Lengths and charges count when a call ends. Values are in nano-units of what people write: percent
for ASR, seconds for ACD, milliseconds for PDD, calls a second, calls, money an hour, calls in a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from rating.money import ceil_div

Area = Literal["balance", "asr", "acd", "pdd", "cps", "channels", "spend_per_hour", "failures"]

NANOS: Final = 1_000_000_000
HOUR_MS: Final = 3_600_000
SECOND_MS: Final = 1_000
FAILURES_MAX: Final = 10_000
BUCKETS_MAX: Final = 900
"""What falls into one piece of time is kept as a sum: so a sample costs the same however many calls it has."""


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has ended, as far as alerts go."""

    invited_ms: int
    answered_ms: int | None
    ended_ms: int
    pdd_ms: int | None
    duration_ms: int
    gross_nanos: int
    is_failure: bool
    """The network did not do its part."""


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is up."""

    invited_ms: int
    is_answered: bool


class Sample:
    """Sums over the last so many milliseconds, in pieces of time: two sums of each piece."""

    def __init__(self, span_ms: int, bucket_ms: int) -> None:
        self._span_ms = span_ms
        self._bucket_ms = bucket_ms
        self._pieces: dict[int, tuple[int, int]] = {}
        self._first = 0
        """Pieces before this one have left the sample."""
        self._sums = (0, 0)

    def add(self, at_ms: int, one: int, two: int = 0) -> None:
        piece = at_ms // self._bucket_ms
        if piece < self._first:
            return
        was = self._pieces.get(piece, (0, 0))
        self._pieces[piece] = (was[0] + one, was[1] + two)
        self._sums = (self._sums[0] + one, self._sums[1] + two)

    def begin_ms(self, now_ms: int, since_ms: int) -> int:
        """Where the sample begins: at the first whole piece in it."""
        return ceil_div(max(now_ms - self._span_ms, since_ms), self._bucket_ms) * self._bucket_ms

    def sums(self, now_ms: int, since_ms: int) -> tuple[int, int]:
        """Of the last `span_ms`, and of nothing before `since_ms`; neither ever goes back."""
        self._leave(self.begin_ms(now_ms, since_ms) // self._bucket_ms)
        return self._sums

    def highest(self, now_ms: int, since_ms: int, extra: dict[int, int]) -> int:
        """The largest first sum of one piece, with `extra` added by piece."""
        self._leave(self.begin_ms(now_ms, since_ms) // self._bucket_ms)
        own = max((one for one, _ in self._pieces.values()), default=0)
        both = (self._pieces.get(piece, (0, 0))[0] + count for piece, count in extra.items() if piece >= self._first)
        return max(own, max(both, default=0))

    def _leave(self, first: int) -> None:
        if first <= self._first:
            return
        # Few pieces, or few steps: whichever is less to walk.
        if first - self._first > len(self._pieces):
            gone = [piece for piece in self._pieces if piece < first]
        else:
            gone = [piece for piece in range(self._first, first) if piece in self._pieces]
        for piece in gone:
            one, two = self._pieces.pop(piece)
            self._sums = (self._sums[0] - one, self._sums[1] - two)
        self._first = first


class Measure:
    """One area of one customer, or of all."""

    def __init__(self, area: Area, sample_ms: int, minimum_calls: int) -> None:
        self.area = area
        self._sample_ms = sample_ms
        self._minimum_calls = minimum_calls
        self.bucket_ms = SECOND_MS if area == "cps" else max(SECOND_MS, sample_ms // BUCKETS_MAX)
        self._sample = Sample(sample_ms, self.bucket_ms)
        self._channels = 0
        self._failures: deque[int] = deque(maxlen=FAILURES_MAX)
        """When each of the calls ended that failed one after another, up to the last one."""

    # --- what happens

    def take(self, call: Past) -> None:
        """A call that has ended, and that was not told of before."""
        self.begin(call)
        self.decide(call)
        self.end(call)

    def begin(self, call: Past) -> None:
        self._channels += 1
        if self.area == "cps":
            self._sample.add(call.invited_ms, 1)

    def decide(self, call: Past) -> None:
        """It is answered, or it has ended without."""
        if self.area == "asr":
            self._sample.add(call.invited_ms, int(call.answered_ms is not None), 1)
        elif self.area == "pdd" and call.pdd_ms is not None:
            self._sample.add(call.invited_ms, call.pdd_ms, 1)

    def end(self, call: Past) -> None:
        self._channels -= 1
        if call.is_failure:
            self._failures.append(call.ended_ms)
        else:
            self._failures.clear()
        if self.area == "acd" and call.answered_ms is not None:
            self._sample.add(call.ended_ms, call.duration_ms, 1)
        elif self.area == "spend_per_hour":
            self._sample.add(call.ended_ms, call.gross_nanos)

    # --- what it comes to

    def value(self, now_ms: int, since_ms: int, live: Sequence[Live] = ()) -> int | None:
        """Of the sample that ends now; None where there are too few calls to judge by.

        Args:
            since_ms: nothing before it counts.
            live: calls that are up, where `begin` and `decide` were not told of them.
        """
        if self.area == "channels":
            return (self._channels + len(live)) * NANOS
        if self.area == "failures":
            while self._failures and self._failures[0] < since_ms:
                self._failures.popleft()
            return len(self._failures) * NANOS
        if self.area == "cps":
            return self._cps(now_ms, since_ms, live) * NANOS
        one, two = self._sample.sums(now_ms, since_ms)
        if self.area == "spend_per_hour":
            return one * HOUR_MS // self._sample_ms
        if self.area == "asr":
            begin_ms = self._sample.begin_ms(now_ms, since_ms)
            answered = sum(1 for call in live if call.is_answered and call.invited_ms >= begin_ms)
            one, two = one + answered, two + answered
        if not two or two < self._minimum_calls:
            return None
        if self.area == "asr":
            return one * 100 * NANOS // two
        return one * (NANOS // 1_000 if self.area == "acd" else NANOS) // two

    def _cps(self, now_ms: int, since_ms: int, live: Sequence[Live]) -> int:
        extra: dict[int, int] = {}
        for call in live:
            second = call.invited_ms // SECOND_MS
            extra[second] = extra.get(second, 0) + 1
        return self._sample.highest(now_ms, since_ms, extra)
