"""What must hold between CDRs, ledger and payments in the store, as queries that find what does not."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import RowMapping

from control.store.engine import Tx
from rating.money import format_amount

VIOLATIONS_MAX: Final = 100
"""Shown of each check; who has more has one cause for all of them."""


class Violation(msgspec.Struct, frozen=True):
    """A row that breaks a rule: `noun` and `id` lead to it."""

    noun: str
    id: str
    detail: str


class Check(msgspec.Struct, frozen=True):
    """One rule: the query selects `noun`, `id` and what `detail` names; amounts end with `_nanos`."""

    name: str
    claim: str
    query: str
    detail: str


_ARE_BUILT: Final = "NOT EXISTS (SELECT 1 FROM rollup_state WHERE cursor_number < upto_number)"
"""Until all calls of before are in the sums, nothing can be said of them."""
_SUMS_DETAIL: Final = (
    "CDRs: {calls} calls, {lengths_ms} ms, gross {gross_nanos}, cost {cost_nanos}; "
    "sums: {sums_calls} calls, gross {sums_gross_nanos}, cost {sums_cost_nanos}"
)


def _sums_query(table: str) -> str:
    """Customers whose sums in a table are not those of their calls."""
    return (
        "SELECT 'customer' AS noun, customer_id AS id, SUM(calls) AS calls, SUM(length) AS lengths_ms,"  # noqa: S608
        " SUM(gross) AS gross_nanos, SUM(cost) AS cost_nanos, SUM(sums_calls) AS sums_calls,"
        " SUM(sums_gross) AS sums_gross_nanos, SUM(sums_cost) AS sums_cost_nanos FROM"
        " (SELECT customer_id, 1 AS calls, duration_ms AS length, gross_nanos AS gross, cost_nanos AS cost,"
        " 0 AS sums_calls, 0 AS sums_length, 0 AS sums_gross, 0 AS sums_cost FROM cdrs"
        " UNION ALL SELECT customer_id, 0, 0, after_nanos - before_nanos, 0, 0, 0, 0, 0"
        " FROM recalculation_lines WHERE is_booked AND side = 'sell'"
        " UNION ALL SELECT customer_id, 0, 0, 0, amount_nanos, 0, 0, 0, 0 FROM cost_adjustments"
        " UNION ALL SELECT customer_id, 0, 0, 0, 0, attempts, duration_ms, gross_nanos, cost_nanos"
        f" FROM {table} WHERE customer_id <> 0) AS both_sides WHERE {_ARE_BUILT} GROUP BY customer_id"
        " HAVING SUM(calls) <> SUM(sums_calls) OR SUM(length) <> SUM(sums_length)"
        " OR SUM(gross) <> SUM(sums_gross) OR SUM(cost) <> SUM(sums_cost) ORDER BY customer_id"
    )


CHECKS: Final = (
    Check(
        "balance_is_sum_of_entries",
        "Each balance is the sum of its ledger entries.",
        "SELECT 'customer' AS noun, customer_id AS id, SUM(balance) AS balance_nanos, SUM(total) AS total_nanos FROM"
        " (SELECT customer_id, balance_nanos AS balance, 0 AS total FROM accounts"
        " UNION ALL SELECT customer_id, 0, SUM(amount_nanos) FROM ledger_entries GROUP BY customer_id) AS both_sides"
        " GROUP BY customer_id HAVING SUM(balance) <> SUM(total) ORDER BY customer_id",
        "balance {balance_nanos}, entries {total_nanos}",
    ),
    Check(
        "charged_calls_have_one_entry",
        "Each CDR with a gross amount has one ledger entry that takes it, and no other CDR has one.",
        "SELECT 'cdr' AS noun, c.id AS id, c.gross_nanos AS gross_nanos,"
        " e.amount_nanos AS amount_nanos, c.customer_id AS customer_id, e.customer_id AS entry_customer_id"
        " FROM cdrs c LEFT JOIN ledger_entries e ON e.cdr_number = c.number AND e.kind = 'call'"
        " WHERE (c.gross_nanos <> 0 AND e.id IS NULL) OR e.amount_nanos <> -c.gross_nanos OR e.amount_nanos = 0"
        " OR e.customer_id <> c.customer_id ORDER BY c.number",
        "gross {gross_nanos} of customer {customer_id}, entry {amount_nanos} of customer {entry_customer_id}",
    ),
    Check(
        "call_entries_have_their_cdr",
        "Each ledger entry of a call has its CDR.",
        "SELECT 'ledger_entry' AS noun, e.id AS id, e.customer_id AS customer_id, e.amount_nanos AS amount_nanos"
        " FROM ledger_entries e LEFT JOIN cdrs c ON c.number = e.cdr_number"
        " WHERE e.kind = 'call' AND c.number IS NULL ORDER BY e.id",
        "{amount_nanos} of customer {customer_id}, no CDR",
    ),
    Check(
        "calls_end_after_they_begin",
        "No call ends, or is answered, before it begins.",
        "SELECT 'cdr' AS noun, id, invited_ms, answered_ms, ended_ms, duration_ms FROM cdrs"
        " WHERE ended_ms < invited_ms OR answered_ms < invited_ms OR ended_ms < answered_ms OR duration_ms < 0"
        " ORDER BY number",
        "invited {invited_ms}, answered {answered_ms}, ended {ended_ms}, lasted {duration_ms} ms",
    ),
    Check(
        "only_answered_calls_cost",
        "No call costs anything that was not answered.",
        "SELECT 'cdr' AS noun, id, gross_nanos, net_nanos, cause FROM cdrs"
        " WHERE answered_ms IS NULL AND (gross_nanos <> 0 OR net_nanos <> 0 OR tax_nanos <> 0) ORDER BY number",
        "gross {gross_nanos}, net {net_nanos}, cause {cause}",
    ),
    Check(
        "gross_is_net_and_tax",
        "Gross is net and tax.",
        "SELECT 'cdr' AS noun, id, gross_nanos, net_nanos, tax_nanos FROM cdrs"
        " WHERE gross_nanos <> net_nanos + tax_nanos ORDER BY number",
        "gross {gross_nanos}, net {net_nanos}, tax {tax_nanos}",
    ),
    Check(
        "payments_have_their_entries",
        "A completed payment has one ledger entry of its total, one taken back another of the opposite; "
        "other payments have none.",
        "SELECT 'payment' AS noun, p.id AS id, p.status AS status, p.total_nanos AS total_nanos,"
        " e.amount_nanos AS amount_nanos, r.amount_nanos AS reversal_nanos"
        " FROM payments p LEFT JOIN ledger_entries e ON e.id = p.entry_id AND e.kind = 'payment'"
        " AND e.customer_id = p.customer_id AND e.payment_id = p.id"
        " LEFT JOIN ledger_entries r ON r.id = p.reversal_id AND r.reversed_id = p.entry_id"
        " WHERE (p.status = 'completed') <> (p.entry_id IS NOT NULL)"
        " OR (p.entry_id IS NOT NULL AND (e.id IS NULL OR e.amount_nanos <> p.total_nanos))"
        " OR (p.reversal_id IS NOT NULL AND (r.id IS NULL OR r.amount_nanos <> -p.total_nanos)) ORDER BY p.id",
        "{status}, total {total_nanos}, entry {amount_nanos}, reversal {reversal_nanos}",
    ),
    Check(
        "payment_entries_have_their_payment",
        "Each ledger entry of a payment is the one that its payment names.",
        "SELECT 'ledger_entry' AS noun, e.id AS id, e.customer_id AS customer_id, e.amount_nanos AS amount_nanos"
        " FROM ledger_entries e LEFT JOIN payments p ON p.id = e.payment_id AND p.entry_id = e.id"
        " WHERE e.kind = 'payment' AND p.id IS NULL ORDER BY e.id",
        "{amount_nanos} of customer {customer_id}, no payment",
    ),
    Check(
        "reversals_cancel_their_entries",
        "A reversal is the exact opposite of an entry of the same customer.",
        "SELECT 'ledger_entry' AS noun, r.id AS id, r.amount_nanos AS amount_nanos, r.reversed_id AS reversed_id,"
        " e.amount_nanos AS reversed_nanos FROM ledger_entries r LEFT JOIN ledger_entries e ON e.id = r.reversed_id"
        " WHERE r.kind <> 'call' AND (r.kind = 'reversal') <> (r.reversed_id IS NOT NULL)"
        " OR (r.reversed_id IS NOT NULL AND (e.id IS NULL OR e.amount_nanos <> -r.amount_nanos"
        " OR e.customer_id <> r.customer_id)) ORDER BY r.id",
        "{amount_nanos} against entry {reversed_id} of {reversed_nanos}",
    ),
    Check(
        "did_charges_have_their_entries",
        "Each charge of a DID has one fee of its net amount and tax, and one that is free has none.",
        "SELECT 'did' AS noun, d.did_id AS id, d.first_day AS first_day, d.net_nanos AS net_nanos,"
        " d.tax_nanos AS tax_nanos, e.amount_nanos AS amount_nanos"
        " FROM did_charges d LEFT JOIN ledger_entries e ON e.id = d.entry_id AND e.kind = 'fee'"
        " AND e.customer_id = d.customer_id"
        " WHERE (d.net_nanos <> 0) <> (d.entry_id IS NOT NULL)"
        " OR (d.entry_id IS NOT NULL AND (e.id IS NULL OR e.amount_nanos <> -d.net_nanos - d.tax_nanos)) ORDER BY d.id",
        "from {first_day}: net {net_nanos}, tax {tax_nanos}, entry {amount_nanos}",
    ),
    Check(
        "did_entries_have_their_charge",
        "Each ledger entry of a DID is the one that its charge names.",
        "SELECT 'ledger_entry' AS noun, e.id AS id, e.amount_nanos AS amount_nanos, e.reference AS reference"
        " FROM ledger_entries e LEFT JOIN did_charges d ON d.entry_id = e.id"
        " WHERE e.kind = 'fee' AND e.reference LIKE 'did:%' AND d.id IS NULL ORDER BY e.id",
        "{amount_nanos} for {reference}, no charge",
    ),
    Check(
        "corrections_have_their_entries",
        "Each booked correction of a charge has one adjustment of its difference; no other line has one.",
        "SELECT 'recalculation' AS noun, l.recalculation_id AS id, l.cdr_id AS cdr_id,"
        " l.before_nanos - l.after_nanos AS wanted_nanos, e.amount_nanos AS amount_nanos"
        " FROM recalculation_lines l LEFT JOIN ledger_entries e ON e.id = l.entry_id AND e.kind = 'adjustment'"
        " AND e.cdr_number = l.cdr_number AND e.customer_id = l.customer_id"
        " WHERE (l.entry_id IS NOT NULL) <> (l.is_booked AND l.side = 'sell' AND l.before_nanos <> l.after_nanos)"
        " OR (l.entry_id IS NOT NULL AND (e.id IS NULL OR e.amount_nanos <> l.before_nanos - l.after_nanos))"
        " ORDER BY l.id",
        "call {cdr_id}: {wanted_nanos} wanted, entry {amount_nanos}",
    ),
    Check(
        "corrections_follow_each_other",
        "What a call costs after its last correction is its CDR's charge and the differences of all.",
        "SELECT 'cdr' AS noun, c.id AS id, c.gross_nanos + s.moved_nanos AS sum_nanos, l.after_nanos AS last_nanos"
        " FROM (SELECT cdr_number, MAX(id) AS last_id, SUM(after_nanos - before_nanos) AS moved_nanos"
        " FROM recalculation_lines WHERE is_booked AND side = 'sell' GROUP BY cdr_number) AS s"
        " JOIN cdrs c ON c.number = s.cdr_number JOIN recalculation_lines l ON l.id = s.last_id"
        " WHERE c.gross_nanos + s.moved_nanos <> l.after_nanos ORDER BY c.number",
        "CDR and differences {sum_nanos}, last correction {last_nanos}",
    ),
    Check(
        "sums_are_those_of_calls",
        "The sums that stats read are those of the customer's CDRs and their corrections.",
        _sums_query("call_rollups"),
        _SUMS_DETAIL,
    ),
    Check(
        "sums_by_prefix_are_those_of_calls",
        "So are the sums by prefix.",
        _sums_query("prefix_rollups"),
        _SUMS_DETAIL,
    ),
    Check(
        "sums_of_all_are_those_of_customers",
        "The sums of all calls are those of all customers together.",
        "SELECT 'currency' AS noun, currency AS id, SUM(every) AS calls, SUM(each_one) AS calls_of_customers,"
        " SUM(gross) AS gross_nanos, SUM(cost) AS cost_nanos FROM"
        " (SELECT currency, attempts AS every, 0 AS each_one, gross_nanos AS gross, cost_nanos AS cost"
        " FROM call_rollups WHERE customer_id = 0 UNION ALL SELECT currency, 0, attempts, -gross_nanos, -cost_nanos"
        " FROM call_rollups WHERE customer_id <> 0) AS both_sides GROUP BY currency"
        " HAVING SUM(every) <> SUM(each_one) OR SUM(gross) <> 0 OR SUM(cost) <> 0 ORDER BY currency",
        "{calls} calls, {calls_of_customers} of customers; gross differs by {gross_nanos}, cost by {cost_nanos}",
    ),
    Check(
        "sums_of_providers_are_those_of_calls",
        "The sums by provider cost together what CDRs and their corrections do.",
        "SELECT 'currency' AS noun, currency AS id, SUM(cost) AS cost_nanos, SUM(sums) AS sums_nanos FROM"  # noqa: S608
        " (SELECT currency, cost_nanos AS cost, 0 AS sums FROM cdrs WHERE provider_id IS NOT NULL"
        " UNION ALL SELECT currency, amount_nanos, 0 FROM cost_adjustments"
        " UNION ALL SELECT currency, 0, cost_nanos FROM provider_rollups) AS both_sides"
        f" WHERE {_ARE_BUILT} GROUP BY currency HAVING SUM(cost) <> SUM(sums) ORDER BY currency",
        "calls cost {cost_nanos}, sums {sums_nanos}",
    ),
)


async def run_check(tx: Tx, check: Check) -> list[Violation]:
    """What breaks the rule, one more than `VIOLATIONS_MAX` at most."""
    rows = await tx.execute(text(f"{check.query} LIMIT {VIOLATIONS_MAX + 1}"))
    return [Violation(row["noun"], str(row["id"]), check.detail.format_map(_shown(row))) for row in rows.mappings()]


def _shown(row: RowMapping) -> dict[str, Any]:
    """Columns by name, amounts as decimal strings under their own name."""
    return {
        name: "missing" if value is None else format_amount(int(value)) if name.endswith("_nanos") else value
        for name, value in row.items()
    }
