"""The pages that say which test shows what name tests that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


@cache
def named_in(name: str) -> frozenset[str]:
    """Of every file with that name; two folders may have one each."""
    found = [path.read_text() for path in TESTS.rglob(name)]
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", "\n".join(found), re.MULTILINE))


@pytest.mark.parametrize("page", ["reliability_coverage.md", "seed_coverage.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = NAMED.findall((DOCS / page).read_text())
    assert len(named) > 20
    assert [f"{file}::{test}" for file, test in named if test not in named_in(file)] == []
