"""One PJSIP softphone as a process of its own, with a null sound device: calls, or answers.

    softphone.py answer ADDRESS PORT
    softphone.py call ADDRESS PORT USER PASSWORD URI TALK_S [UPDATE_AFTER_S]
    softphone.py register ADDRESS PORT USER PASSWORD REGISTRAR TRANSPORT

With the last argument it refreshes the session by UPDATE in the middle of the call.
The third is a user's phone: it registers at `REGISTRAR` (host:port) and answers what rings.
It prints `ready` when it can be called, and at its end one line of JSON: the states of its call and
the RTP packets that PJSIP counted in each direction.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import pjsua2 as pj

LIMIT_S = 20.0
CONFIRMED = pj.InvState.CONFIRMED
DISCONNECTED = pj.InvState.DISCONNECTED


class PhoneCall(pj.Call):
    """A call that connects the null device to its media, both ways."""

    def __init__(self, account: Any, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self.states: list[str] = []
        self.is_over = False
        self.is_up = False
        self.last_status = 0

    def onCallState(self, prm: Any) -> None:  # noqa: N802
        info = self.info
        self.states.append(info.stateText)
        self.last_status = int(info.lastStatusCode)
        self.is_up = info.state == CONFIRMED
        self.is_over = info.state == DISCONNECTED

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        devices = pj.Endpoint.instance().audDevManager
        media = self.getAudioMedia(-1)
        devices.captureDevMedia.startTransmit(media)
        media.startTransmit(devices.playbackDevMedia)


class Phone(pj.Account):
    """Answers whatever comes."""

    def __init__(self) -> None:
        super().__init__()
        self.call: PhoneCall | None = None
        self.is_registered = False

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        self.is_registered = self.info.regIsActive

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        self.call = PhoneCall(self, prm.callId)
        answer = pj.CallOpParam()
        answer.statusCode = pj.StatusCode.OK
        self.call.answer(answer)


def endpoint(log: str, address: str, port: int, kind: str = "udp") -> Any:
    made = pj.Endpoint()
    made.libCreate()
    settings = pj.EpConfig()
    settings.uaConfig.threadCnt = 1
    settings.logConfig.level = 4
    settings.logConfig.consoleLevel = 0
    settings.logConfig.filename = log
    settings.logConfig.msgLogging = 1
    settings.medConfig.noVad = True  # silence is sent too, so that there are packets to count
    made.libInit(settings)
    transport = pj.TransportConfig()
    transport.port = port
    transport.boundAddress = address
    transport.publicAddress = address
    made.transportCreate(pj.TransportType.TCP if kind == "tcp" else pj.TransportType.UDP, transport)
    made.libStart()
    made.audDevManager.setNullDev()
    return made


def account(address: str, port: int, user: str, password: str) -> Phone:
    settings = pj.AccountConfig()
    settings.idUri = f"sip:{user}@{address}:{port}"
    # PJSIP would name the machine's own idea of its address, which is another loopback one.
    settings.sipConfig.contactForced = f"<sip:{user}@{address}:{port}>"
    if password:
        settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
    phone = Phone()
    phone.create(settings)
    return phone


def registered(address: str, port: int, user: str, password: str, registrar: str, transport: str) -> Phone:
    settings = pj.AccountConfig()
    host = registrar.partition(":")[0]
    suffix = ";transport=tcp" if transport == "tcp" else ""
    settings.idUri = f"sip:{user}@{host}"
    settings.regConfig.registrarUri = f"sip:{registrar}{suffix}"
    settings.regConfig.timeoutSec = 300
    # As behind a NAT: PJSIP sees from `received` that it is reached elsewhere, and registers again with that.
    settings.sipConfig.contactForced = f"<sip:{user}@10.1.2.3:{port}{suffix}>"
    settings.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", user, 0, password))
    phone = Phone()
    phone.create(settings)
    wait(lambda: phone.is_registered)
    return phone


def packets(log: str) -> dict[str, int]:
    """RTP packets received and sent: PJSIP says so in its log when a call's media ends, and nowhere else here."""
    text = Path(log).read_text(errors="replace")
    counted = {}
    for way in ("RX", "TX"):
        found = re.findall(rf"{way} pt=\d+.*?total (\d+)pkt", text, re.DOTALL)
        counted[way] = int(found[-1]) if found else 0
    return counted


def wait(until: Any, limit_s: float = LIMIT_S) -> None:
    ends = time.monotonic() + limit_s
    while not until() and time.monotonic() < ends:
        time.sleep(0.02)


def main() -> None:
    role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    log = f"{address}.log"
    phone_system = endpoint(log, address, port, sys.argv[7] if role == "register" else "udp")
    if role == "register":
        phone = registered(address, port, *sys.argv[4:8])
        print("ready" if phone.is_registered else "not registered", flush=True)
        wait(lambda: phone.call is not None and phone.call.is_over)
        call = phone.call
    elif role == "answer":
        phone = account(address, port, "vendor", "")
        print("ready", flush=True)
        wait(lambda: phone.call is not None and phone.call.is_over)
        call = phone.call
    else:
        user, password, uri, talk_s = sys.argv[4:8]
        phone = account(address, port, user, password)
        print("ready", flush=True)
        call = PhoneCall(phone)
        call.makeCall(uri, pj.CallOpParam(True))
        wait(lambda: call.is_up or call.is_over)
        if call.is_up:
            update_s = float(sys.argv[8]) if len(sys.argv) > 8 else 0.0
            if update_s:
                time.sleep(update_s)
                call.update(pj.CallOpParam(True))
            time.sleep(float(talk_s) - update_s)
            call.hangup(pj.CallOpParam())
        wait(lambda: call.is_over)
    time.sleep(0.3)
    phone_system.hangupAllCalls()
    phone_system.libDestroy()  # the log is whole only now
    states = call.states if call else []
    status = call.last_status if call else 0
    result = {"states": states, "status": status, "packets": packets(log)}
    print(json.dumps(result), flush=True)
    # The binding's own order of destruction crashes now and then, and there is nothing left to lose.
    os._exit(0)


if __name__ == "__main__":
    main()
