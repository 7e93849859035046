"""What a new deck changes against the one in force: counts of all, and the changes that matter most."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from rating.decks import Deck
from rating.money import format_amount
from rating.rows import RateRow

CHANGES_MAX: Final = 1_000
"""Changes of each kind that are listed; all are counted."""

Rows = tuple[RateRow, ...]
"""Of one prefix."""

Kind = Literal["raised", "lowered", "added", "removed", "blocked", "unblocked", "changed"]


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """One prefix; rates per minute as decimal strings, empty where there is none."""

    prefix: str
    name: str
    old_rate: str = ""
    new_rate: str = ""
    old: str = ""
    """All of the old row that matters to a price, in words."""
    new: str = ""


class DeckDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Prefixes by what becomes of them; `counts` has all of them, the lists up to a limit.

    `raised` and `lowered` begin with the largest difference, the others run by prefix. A prefix
    stands in one list: blocked or unblocked before raised or lowered, and `changed` is the rest:
    fees, increments, dates, names.
    """

    counts: dict[str, int]
    raised: list[RowChange]
    lowered: list[RowChange]
    added: list[RowChange]
    removed: list[RowChange]
    blocked: list[RowChange]
    unblocked: list[RowChange]
    changed: list[RowChange]


def diff_decks(old: Deck | None, new: Deck, at_ms: int = 0, limit: int = CHANGES_MAX) -> DeckDiff:
    """Compare two decks prefix by prefix, in one pass over both and little memory.

    Args:
        old: None compares with nothing: all is added.
        at_ms: of several rows of a prefix the ones in force then are compared (else the first).
        limit: changes of each kind that are listed.
    Raises:
        DeckError: a damaged row in either.
    """
    counts: dict[str, int] = dict.fromkeys(("raised", "lowered", "added", "removed", "blocked", "unblocked"), 0)
    counts |= {"changed": 0, "same": 0}
    # Of the largest so far, the least first; the running number keeps rows themselves from comparison.
    largest: dict[str, list[tuple[int, int, RowChange]]] = {"raised": [], "lowered": []}
    listed: dict[str, list[RowChange]] = {"added": [], "removed": [], "blocked": [], "unblocked": [], "changed": []}
    number = 0
    for before, after in pairs(old.prefix_rows() if old else iter(()), new.prefix_rows()):
        if before == after:
            counts["same"] += 1
            continue
        was = _in_force(before, at_ms)
        becomes = _in_force(after, at_ms)
        kind, difference = _kind(was, becomes)
        counts[kind] += 1
        if kind in largest:
            number -= 1
            top = largest[kind]
            if len(top) < limit:
                heapq.heappush(top, (difference, number, _change(was, becomes)))
            elif top and difference > top[0][0]:
                heapq.heapreplace(top, (difference, number, _change(was, becomes)))
        elif len(listed[kind]) < limit:
            listed[kind].append(_change(was, becomes))
    ordered = {kind: [change for _, _, change in sorted(top, reverse=True)] for kind, top in largest.items()}
    return DeckDiff(counts=counts, **ordered, **listed)


def pairs(old: Iterator[Rows], new: Iterator[Rows]) -> Iterator[tuple[Rows, Rows]]:
    """Rows of one prefix from both decks, which both run by prefix; empty where it has none."""
    before: Rows = next(old, ())
    after: Rows = next(new, ())
    while before or after:
        if not after or (before and before[0].prefix < after[0].prefix):
            yield before, ()
            before = next(old, ())
        elif not before or after[0].prefix < before[0].prefix:
            yield (), after
            after = next(new, ())
        else:
            yield before, after
            before = next(old, ())
            after = next(new, ())


def _in_force(rows: Rows, at_ms: int) -> RateRow | None:
    if not rows:
        return None
    return next((row for row in rows if row.is_valid_at(at_ms)), rows[0])


def _kind(was: RateRow | None, becomes: RateRow | None) -> tuple[Kind, int]:
    """What becomes of a prefix, and by how much its rate moves."""
    if was is None:
        return "added", 0
    if becomes is None:
        return "removed", 0
    if was.is_blocked != becomes.is_blocked:
        return ("blocked" if becomes.is_blocked else "unblocked"), 0
    difference = becomes.rate_nanos - was.rate_nanos
    if difference > 0:
        return "raised", difference
    if difference < 0:
        return "lowered", -difference
    return "changed", 0


def _change(was: RateRow | None, becomes: RateRow | None) -> RowChange:
    row = becomes or was
    assert row is not None, "a change has a row on one side at least"
    return RowChange(
        prefix=row.prefix,
        name=row.name,
        old_rate=format_amount(was.rate_nanos) if was else "",
        new_rate=format_amount(becomes.rate_nanos) if becomes else "",
        old=_in_words(was),
        new=_in_words(becomes),
    )


def _in_words(row: RateRow | None) -> str:
    if row is None:
        return ""
    parts = [f"{format_amount(row.rate_nanos)} {row.first_s}/{row.next_s}"]
    if row.connect_fee_nanos:
        parts.append(f"+{format_amount(row.connect_fee_nanos)}")
    if row.minimum_s >= 0:
        parts.append(f"minimum {row.minimum_s} s")
    if row.grace_s >= 0:
        parts.append(f"grace {row.grace_s} s")
    if row.max_cost_nanos >= 0:
        parts.append(f"at most {format_amount(row.max_cost_nanos)}")
    parts += [f"from {start} s {format_amount(rate)}" for start, rate in row.tiers]
    if row.windows:
        parts.append(f"{len(row.windows)} windows")
    if row.is_blocked:
        parts.append("blocked")
    return ", ".join(parts)
