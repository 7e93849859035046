"""What must hold between packages, invoices, payments and the ledger, as queries that find what does not."""

from __future__ import annotations

from typing import Final

from control.services.store_checks import Check

BILLING_CHECKS: Final = (
    Check(
        "package_charges_have_their_entries",
        "Each charge and each credit of a package has one ledger entry of its amount, or is of nothing.",
        "SELECT 'customer_package' AS noun, x.customer_package_id AS id, x.wanted AS wanted_nanos,"
        " e.amount_nanos AS amount_nanos FROM"
        " (SELECT customer_package_id, customer_id, entry_id, -(net_nanos + tax_nanos) AS wanted FROM package_charges"
        " UNION ALL SELECT customer_package_id, customer_id, entry_id, net_nanos + tax_nanos FROM package_credits) AS x"
        " LEFT JOIN ledger_entries e ON e.id = x.entry_id AND e.kind = 'package' AND e.customer_id = x.customer_id"
        " WHERE (x.entry_id IS NULL AND x.wanted <> 0)"
        " OR (x.entry_id IS NOT NULL AND (e.id IS NULL OR e.amount_nanos <> x.wanted))"
        " ORDER BY x.customer_package_id",
        "{wanted_nanos} wanted, entry {amount_nanos}",
    ),
    Check(
        "package_entries_have_their_origin",
        "Each ledger entry of a package is of one charge, or of one credit.",
        "SELECT 'ledger_entry' AS noun, e.id AS id, e.amount_nanos AS amount_nanos, COUNT(x.entry_id) AS origins"
        " FROM ledger_entries e LEFT JOIN (SELECT entry_id FROM package_charges UNION ALL"
        " SELECT entry_id FROM package_credits) AS x ON x.entry_id = e.id"
        " WHERE e.kind = 'package' GROUP BY e.id, e.amount_nanos HAVING COUNT(x.entry_id) <> 1 ORDER BY e.id",
        "{amount_nanos} with {origins} origins",
    ),
    Check(
        "invoices_are_what_the_ledger_says",
        "What an invoice charges, less what was paid meanwhile, is what its ledger entries add up to.",
        "SELECT 'invoice' AS noun, i.id AS id, i.gross_nanos AS gross_nanos, i.payments_nanos AS payments_nanos,"
        " COALESCE(SUM(e.amount_nanos), 0) AS entries_nanos FROM invoices i LEFT JOIN ledger_entries e"
        " ON e.customer_id = i.customer_id AND e.id <= i.upto_entry_id AND e.at_ms < i.ends_ms"
        " AND (e.at_ms >= i.starts_ms OR e.id > i.after_entry_id)"
        " WHERE i.archived_ms IS NULL GROUP BY i.id, i.gross_nanos, i.payments_nanos"
        " HAVING COALESCE(SUM(e.amount_nanos), 0) <> i.payments_nanos - i.gross_nanos ORDER BY i.id",
        "gross {gross_nanos}, paid {payments_nanos}, entries {entries_nanos}",
    ),
    Check(
        "invoices_are_sums_of_their_lines",
        "An invoice is the sum of its lines, and its balances differ by it.",
        "SELECT 'invoice' AS noun, i.id AS id, i.gross_nanos AS gross_nanos, COALESCE(l.net, 0) AS net_nanos,"
        " COALESCE(l.gross, 0) AS lines_nanos FROM invoices i LEFT JOIN (SELECT invoice_id,"
        " SUM(CASE WHEN section IN ('payment', 'credit') THEN 0 ELSE net_nanos END) AS net,"
        " SUM(CASE WHEN section IN ('payment', 'credit') THEN 0 ELSE gross_nanos END) AS gross,"
        " SUM(CASE WHEN section IN ('payment', 'credit') THEN gross_nanos ELSE 0 END) AS paid"
        " FROM invoice_lines GROUP BY invoice_id) AS l ON l.invoice_id = i.id"
        " WHERE i.archived_ms IS NULL AND (COALESCE(l.gross, 0) <> i.gross_nanos OR COALESCE(l.net, 0) <> i.net_nanos"
        " OR COALESCE(l.paid, 0) <> i.payments_nanos OR i.net_nanos + i.tax_nanos <> i.gross_nanos"
        " OR i.closing_nanos <> i.opening_nanos - i.gross_nanos + i.payments_nanos) ORDER BY i.id",
        "gross {gross_nanos}, lines {lines_nanos}, of which net {net_nanos}",
    ),
    Check(
        "invoices_follow_each_other",
        "Each invoice of a customer begins with the balance and the entry that the one before ended with.",
        "SELECT 'invoice' AS noun, id, opening_nanos, closing_before AS closing_nanos FROM (SELECT id, opening_nanos,"
        " after_entry_id, starts_ms, LAG(id) OVER w AS id_before, LAG(closing_nanos) OVER w AS closing_before,"
        " LAG(upto_entry_id) OVER w AS upto_before, LAG(ends_ms) OVER w AS ends_before"
        " FROM invoices WHERE archived_ms IS NULL WINDOW w AS (PARTITION BY customer_id ORDER BY ends_ms, id)) AS x"
        " WHERE id_before IS NOT NULL AND (opening_nanos <> closing_before OR after_entry_id <> upto_before"
        " OR starts_ms < ends_before) ORDER BY id",
        "opens with {opening_nanos}, the one before closes with {closing_nanos}",
    ),
    Check(
        "numbers_have_no_gaps",
        "Numbers of invoices and of credit notes run from 1 to the last without one left out.",
        "SELECT x.name AS noun, COALESCE(x.last, 0) AS id, x.count AS count, s.next AS next FROM"
        " (SELECT 'invoice' AS name, COUNT(*) AS count, MAX(serial) AS last FROM invoices WHERE serial IS NOT NULL"
        " UNION ALL SELECT 'credit_note', COUNT(*), MAX(serial) FROM credit_notes) AS x"
        " LEFT JOIN number_series s ON s.name = x.name"
        " WHERE x.count <> COALESCE(x.last, 0) OR COALESCE(s.next, 1) <> x.count + 1 ORDER BY x.name",
        "{count} of them, the next would be {next}",
    ),
    Check(
        "invoices_are_paid_by_what_is_allocated",
        "What an invoice has paid and credited is what its allocations and credit notes add up to, "
        "and not above its total.",
        "SELECT 'invoice' AS noun, i.id AS id, i.paid_nanos AS paid_nanos, COALESCE(a.paid, 0) AS allocated_nanos,"
        " i.credited_nanos AS credited_nanos, COALESCE(n.credited, 0) AS notes_nanos FROM invoices i"
        " LEFT JOIN (SELECT invoice_id, SUM(amount_nanos) AS paid FROM payment_allocations WHERE released_ms IS NULL"
        " GROUP BY invoice_id) AS a ON a.invoice_id = i.id"
        " LEFT JOIN (SELECT invoice_id, SUM(gross_nanos) AS credited FROM credit_notes GROUP BY invoice_id) AS n"
        " ON n.invoice_id = i.id WHERE i.paid_nanos <> COALESCE(a.paid, 0)"
        " OR i.credited_nanos <> COALESCE(n.credited, 0)"
        " OR (i.paid_nanos > 0 AND i.paid_nanos + i.credited_nanos > i.total_nanos) ORDER BY i.id",
        "paid {paid_nanos}, allocated {allocated_nanos}, credited {credited_nanos}, by notes {notes_nanos}",
    ),
    Check(
        "payments_are_allocated_within_their_total",
        "No payment is allocated above its total, and none that does not count.",
        "SELECT 'payment' AS noun, p.id AS id, p.total_nanos AS total_nanos, SUM(a.amount_nanos) AS allocated_nanos"
        " FROM payment_allocations a JOIN payments p ON p.id = a.payment_id WHERE a.released_ms IS NULL"
        " GROUP BY p.id, p.total_nanos, p.status, p.reversed_ms HAVING SUM(a.amount_nanos) > p.total_nanos"
        " OR p.status <> 'completed' OR p.reversed_ms IS NOT NULL ORDER BY p.id",
        "total {total_nanos}, allocated {allocated_nanos}",
    ),
    Check(
        "credit_notes_have_their_entries",
        "Each credit note has one ledger entry of its amount.",
        "SELECT 'credit_note' AS noun, n.id AS id, n.gross_nanos AS gross_nanos, e.amount_nanos AS amount_nanos"
        " FROM credit_notes n LEFT JOIN ledger_entries e ON e.id = n.entry_id AND e.customer_id = n.customer_id"
        " WHERE e.id IS NULL OR e.amount_nanos <> n.gross_nanos OR n.net_nanos + n.tax_nanos <> n.gross_nanos"
        " ORDER BY n.id",
        "gross {gross_nanos}, entry {amount_nanos}",
    ),
)
