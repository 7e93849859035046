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

from rating.money import DOWN, HALF_UP, UP, ceil_div, round_ratio
from rating.quotes import Quote, billed_seconds, net_nanos_at, sixtieths_at

_FAR: Final = 1 << 60
"""Beyond any length."""
_TRIES_CHEAP: Final = 64
_LONG_WALKS_MAX: Final = 4_096
_LONG_WALKS: Final[dict[tuple[int, ...], tuple[int, int]]] = {}
"""Results of longer walks: rates of almost the same height and many decimals, seen call after call."""


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
    longer = 1 if comparison.may_be_shorter else 0
    ranges: list[tuple[int, int]] = []
    length = 1 - longer
    while length <= max_s:
        # Nothing changes before the next step of either staircase.
        until = min(comparison.sell.next_step(length), comparison.buy.next_step(length), max_s + 1)
        if comparison.margin(length) < 0:
            start = max(length, 1)
            end = min(until - 1 + longer, max_s)
            if ranges and ranges[-1][1] >= start - 1:
                ranges[-1] = (ranges[-1][0], end)
            else:
                ranges.append((start, end))
        length = until
    return ranges


def expected_margin(sell: Quote, buy: Quote, durations: tuple[tuple[int, int], ...], max_s: int = _FAR) -> int:
    """The mean net margin of calls as long as these were, in nano-units, rounded down.

    So it is negative exactly where all of them together would lose money.

    Args:
        durations: pairs of a length in seconds, at least 1, and how many calls had it.
        max_s: longer ones would have been ended here.
    """
    total_nanos = 0
    calls = 0
    for length, weight in durations:
        if length > max_s:
            length = max_s
        earned_nanos = net_nanos_of(sell, length) - net_nanos_of(buy, length)
        total_nanos += weight * earned_nanos
        calls += weight
    assert calls > 0, "no lengths, no mean"
    return total_nanos // calls


def net_nanos_of(quote: Quote, length_s: int) -> int:
    """The net charge of a call of so many whole seconds, by the rate of the quote."""
    if 0 < quote.grace_s >= length_s:
        return 0
    return net_nanos_at(quote, billed_seconds(quote, length_s), quote.rate_nanos)


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

    def exact(self, length: int) -> int:
        """The same before rounding and maximum, outside the grace time; in sixtieths of a nano-unit."""
        billed_s = billed_seconds(self.quote, length - self.lag)
        return sixtieths_at(self.quote.row, billed_s, self.rate_nanos)

    def rate_at(self, length: int) -> int:
        """What a second more costs around this length, in nano-units per minute."""
        rate_nanos = self.rate_nanos
        if self.quote.row.tiers:
            billed_s = billed_seconds(self.quote, length - self.lag)
            for from_s, tier_rate_nanos in self.quote.row.tiers:
                if billed_s <= from_s:
                    break
                rate_nanos = tier_rate_nanos
        return rate_nanos

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
        # Unless we round up, some of the calls of one length count as a second shorter to both.
        self.may_be_shorter: bool = not lag and sell.tariff.duration_code != UP

    def margin(self, length: int) -> int:
        """The margin of calls that count as so many seconds, less the lag."""
        return self.sell.net(length) - self.buy.net(length)

    def worst(self) -> tuple[int, int]:
        self.least = self.margin(1)
        self.least_s = 1
        if self.may_be_shorter:
            self.least = min(self.least, self.margin(0))
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
        sell_rise = period * self.sell.rate_at(offset)
        buy_rise = period * self.buy.rate_at(offset)
        if sell_rise < buy_rise:
            # Downhill: the same line, walked from its far end.
            offset += steps * period
            period = -period
            sell_rise = -sell_rise
            buy_rise = -buy_rise
        sell_tariff = self.sell.quote.tariff
        buy_tariff = self.buy.quote.tariff
        line = _Line(
            self.sell.exact(offset),
            sell_rise,
            sell_tariff.step_nanos,
            sell_tariff.rounding_code,
            self.buy.exact(offset),
            buy_rise,
            buy_tariff.step_nanos,
            buy_tariff.rounding_code,
            steps,
        )
        if self.least > line.bound:
            margin, step = line.least()
            if margin < self.least:
                self.least = margin
                self.least_s = offset + step * period


