"""Worst and expected margins, worked out once per pair of rows.

Either costs far more than a look-up, and the same two rows meet in every call to a destination.
"""

from __future__ import annotations

from typing import Final

from rating.margin import expected_margin, worst_margin
from rating.quotes import Quote
from rating.rows import RateRow

PAIRS_MAX: Final = 65_536


class Margins:
    """Margins by the two rows (as objects: decks give out the same ones), their rates now
    (time-of-week windows change them) and the limit; expected ones by the route's lengths too.

    The rows are kept with the answer: as long as they stand here, no other row has their identity.
    Emptied when a card's record changes, since its roundings count too.
    """

    def __init__(self) -> None:
        self._expected: dict[
            tuple[int, int, int, int, int, int], tuple[RateRow, RateRow, tuple[tuple[int, int], ...], int]
        ] = {}
        self._known: dict[tuple[int, int, int, int, int], tuple[RateRow, RateRow, int, int]] = {}

    def worst(self, sell: Quote, buy: Quote, max_s: int) -> tuple[int, int]:
        """The worst margin in nano-units and the answered seconds that give it."""
        key = (id(sell.row), id(buy.row), sell.rate_nanos, buy.rate_nanos, max_s)
        known = self._known.get(key)
        if known is None:
            margin_nanos, at_s = worst_margin(sell, buy, max_s)
            if len(self._known) >= PAIRS_MAX:
                self._known.clear()
            self._known[key] = known = (sell.row, buy.row, margin_nanos, at_s)
        return known[2], known[3]

    def expected(self, sell: Quote, buy: Quote, durations: tuple[tuple[int, int], ...], max_s: int) -> int:
        """The mean margin in nano-units of calls as long as the route's were."""
        key = (id(sell.row), id(buy.row), sell.rate_nanos, buy.rate_nanos, id(durations), max_s)
        known = self._expected.get(key)
        if known is None:
            margin_nanos = expected_margin(sell, buy, durations, max_s)
            if len(self._expected) >= PAIRS_MAX:
                self._expected.clear()
            self._expected[key] = known = (sell.row, buy.row, durations, margin_nanos)
        return known[3]

    def clear(self) -> None:
        self._known.clear()
        self._expected.clear()
