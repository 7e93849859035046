"""Quotes to journal records and back: prices outlive the process that a call began in."""

from __future__ import annotations

from rating.quotes import Quote, Tariff
from rating.rows import RateRow
from switch.records import QuoteFacts


def quote_facts(quote: Quote) -> QuoteFacts:
    return QuoteFacts(
        quote.row.facts(), quote.tariff.facts(), quote.tax_ppm, quote.card_id, quote.revision_id, quote.at_ms
    )


def restored_quote(facts: QuoteFacts) -> Quote:
    """The same price again, to the last digit."""
    r = facts.row
    row = RateRow(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13])
    rules = facts.tariff
    tariff = Tariff(rules[0], rules[1], rules[2], rules[3], rules[4], rules[5], rules[6])
    return Quote(row, tariff, facts.tax_ppm, facts.card_id, facts.revision_id, facts.at_ms)
