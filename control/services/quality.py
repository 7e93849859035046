"""ASR, NER, ACD and PDD: what each is, from sums that may be of a minute or of a year.

- ASR: answered ÷ attempts.
- NER: attempts for which the network did its part ÷ attempts: answered, busy, unanswered, or refused by
  the called party (ITU-T E.425). `is_effective` says which those are by what SIP tells of them.
- ACD: mean length of answered calls.
- PDD: INVITE to the first 18x or, where none came, to the final answer; mean of the calls that went out.

Ratios are of whole numbers, rounded once, half up; without attempts or answers there is none.
"""

from __future__ import annotations

from typing import Final

import msgspec

CALLED_PARTY: Final = frozenset((480, 486, 600, 603))
"""Unavailable, busy, busy everywhere, declined: the called party's own answer."""
UNANSWERED: Final = frozenset((408, 487))
"""Given up by us or by the caller: unanswered where it rang, and nobody's part done where it did not."""


def is_effective(status: int, *, is_answered: bool, has_rung: bool) -> bool:
    """Whether NER counts an attempt with this final status."""
    return is_answered or status in CALLED_PARTY or (has_rung and status in UNANSWERED)


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    attempts: int
    answered: int
    asr: float | None
    """Percent of the attempts, two decimals; none without attempts, here and in `ner`."""
    ner: float | None
    acd_s: float | None
    """Seconds, three decimals; none without answered calls."""
    pdd_ms: int | None
    """None without a call that went out."""


def quality(attempts: int, answered: int, effective: int, duration_ms: int, pdd_ms: int, pdd_calls: int) -> Quality:
    """From sums: lengths of answered calls, and post-dial delays with the number of calls that have one."""
    return Quality(
        attempts=attempts,
        answered=answered,
        asr=percent(answered, attempts),
        ner=percent(effective, attempts),
        acd_s=None if not answered else _half_up(duration_ms, answered) / 1000,
        pdd_ms=None if not pdd_calls else _half_up(pdd_ms, pdd_calls),
    )


def percent(part: int, whole: int) -> float | None:
    return None if not whole else _half_up(part * 10_000, whole) / 100


def _half_up(number: int, by: int) -> int:
    return (2 * number + by) // (2 * by)
