"""What runs of a market share: its decks, compiled once a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from rating.decks import compile_deck
from tests.sim.market import DECKS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("decks")
    for name, rows in DECKS.items():
        compile_deck(rows, made / name)
    return made
