"""Real softphones: a digest call through the switch with media from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sipp_scenarios.changes import PASSWORD, user_name, with_sip_user
from sipp_scenarios.places import Place
from sipp_scenarios.prices import SELL, TAX, charge, find, nanos
from tests.e2e.bench import Bench

pytest.importorskip("pjsua2")
pytestmark = pytest.mark.slow

PHONE = Path(__file__).with_name("softphone.py")
TALK_S = 2
PACKETS_PER_S = 50
LIMIT_S = 40


class Softphone:
    """`softphone.py` in a process of its own: PJSIP's threads stay out of pytest."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PHONE), *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        while (line := self._process.stdout.readline()) and line.strip() != "ready":
            pass  # PJSIP's first words, before its log has a file to go to

    def result(self) -> dict[str, Any]:
        """What the call was like, once it is over."""
        out, _ = self._process.communicate(timeout=LIMIT_S)
        result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return result

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def bench_with_user(folder: Path) -> Bench:
    """The customer has a SIP user and no address."""

    def only_digest(place: Place) -> list[Any]:
        return with_sip_user(place, place.records())

    return Bench(folder, records=only_digest)


def call(bench: Bench, folder: Path, password: str) -> tuple[dict[str, Any], Softphone]:
    callee = Softphone(folder, "answer", bench.vendor[0], str(bench.vendor[1]))
    caller = Softphone(
        folder,
        "call",
        bench.stranger[0],
        str(bench.stranger[1]),
        user_name(bench.place),
        password,
        f"sip:442071000001@{bench.switch[0]}:{bench.switch[1]}",
        str(TALK_S),
    )
    try:
        return caller.result(), callee
    finally:
        caller.stop()


def test_a_softphone_calls_by_digest_with_media_end_to_end(tmp_path: Path) -> None:
    bench = bench_with_user(tmp_path)
    try:
        caller, callee = call(bench, tmp_path, PASSWORD)
        try:
            called = callee.result()
        finally:
            callee.stop()
        assert "CONFIRMED" in caller["states"], caller
        assert "CONFIRMED" in called["states"], called
        for side in (caller, called):
            for way in ("RX", "TX"):
                assert side["packets"][way] >= TALK_S * PACKETS_PER_S * 0.8, (caller, called)
        cdrs = bench.cdrs(1)
        assert len(cdrs) == 1
        cdr = cdrs[0]
        assert (cdr.cause, cdr.release, cdr.sip_user_id) == ("normal", "caller", bench.place.base)
        assert TALK_S * 1000 - 100 <= cdr.duration_ms <= TALK_S * 1000 + 900
        price = charge(find(SELL, "442071000001"), cdr.duration_ms, TAX)
        assert cdr.net_nanos == nanos(price.net)
        assert "PJSUA" in cdr.user_agent or cdr.user_agent == ""
        bench.assert_alive()
    finally:
        bench.close()


def test_a_softphone_with_a_wrong_password_reaches_nobody(tmp_path: Path) -> None:
    bench = bench_with_user(tmp_path)
    try:
        caller, callee = call(bench, tmp_path, "wrong")
        callee.stop()
        assert caller["status"] == 407, caller
        assert "CONFIRMED" not in caller["states"]
        bench.assert_clean()
    finally:
        bench.close()
