"""Values that the command takes apart by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.cli_common import CommandError
from control.cli_decks import parse_duration_ms


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("95", 95_000), ("0", 0), ("30.5", 30_500), ("0.001", 1), ("1:35", 95_000), ("61:00.25", 3_660_250)],
)
def test_durations_are_seconds_or_minutes_and_seconds(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1:60", ":30", "1:", "1.2345", "٣", "a", "1:2:3", "."])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(CommandError, match="not a duration") as caught:
        parse_duration_ms(text)
    assert caught.value.status == 2


@given(milliseconds=st.integers(0, 10**9))
def test_every_duration_can_be_written(milliseconds: int) -> None:
    seconds, rest = divmod(milliseconds, 1000)
    assert parse_duration_ms(f"{seconds}.{rest:03d}") == milliseconds
    assert parse_duration_ms(f"{seconds // 60}:{seconds % 60:02d}.{rest:03d}") == milliseconds
