"""Where price lists lose money to each other: each destination as a call there would be priced."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.services.losses import Pair, RouteLengths, Side, find_losses, instants, priced_pairs
from rating.decks import Deck, compile_deck
from rating.margin import worst_margin
from rating.quotes import Quote, Tariff
from rating.rows import WEEK_MINUTES, RateRow
from switch.policy.cards import tariff_of
from switch.snapshot import RateCard

CENT = 10_000_000
NOW_MS = 1_800_000_000_000
SELL = RateCard(id=1, name="Retail", direction="sell")
BUY = RateCard(id=2, name="Vendor", direction="buy")

PREFIXES = st.text("123", min_size=1, max_size=4)
DATES = st.sampled_from([(0, 0), (0, 0), (0, NOW_MS), (NOW_MS, 0), (NOW_MS + 1, 0)])


@st.composite
def decks(draw: st.DrawFn) -> list[RateRow]:
    rows = []
    for prefix in draw(st.sets(PREFIXES, min_size=1, max_size=12)):
        valid_from, valid_to = draw(DATES)
        rate = draw(st.integers(0, 6)) * CENT
        blocked = draw(st.booleans()) and draw(st.booleans())
        step = draw(st.sampled_from([1, 60]))
        rows.append(
            RateRow(prefix, "", rate, step, step, valid_from_ms=valid_from, valid_to_ms=valid_to, is_blocked=blocked)
        )
    return rows


def side_of(card: RateCard, folder: Path, rows: list[RateRow], revision_id: int = 1) -> Side:
    path = folder / f"{card.id}-{revision_id}"
    compile_deck(rows, path)
    return Side(card=card, revision_id=revision_id, path=str(path))


def pair_of(folder: Path, sell: list[RateRow], buy: list[RateRow], **more: object) -> Pair:
    values = {"sell_before": None, "buy_before": None, "routes": (), **more}
    return Pair(sell=side_of(SELL, folder, sell), buy=side_of(BUY, folder, buy), **values)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(decks(), decks())
def test_each_prefix_of_either_deck_meets_the_rows_that_price_its_numbers(
    sell_rows: list[RateRow], buy_rows: list[RateRow]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = pair_of(Path(folder), sell_rows, buy_rows)
        sell, buy = Deck.open(Path(pair.sell.path)), Deck.open(Path(pair.buy.path))
        found = {prefix: (s, b) for prefix, s, b in priced_pairs(sell, buy, NOW_MS)}
        for prefix in {row.prefix for row in (*sell_rows, *buy_rows) if row.is_valid_at(NOW_MS)}:
            looked_up = (sell.lookup(prefix, NOW_MS), buy.lookup(prefix, NOW_MS))
            if None in looked_up:
                assert prefix not in found
            else:
                assert found.pop(prefix) == looked_up
        assert found == {}

        losses = find_losses((pair,), NOW_MS, 600, 1_000)
        losing = set()
        for prefix, sold, bought in priced_pairs(sell, buy, NOW_MS):
            quotes = Quote(sold, tariff_of(SELL), at_ms=NOW_MS), Quote(bought, tariff_of(BUY), at_ms=NOW_MS)
            if not sold.is_blocked and not bought.is_blocked and worst_margin(*quotes, 600)[0] < 0:
                losing.add(prefix)
        assert {item.prefix for item in losses.items} == losing
        assert (losses.losing, losses.newly_losing, losses.more) == (len(losing), len(losing), 0)


def test_the_largest_losses_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    sell = [RateRow("1", "North America", 5 * CENT), RateRow("7", "Russia", 50 * CENT)]
    buy = [RateRow(f"1{area}", "", area * CENT // 100) for area in range(401, 601)]
    pair = pair_of(tmp_path, sell, [*buy, RateRow("7", "Russia", 9 * CENT)])
    losses = find_losses((pair,), NOW_MS, 3_600, 3)
    assert (losses.compared, losses.losing, losses.more) == (201, 100, 97)
    assert [item.prefix for item in losses.items] == ["1600", "1599", "1598"]
    worst = losses.items[0]
    assert (worst.destination, worst.sell_prefix, worst.sell_rate, worst.buy_rate) == (
        "North America",
        "1",
        "0.05",
        "0.06",
    )
    assert (worst.worst_margin, worst.worst_at_s) == ("-0.6", 3_600)
    assert [(r.from_s, r.to_s) for r in worst.losing] == [(1, 3_600)]
    assert worst.losing_lengths == 3_600


def test_what_loses_already_is_told_from_what_is_new(tmp_path: Path) -> None:
    sell = [RateRow("44", "UK", 5 * CENT), RateRow("447", "UK mobile", 5 * CENT), RateRow("49", "Germany", 5 * CENT)]
    before = side_of(BUY, tmp_path, [RateRow("44", "", 4 * CENT), RateRow("447", "", 6 * CENT)], 9)
    pair = pair_of(
        tmp_path,
        sell,
        [RateRow("44", "", 6 * CENT), RateRow("447", "", 7 * CENT), RateRow("49", "", 6 * CENT)],
        buy_before=before,
    )
    losses = find_losses((pair,), NOW_MS, 60, 10)
    found = {item.prefix: (item.is_new, item.was_worst_margin) for item in losses.items}
    # Germany had no price before: its loss is new, and it was nothing else.
    assert found == {"44": (True, "0.0002"), "447": (False, "-0.01"), "49": (True, None)}
    assert (losses.losing, losses.newly_losing) == (3, 2)
    only_new = find_losses((pair,), NOW_MS, 60, 10, only_new=True)
    assert sorted(item.prefix for item in only_new.items) == ["44", "49"]
    assert (only_new.losing, only_new.more) == (3, 0)


def test_short_calls_lose_to_whole_minutes_and_a_route_says_what_that_means_to_it(tmp_path: Path) -> None:
    routes = (
        RouteLengths(route_id=7, name="call centre", durations=((5, 90), (600, 10)), max_duration_s=None),
        RouteLengths(route_id=8, name="chats", durations=((600, 100),), max_duration_s=None),
        RouteLengths(route_id=9, name="new", durations=(), max_duration_s=None),
    )
    pair = pair_of(tmp_path, [RateRow("44", "UK", 6 * CENT)], [RateRow("44", "UK", 5 * CENT, 60, 60)], routes=routes)
    (loss,) = find_losses((pair,), NOW_MS, 600, 10).items
    assert (loss.worst_margin, loss.worst_at_s) == ("-0.049", 1)
    assert [(r.from_s, r.to_s) for r in loss.losing][:2] == [(1, 49), (61, 99)]
    assert [(m.route_id, m.calls, m.margin) for m in loss.expected] == [(7, 100, "-0.0305"), (8, 100, "0.1")]


def test_prices_of_a_later_date_are_named_and_compared_when_asked_for(tmp_path: Path) -> None:
    day_ms = 86_400_000
    later = [NOW_MS + day * day_ms for day in range(1, 40)]
    rows = [RateRow("44", "UK", CENT, valid_to_ms=later[0]), RateRow("44", "UK", 9 * CENT, valid_from_ms=later[0])]
    rows += [RateRow(f"44{day}", "", CENT, valid_from_ms=later[day]) for day in range(1, 39)]
    rows.append(RateRow("49", "Germany", CENT, valid_to_ms=NOW_MS))
    pair = pair_of(tmp_path, [RateRow("44", "UK", 5 * CENT)], list(reversed(rows)))
    now = find_losses((pair,), NOW_MS, 60, 10)
    assert (now.compared, now.losing) == (1, 0)
    assert [round(each.timestamp() * 1000) for each in now.prices_change] == later[:20]
    then = find_losses((pair,), later[0], 60, 10)
    assert [item.prefix for item in then.items] == ["44"]


def test_pairs_that_would_take_too_long_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control.services.losses.COMPARED_MAX", 2)
    wide = pair_of(
        tmp_path, [RateRow(prefix, "", CENT) for prefix in "123"], [RateRow(prefix, "", 1) for prefix in "123"]
    )
    losses = find_losses((wide, wide, wide), NOW_MS, 60, 10)
    assert (losses.compared, losses.not_compared) == (3, ["Retail / Vendor", "Retail / Vendor"])


def test_a_rate_of_another_hour_is_found(tmp_path: Path) -> None:
    night = RateRow("44", "UK", 3 * CENT, windows=((120, 240, 9 * CENT),))
    pair = pair_of(tmp_path, [RateRow("44", "UK", 5 * CENT)], [night])
    (loss,) = find_losses((pair,), NOW_MS, 60, 10).items
    assert (loss.worst_margin, loss.buy_rate) == ("-0.04", "0.09")
    assert loss.at.weekday() == 0
    assert (loss.at.hour, loss.at.minute) == (2, 0)


@given(st.integers(0, 10**13), st.integers(0, WEEK_MINUTES - 1), st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_each_change_of_a_rate_is_met_within_the_week(at_ms: int, start: int, zone: str) -> None:
    row = RateRow("44", "", 1, windows=((start, min(start + 60, WEEK_MINUTES), 2),))
    tariff = Tariff(time_zone=zone)
    found = instants(at_ms, (row, tariff))
    assert all(at_ms <= each <= at_ms + 7 * 86_400_000 for each in found)
    rates = {Quote(row, tariff, at_ms=each or 1).rate_nanos for each in found}
    # Both rates, but for a window that ends with the week's last minute before `at_ms` and begins just now.
    assert rates == {1, 2}