class _Line:
    """Two straight lines in sixtieths of a nano-unit, each rounded by its card, whose distance does not fall."""

    def __init__(
        self,
        sell: int,
        sell_rise: int,
        sell_step: int,
        sell_code: int,
        buy: int,
        buy_rise: int,
        buy_step: int,
        buy_code: int,
        steps: int,
    ) -> None:
        self.sell: int = sell
        self.sell_rise: int = sell_rise
        self.sell_step: int = sell_step
        self.sell_code: int = sell_code
        self.buy: int = buy
        self.buy_rise: int = buy_rise
        self.buy_step: int = buy_step
        self.buy_code: int = buy_code
        self.steps: int = steps
        self.bound: int = self._bound()
        """No rounded margin on the line is under it."""

    def least(self) -> tuple[int, int]:
        """The least rounded margin, and after how many steps it comes; not always the first that has it."""
        tries = self._tries()
        if tries <= _TRIES_CHEAP:
            return self._walk(tries)
        key = (self.sell, self.sell_rise, self.sell_step, self.sell_code, self.buy, self.buy_rise, self.buy_step)
        known = _LONG_WALKS.get((*key, self.buy_code, tries))
        if known is None:
            known = self._walk(tries)
            if len(_LONG_WALKS) >= _LONG_WALKS_MAX:
                _LONG_WALKS.clear()
            _LONG_WALKS[(*key, self.buy_code, tries)] = known
        return known

    def _walk(self, tries: int) -> tuple[int, int]:
        least = self._margin(0)
        least_at = 0
        for step in range(1, tries + 1):
            if least <= self.bound:
                break
            margin = self._margin(step)
            if margin < least:
                least = margin
                least_at = step
        return least, least_at

    def _margin(self, step: int) -> int:
        return round_ratio(self.sell + step * self.sell_rise, 60, self.sell_step, self.sell_code) - round_ratio(
            self.buy + step * self.buy_rise, 60, self.buy_step, self.buy_code
        )

    def _tries(self) -> int:
        """How many steps to walk at most."""
        sell_unit = 60 * self.sell_step
        buy_unit = 60 * self.buy_step
        rise = self.sell_rise - self.buy_rise
        # After so many steps both roundings come out as before, and the margin has risen at best.
        cycle = _repeat(self.sell_rise, sell_unit) * _repeat(self.buy_rise, buy_unit)
        tries = cycle if cycle < self.steps else self.steps
        if rise:
            # And so many steps away the line has risen more than rounding can take back.
            reach = (sell_unit + buy_unit) // rise + 1
            if reach < tries:
                return reach
        return tries

    def _bound(self) -> int:
        """The first step's exact margin, less what rounding may take, up to the next amount that both decimals give."""
        low = 2 * (self.sell - self.buy)
        is_reached = True
        if self.sell_code == HALF_UP:
            low -= 60 * self.sell_step
            is_reached = False
        elif self.sell_code == DOWN:
            low -= 120 * self.sell_step
            is_reached = False
        if self.buy_code == HALF_UP:
            low -= 60 * self.buy_step
        elif self.buy_code == UP:
            low -= 120 * self.buy_step
            is_reached = False
        grain = self.sell_step if self.sell_step < self.buy_step else self.buy_step
        if is_reached:
            return ceil_div(low, 120 * grain) * grain
        return (low // (120 * grain) + 1) * grain


def _repeat(rise: int, unit: int) -> int:
    """After how many rises the remainder by `unit` comes round."""
    return unit // gcd(rise, unit)


def _rank(quote: Quote) -> int:
    """How high a card rounds durations."""
    code = quote.tariff.duration_code
    return 0 if code == DOWN else 1 if code == HALF_UP else 2
