"""The demonstration that `make demo` gives, on both planes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sipp_scenarios.switch_process import ROOT

pytestmark = pytest.mark.slow


def test_the_demo_comes_out_right_and_leaves_nothing_running() -> None:
    done = subprocess.run(
        [sys.executable, "sipp_scenarios/demo.py"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for cause in ("normal", "client_suspended", "no_sell_rate"):
        assert cause in done.stdout
