"""Whether a sale can lose money: both prices over every length a call may have.

Both charges are staircases that never fall. So the least margin lies where the dearer increment of
our own price ends, or where one of the vendor's begins, and between the places where a price
changes its shape (grace, first increment, minimum, tiers, maximum cost) these points come in rows
along which both unrounded charges are straight lines. A handful of points of each row decide it.

Lengths are real ones, not yet rounded to seconds: where the sell card rounds durations lower than
the buy card (`down` against `up`), a call of 30.5 s is sold as 30 and bought as 31, and counts so.
"""

from __future__ import annotations

from math import gcd
from typing import Final

from rating.money import DOWN, HALF_UP, UP
from rating.quotes import Quote, billed_seconds, net_nanos_at

_FAR: Final = 1 << 60
"""Beyond any length."""


def worst_margin(sell: Quote, buy: Quote, max_s: int) -> tuple[int, int]:
    """The least net margin over all calls of up to `max_s` seconds, at least 1, and where it is.

    Tax is left out: it is nobody's margin. Both quotes must be of one currency, and keep the rate
    that they were made with (`Quote.rate_nanos`).

    Returns:
        Sell minus buy in nano-units, negative where money is lost; and a length that has it, in
        seconds rounded up.
    """
    return _Comparison(sell, buy, max_s).worst()


def losing_durations(sell: Quote, buy: Quote, max_s: int) -> list[tuple[int, int]]:
    """Closed ranges of lengths (seconds rounded up, 1..max_s) at which the sale loses money."""
    comparison = _Comparison(sell, buy, max_s)
    if comparison.worst()[0] >= 0:
        return []
    ranges: list[tuple[int, int]] = []
    length = 1
    while length <= max_s:
        # Nothing changes before the next step of either staircase.
        until = min(comparison.sell.next_step(length), comparison.buy.next_step(length), max_s + 1)
        if length == 1:
            until = 2  # The first second has a margin of its own: a part of it may count as none.
        if comparison.margin(length) < 0:
            if ranges and ranges[-1][1] == length - 1:
                ranges[-1] = (ranges[-1][0], until - 1)
            else:
                ranges.append((length, until - 1))
        length = until
    return ranges


class _Staircase:
    """One quote's net charge by length, and where it changes its shape.

    `lag` is 1 where a length counts as a second less here than the lengths that are compared.
    """

    def __init__(self, quote: Quote, lag: int, max_s: int) -> None:
        self.quote: Quote = quote
        self.lag: int = lag
        self.first_s: int = quote.row.first_s + lag
        """Length that the first increment ends at; later ones end every `next_s`."""
        self.next_s: int = quote.row.next_s
        self.rate_nanos: int = quote.rate_nanos
        self.free_s: int = quote.grace_s + lag if quote.grace_s > 0 else -1
        """Lengths up to here are free."""
        self.flat_s: int = self._flat_until()
        """Lengths up to here, past the free ones, cost the same."""
        self.capped_s: int = _FAR
        """Lengths from here on cost the maximum."""
        if quote.max_cost_nanos >= 0 and self.net(max_s) >= quote.max_cost_nanos:
            self.capped_s = self._first_capped(max_s)

    def net(self, length: int) -> int:
        """The net charge of a call of this length."""
        if length <= self.free_s:
            return 0
        return net_nanos_at(self.quote, billed_seconds(self.quote, length - self.lag), self.rate_nanos)

    def next_step(self, length: int) -> int:
        """The next length that may cost more than this one."""
        if length <= self.free_s:
            return self.free_s + 1
        if length >= self.capped_s:
            return _FAR
        if length <= self.flat_s:
            return self.flat_s + 1
        return self.step_end(length) + 1

    def step_end(self, length: int) -> int:
        """Where the increment ends that this length falls in."""
        if length <= self.first_s:
            return self.first_s
        return self.first_s - (self.first_s - length) // self.next_s * self.next_s

    def is_flat(self, length: int) -> bool:
        """Whether the charge stays the same from here to the next change of shape."""
        return length <= self.free_s or length <= self.flat_s or length >= self.capped_s

    def changes(self, found: list[int]) -> None:
        """Adds the lengths at which another shape begins."""
        if self.free_s >= 0:
            found.append(self.free_s + 1)
        found.append(self.flat_s + 1)
        if self.capped_s != _FAR:
            found.append(self.capped_s)
        for from_s, _ in self.quote.row.tiers:
            # The first increment whose end lies beyond the tier's start.
            found.append(self._past(from_s))

    def _flat_until(self) -> int:
        """Up to here the first increment, or the minimum, is all that is billed."""
        if self.quote.minimum_s <= self.quote.row.first_s:
            return self.first_s
        return self._past(self.quote.minimum_s) - 1

    def _past(self, billed_s: int) -> int:
        """The shortest length whose increments come to more than so many seconds, minimum left out."""
        if billed_s < self.quote.row.first_s:
            return 0
        steps = (billed_s - self.quote.row.first_s) // self.next_s
        return self.first_s + steps * self.next_s + 1

    def _first_capped(self, high: int) -> int:
        """The first length that costs the maximum; `high` is one that does."""
        low = 0
        while low < high:
            middle = (low + high) // 2
            if self.net(middle) >= self.quote.max_cost_nanos:
                high = middle
            else:
                low = middle + 1
        return low


