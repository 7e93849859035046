"""`python -m switch` as a process: what it prints, and what survives it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from switch.configuration import write_snapshot
from switch.frames import PutSnapshot
from switch.journal_read import JournalReader
from switch.records import DeltaApplied
from switch.snapshot import Customer, Snapshot
from tests.fakes.control_client import ControlClient

pytestmark = pytest.mark.slow

SETTINGS = """drain_s = 1.0
[sip]
allow_loopback = true
listeners = [{transport = "udp", host = "127.0.0.1", port = 0}, {transport = "tcp", host = "127.0.0.1", port = 0}]
[journal]
sync = "group"
[trace]
ring_bytes = 4194304
"""
# The installed package, compiled or not, where that is what is tested; else the sources beside us.
PYTHON = [sys.executable, "-P"] if os.environ.get("TANDEM_TEST_COMPILED") == "1" else [sys.executable]
OPTIONS = (
    b"OPTIONS sip:127.0.0.1:%d SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;rport;branch=z9hG4bK7\r\nMax-Forwards: 70\r\n"
    b"From: <sip:probe@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: 1@probe\r\nCSeq: 1 OPTIONS\r\n"
    b"User-Agent: a name that is long enough for an answer that may not be longer than what was asked for\r\n"
    b"Subject: probing the switch from outside, as a monitor does it every few seconds of every day\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Process:
    def __init__(self, folder: Path, *options: str) -> None:
        settings = folder / "tandem.toml"
        settings.write_text(SETTINGS)
        self.data = folder / "data"
        command = [*PYTHON, "-m", "switch", "--settings", str(settings), "--data", str(self.data), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline().split()

    @property
    def udp_port(self) -> int:
        return int(self.ready[1].rpartition(":")[2])

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=20)
        return self.process.returncode

    def is_alive(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(5.0)
            probe.sendto(OPTIONS % self.udp_port, ("127.0.0.1", self.udp_port))
            return probe.recv(2_000).startswith(b"SIP/2.0 200")


def test_it_says_ready_with_real_ports_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    file = tmp_path / "snapshot.json"
    file.write_bytes(msgspec.json.encode(Snapshot(version=1, records=(Customer(id=1, name="A", status="active"),))))
    process = Process(tmp_path, "--snapshot", str(file))
    assert process.ready[0] == "ready"
    assert [word.rpartition(":")[0] for word in process.ready[1:]] == ["udp:127.0.0.1", "tcp:127.0.0.1"]
    assert process.is_alive()
    assert process.end() == 0


def test_what_was_journalled_and_saved_survives_kill_9(tmp_path: Path) -> None:
    process = Process(tmp_path)

    async def send() -> None:
        control = await ControlClient.connect(process.data / "switch.sock")
        snapshot = Snapshot(version=6, records=(Customer(id=1, name="A", status="active"),))
        assert (await control.ask(PutSnapshot(id=1, snapshot=snapshot))).error == ""

    asyncio.run(send())
    assert process.end(signal.SIGKILL) == -9
    records = [record for _, record in JournalReader(process.data / "journal").read()]
    assert [record.version for record in records if isinstance(record, DeltaApplied)] == [6]
    again = Process(tmp_path)  # the stale socket and lock hold nobody up
    assert again.is_alive()
    assert again.end() == 0


def test_a_mistake_is_one_line_and_status_2(tmp_path: Path) -> None:
    broken = tmp_path / "snapshot.msgpack"
    broken.write_bytes(b"rubbish")
    done = subprocess.run(
        [*PYTHON, "-m", "switch", "--data", str(tmp_path / "data"), "--snapshot", str(broken)],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"switch: {broken}: ")


def test_the_version_names_the_build() -> None:
    done = subprocess.run([*PYTHON, "-m", "switch", "--version"], capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("tandem ")
    assert done.stdout.rstrip().endswith(("(compiled)", "(interpreted)"))


def test_a_saved_snapshot_is_used_without_the_control_plane(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_snapshot(tmp_path / "data" / "snapshot.msgpack", 3, [Customer(id=1, name="A", status="active")])
    process = Process(tmp_path)

    async def version() -> int:
        return (await ControlClient.connect(process.data / "switch.sock")).hello.snapshot_version

    assert asyncio.run(version()) == 3
    assert process.end() == 0
