"""Worst-case margins, worked out once per pair of rows.

The worst margin over every billable length costs far more than a look-up, and the same two rows
meet in every call to a destination.
"""

from __future__ import annotations

from typing import Final

from rating.margin import worst_margin
from rating.quotes import Quote
from rating.rows import RateRow

PAIRS_MAX: Final = 65_536


class Margins:
    """Worst margins by the two rows (as objects: decks give out the same ones), their rates now
    (time-of-week windows change them) and the limit.

    The rows are kept with the answer: as long as they stand here, no other row has their identity.
    Emptied when a card's record changes, since its roundings count too.
    """

    def __init__(self) -> None:
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

    def clear(self) -> None:
        self._known.clear()
