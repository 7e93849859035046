from __future__ import annotations

import io

import msgspec
from rich.console import Console

from control.drill.drill import Outcome
from control.drill.plan import Options
from control.drill.report import as_json, show
from control.drill.witness import Kill
from tests.fakes.drill_facts import Facts, T


def outcome(facts: Facts) -> Outcome:
    return Outcome(witness=facts.witness, books=facts.books, verdict=facts.verdict(), seconds=12.3, exit_status=0)


def shown(facts: Facts) -> str:
    console = Console(file=io.StringIO(), width=150)
    show(Options(seed=4), outcome(facts), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_a_drill_that_holds_says_so_in_its_last_line() -> None:
    facts = Facts()
    facts.witness.kills.append(Kill(victim="switch", how="in journal write 3", at_ms=T + 1_000, recovered_s=0.75))
    last = shown(facts).splitlines()[-1]
    assert "1 kills, 3 calls, 3 CDRs, 1 payments: lost 0, differences 0" in last
    assert "seed 4" in last
    assert "0.75 s" in shown(facts)


def test_what_is_wrong_is_printed_and_markup_in_it_stays_text() -> None:
    facts = Facts()
    facts.books.cdrs.pop(0)
    facts.books.health_faults.append("[bold]journal[/bold] damaged")
    text = shown(facts)
    assert "lost 1, differences" in text
    assert "ended with 200 and has no CDR" in text
    assert "[bold]journal[/bold] damaged" in text


def test_json_has_the_verdict_and_every_difference() -> None:
    facts = Facts()
    report = as_json(Options(seed=4), outcome(facts))
    assert report["holds"] is True
    assert report["calls"] == {
        "placed": 3,
        "answered": 2,
        "hung up by the caller": 1,
        "hung up by the other side": 1,
        "refused with 486": 1,
    }
    assert report["cdrs"] == {"busy": 1, "normal": 2}
    facts.books.live_calls = 25
    facts.books.broken_invariants = [f"check {number}" for number in range(30)]
    report = as_json(Options(seed=4), outcome(facts))
    assert report["holds"] is False
    assert len(report["differences"]) == 31
    msgspec.json.encode(report)
