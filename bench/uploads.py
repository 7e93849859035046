"""What large uploads do to the set-up of calls: price lists of 100,000 rows, a gigabyte, JSON ten thousand deep."""

from __future__ import annotations

import http.client
import itertools
import random
import statistics
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from deck import write_deck
from load import Outcome, Sipp
from tandem import API_PORT, Tandem

RATE, SECONDS, ROUNDS = 100, 8.0, 2
ROWS = 100_000
GIGABYTE = 1_000_000_000
DEEP = b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
PIECE = b"x" * 65_536


def write_lists(folder: Path, kept: list[tuple[str, str]]) -> list[Path]:
    """Two lists that differ in every price, so that each import has all of its rows to write."""
    rng = random.Random(11)
    prefixes = {prefix for prefix, _ in kept}
    while len(prefixes) < ROWS:
        prefixes.add(str(rng.randint(10**8, 10**11 - 1)))
    paths = [folder / "list_a.csv", folder / "list_b.csv"]
    for path, rate in zip(paths, ("1.5000", "1.6000"), strict=True):
        write_deck(path, [(prefix, rate) for prefix in sorted(prefixes)])
    return paths


class Disturber(threading.Thread):
    """Does one thing after another until it is stopped; what goes wrong is in `faults`."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._is_stopping = threading.Event()
        self.count = 0
        self.faults: list[str] = []

    def run(self) -> None:
        while not self._is_stopping.is_set():
            try:
                self._act()
                self.count += 1
            except (RuntimeError, OSError) as fault:
                self.faults.append(str(fault))
                return

    def stop(self) -> None:
        self._is_stopping.set()
        self.join()


def send_junk(key: str) -> None:
    """A gigabyte that is announced, one that is not, and deep JSON; each has to be refused."""
    for body, headers in (
        (itertools.repeat(PIECE, GIGABYTE // len(PIECE)), {"Content-Length": str(GIGABYTE)}),
        (itertools.repeat(PIECE, GIGABYTE // len(PIECE)), {"Transfer-Encoding": "chunked"}),
        (DEEP, {}),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", API_PORT, timeout=10)
        try:
            with suppress(ConnectionError):  # it is answered and closed before all is sent
                chunked = "Transfer-Encoding" in headers
                connection.request(
                    "POST",
                    "/api/v1/customers",
                    body,
                    {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers},
                    encode_chunked=chunked,
                )
                status = connection.getresponse().status
                if status not in (400, 413):
                    raise RuntimeError(f"a body that nobody wants was answered {status}")
        finally:
            connection.close()


def uploads(proxy: Tandem, sipp: Sipp, folder: Path, kept: list[tuple[str, str]]) -> bool:
    """Calls alone, beside price lists, beside junk, in turn; the set-up delay of each."""
    lists = itertools.cycle(write_lists(folder, kept))
    proxy.start()
    try:
        key = proxy.key_file.read_text().strip()
        acts: dict[str, Callable[[], None] | None] = {
            "alone": None,
            "lists": lambda: proxy.command("deck", "import", "Sell", str(next(lists)), "--activate"),
            "junk": lambda: send_junk(key),
        }
        found: dict[str, list[Outcome]] = {name: [] for name in acts}
        faults: list[str] = []
        done = dict.fromkeys(acts, 0)
        for _ in range(ROUNDS):
            for name, act in acts.items():
                disturber = None if act is None else Disturber(act)
                if disturber is not None:
                    disturber.start()
                found[name].append(sipp.play(RATE, SECONDS))
                if disturber is not None:
                    disturber.stop()
                    done[name] += disturber.count
                    faults += disturber.faults
        p95 = {name: statistics.median([each.delay_p95_ms for each in outcomes]) for name, outcomes in found.items()}
        failed = sum(each.failed for outcomes in found.values() for each in outcomes)
        for name, outcomes in found.items():
            print(
                f"{name}: p50_ms={statistics.median([each.delay_p50_ms for each in outcomes]):.2f} "
                f"p95_ms={p95[name]:.2f} p99_ms={statistics.median([each.delay_p99_ms for each in outcomes]):.2f} "
                f"({' '.join(f'{each.delay_p95_ms:.2f}' for each in outcomes)}) uploads={done[name]}"
            )
        more = {name: round((p95[name] / p95["alone"] - 1) * 100) for name in ("lists", "junk")}
        print(
            f"uploads: lists_percent={more['lists']} junk_percent={more['junk']} failed={failed} faults={len(faults)}"
        )
        for fault in faults:
            print(fault)
        return not faults and failed == 0
    finally:
        proxy.stop()
