"""Call-rate limits: one token bucket a limit, in whole numbers, so that N means exactly N.

A bucket of rate N holds at most `max(1, N)` tokens and gains N a second. Levels are kept in units
of 10⁻¹² token and time in nanoseconds, so that ten tenths of a second add up to one whole second;
with floats the tenth call of a second would be refused now and then for a missing 10⁻¹⁶ token.
"""

from __future__ import annotations

from typing import Final

TOKEN: Final = 1_000_000_000_000
"""Units in one token: nanoseconds times thousandths of a call per second."""
_MILLI_TOKEN_SECOND: Final = 1_000_000_000


class Bucket:
    """What is left of one limit at one time."""

    def __init__(self, level: int, at_ns: int) -> None:
        self.level: int = level
        self.at_ns: int = at_ns


class Buckets:
    """All buckets by layer key; a bucket never used is full and takes no memory."""

    def __init__(self) -> None:
        self._by_key: dict[int, Bucket] = {}

    def may_take(self, key: int, rate: float, now_s: float) -> bool:
        """Whether a token is there; takes nothing."""
        rate_milli = int(rate * 1000.0 + 0.5)
        if rate_milli <= 0:
            return False
        bucket = self._by_key.get(key)
        return bucket is None or _level_at(bucket, rate_milli, int(now_s * 1e9 + 0.5)) >= TOKEN

    def take(self, key: int, rate: float, now_s: float) -> bool:
        """Take a token if one is there.

        Args:
            rate: calls per second, to a thousandth; 0 or less lets nothing through.
            now_s: monotonic seconds.
        """
        rate_milli = int(rate * 1000.0 + 0.5)
        if rate_milli <= 0:
            return False
        now_ns = int(now_s * 1e9 + 0.5)
        bucket = self._by_key.get(key)
        if bucket is None:
            self._by_key[key] = Bucket(max(1000, rate_milli) * _MILLI_TOKEN_SECOND - TOKEN, now_ns)
            return True
        level = _level_at(bucket, rate_milli, now_ns)
        if level < TOKEN:
            return False
        bucket.level = level - TOKEN
        bucket.at_ns = max(now_ns, bucket.at_ns)
        return True

    def admit_rates(self, rates: list[tuple[int, float]], now_s: float) -> int | None:
        """Take a token from every bucket, or from none.

        Args:
            rates: layer key and calls per second of each limit that a call stands under.
        Returns:
            None when all were taken, else the key of the first limit that is used up.
        """
        if len(rates) > 1:
            for key, rate in rates:
                if not self.may_take(key, rate, now_s):
                    return key
        for key, rate in rates:
            if not self.take(key, rate, now_s):
                return key
        return None

    def first_empty(self, rates: list[tuple[int, float]], now_s: float) -> int | None:
        """What `admit_rates` would say now; takes nothing."""
        for key, rate in rates:
            if not self.may_take(key, rate, now_s):
                return key
        return None

    def wait_s(self, key: int, rate: float, now_s: float) -> float:
        """Seconds until a token is there: 0 when there is one, infinity at rate 0."""
        rate_milli = int(rate * 1000.0 + 0.5)
        if rate_milli <= 0:
            return float("inf")
        bucket = self._by_key.get(key)
        if bucket is None:
            return 0.0
        missing = TOKEN - _level_at(bucket, rate_milli, int(now_s * 1e9 + 0.5))
        return 0.0 if missing <= 0 else -(-missing // rate_milli) / 1e9

    def forget(self, key: int) -> None:
        """Drop the bucket of a record that is gone; its next use finds it full."""
        self._by_key.pop(key, None)

    def __len__(self) -> int:
        return len(self._by_key)


def _level_at(bucket: Bucket, rate_milli: int, now_ns: int) -> int:
    # A limit that was lowered since the last call caps what is left; a clock that stands still or
    # goes back gives nothing.
    elapsed_ns = now_ns - bucket.at_ns
    capacity = max(1000, rate_milli) * _MILLI_TOKEN_SECOND
    if elapsed_ns <= 0:
        return min(bucket.level, capacity)
    return min(bucket.level + elapsed_ns * rate_milli, capacity)
