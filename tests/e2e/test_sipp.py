"""The SIPp table, one test a case; all of them are played at once, when the first is asked for."""

from __future__ import annotations

import asyncio

import pytest

from sipp_scenarios.cases import CASES
from sipp_scenarios.run import play
from sipp_scenarios.stage import Result

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Of every case that this run of pytest has chosen."""
    chosen = {
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    }
    return asyncio.run(play(sorted(chosen), tmp_path_factory.mktemp("sipp")))


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_scenario_ends_as_its_case_says(results: dict[str, Result], name: str) -> None:
    result = results[name]
    if result.skipped:
        pytest.skip(result.skipped)
    assert not result.faults, "\n".join(result.faults)


def test_every_case_has_a_name_of_its_own_and_says_what_it_is() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert all(case.what for case in CASES)
