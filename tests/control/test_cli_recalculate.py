"""A real call priced anew by the command, with the switch's own balance as the witness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.example_calls import cdrs_by_call_id, example_vendor, whole_call
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow


def customer(tandem: Installation) -> dict[str, Any]:
    [found] = [row for row in tandem.api.items("/customers") if row["name"] == "Acme Voice"]
    return found


def test_a_wrong_list_is_put_right_and_back_with_the_switch_knowing(tandem: Installation, tmp_path: Path) -> None:
    with example_vendor(tandem, tmp_path) as vendor:
        call_id = whole_call(tandem, vendor, 1)
    tandem.wait(lambda: call_id in cdrs_by_call_id(tandem), "the CDR")
    cdr = cdrs_by_call_id(tandem)[call_id]
    opening = customer(tandem)["balance"]
    card = tandem.api.get(f"/rate-cards/{cdr['card_id']}")["name"]
    deck = tmp_path / "right.csv"
    deck.write_text("prefix,name,rate,increment\n44,United Kingdom,6,60/60\n")
    tandem.tandem("deck", "import", card, str(deck))
    revision = tandem.api.get(f"/rate-cards/{cdr['card_id']}/revisions")["items"][0]["id"]
    options = ("--from", "2020-01-01T00:00:00Z", "--by-revision", str(revision), "--reason", "wrong list")
    shown = tandem.tandem("recalculate", "preview", *options)
    assert "1 change" in shown
    assert cdr["id"] in shown
    assert "tandem recalculate apply 1" in shown
    assert customer(tandem)["balance"] == opening
    tandem.tandem("recalculate", "apply", "1")
    changed = customer(tandem)
    assert (changed["is_balance_live"], changed["balance"] != opening) == (True, True)
    assert tandem.api.get(f"/cdrs/{cdr['id']}")["effective"]["net"] == "6"
    assert json.loads(tandem.tandem("recalculate", "show", "1", "--json"))["state"] == "applied"
    # A switch that starts anew has it too.
    tandem.stop()
    tandem.start()
    tandem.wait(lambda: len(tandem.ready_lines()) == 4, "both planes to be ready again")
    assert customer(tandem)["balance"] == changed["balance"]
    assert "1 change" in tandem.tandem("recalculate", "undo", "1")
    assert customer(tandem)["balance"] == opening
    assert "undo" in tandem.tandem("recalculate", "list")
    assert "Nobody" in tandem.tandem("recalculate", "preview", *options, "--customer", "Nobody", status=1)
    tandem.tandem("doctor")
