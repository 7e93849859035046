"""Both planes with calls up: the switch dies, is replaced, or all is stopped for an upgrade; the books agree after."""

from __future__ import annotations

import os
import signal
import socket
import time
from decimal import Decimal
from pathlib import Path

import pytest

from control.client import ApiError
from tests.e2e.peer import Dialog, Peer, answered_call, hang_up
from tests.fakes.example_calls import cdrs_by_call_id, example_vendor
from tests.fakes.installation import SETTINGS, Installation

pytestmark = pytest.mark.slow

CALLS = 5


@pytest.fixture
def tandem(installation: Installation) -> Installation:
    """On a port that stays, since calls outlive processes here; calls are kept at its end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    head, _, tail = SETTINGS.rpartition("port = 0")
    installation.config.write_text(f'drain_calls = "keep"\n{head}port = {port}{tail}')
    installation.start()
    return installation


def live(tandem: Installation) -> set[str] | None:
    """Call-IDs; None while the control process has no switch."""
    try:
        return {row["call_id"] for row in tandem.api.items("/calls")}
    except ApiError:
        return None


def assert_books_agree(tandem: Installation, dialogs: list[Dialog]) -> None:
    wanted = {dialog.call_id for dialog in dialogs}
    tandem.wait(lambda: cdrs_by_call_id(tandem).keys() >= wanted, "the CDRs")
    cdrs = cdrs_by_call_id(tandem)
    assert cdrs.keys() == wanted
    assert {cdr["cause"] for cdr in cdrs.values()} == {"normal"}
    assert all(Decimal(cdr["gross"]) > 0 for cdr in cdrs.values())
    report = tandem.api.get("/invariants")
    assert report["is_sound"], report
    assert live(tandem) == set()
    assert "Traceback" not in tandem.log.read_text()
    assert "journal_damaged" not in tandem.log.read_text()


def test_the_parent_starts_a_killed_switch_again_and_its_calls_go_on(tandem: Installation, tmp_path: Path) -> None:
    with example_vendor(tandem, tmp_path) as vendor, Peer(("127.0.0.1", 0), tandem.sip) as caller:
        dialogs = [answered_call(caller, vendor, f"1234442071{number:06d}")[0] for number in range(CALLS)]
        pid = tandem.child("switch")
        os.kill(pid, signal.SIGKILL)
        tandem.wait(lambda: len(tandem.ready_lines()) >= 3, "the switch to be back")
        tandem.wait(lambda: live(tandem) == {dialog.call_id for dialog in dialogs}, "its calls")
        for dialog in dialogs:
            hang_up(dialog, caller, vendor)
        assert_books_agree(tandem, dialogs)


def test_an_upgrade_stops_all_of_it_and_starts_it_again_under_calls(tandem: Installation, tmp_path: Path) -> None:
    with example_vendor(tandem, tmp_path) as vendor, Peer(("127.0.0.1", 0), tandem.sip) as caller:
        dialogs = [answered_call(caller, vendor, f"1234442071{number:06d}")[0] for number in range(CALLS)]
        began = time.monotonic()
        assert tandem.stop() == 0
        assert time.monotonic() - began < 8.0
        ready = len(tandem.ready_lines())
        tandem.start()
        tandem.wait(lambda: len(tandem.ready_lines()) >= ready + 2, "both planes to be ready")
        tandem.wait(lambda: live(tandem) == {dialog.call_id for dialog in dialogs}, "its calls")
        for dialog in dialogs:
            hang_up(dialog, caller, vendor)
        assert_books_agree(tandem, dialogs)


def test_the_switch_alone_is_replaced_by_ending_it_and_the_api_stays(tandem: Installation, tmp_path: Path) -> None:
    with example_vendor(tandem, tmp_path) as vendor, Peer(("127.0.0.1", 0), tandem.sip) as caller:
        dialogs = [answered_call(caller, vendor, f"1234442071{number:06d}")[0] for number in range(CALLS)]
        control = tandem.child("control")
        os.kill(tandem.child("switch"), signal.SIGTERM)
        tandem.wait(lambda: len(tandem.ready_lines()) >= 3, "the next switch")
        tandem.wait(lambda: live(tandem) == {dialog.call_id for dialog in dialogs}, "its calls")
        dialogs.append(answered_call(caller, vendor, "1234442071999999")[0])
        for dialog in dialogs:
            hang_up(dialog, caller, vendor)
        assert_books_agree(tandem, dialogs)
        assert tandem.child("control") == control
