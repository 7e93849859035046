"""Yesterday's calls from outside: real ones, replayed by the command, and the past simulated."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.example_calls import cdrs_by_call_id, example_vendor, whole_call
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

SELL = "Wholesale sell"
BUY = "Meridian buy"


@pytest.fixture
def tandem(installation: Installation) -> Installation:
    """Not started yet."""
    return installation


def loaded(tandem: Installation, card: str, file: Path) -> int:
    return int(json.loads(tandem.tandem("deck", "import", card, str(file), "--json"))["revision"]["id"])


def moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def test_calls_are_replayed_as_they_were_and_as_they_would_have_been(tandem: Installation, tmp_path: Path) -> None:
    tandem.start()
    with example_vendor(tandem, tmp_path) as vendor:
        for number in range(3):
            whole_call(tandem, vendor, number)
    tandem.wait(lambda: len(cdrs_by_call_id(tandem)) == 3, "the calls' CDRs")
    hour = timedelta(hours=1)
    between = ("--from", moment(datetime.now(UTC) - hour), "--to", moment(datetime.now(UTC) + hour))

    def replay(*proposals: str) -> Any:
        return json.loads(tandem.tandem("replay", *between, *proposals, "--json"))

    same = replay()
    assert (same["calls"], same["changed"], same["kept"], same["notes"]) == (3, 0, 0, [])
    (total,) = same["totals"]
    assert total["difference"] == {"charge": "0", "gross": "0", "cost": "0", "profit": "0"}
    charged = sum(float(cdr["net"]) for cdr in cdrs_by_call_id(tandem).values())
    assert float(total["before"]["charge"]) == pytest.approx(charged)

    # Half a minute is billed at the least: 0.30 a minute are 0.15 a call.
    dearer = tmp_path / "dearer.csv"
    dearer.write_text("prefix,name,rate,increments\n44,United Kingdom,0.30,30/6\n")
    revision = loaded(tandem, SELL, dearer)
    table = tmp_path / "table.csv"
    found = replay("--deck", f"{SELL}={revision}", "--csv", str(table))
    assert (found["changed"], found["totals"][0]["after"]["charge"]) == (3, "0.45")
    with table.open() as file:
        assert [row["destination"] for row in csv.DictReader(file)][-1] == "TOTAL"

    # A vendor who asks more than his rival gets no call; one who asks more than we do gets none either.
    asked_more = tmp_path / "vendor.csv"
    asked_more.write_text("prefix,name,rate\n44,United Kingdom,0.009\n")
    revision = loaded(tandem, BUY, asked_more)
    found = replay("--deck", f"{BUY}={revision}")
    assert [(move["from_provider"], move["to_provider"], move["calls"]) for move in found["moves"]] == [
        ("Meridian", "Northgate", 3)
    ]
    printed = tandem.tandem("replay", *between, "--deck", f"{BUY}={revision}")
    assert "3 calls, 3 of them otherwise" in printed
    assert "Northgate" in printed
    assert replay("--capped-rate", "0.0001")["newly_refused"] == {"destination_blocked": 3}
    assert replay("--capped-rate", "Wholesale=none")["changed"] == 0
    assert replay("--customer", "Foundry Lane Telephony")["calls"] == 0
    assert "there is no rate card" in tandem.tandem("replay", *between, "--deck", "Nobody=1", status=1)
    assert "write CARD=REVISION" in tandem.tandem("replay", *between, "--deck", "Nobody", status=2)
    assert tandem.stop() == 0
    assert "Traceback" not in tandem.log.read_text()


def test_a_price_list_that_would_lose_money_says_where_before_it_is_in_force(
    tandem: Installation, tmp_path: Path
) -> None:
    tandem.start("--example")
    before = datetime.now(UTC)
    raised = tmp_path / "raised.csv"
    raised.write_text("prefix,name,rate\n44,United Kingdom,0.0999\n4420,London,0.001\n")
    answer = json.loads(tandem.tandem("deck", "diff", BUY, str(raised), "--json"))["losses"]
    assert answer["newly_losing"] > 0
    assert all(loss["sell_card"] == SELL for loss in answer["items"])
    assert answer["items"][0]["buy_rate"] == "0.0999"
    assert "4420" not in {loss["prefix"] for loss in answer["items"]}
    revision = loaded(tandem, BUY, raised)
    printed = tandem.tandem("deck", "diff", BUY, str(revision), "--limit", "3")
    assert "destinations can lose money" in printed
    assert "can lose money" not in tandem.tandem("deck", "diff", BUY, str(revision), "--no-losses")

    # Once it is in force, a call of before is still decided by what was.
    tandem.tandem("deck", "activate", BUY, str(revision))
    asked = ("simulate", "1234447911123456", "--json")
    now = json.loads(tandem.tandem(*asked))
    then = json.loads(tandem.tandem(*asked, "--at", moment(before)))
    outcomes = {each["card_name"]: each["outcome"] for each in now["candidates"]}
    assert outcomes == {BUY: "margin", "Northgate buy": "taken"}
    outcomes = {each["card_name"]: each["outcome"] for each in then["candidates"]}
    assert outcomes[BUY] == "taken"
    assert then["steps"][0].startswith("as of ")
