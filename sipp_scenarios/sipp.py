"""Starts SIPp, waits for it, and reads what it saw from its own trace.

SIPp's exit code says whether its scenario went through; the trace says which messages came and
went, which is what the cases are checked by. Every instance has a loopback address of its own, so
that hundreds may run at once without meeting at a port.
"""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path
from typing import NamedTuple

SCENARIOS = Path(__file__).resolve().parent
TRACE_LINE = "-----------------------------------------------"


class Message(NamedTuple):
    """One SIP message of a trace, seen from the SIPp that wrote it."""

    is_received: bool
    start_line: str
    text: str

    @property
    def method(self) -> str:
        """The request's method, or the one that a response answers."""
        if self.status:
            return self.header("CSeq").rpartition(" ")[2]
        return self.start_line.partition(" ")[0]

    @property
    def status(self) -> int:
        """0 for requests."""
        return int(self.start_line.split(" ")[1]) if self.start_line.startswith("SIP/2.0 ") else 0

    def header(self, name: str) -> str:
        """The first value of that header, or nothing."""
        return next(iter(self.headers(name)), "")

    def headers(self, name: str) -> list[str]:
        start = name.lower() + ":"
        head = self.text.partition("\n\n")[0]
        return [line[len(start) :].strip() for line in head.splitlines() if line.lower().startswith(start)]


class Sipp:
    """One SIPp process with a scenario, a place to stand and an end."""

    def __init__(self, scenario: str, *, at: tuple[str, int], logs: Path, to: tuple[str, int] | None = None) -> None:
        self.scenario = scenario
        self.at = at
        self.to = to
        self.logs = logs
        self.exit_code: int | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(
        self,
        *,
        calls: int = 1,
        pause_ms: int = 0,
        keys: dict[str, str] | None = None,
        transport: str = "udp",
        timeout_s: float = 30.0,
        options: tuple[str, ...] = (),
    ) -> None:
        """Run it; a vendor's side is listening once this returns.

        Args:
            pause_ms: what the scenario's plain `<pause/>` lasts.
            timeout_s: SIPp gives up after this and counts as failed.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        stem = self.logs / f"{self.scenario}@{self.at[0]}:{self.at[1]}"
        self.trace_path = stem.with_name(stem.name + ".messages")
        self.error_path = stem.with_name(stem.name + ".errors")
        address = self.at[0]
        control = "127.0.0.1" if ":" in address else address  # its control socket knows IPv4 alone
        target = [bracketed(*self.to)] if self.to else []
        command = [
            "sipp", *target, "-sf", str(SCENARIOS / f"{self.scenario}.xml"),
            "-i", address, "-p", str(self.at[1]), "-bind_local", "-mi", address,
            "-ci", control, "-cp", str(self.at[1] + 3000),
            "-t", "t1" if transport in ("tcp", "tls") else "u1",
            "-m", str(calls), "-d", str(pause_ms), "-timer_resol", "1", "-nostdin",
            "-timeout", f"{timeout_s:.0f}s", "-timeout_error",
            "-trace_msg", "-message_file", str(self.trace_path), "-trace_err", "-error_file", str(self.error_path),
        ]  # fmt: skip
        for name, value in (keys or {}).items():
            command += ["-key", name, value]
        command += options
        with stem.with_name(stem.name + ".screen").open("wb") as screen:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=screen, stderr=screen, cwd=self.logs
            )
        if self.to is None:
            await self._until_bound("tcp" if transport in ("tcp", "tls") else "udp")

    async def wait(self) -> int:
        """The exit code: 0 when every call went as the scenario says."""
        assert self._process is not None
        self.exit_code = await self._process.wait()
        return self.exit_code

    def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    def errors(self) -> str:
        """What SIPp complained about, shortened to what fits on a screen."""
        return self.error_path.read_text(errors="replace")[-1500:] if self.error_path.exists() else ""

    def trace(self) -> list[Message]:
        """Every message that it sent or received, in order."""
        if not self.trace_path.exists():
            return []
        blocks = self.trace_path.read_text(errors="replace").replace("\r\n", "\n").split(TRACE_LINE)[1:]
        messages = []
        for block in blocks:
            _, _, rest = block.partition("\n")
            title, _, text = rest.partition("\n\n")
            text = text.rstrip("\n")
            if text:
                messages.append(Message("received" in title, text.partition("\n")[0], text + "\n\n"))
        return messages

    async def _until_bound(self, protocol: str) -> None:
        while not is_bound(protocol, *self.at):
            assert self._process is not None
            if self._process.returncode is not None:
                return
            await asyncio.sleep(0.02)


def bracketed(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_bound(protocol: str, address: str, port: int) -> bool:
    """Whether some process listens there, by the kernel's own table."""
    ip = ipaddress.ip_address(address)
    packed = ip.packed
    # The table shows each 32-bit word in the machine's byte order.
    words = [packed[at : at + 4][::-1].hex().upper() for at in range(0, len(packed), 4)]
    table = Path(f"/proc/net/{protocol}{'6' if ip.version == 6 else ''}")
    return f" {''.join(words)}:{port:04X} " in table.read_text()
