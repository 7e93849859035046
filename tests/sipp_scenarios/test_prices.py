"""The cases' own arithmetic, held against hand-worked examples."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sipp_scenarios.prices import SELL, Price, charge, find, rows

TAX = Decimal("0.2")


@pytest.mark.parametrize(
    ("duration_ms", "billed_s", "net"),
    [
        (1, 30, "0.0111"),  # 0.0025 + 30 s at 0.0171 a minute = 0.01105
        (30_000, 30, "0.0111"),
        (30_001, 36, "0.0128"),  # 0.0025 + 0.01026 = 0.01276
        (36_000, 36, "0.0128"),
        (60_000, 60, "0.0196"),  # exactly
        (60_001, 66, "0.0214"),  # 0.0025 + 0.01881 = 0.02131
    ],
)
def test_increments_and_fee_are_as_one_works_them_out_by_hand(duration_ms: int, billed_s: int, net: str) -> None:
    got = charge(find(SELL, "12125550123"), duration_ms, Decimal(0))
    assert (got.billed_s, got.net) == (billed_s, Decimal(net))


def test_tax_rounds_up_by_itself() -> None:
    got = charge(Price("1", "x", "0.0001", 1, 1), 1, TAX)
    assert (got.net, got.tax, got.gross) == (Decimal("0.0001"), Decimal("0.0001"), Decimal("0.0002"))


def test_the_longest_prefix_is_found() -> None:
    assert find(SELL, "442071234567").name == "London"
    assert find(SELL, "447700900123").name == "United Kingdom mobile"
    assert find(SELL, "441614960000").name == "United Kingdom"


def test_deck_rows_carry_the_same_amounts() -> None:
    row = next(row for row in rows(SELL) if row.prefix == "4420")
    assert (row.rate_nanos, row.connect_fee_nanos, row.first_s, row.next_s) == (19_333_333, 1_000_000, 1, 1)
