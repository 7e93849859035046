"""Money of a whole Tandem with the real command: paid once, in the switch at once, there after every crash."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import config
from control.client import ApiError
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

EXAMPLE = Path(config.__file__).parent / "example" / "example.toml"


@pytest.fixture
def tandem(installation: Installation) -> Installation:
    """Not started yet."""
    return installation


def balance(tandem: Installation) -> tuple[str, bool]:
    (row,) = json.loads(tandem.tandem("balance", "Acme Voice", "--json"))
    return row["balance"], row["is_balance_live"]


def is_back(tandem: Installation) -> bool:
    try:
        found = tandem.health()
    except (OSError, ValueError):
        return False
    return bool(found["status"] == "ok")


def test_a_payment_is_taken_once_and_kept_over_the_death_of_either_process(tandem: Installation) -> None:
    tandem.start("--example")
    tandem.wait(lambda: is_back(tandem), "the switch")
    assert balance(tandem) == ("100", True), "the example's opening payment"
    assert "nothing to do" in tandem.tandem("apply", str(EXAMPLE))

    assert "completed" in tandem.tandem("pay", "Acme Voice", "12.5", "--key", "transfer-1")
    assert balance(tandem) == ("112.5", True)
    assert "reason" in tandem.tandem("pay", "Acme Voice", "-2.5", status=1)
    tandem.tandem("pay", "Acme Voice", "-2.5", "--reason", "paid too much")
    first: Any = tandem.api.get("/customers/1/payments", {"key": "transfer-1"})["items"][0]

    for module in ("switch", "control", "switch"):
        os.kill(tandem.child(module), signal.SIGKILL)
        ready = len(tandem.ready_lines())
        tandem.wait(lambda ready=ready: len(tandem.ready_lines()) > ready, "its next start")  # type: ignore[misc]
        tandem.wait(lambda: is_back(tandem), "both planes")
        again = json.loads(tandem.tandem("pay", "Acme Voice", "12.5", "--key", "transfer-1", "--json"))
        assert again["id"] == first["id"]
        assert balance(tandem) == ("110", True)
        assert "violated" not in tandem.tandem("doctor")
    with pytest.raises(ApiError, match="another request"):
        tandem.api.post("/customers/1/payments", {"total": "13"}, key="transfer-1")
    assert tandem.stop() == 0
    assert "Traceback" not in tandem.log.read_text()


def test_a_payment_made_while_the_switch_stands_still_is_there_when_it_goes_on(tandem: Installation) -> None:
    tandem.start("--example")
    tandem.wait(lambda: is_back(tandem), "the switch")
    switch = tandem.child("switch")
    os.kill(switch, signal.SIGSTOP)
    try:
        paid = tandem.api.post("/customers/1/payments", {"total": "1"}, key="k")
        assert paid["is_in_switch"] is False
        assert balance(tandem) == ("101", False)
    finally:
        os.kill(switch, signal.SIGCONT)
    tandem.wait(lambda: balance(tandem) == ("101", True), "the switch to have it")
    assert tandem.api.get(f"/customers/1/payments/{paid['id']}")["is_in_switch"] is True
    assert tandem.api.post("/customers/1/payments", {"total": "1"}, key="k") == paid
    report = json.loads(tandem.tandem("doctor", "--json"))
    assert report["invariants"]["is_sound"]


def test_the_doctor_names_what_is_wrong_and_fails(tandem: Installation) -> None:
    import sqlite3

    tandem.start("--example")
    tandem.wait(lambda: is_back(tandem), "the switch")
    with sqlite3.connect(tandem.data / "tandem.db") as store:
        store.execute("UPDATE accounts SET balance_nanos = balance_nanos + 1")
    store.close()
    complaint = tandem.tandem("doctor", status=1)
    assert "balance_is_sum_of_entries" in complaint
    assert "switch_has_the_balances" in complaint


def test_a_file_with_another_amount_under_a_key_that_was_paid_is_refused(tandem: Installation, tmp_path: Path) -> None:
    tandem.start("--example")
    wanted = tmp_path / "wanted.toml"
    text = '[customers."Acme Voice"]\n[[customers."Acme Voice".payments]]\nkey = "%s"\ntotal = "%s"\n'
    wanted.write_text(text % ("example-opening", "200"))
    assert "never changed" in tandem.tandem("apply", str(wanted), status=2)
    wanted.write_text(text % ("second", "200"))
    tandem.tandem("apply", str(wanted))
    tandem.tandem("apply", str(wanted))
    tandem.wait(lambda: balance(tandem) == ("300", True), "the switch to have it")
