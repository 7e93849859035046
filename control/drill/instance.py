"""The Tandem that is drilled: both planes in a folder of their own, on free loopback ports."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from config.settings import Api, Hold, Journal, Listener, Liveness, Log, Settings, Sip, Timers, Trace
from config.writing import as_toml
from control.apply import Plan
from control.apply_file import read_file
from control.client import ApiClient, ApiError
from control.drill.carrier import HOST, write_carrier
from control.drill.endpoint import Address
from control.places import KEY_FILE
from control.supervisor import child_environment
from control.with_parent import tied_to_us

START_S: Final = 60.0
STOP_S: Final = 45.0
LOOK_S: Final = 0.02
DRAIN_S: Final = 3.0


class DrillFailed(Exception):
    """The drill could not be held: it did not start, answer or come back."""


class Instance:
    """Started with `start`, killed and started again at will, ended with `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        sip, api, *vendors = free_ports(4)
        self.sip: Address = (HOST, sip)
        self.vendors: list[Address] = [(HOST, port) for port in vendors]
        self.url = f"http://{HOST}:{api}"
        self.starts = 0
        self._log = folder / "tandem.log"
        self._config = folder / "tandem.toml"
        self._config.write_text(as_toml(_settings(sip, api)))
        self._carrier = write_carrier(folder, tuple(vendors))
        self._parent: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """`tandem run`, as a child that does not outlive us."""
        command = [sys.executable, "-P", "-m", "control.supervisor", "--config", str(self._config)]
        with self._log.open("ab") as log:
            self._parent = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=child_environment(),
                start_new_session=True,
                preexec_fn=tied_to_us(),
            )
        self.starts += 1

    def load_carrier(self) -> None:
        """Customers, vendors and prices, through the API."""
        client = self.api()
        try:
            plan = Plan(client, read_file(self._carrier))
            for step in plan.steps():
                plan.run(step)
        finally:
            client.close()

    def api(self) -> ApiClient:
        """A new connection; `ApiClient` is for one thread.

        Raises:
            ApiError: there is no key yet.
        """
        try:
            return ApiClient(self.url, (self.data / KEY_FILE).read_text().strip())
        except OSError as error:
            raise ApiError(f"{error.filename}: {error.strerror}") from error

    def health(self) -> dict[str, Any] | None:
        """What /health says; None where nothing answers."""
        try:
            client = self.api()
        except ApiError:
            return None
        try:
            answer = client.get("/health")
        except ApiError:
            return None
        finally:
            client.close()
        return answer if isinstance(answer, dict) else None

    def is_healthy(self) -> bool:
        found = self.health()
        return found is not None and found.get("switch") == "connected"

    def pid_of(self, module: str) -> int | None:
        """Process of the plane that runs `module`, `switch` or `control`; None while there is none."""
        if self._parent is None:
            return None
        for pid in _children_of(self._parent.pid):
            try:
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    return pid
            except OSError:
                continue
        return None

    def kill_all(self) -> None:
        """SIGKILL to the parent: the kernel ends both planes with it."""
        assert self._parent is not None
        pids = [pid for pid in (self.pid_of("switch"), self.pid_of("control")) if pid is not None]
        self._parent.kill()
        self._parent.wait()
        last = time.monotonic() + START_S
        while any(is_alive(pid) for pid in pids):
            if time.monotonic() > last:
                raise DrillFailed("a plane outlived its killed parent")
            time.sleep(LOOK_S / 4)

    def check_parent(self) -> None:
        """
        Raises:
            DrillFailed: the parent of both planes has ended by itself.
        """
        assert self._parent is not None
        if self._parent.poll() is not None:
            raise DrillFailed(f"tandem run ended with {self._parent.returncode}:\n{self.log()[-3_000:]}")

    async def wait(self, claim: Callable[[], bool], what: str, within_s: float = START_S) -> None:
        """Ask again and again, off the loop, until it holds.

        Raises:
            DrillFailed: not in time, or the parent has ended.
        """
        last = time.monotonic() + within_s
        while not await asyncio.to_thread(claim):
            self.check_parent()
            if time.monotonic() > last:
                raise DrillFailed(f"waited {within_s:g} s for {what}; the log ends:\n{self.log()[-3_000:]}")
            await asyncio.sleep(LOOK_S)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL where that does not help; the exit status."""
        if self._parent is None:
            return 0
        if self._parent.poll() is None:
            self._parent.send_signal(signal.SIGTERM)
            try:
                self._parent.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._parent.kill()
        return self._parent.wait()

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def _settings(sip: int, api: int) -> Settings:
    """An installation like any other, with times so short that a drill meets them."""
    return Settings(
        data="data",
        drain_s=DRAIN_S,
        sip=Sip(listeners=(Listener(transport="udp", host=HOST, port=sip),), allow_loopback=True),
        timers=Timers(first_reply_ms=1_000, pdd_ms=6_000, ring_ms=30_000, max_duration_s=600),
        journal=Journal(segment_bytes=1_048_576),
        hold=Hold(initial_s=5, max_s=8),
        # A call that came through a restart must show life before its short hold runs out; the BYE of
        # one that was hung up meanwhile has time to be repeated before.
        liveness=Liveness(keepalive_s=10, keepalive_failures=2, keepalive_of=3, recovery_probe_s=1.5),
        trace=Trace(ring_bytes=4_194_304),
        api=Api(host=HOST, port=api),
        log=Log(format="json"),
    )


def free_ports(count: int) -> list[int]:
    """Ports that are free on UDP and TCP now; taken together, so that all differ."""
    ports: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(ports) < count:
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(tcp)
            tcp.bind((HOST, 0))
            port = int(tcp.getsockname()[1])
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held.append(udp)
            try:
                udp.bind((HOST, port))
            except OSError:
                continue
            ports.append(port)
    finally:
        for each in held:
            each.close()
    return ports


def _children_of(parent: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        pass  # ended meanwhile, or a kernel without that file: look at them all
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return False
