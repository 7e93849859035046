"""Tandem and Kamailio in turn on the same calls: processor time per answered call of both.

Prints a table and, as its last line, `ratio_500=… ratio_1000=… ratio_2000=… failed=…`: medians,
Tandem ÷ Kamailio, with every process of both and the CDRs' way into SQLite counted; `failed` is
Tandem's calls that failed or have no CDR. The same goes to bench/results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Protocol

import store
from deck import NUMBERS, PREFIXES, make_prefixes, write_numbers
from kamailio import Kamailio
from load import VENDOR_PORT, Outcome, Sipp
from namespace import enter_own_network
from processes import memory_mb, parts_us, processor_time_us
from soak import soak, swap
from tandem import SwitchAlone, Tandem
from uploads import uploads

HERE = Path(__file__).resolve().parent
WARM_UP_RATE, WARM_UP_S = 500, 1.0
CDRS_WAIT_S = 15.0


class Proxy(Protocol):
    name: str

    @property
    def root(self) -> int: ...
    def start(self) -> None: ...
    def cdrs(self) -> int: ...
    def stop(self) -> None: ...


def wait_for_cdrs(proxy: Proxy, count: int) -> int:
    """How many there are once `count` of them are stored, or the time for it is over."""
    deadline = time.monotonic() + CDRS_WAIT_S
    while (stored := proxy.cdrs()) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    return stored


def measure(proxy: Proxy, sipp: Sipp, rate: int, args: argparse.Namespace) -> dict[str, Any]:
    """One rate through a running proxy; its time counts until the last CDR is in the database."""
    stored_before = proxy.cdrs()
    user_before, system_before = processor_time_us(proxy.root)
    parts_before = parts_us(proxy.root)
    outcome = sipp.play(rate, args.seconds, args.hold_ms)
    stored = wait_for_cdrs(proxy, stored_before + outcome.answered) - stored_before
    user, system = processor_time_us(proxy.root)
    calls = max(outcome.answered, 1)
    parts = {name: (us - parts_before.get(name, 0.0)) / calls for name, us in parts_us(proxy.root).items()}
    return {
        "proxy": proxy.name,
        **outcome._asdict(),
        "cdrs_missing": max(0, outcome.answered - stored),
        "us_per_call": (user - user_before + system - system_before) / calls,
        "user_us": (user - user_before) / calls,
        "system_us": (system - system_before) / calls,
        "parts_us": parts,
        "memory_mb": memory_mb(proxy.root),
    }


def run_proxy(proxy: Proxy, sipp: Sipp, direct: dict[int, Outcome], args: argparse.Namespace) -> list[dict[str, Any]]:
    proxy.start()
    try:
        warm = sipp.play(WARM_UP_RATE, WARM_UP_S)
        wait_for_cdrs(proxy, warm.answered)
        rows = []
        for rate in args.rates:
            row = measure(proxy, sipp, rate, args)
            row["added_p50_ms"] = row["delay_p50_ms"] - direct[rate].delay_p50_ms
            row["added_p99_ms"] = row["delay_p99_ms"] - direct[rate].delay_p99_ms
            rows.append(row)
            print_row(row)
            if args.parts:
                print(" " * 10 + ", ".join([f"{name} {us:.0f} µs" for name, us in row["parts_us"].items()]), flush=True)
        return rows
    finally:
        proxy.stop()


HEADINGS = (
    "proxy",
    "rate",
    "answered",
    "failed",
    "no CDR",
    "resent",
    "µs/call",
    "user",
    "system",
    "added p50",
    "p99 ms",
    "MB",
)


def print_row(row: dict[str, Any]) -> None:
    cells = (row["proxy"], row["rate"], row["answered"], row["failed"], row["cdrs_missing"], row["retransmissions"])
    times = (row["us_per_call"], row["user_us"], row["system_us"])
    print(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9}".format(*cells),
        "{:>9.0f} {:>9.0f} {:>9.0f}".format(*times),
        "{:>9.2f} {:>9.2f} {:>9.0f}".format(row["added_p50_ms"], row["added_p99_ms"], row["memory_mb"]),
        flush=True,
    )


def summary(rows: list[dict[str, Any]], rates: list[int]) -> dict[str, Any]:
    """Medians by proxy and rate, ratios by rate and Tandem's failures."""

    def median(proxy: str, rate: int, what: str) -> float | None:
        values = [row[what] for row in rows if row["proxy"] == proxy and row["rate"] == rate]
        return statistics.median(values) if values else None

    ratios: dict[str, float | None] = {}
    for rate in rates:
        ours, theirs = median("tandem", rate, "us_per_call"), median("kamailio", rate, "us_per_call")
        ratios[f"ratio_{rate}"] = round(ours / theirs, 3) if ours and theirs else None
    fields = ("us_per_call", "user_us", "system_us", "added_p50_ms", "added_p99_ms", "memory_mb")
    medians = {
        proxy: {str(rate): {what: median(proxy, rate, what) for what in fields} for rate in rates}
        for proxy in dict.fromkeys(row["proxy"] for row in rows)
    }
    failed = sum(row["failed"] + row["cdrs_missing"] for row in rows if row["proxy"] == "tandem")
    return {**ratios, "failed": failed, "medians": medians}


