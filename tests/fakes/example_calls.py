"""Calls of the example data's customer through a whole installation, and the CDRs that come of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import config
from tests.e2e.peer import Peer, answered_call, hang_up
from tests.fakes.installation import Installation

EXAMPLE = Path(config.__file__).parent / "example" / "example.toml"


@contextmanager
def example_vendor(tandem: Installation, folder: Path) -> Iterator[Peer]:
    """The example data applied from `folder`, its first vendor a socket of ours."""
    with Peer(("127.0.0.1", 0), tandem.sip) as vendor:
        wanted = folder / "wanted.toml"
        wanted.write_text(EXAMPLE.read_text().replace("port = 5080", f"port = {vendor.at[1]}"))
        for deck in EXAMPLE.parent.glob("*.csv"):
            (folder / deck.name).write_bytes(deck.read_bytes())
        tandem.tandem("apply", str(wanted))
        yield vendor


def whole_call(tandem: Installation, vendor: Peer, number: int) -> str:
    """One call from begin to end; its Call-ID."""
    with Peer(("127.0.0.1", 0), tandem.sip) as caller:
        dialog, _ = answered_call(caller, vendor, f"1234442071{number:06d}")
        hang_up(dialog, caller, vendor)
    return dialog.call_id


def cdrs_by_call_id(tandem: Installation) -> dict[str, dict[str, Any]]:
    """As the API lists them; none may be there twice."""
    rows = list(tandem.api.items("/cdrs", {"limit": "100"}))
    found = {row["call_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found
