"""A few calls of our own beside SIPp's, timed to the microsecond.

SIPp's clock ticks in milliseconds (four at a time on kernels of 250 Hz), which is as much as a
proxy adds. So the set-up delay is that of these: the INVITE's time is taken as it is sent, the
200's is the kernel's stamp on the packet, which no scheduling of ours can move.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time

ADDRESS = "127.0.0.1"
PROBE_PORT = 5071
CALLS_PER_S = 40
ANSWER_S = 4.0
# Linux has one number for the option and the message: include/uapi/asm-generic/socket.h.
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")

BODY = "\r\n".join(
    ("v=0", f"o=probe 1 1 IN IP4 {ADDRESS}", "s=-", f"c=IN IP4 {ADDRESS}", "t=0 0", "m=audio 6000 RTP/AVP 8", "")
)


class Probe:
    """Calls one after another from a thread until `stop`; `delays_ms` has INVITE to 200 of each."""

    def __init__(self, numbers: list[str], target_port: int) -> None:
        self.delays_ms: list[float] = []
        self.answered = 0
        self.failed = 0
        self._numbers = numbers
        self._target = (ADDRESS, target_port)
        self._rng = random.Random()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((ADDRESS, PROBE_PORT))
        self._socket.settimeout(ANSWER_S)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        # Uneven gaps, or the calls would fall into step with SIPp's own timer.
        while not self._is_stopping.wait(self._rng.expovariate(CALLS_PER_S)):
            try:
                self._call()
            except TimeoutError:
                self.failed += 1

    def _request(self, method: str, uri: str, number: int, call: str, to: str, routes: list[str], body: str) -> bytes:
        lines = [f"{method} {uri} SIP/2.0"]
        lines += [f"Via: SIP/2.0/UDP {ADDRESS}:{PROBE_PORT};branch=z9hG4bK{call}{method}"]
        lines += [f"From: <sip:442071000001@{ADDRESS}:{PROBE_PORT}>;tag=p{call}", f"To: {to}"]
        lines += [f"Route: {route}" for route in routes]
        lines += [f"Call-ID: {call}@probe", f"CSeq: {number} {method}", "Max-Forwards: 70"]
        lines += [f"Contact: <sip:442071000001@{ADDRESS}:{PROBE_PORT}>"]
        if body:
            lines.append("Content-Type: application/sdp")
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()

    def _call(self) -> None:
        call = f"{self._rng.getrandbits(64):016x}"
        uri = f"sip:1234{self._rng.choice(self._numbers)}@{ADDRESS}:{self._target[1]}"
        sent_ns = time.time_ns()
        self._socket.sendto(self._request("INVITE", uri, 1, call, f"<{uri}>", [], BODY), self._target)
        lines, arrived_ns = self._answer(call, "INVITE")
        self.delays_ms.append((arrived_ns - sent_ns) / 1e6)
        to = next(line[3:].strip() for line in lines if line.startswith("To:"))
        contact = next(line[8:].strip().strip("<>") for line in lines if line.startswith("Contact:"))
        routes = [line[13:].strip() for line in lines if line.startswith("Record-Route:")][::-1]
        self._socket.sendto(self._request("ACK", contact, 1, call, to, routes, ""), self._target)
        self._socket.sendto(self._request("BYE", contact, 2, call, to, routes, ""), self._target)
        self._answer(call, "BYE")
        self.answered += 1

    def _answer(self, call: str, method: str) -> tuple[list[str], int]:
        """Header lines of the 200 to `method`, and when the kernel had it (ns since the epoch).

        Raises:
            TimeoutError: none came.
        """
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            data, notes, _, _ = self._socket.recvmsg(65_536, 64)
            lines = data.decode().split("\r\n")
            is_ours = any(line.startswith("Call-ID:") and call in line for line in lines)
            of_method = any(line.startswith("CSeq:") and line.endswith(method) for line in lines)
            if is_ours and of_method and lines[0].startswith("SIP/2.0 200"):
                stamp = next((note for level, kind, note in notes if kind == SO_TIMESTAMPNS), b"")
                seconds, nanos = TIMESPEC.unpack(stamp[: TIMESPEC.size])
                return lines, seconds * 1_000_000_000 + nanos
        raise TimeoutError