def machine() -> dict[str, Any]:
    model = [
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    commit = subprocess.run(
        ["git", "-C", str(HERE.parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return {
        "processors": len(model),
        "model": model[0] if model else "unknown",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "load_before": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=lambda text: [int(part) for part in text.split(",")], default=[500, 1000, 2000])
    parser.add_argument("--seconds", type=float, default=8.0, help="of new calls, at each rate")
    parser.add_argument("--rounds", type=int, default=2, help="each is one start of each proxy, in turn")
    parser.add_argument("--hold-ms", type=int, default=0, help="pause between ACK and BYE")
    parser.add_argument(
        "--only", choices=("tandem", "kamailio", "switch"), help="one of them; `switch`: our data plane alone"
    )
    parser.add_argument("--soak", action="store_true", help="instead: 1,000 calls/s for a minute, every CDR counted")
    parser.add_argument("--swap", action="store_true", help="instead: a million-row deck activated under 500 calls/s")
    parser.add_argument("--uploads", action="store_true", help="instead: what large uploads do to 100 calls/s")
    parser.add_argument("--parts", action="store_true", help="also say what each process of a proxy took")
    parser.add_argument("--store", action="store_true", help="instead: lists and searches over 5,000,000 CDRs")
    parser.add_argument("--no-pin", action="store_true", help="let the kernel place SIPp and proxy")
    parser.add_argument("--keep", action="store_true", help="leave the working folder, with its logs")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    if args.store:
        return store.main([])
    enter_own_network()
    # SIPp has the first processor and the proxy, with all its processes, the last one: on a small
    # machine both would otherwise fight for the same, and the figures swing with who wins.
    pinned = not args.no_pin and (os.cpu_count() or 1) > 1
    proxy_processor = str((os.cpu_count() or 1) - 1) if pinned else None
    if pinned:
        os.sched_setaffinity(0, {0})
    about = {**machine(), "pinned": pinned, "prefixes": PREFIXES, "numbers": NUMBERS}
    folder = Path(tempfile.mkdtemp(prefix="tandem-bench-"))
    rows: list[dict[str, Any]] = []
    try:
        prefixes = make_prefixes(PREFIXES)
        write_numbers(folder / "numbers.csv", prefixes)
        sipp = Sipp(folder, folder / "numbers.csv")
        if args.soak:
            return 0 if soak(Tandem(folder, prefixes, proxy_processor), sipp) else 1
        if args.swap:
            # Not pinned: the import is to disturb calls no more than on a machine with both its processors.
            every = f"0-{(os.cpu_count() or 1) - 1}"
            return 0 if swap(Tandem(folder, prefixes, every), sipp, folder, prefixes) else 1
        if args.uploads:
            every = f"0-{(os.cpu_count() or 1) - 1}"
            return 0 if uploads(Tandem(folder, prefixes, every), sipp, folder, prefixes) else 1
        makers: dict[str, type[Tandem | Kamailio | SwitchAlone]] = {
            "tandem": Tandem,
            "kamailio": Kamailio,
            "switch": SwitchAlone,
        }
        names = [args.only] if args.only else ["tandem", "kamailio"]
        print(" ".join(f"{heading:>9}" for heading in HEADINGS), flush=True)
        for _ in range(args.rounds):
            direct = {rate: sipp.play(rate, min(args.seconds, 3.0), args.hold_ms, VENDOR_PORT) for rate in args.rates}
            for name in names:
                rows += run_proxy(makers[name](folder, prefixes, proxy_processor), sipp, direct, args)
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            subprocess.run(["rm", "-rf", str(folder)], check=False)
    result = summary(rows, args.rates)
    if not args.only:
        (HERE / "results.json").write_text(json.dumps({**result, "machine": about, "runs": rows}, indent=2) + "\n")
    ratios = " ".join(f"ratio_{rate}={result[f'ratio_{rate}'] or 'none'}" for rate in args.rates)
    print(f"{ratios} failed={result['failed']}", flush=True)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
