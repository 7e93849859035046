"""Longer runs that must not lose anything: a minute at full rate, and a deck swapped under load."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from deck import write_deck
from load import Sipp
from processes import memory_mb, processor_time_us
from tandem import Tandem

SOAK_RATE, SOAK_S = 1_000, 60.0
SWAP_RATE, SWAP_S = 500, 60.0
SWAP_ROWS = 1_000_000
CDRS_WAIT_S = 60.0


def wait_for_cdrs(proxy: Tandem, count: int) -> int:
    deadline = time.monotonic() + CDRS_WAIT_S
    while (stored := proxy.cdrs()) < count and time.monotonic() < deadline:
        time.sleep(0.25)
    return stored


def soak(proxy: Tandem, sipp: Sipp) -> bool:
    """A thousand calls a second for a minute: each one answered, each with its CDR."""
    proxy.start()
    try:
        before = sum(processor_time_us(proxy.root))
        outcome = sipp.play(SOAK_RATE, SOAK_S)
        stored = wait_for_cdrs(proxy, outcome.answered)
        spent = sum(processor_time_us(proxy.root)) - before
        print(
            f"soak: {SOAK_RATE}/s for {SOAK_S:.0f} s: answered={outcome.answered} failed={outcome.failed} "
            f"retransmissions={outcome.retransmissions} cdrs={stored} "
            f"us_per_call={spent / max(outcome.answered, 1):.0f} memory_mb={memory_mb(proxy.root):.0f}"
        )
        return outcome.failed == 0 and stored == outcome.answered
    finally:
        proxy.stop()


def write_large_deck(path: Path, kept: list[tuple[str, str]]) -> None:
    """A million rows: those that the calls are priced by, at a new price, and others beside them."""
    rng = random.Random(10)
    rows = {prefix: f"{float(rate) + 1:.4f}" for prefix, rate in kept}
    while len(rows) < SWAP_ROWS:
        rows.setdefault(str(rng.randint(10**8, 10**11 - 1)), "1.5000")
    write_deck(path, sorted(rows.items()))


def swap(proxy: Tandem, sipp: Sipp, folder: Path, kept: list[tuple[str, str]]) -> bool:
    """Import and activate a million-row deck under calls: none of them fails."""
    large = folder / "large.csv"
    write_large_deck(large, kept)
    proxy.start()
    took_s: list[float] = []
    faults: list[str] = []

    def change_deck() -> None:
        began = time.monotonic()
        try:
            proxy.command("deck", "import", "Sell", str(large), "--activate")
        except RuntimeError as fault:
            faults.append(str(fault))
        took_s.append(time.monotonic() - began)

    try:
        changer = threading.Timer(3.0, change_deck)
        changer.start()
        outcome = sipp.play(SWAP_RATE, SWAP_S)
        changer.join()
        stored = wait_for_cdrs(proxy, outcome.answered)
        print(
            f"deck swap: {SWAP_ROWS} rows under {SWAP_RATE}/s: import_and_activate_s={took_s[0]:.1f} "
            f"answered={outcome.answered} failed={outcome.failed} cdrs={stored} "
            f"retransmissions={outcome.retransmissions} "
            f"delay_p50_ms={outcome.delay_p50_ms:.2f} delay_p99_ms={outcome.delay_p99_ms:.2f}"
        )
        for fault in faults:
            print(fault)
        return not faults and took_s[0] < SWAP_S and outcome.failed == 0 and stored == outcome.answered
    finally:
        proxy.stop()
