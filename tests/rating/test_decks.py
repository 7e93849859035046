"""Compiled decks: what went in is found, at its time, and nothing damaged is ever read as a price."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.deck_format import HEADER_BYTES, rates_path, trie_path
from rating.decks import Deck, DeckConflicts, DeckError, compile_deck
from rating.rows import RateRow

UK = RateRow("44", "United Kingdom", 10_000_000, 60, 1)
UK_MOBILE = RateRow("447", "United Kingdom – Mobile", 20_000_000, 30, 6, 1_000_000)


def deck_of(folder: Path, *rows: RateRow) -> Deck:
    compile_deck(rows, folder / "card-1.r2")
    return Deck.open(folder / "card-1.r2")


def test_the_longest_prefix_wins_and_a_stranger_has_none(tmp_path: Path) -> None:
    deck = deck_of(tmp_path, UK, UK_MOBILE)
    assert deck.lookup("447700900123", 1) == UK_MOBILE
    assert deck.lookup("442079460958", 1) == UK
    assert deck.lookup("44", 1) == UK
    assert deck.lookup("4", 1) is None
    assert deck.lookup("15551234567", 1) is None
    assert deck.lookup("", 1) is None
    assert deck.lookup("x44", 1) is None


def test_every_field_comes_back_as_it_went_in(tmp_path: Path) -> None:
    row = RateRow(
        *("881", "Satélite «Ω»", 10**18, 65_534, 65_534, 10**18, 1, 253_402_300_800_000, True, 0, 65_534, 0),
        tiers=((60, 5), (4_000_000_000, 0)),
        windows=((0, 600, 7), (600, 10_080, 10**18)),
    )
    assert deck_of(tmp_path, row, UK).find("881") == (row,)


def test_a_longer_prefix_out_of_force_does_not_hide_a_shorter_one(tmp_path: Path) -> None:
    deck = deck_of(
        tmp_path,
        UK,
        RateRow("447", "old", 1, valid_to_ms=1000),
        RateRow("447", "new", 2, valid_from_ms=2000, valid_to_ms=3000),
        RateRow("4477", "later", 3, valid_from_ms=2500),
    )
    names = {
        at: getattr(deck.lookup("447700900123", at), "name", None) for at in (0, 999, 1000, 1999, 2000, 2500, 3000)
    }
    assert names == {
        0: "old",
        999: "old",
        1000: UK.name,
        1999: UK.name,
        2000: "new",
        2500: "later",
        3000: "later",
    }


def test_before_all_dates_there_is_no_price(tmp_path: Path) -> None:
    deck = deck_of(tmp_path, RateRow("44", "", 1, valid_from_ms=1000))
    assert deck.lookup("442079460958", 999) is None
    assert deck.lookup("442079460958", 1000) is not None


def test_rows_are_listed_by_prefix_then_date_and_under_a_prefix(tmp_path: Path) -> None:
    rows = [
        RateRow("9", "", 1),
        RateRow("44", "b", 1, valid_from_ms=10),
        RateRow("447", "", 1),
        RateRow("44", "a", 1, valid_to_ms=10),
        RateRow("1", "", 1),
    ]
    deck = deck_of(tmp_path, *rows)
    assert [(row.prefix, row.name) for row in deck.rows()] == [
        ("1", ""),
        ("44", "a"),
        ("44", "b"),
        ("447", ""),
        ("9", ""),
    ]
    assert [row.prefix for row in deck.rows("44")] == ["44", "44", "447"]
    assert (len(deck), deck.prefixes) == (5, 4)
    assert deck.find("4") == ()


def test_an_empty_deck_prices_nothing(tmp_path: Path) -> None:
    deck = deck_of(tmp_path)
    assert len(deck) == 0
    assert list(deck.rows()) == []
    assert deck.lookup("442079460958", 1) is None


@pytest.mark.parametrize(
    ("second", "is_duplicate"),
    [
        (RateRow("44", "", 2), True),
        (RateRow("44", "", 2, valid_from_ms=5), False),
        (RateRow("44", "", 2, valid_to_ms=5), False),
    ],
)
def test_two_rows_in_force_at_once_are_refused_by_their_places(
    tmp_path: Path, second: RateRow, is_duplicate: bool
) -> None:
    with pytest.raises(DeckConflicts) as caught:
        compile_deck([RateRow("1", "", 1), RateRow("44", "", 1), RateRow("447", "", 1), second], tmp_path / "d")
    (conflict,) = caught.value.conflicts
    assert (conflict.prefix, conflict.first, conflict.second, conflict.is_duplicate) == ("44", 1, 3, is_duplicate)
    assert list(tmp_path.iterdir()) == []


def test_dates_may_meet_but_not_overlap_by_a_millisecond(tmp_path: Path) -> None:
    until_ten = RateRow("44", "", 1, valid_to_ms=10)
    assert len(deck_of(tmp_path, until_ten, RateRow("44", "", 2, valid_from_ms=10))) == 2
    with pytest.raises(DeckConflicts, match="overlapping"):
        deck_of(tmp_path, until_ten, RateRow("44", "", 2, valid_from_ms=9))


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (RateRow("", "", 1), "prefix"),
        (RateRow("4a", "", 1), "prefix"),
        (RateRow("٤", "", 1), "prefix"),
        (RateRow("4" * 25, "", 1), "prefix"),
        (RateRow("44", "", -1), "rate"),
        (RateRow("44", "", 10**19), "rate"),
        (RateRow("44", "", 1, -1), "first_s"),
        (RateRow("44", "", 1, 1, 0), "next_s"),
        (RateRow("44", "", 1, connect_fee_nanos=-1), "connect_fee"),
        (RateRow("44", "", 1, minimum_s=70_000), "minimum_s"),
        (RateRow("44", "", 1, grace_s=-2), "grace_s"),
        (RateRow("44", "", 1, max_cost_nanos=-2), "max_cost"),
        (RateRow("44", "", 1, valid_from_ms=5, valid_to_ms=5), "valid_to"),
        (RateRow("44", "x" * 501, 1), "name"),
        (RateRow("44", "", 1, tiers=((60, 1), (60, 2))), "tiers"),
        (RateRow("44", "", 1, tiers=((60, -1),)), "tiers"),
        (RateRow("44", "", 1, windows=((0, 20, 1), (10, 30, 1))), "windows"),
        (RateRow("44", "", 1, windows=((0, 10_081, 1),)), "windows"),
    ],
)
def test_a_row_that_no_deck_holds_is_refused_by_field(tmp_path: Path, row: RateRow, word: str) -> None:
    with pytest.raises(DeckError, match=f"^{word}"):
        compile_deck([UK_MOBILE, row], tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_a_deck_compiled_again_replaces_the_old_one_whole(tmp_path: Path) -> None:
    old = deck_of(tmp_path, UK)
    new = deck_of(tmp_path, UK_MOBILE)
    assert (old.lookup("447700900123", 1), new.lookup("447700900123", 1)) == (UK, UK_MOBILE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card-1.r2.rates", "card-1.r2.trie"]


@pytest.mark.parametrize("suffix", ["trie", "rates"])
@pytest.mark.parametrize("keep", [0, 20, HEADER_BYTES, -1])
def test_a_deck_cut_off_does_not_open(tmp_path: Path, suffix: str, keep: int) -> None:
    deck_of(tmp_path, UK, UK_MOBILE)
    path = tmp_path / f"card-1.r2.{suffix}"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DeckError):
        Deck.open(tmp_path / "card-1.r2")


def test_files_of_two_compilations_do_not_open(tmp_path: Path) -> None:
    compile_deck([UK], tmp_path / "a")
    compile_deck([RateRow(str(prefix), "", 1) for prefix in range(1, 3000)], tmp_path / "b")
    trie_path(tmp_path / "a").replace(trie_path(tmp_path / "b"))
    with pytest.raises(DeckError, match="same compilation"):
        Deck.open(tmp_path / "b")


def test_a_missing_deck_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Deck.open(tmp_path / "none")


def test_no_flipped_bit_is_ever_read_as_a_price(tmp_path: Path) -> None:
    rows = [
        UK,
        UK_MOBILE,
        RateRow("1", "NANP", 5, tiers=((60, 3),), windows=((0, 9, 2),)),
        RateRow("7", "", 1, valid_to_ms=5),
        RateRow("7", "", 2, valid_from_ms=5),
    ]
    whole = deck_of(tmp_path, *rows)
    numbers = ["447700900123", "442079460958", "15551234567", "74951234567"]
    right = [whole.lookup(number, 7) for number in numbers]
    path = rates_path(tmp_path / "card-1.r2")
    data = path.read_bytes()
    names_at = len(data) - sum(len(name.encode()) for name in {row.name for row in rows})
    for place, bit in product(range(names_at), range(8)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        try:
            deck = Deck.open(tmp_path / "card-1.r2")
        except DeckError:
            continue
        found = [deck.lookup(number, 7) for number in numbers]
        assert all(row is None or row == was for row, was in zip(found, right, strict=True)), place
        assert deck.damaged == found.count(None)
        if place >= HEADER_BYTES:
            with pytest.raises(DeckError, match="checksum"):
                deck.verify()
        path.unlink()
    path.write_bytes(data)
    Deck.open(tmp_path / "card-1.r2").verify()


def test_a_flipped_bit_in_the_prefixes_is_found_by_verify(tmp_path: Path) -> None:
    deck_of(tmp_path, UK, UK_MOBILE)
    path = trie_path(tmp_path / "card-1.r2")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DeckError):
        Deck.open(tmp_path / "card-1.r2").verify()


@st.composite
def row_lists(draw: st.DrawFn) -> list[RateRow]:
    """Rows of few short prefixes, so that they nest, each prefix's dates cut out of one line of time."""
    rows = []
    for prefix in draw(st.lists(st.text("123", min_size=1, max_size=5), unique=True, max_size=12)):
        cuts = sorted(draw(st.lists(st.integers(1, 50), min_size=1, max_size=4, unique=True)))
        edges = [0, *cuts] if draw(st.booleans()) else cuts
        spans = list(zip(edges, [*edges[1:], 0], strict=True))
        kept = draw(st.lists(st.sampled_from(spans), unique=True, max_size=len(spans)))
        rows += [
            RateRow(prefix, f"{prefix}@{start}", start, valid_from_ms=start, valid_to_ms=end) for start, end in kept
        ]
    return draw(st.permutations(rows))


@settings(max_examples=60, deadline=None)
@given(row_lists(), st.lists(st.tuples(st.text("1234", max_size=7), st.integers(0, 60)), max_size=20))
def test_look_ups_agree_with_a_search_through_all_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[RateRow], calls: list[tuple[str, int]]
) -> None:
    deck = deck_of(tmp_path_factory.mktemp("deck"), *rows)
    for number, at_ms in calls:
        fitting = [row for row in rows if number.startswith(row.prefix) and row.is_valid_at(at_ms)]
        assert deck.lookup(number, at_ms) == max(fitting, key=lambda row: len(row.prefix), default=None)
    assert sorted(deck.rows(), key=repr) == sorted(rows, key=repr)
    deck.verify()
