"""The whole OpenAPI document against a running Tandem, for as long as a test may take; see `schema_run.py`."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.e2e.schema_run import ALONE, SPACES, command

pytestmark = pytest.mark.slow

SECONDS = 75.0


def can_be_alone() -> bool:
    """Whether this user may have a network of its own: what is made up must reach nobody."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run(["unshare", *SPACES, "sh", "-c", ALONE, "true"], check=False, capture_output=True).returncode
        == 0
    )


@pytest.mark.skipif(not can_be_alone(), reason="no network namespace of one's own here")
def test_no_request_that_the_document_allows_or_forbids_breaks_anything() -> None:
    done = subprocess.run(command(SECONDS), capture_output=True, text=True, timeout=SECONDS + 120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3_000:]
    assert " 0 findings" in done.stdout
