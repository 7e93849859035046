"""The bench that these tests share, one switch a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.bench import Bench


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """For tests that leave no call behind and compare CDRs by their own Call-ID."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    yield bench
    bench.close()
