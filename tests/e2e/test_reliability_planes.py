"""Both planes as `tandem run` starts them: what outlives the death of either, or of their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from control.supervisor import child_environment
from sipp_scenarios.traps import free_ports
from tests.e2e.peer import Peer, answered_call
from tests.fakes.example_calls import EXAMPLE, cdrs_by_call_id, example_vendor, whole_call
from tests.fakes.installation import COMMAND, Installation

pytestmark = pytest.mark.slow

CALLS = 200


@pytest.fixture
def tandem(installation: Installation) -> Installation:
    """On ports that stay the same from start to start."""
    api, sip = free_ports(2)
    text = installation.config.read_text().replace("port = 0", f"port = {api}", 1).replace("port = 0", f"port = {sip}")
    installation.config.write_text(text)
    return installation


def test_two_hundred_calls_without_a_control_process_have_cdrs_once_it_is_back(
    tandem: Installation, tmp_path: Path
) -> None:
    tandem.start()
    with example_vendor(tandem, tmp_path) as vendor:
        control = tandem.child("control")
        os.kill(control, signal.SIGSTOP)
        calls = {whole_call(tandem, vendor, number) for number in range(CALLS)}
        os.kill(control, signal.SIGKILL)
        tandem.wait(lambda: len(tandem.ready_lines()) >= 3, "the control process")
        tandem.wait(lambda: len(cdrs_by_call_id(tandem)) >= CALLS, "the CDRs")
        # It is killed once more in the midst of reading: nothing comes twice.
        calls |= {whole_call(tandem, vendor, number) for number in range(CALLS, CALLS + 20)}
        os.kill(tandem.child("control"), signal.SIGKILL)
        tandem.wait(lambda: len(tandem.ready_lines()) >= 4, "the control process again")
        tandem.wait(lambda: len(cdrs_by_call_id(tandem)) >= CALLS + 20, "all CDRs")
        found = cdrs_by_call_id(tandem)
        assert set(found) == calls
        assert {(row["cause"], row["billed_s"], row["gross"]) for row in found.values()} == {("normal", 30, "0.0049")}
        assert tandem.stop() == 0


def test_the_death_of_the_switch_costs_no_cdr_of_a_call_that_ended(tandem: Installation, tmp_path: Path) -> None:
    tandem.start()
    calls: set[str] = set()
    with example_vendor(tandem, tmp_path) as vendor:
        for turn in range(3):
            calls |= {whole_call(tandem, vendor, 10 * turn + number) for number in range(10)}
            greeted = tandem.log.read_text().count("switch connected")
            with Peer(("127.0.0.1", 0), tandem.sip) as caller:
                answered_call(caller, vendor, "1234442071999999")
                os.kill(tandem.child("switch"), signal.SIGKILL)
            # What was configured in the last second before may come from the control process alone.
            wait_for_greeting(tandem, greeted + 1)
        calls.add(whole_call(tandem, vendor, 99))
        tandem.wait(lambda: calls <= cdrs_by_call_id(tandem).keys(), "the CDRs")
        tandem.wait(lambda: tandem.health()["status"] == "ok", "health")
        assert tandem.stop() == 0


def wait_for_greeting(tandem: Installation, count: int) -> None:
    tandem.wait(lambda: tandem.log.read_text().count("switch connected") >= count, "the switch again")


def test_a_killed_parent_leaves_no_orphan_and_its_ports_are_free_at_once(tandem: Installation, tmp_path: Path) -> None:
    tandem.start()
    with example_vendor(tandem, tmp_path) as vendor:
        calls = {whole_call(tandem, vendor, 1)}
        for turn in range(2, 5):
            children = [tandem.child("switch"), tandem.child("control")]
            assert tandem.process is not None
            tandem.process.kill()
            tandem.process.wait()
            before = len(tandem.ready_lines())
            tandem.start()
            tandem.wait(lambda before=before: len(tandem.ready_lines()) >= before + 2, "both planes")  # type: ignore[misc]
            assert not [pid for pid in children if is_running(pid, tandem.folder)]
            calls.add(whole_call(tandem, vendor, turn))
        tandem.wait(lambda: calls <= cdrs_by_call_id(tandem).keys(), "the CDRs")
    assert "Address already in use" not in tandem.log.read_text()
    assert tandem.stop() == 0


@pytest.mark.parametrize("victim", ["parent", "control"])
def test_a_price_list_under_way_leaves_no_process_behind(tandem: Installation, tmp_path: Path, victim: str) -> None:
    """Large ones are read in a process of their own, which must not outlive the one that asked."""
    tandem.start()
    tandem.tandem("apply", str(EXAMPLE))
    deck = tmp_path / "large.csv"
    rows = (f"{number},Somewhere,0.0{number % 89 + 10}" for number in range(1_000_000, 1_400_000))
    deck.write_text("\n".join(["prefix,name,rate", *rows]) + "\n")
    control = tandem.child("control")
    with (tmp_path / "import.txt").open("wb") as output:
        importing = subprocess.Popen(
            [*COMMAND, "deck", "import", "Wholesale sell", str(deck)],
            env={**child_environment(), "TANDEM_CONFIG": str(tandem.config)},
            stdout=output,
            stderr=output,
        )
    try:
        tandem.wait(lambda: bool(descendants(control)), "the process that reads the price list")
        assert tandem.process is not None
        workers = descendants(control)
        os.kill(tandem.process.pid if victim == "parent" else control, signal.SIGKILL)
        last = time.monotonic() + 10.0
        while any(tandem.is_alive(pid) for pid in workers) and time.monotonic() < last:
            time.sleep(0.05)
        assert not [pid for pid in workers if tandem.is_alive(pid)]
    finally:
        importing.kill()
        importing.wait()


def descendants(pid: int) -> list[int]:
    """Its children, and theirs."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def is_running(pid: int, folder: Path) -> bool:
    """Whether that process still is one of this installation's planes."""
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_second_tandem_on_the_same_data_refuses_in_one_line_and_harms_nothing(
    tandem: Installation, tmp_path: Path
) -> None:
    tandem.start()
    with example_vendor(tandem, tmp_path) as vendor:
        second = tmp_path / "second.toml"
        api, sip = free_ports(2)
        lines = tandem.config.read_text().splitlines()
        ports = iter((api, sip))
        second.write_text("\n".join(f"port = {next(ports)}" if line.startswith("port") else line for line in lines))
        complaint = tandem.tandem("run", "--config", str(second), "--data", str(tandem.data), status=1)
        assert "another" in complaint
        assert "runs on this data folder" in complaint
        assert str(tandem.data) in complaint
        # The first one has lost neither its socket nor its address nor its way to the switch.
        assert tandem.health()["status"] == "ok"
        call = whole_call(tandem, vendor, 1)
        tandem.wait(lambda: call in cdrs_by_call_id(tandem), "the CDR")
    assert tandem.stop() == 0


def test_a_second_control_process_alone_refuses_too(tandem: Installation, tmp_path: Path) -> None:
    tandem.start()
    second = tmp_path / "second.toml"
    second.write_text(tandem.config.read_text().replace("[api]\nport = ", "[api]\nport = 0 # "))
    url = tandem.url
    command = [sys.executable, "-P", "-m", "control", "--settings", str(second), "--data", str(tandem.data)]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr == f"tandem: {tandem.data}: another control process runs on this data folder\n"
    assert tandem.url == url
    os.kill(tandem.child("control"), signal.SIGKILL)  # the lock goes with the process that had it
    tandem.wait(lambda: len(tandem.ready_lines()) >= 3, "the control process")
    assert tandem.stop() == 0
