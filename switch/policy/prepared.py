"""A record with what was compiled for it, before any index sees it.

All that can go wrong with a record goes wrong here and is told in words: patterns, expressions,
hosts, roundings, time zones, deck files.
"""

from __future__ import annotations

from pathlib import Path

from rating.numbers import DialPattern, PatternError, compile_dial_pattern
from switch.policy.blocks import Blocks, parse_block
from switch.policy.cards import LoadedCard, load_card
from switch.policy.cli_rules import CompiledRule
from switch.policy.dial_strings import DialString, DialStrings, compile_dial_string
from switch.snapshot import CliRule, Endpoint, IngressRoute, RateCard, Record, SipUser


class Prepared:
    """What `Tables` stores of one record."""

    def __init__(self, record: Record) -> None:
        self.record: Record = record
        self.is_usable: bool = True
        """False: calls must not find it."""
        self.problem: str = ""
        self.pattern: DialPattern | None = None
        """Endpoints and users: their dial pattern; None is E.164."""
        self.allowed: Blocks | None = None
        """Users: the addresses they may call from; None is any."""
        self.dial: DialStrings | None = None
        """Routes: None where none of their dial strings can be used."""
        self.card: LoadedCard | None = None
        self.rule: CompiledRule | None = None
        """CLI rules: None where it cannot be used; it then matches nothing."""


def prepare(
    record: Record, deck_folder: Path | None, card_before: LoadedCard | None, patterns: dict[str, DialPattern]
) -> Prepared:
    """Compile what a record needs; never raises for what the record says.

    Args:
        deck_folder: what relative deck paths start from.
        card_before: the card of the same id as loaded until now: its decks are not opened again.
        patterns: dial patterns compiled so far, by their text: a hundred thousand endpoints share
            a handful.
    """
    prepared = Prepared(record)
    try:
        if isinstance(record, Endpoint):
            prepared.pattern = _pattern(record.dial_pattern, patterns)
            if record.direction == "egress":
                parse_block(record.host)
        elif isinstance(record, SipUser):
            prepared.pattern = _pattern(record.dial_pattern, patterns)
            prepared.allowed = Blocks(record.ip_allow_list) if record.ip_allow_list else None
        elif isinstance(record, IngressRoute):
            prepared.dial = _dial_strings(record.dial_strings, prepared)
        elif isinstance(record, CliRule):
            prepared.rule = CompiledRule(record)
        elif isinstance(record, RateCard):
            prepared.card = load_card(record, deck_folder, card_before)
            prepared.problem = prepared.card.error
    except (ValueError, KeyError) as error:
        # A KeyError is a time zone that is not known.
        prepared.problem = str(error.args[0]) if error.args else str(error)
        prepared.is_usable = False
    return prepared


def _pattern(text: str, patterns: dict[str, DialPattern]) -> DialPattern | None:
    if not text:
        return None
    pattern = patterns.get(text)
    if pattern is None:
        pattern = patterns[text] = compile_dial_pattern(text)
    return pattern


def _dial_strings(lines: tuple[str, ...], prepared: Prepared) -> DialStrings | None:
    """A route's dial strings without those that do not compile; None when none is left of some."""
    compiled: list[DialString] = []
    refused: list[str] = []
    wanted = [line for line in lines if line.strip()]
    for line in wanted:
        try:
            compiled.append(compile_dial_string(line))
        except PatternError as error:
            refused.append(str(error))
    prepared.problem = "; ".join(refused)
    # Without any line a route takes everything: losing the last one must not open it.
    return None if wanted and not compiled else DialStrings(compiled)
