"""`tandem drill` as a user runs it: short, with two kills, and its verdict."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from control.drill.journal_trap import JournalTrap
from control.supervisor import child_environment
from switch.segments import segment_path

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-P", "-m", "control.cli", "drill"]

WRITER = """
import os, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(file, b"header")
print("ready", flush=True)
while os.read(0, 1):
    os.write(file, b"x")
    time.sleep(0.01)
"""
"""Writes once for each byte that it is told."""


def drill(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options], env=child_environment(), capture_output=True, text=True, timeout=300, check=False
    )


def test_two_kills_lose_nothing_and_the_report_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    done = drill("--kills", "2", "--calls", "50", "--rate", "10", "--seed", "31", "--json", "--keep", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["holds"]
    assert report["differences"] == []
    assert report["lost"] == 0
    assert len(report["kills"]) == 2
    assert all(kill["recovered_s"] > 0 for kill in report["kills"])
    assert report["calls"]["placed"] >= 50
    assert report["checked"]["talk times"] > 10
    assert report["payments"]["made"] > 4
    assert "Traceback" not in done.stderr
    assert (folder / "witness.json").is_file()
    assert (folder / "data" / "journal").is_dir()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = drill("--keep", str(tmp_path))
    assert done.returncode == 2
    assert "not empty" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize("with_strace", [True, False])
def test_a_process_dies_in_the_write_that_was_named_and_its_parent_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_strace: bool
) -> None:
    if not with_strace:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    segment = segment_path(tmp_path, 1)
    command = [sys.executable, "-c", WRITER, str(segment)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        trap = JournalTrap(writer.pid, tmp_path, 3)
        with ThreadPoolExecutor(1) as pool:
            springing = pool.submit(trap.spring, 10.0)
            assert trap.is_set.wait(10.0)
            with suppress(BrokenPipeError):
                writer.stdin.write(b".....")
            how = springing.result()
        assert writer.wait() == -signal.SIGKILL
    if with_strace and how.startswith("in "):
        assert how == "in journal write 3"
        assert segment.read_bytes() in (b"headerxx", b"headerxxx")
    else:
        assert how.startswith("just after journal write")
        assert segment.read_bytes().startswith(b"headerxxx")


def test_a_process_that_writes_too_little_is_let_go_unharmed(tmp_path: Path) -> None:
    segment = segment_path(tmp_path, 1)
    command = [sys.executable, "-c", WRITER, str(segment)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        assert JournalTrap(writer.pid, tmp_path, 3).spring(0.5) == ""
        writer.stdin.write(b".....")
        writer.stdin.close()
        assert writer.wait() == 0
    assert segment.read_bytes() == b"headerxxxxx"
