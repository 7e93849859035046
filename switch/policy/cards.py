"""A rate card as calls use it: its record, its tariff and its decks, mapped once.

A deck is an immutable file, so that a map of it stays right however the card changes; a new
revision is a new file. One that cannot be opened makes the card refuse calls with a visible
`error`, and is tried again when the card's record is next put.
"""

from __future__ import annotations

from pathlib import Path

from rating.decks import Deck
from rating.quotes import Tariff
from switch.snapshot import Provider, RateCard


class LoadedRevision:
    """One compiled revision: `deck` is None where its files could not be opened."""

    def __init__(self, active_from_ms: int, revision_id: int, deck: Deck | None, error: str) -> None:
        self.active_from_ms: int = active_from_ms
        self.revision_id: int = revision_id
        self.deck: Deck | None = deck
        self.error: str = error


class LoadedCard:
    """A card with everything that pricing by it needs. Replaced as a whole, never changed."""

    def __init__(self, record: RateCard, tariff: Tariff, revisions: list[LoadedRevision]) -> None:
        self.record: RateCard = record
        # What every call asks, read once: of a struct each would be a look-up by its name.
        self.id: int = record.id
        self.currency: str = record.currency
        self.priority: int = record.priority
        self.weight: int = record.weight
        self.sells: bool = record.enabled and record.direction == "sell"
        self.buys: bool = record.enabled and record.direction == "buy"
        self.provider_id: int = record.provider_id or 0
        self.vendor_card_ids: tuple[int, ...] = record.vendor_card_ids
        self.tariff: Tariff = tariff
        self.revisions: list[LoadedRevision] = revisions
        """By `active_from_ms`, the earliest first."""
        self.error: str = "; ".join([revision.error for revision in revisions if revision.error])
        """What is wrong with its decks, in words; empty: nothing."""
        self.provider: Provider | None = None
        """Buy cards: whose prices these are, kept up to date by `Tables`."""

    def revision_at(self, now_ms: int) -> LoadedRevision | None:
        """The last revision that has begun; None before the first."""
        found: LoadedRevision | None = None
        for revision in self.revisions:
            if revision.active_from_ms > now_ms:
                break
            found = revision
        return found

    def deck_at(self, now_ms: int) -> Deck | None:
        """The deck in force; None where there is none, or where it could not be opened.

        An older deck never stands in for one that is missing: its prices have ended.
        """
        revision = self.revision_at(now_ms)
        return None if revision is None else revision.deck


def load_card(record: RateCard, folder: Path | None, before: LoadedCard | None) -> LoadedCard:
    """Wrap a record, opening the decks that `before` has not open already.

    Args:
        folder: what relative deck paths start from; None: the working folder.
        before: the same card as loaded until now, if it was.
    """
    is_open: dict[tuple[int, str], Deck] = {}
    if before is not None:
        paths = {revision.id: revision.path for revision in before.record.revisions}
        for known in before.revisions:
            if known.deck is not None:
                is_open[known.revision_id, paths[known.revision_id]] = known.deck
    revisions: list[LoadedRevision] = []
    for revision in sorted(record.revisions, key=_activation):
        deck = is_open.get((revision.id, revision.path))
        error = ""
        if deck is None:
            path = Path(revision.path) if folder is None else folder / revision.path
            try:
                deck = Deck.open(path)
            except (OSError, ValueError, RuntimeError) as problem:
                error = f"revision {revision.id}: {problem}"
        revisions.append(LoadedRevision(revision.active_from_ms, revision.id, deck, error))
    return LoadedCard(record, tariff_of(record), revisions)


def tariff_of(record: RateCard) -> Tariff:
    return Tariff(
        decimals=record.decimals,
        rounding=record.rounding,
        duration_rounding=record.duration_rounding,
        grace_s=record.grace_s,
        minimum_s=record.minimum_s,
        max_cost_nanos=record.max_cost_nanos,
        time_zone=record.time_zone,
    )


def _activation(revision: object) -> tuple[int, int]:
    return (revision.active_from_ms, revision.id)  # type: ignore[attr-defined]