class _Comparison:
    """Two staircases, and the least distance between them found so far."""

    def __init__(self, sell: Quote, buy: Quote, max_s: int) -> None:
        assert max_s >= 1, "a call that may not last has no margin"
        # Sold lower than bought: a call just past a whole second is sold a second shorter.
        lag = 1 if _rank(sell) < _rank(buy) else 0
        self.max_s: int = max_s
        self.sell: _Staircase = _Staircase(sell, lag, max_s)
        self.buy: _Staircase = _Staircase(buy, 0, max_s)
        self.least: int = 0
        self.least_s: int = 0
        # Unless we round up, a call under a second may count as none, to both.
        self._may_be_none: bool = not lag and sell.tariff.duration_code != UP

    def margin(self, length: int) -> int:
        """The least margin of calls that are so many seconds long, rounded up."""
        margin = self.sell.net(length) - self.buy.net(length)
        if length == 1 and self._may_be_none:
            return min(margin, self.sell.net(0) - self.buy.net(0))
        return margin

    def worst(self) -> tuple[int, int]:
        self.least = self.margin(1)
        self.least_s = 1
        starts: list[int] = [1]
        self.sell.changes(starts)
        self.buy.changes(starts)
        starts.sort()
        for place in range(len(starts)):
            start = starts[place]
            end = starts[place + 1] - 1 if place + 1 < len(starts) else self.max_s
            if start >= 1 and start <= end:
                if end >= self.max_s:
                    self._search(start, self.max_s)
                    break
                self._search(start, end)
        return self.least, self.least_s

    def _try(self, length: int) -> None:
        margin = self.margin(length)
        if margin < self.least:
            self.least = margin
            self.least_s = length

    def _search(self, start: int, end: int) -> None:
        """The least margin of lengths start..end, in which neither price changes its shape."""
        self._try(start)
        if start > self.max_s or self.buy.is_flat(start):
            return
        sell_is_flat = self.sell.is_flat(start)
        if sell_is_flat:
            # Only the vendor's price rises: the worst is where it has risen last.
            self._try(self._buy_step_start(end, start))
            return
        # Candidates: the last length of each step of ours where those are longer, else the first
        # length of each of theirs; and what the stretch's end cuts off.
        self._try(self._buy_step_start(end, start))
        stride = self.sell.next_s if self.sell.next_s >= self.buy.next_s else self.buy.next_s
        period = self.sell.next_s * self.buy.next_s // gcd(self.sell.next_s, self.buy.next_s)
        first = self.sell.step_end(start) if stride == self.sell.next_s else self.buy.step_end(start) + 1
        for offset in range(first, min(first + period, end + 1), stride):
            self._search_line(offset, period, (end - offset) // period)

    def _buy_step_start(self, length: int, start: int) -> int:
        """Where the vendor's increment began that this length falls in, not before `start`."""
        begun = self.buy.step_end(length) - self.buy.next_s + 1
        return begun if begun > start else start

    def _search_line(self, offset: int, period: int, steps: int) -> None:
        """The least margin at offset, offset + period, …: straight lines, each rounded by itself."""
        sell_rise = period * self._rate_at(self.sell, offset)
        buy_rise = period * self._rate_at(self.buy, offset)
        rise = sell_rise - buy_rise
        sell_unit = 60 * self.sell.quote.tariff.step_nanos
        buy_unit = 60 * self.buy.quote.tariff.step_nanos
        # After so many steps both roundings come out as before, so the margin only moved by `rise`.
        cycle = _repeat(sell_rise, sell_unit) * _repeat(buy_rise, buy_unit)
        # And so many steps away the straight line has left behind what rounding can make up for.
        reach = (sell_unit + buy_unit) // abs(rise) + 1 if rise else steps
        tries = min(steps, cycle, reach)
        if rise < 0:
            for step in range(steps - tries, steps + 1):
                self._try(offset + step * period)
        else:
            for step in range(tries + 1):
                self._try(offset + step * period)

    def _rate_at(self, stairs: _Staircase, length: int) -> int:
        """What a second more costs around this length, in nano-units per minute."""
        rate_nanos = stairs.rate_nanos
        billed_s = billed_seconds(stairs.quote, length - stairs.lag)
        for from_s, tier_rate_nanos in stairs.quote.row.tiers:
            if billed_s <= from_s:
                break
            rate_nanos = tier_rate_nanos
        return rate_nanos


def _repeat(rise: int, unit: int) -> int:
    """After how many rises the remainder by `unit` comes round."""
    return unit // gcd(rise, unit)


def _rank(quote: Quote) -> int:
    """How high a card rounds durations."""
    code = quote.tariff.duration_code
    return 0 if code == DOWN else 1 if code == HALF_UP else 2
