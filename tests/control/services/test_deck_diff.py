"""What a new deck changes: each prefix counted once, the dearest news first."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from control.services.deck_diff import diff_decks
from rating.decks import Deck, compile_deck
from rating.rows import RateRow


def deck_of(path: Path, *rows: RateRow) -> Deck:
    compile_deck(rows, path)
    return Deck.open(path)


def test_each_prefix_stands_in_the_list_of_what_becomes_of_it(tmp_path: Path) -> None:
    old = deck_of(
        tmp_path / "old",
        *(RateRow(prefix, "", 100_000_000) for prefix in ("1", "20", "30", "31", "40", "50", "60")),
        RateRow("70", "", 100_000_000, is_blocked=True),
    )
    new = deck_of(
        tmp_path / "new",
        *(RateRow("1", "", 100_000_000), RateRow("20", "", 90_000_000), RateRow("30", "", 110_000_000)),
        *(RateRow("31", "", 300_000_000), RateRow("40", "", 100_000_000, 60, 60)),
        *(RateRow("50", "", 1, is_blocked=True), RateRow("70", "", 900_000_000), RateRow("80", "", 5)),
    )
    diff = diff_decks(old, new)
    assert [(change.prefix, change.old_rate, change.new_rate) for change in diff.raised] == [
        ("31", "0.1", "0.3"),
        ("30", "0.1", "0.11"),
    ]
    assert [change.prefix for change in diff.lowered] == ["20"]
    assert [change.prefix for change in diff.blocked] == ["50"]
    assert [change.prefix for change in diff.unblocked] == ["70"]
    assert [change.prefix for change in diff.removed] == ["60"]
    assert [(change.prefix, change.old_rate) for change in diff.added] == [("80", "")]
    assert [(change.old, change.new) for change in diff.changed] == [("0.1 1/1", "0.1 60/60")]
    assert diff.counts == {
        **dict.fromkeys(("lowered", "added", "removed", "blocked", "unblocked", "changed", "same"), 1),
        "raised": 2,
    }


def test_lists_end_at_the_limit_with_the_largest_raises_and_counts_do_not(tmp_path: Path) -> None:
    old = deck_of(tmp_path / "old", *(RateRow(str(prefix), "", 1000) for prefix in range(100, 200)))
    new = deck_of(tmp_path / "new", *(RateRow(str(prefix), "", 1000 + prefix // 2) for prefix in range(100, 200)))
    diff = diff_decks(old, new, limit=3)
    assert [change.prefix for change in diff.raised] == ["198", "199", "196"]
    assert diff.counts["raised"] == 100
    assert [change.prefix for change in diff_decks(None, new, limit=2).added] == ["100", "101"]
    assert diff_decks(old, new, limit=0).raised == []


def test_rows_in_force_at_the_moment_are_compared(tmp_path: Path) -> None:
    old = deck_of(tmp_path / "old", RateRow("44", "", 5))
    new = deck_of(tmp_path / "new", RateRow("44", "", 5, valid_to_ms=1000), RateRow("44", "", 9, valid_from_ms=1000))
    assert diff_decks(old, new, 999).counts["changed"] == 1
    assert diff_decks(old, new, 1000).counts["raised"] == 1


DECKS = st.dictionaries(st.text("12", min_size=1, max_size=4), st.integers(0, 3), max_size=12)


@settings(max_examples=60, deadline=None)
@given(DECKS, DECKS)
def test_counts_add_up_to_all_prefixes_of_both(
    tmp_path_factory: object, old: dict[str, int], new: dict[str, int]
) -> None:
    folder: Path = tmp_path_factory.mktemp("diff")  # type: ignore[attr-defined]
    diff = diff_decks(
        deck_of(folder / "old", *(RateRow(prefix, "", rate) for prefix, rate in old.items())),
        deck_of(folder / "new", *(RateRow(prefix, "", rate) for prefix, rate in new.items())),
    )
    assert sum(diff.counts.values()) == len(old.keys() | new.keys())
    assert {change.prefix for change in diff.added} == new.keys() - old.keys()
    assert {change.prefix for change in diff.removed} == old.keys() - new.keys()
    assert {change.prefix for change in diff.raised} == {p for p in old.keys() & new.keys() if new[p] > old[p]}
