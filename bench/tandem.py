"""Tandem as the comparison runs it: the whole of it, or the data plane alone.

The work: one customer known by its address and tech prefix, a route with a channel cap, a sell card
and two buy cards of 50,000 prefixes each, a margin to keep, the cheaper vendor first.
"""

from __future__ import annotations

import csv
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from deck import TECH_PREFIX, write_deck

if TYPE_CHECKING:
    from switch.snapshot import Revision

TANDEM = Path(sys.executable).parent / "tandem"
API_PORT = 8080
READY_S = 60.0
STOP_S = 60.0
CHANNELS = 100_000
BUY_SHARES = {"buy_near": Decimal("0.6"), "buy_far": Decimal("0.8")}
"""What a vendor takes of the sell price."""

RING_BYTES = int(os.environ.get("BENCH_RING_BYTES", "0"))
"""Kamailio keeps no messages of its calls, so Tandem keeps none beside it; a run with them says what they cost."""
SETTINGS = """data = "{folder}/data"
drain_s = 2.0

[sip]
allow_loopback = true

[limits]
calls_max = 100000

[trace]
ring_bytes = {ring_bytes}

[log]
level = "warning"
"""

RECORDS = """[providers.Near]
[[providers.Near.gateways]]
host = "127.0.0.1"
port = 5080

[providers.Far]
[[providers.Far.gateways]]
host = "127.0.0.1"
port = 5081

[rate_cards."Near buy"]
direction = "buy"
provider = "Near"
deck = "buy_near.csv"

[rate_cards."Far buy"]
direction = "buy"
provider = "Far"
deck = "buy_far.csv"

[rate_cards.Sell]
direction = "sell"
vendor_cards = ["Near buy", "Far buy"]
deck = "sell.csv"

[customers.Acme]
status = "active"
debit_limit = "1000000"
channels = {channels}

[[customers.Acme.endpoints]]
direction = "egress"
host = "127.0.0.1"
tech_prefix = "{tech_prefix}"

[customers.Acme.ingress_routes.Wholesale]
rate_card = "Sell"
channels = {channels}
profit_mode = "rate"
"""


def write_decks(folder: Path, rows: list[tuple[str, str]]) -> None:
    write_deck(folder / "sell.csv", rows)
    for name, share in BUY_SHARES.items():
        write_deck(folder / f"{name}.csv", [(prefix, f"{Decimal(rate) * share:.5f}") for prefix, rate in rows])


class Tandem:
    """`tandem run`: switch and control process, CDRs by way of the journal into SQLite."""

    name = "tandem"

    def __init__(self, folder: Path, rows: list[tuple[str, str]], processor: str | None) -> None:
        self._folder = folder / "tandem"
        self._rows = rows
        self._pin = ["taskset", "-c", processor] if processor else []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{API_PORT}"

    @property
    def key_file(self) -> Path:
        return self._folder / "data" / "admin.key"

    def start(self) -> None:
        subprocess.run(["rm", "-rf", str(self._folder)], check=True)
        self._folder.mkdir()
        write_decks(self._folder, self._rows)
        settings = self._folder / "tandem.toml"
        settings.write_text(SETTINGS.format(folder=self._folder, ring_bytes=RING_BYTES))
        records = self._folder / "records.toml"
        records.write_text(RECORDS.format(channels=CHANNELS, tech_prefix=TECH_PREFIX))
        with (self._folder / "tandem.log").open("a") as log:
            command = [*self._pin, str(TANDEM), "run", "--config", str(settings)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)
        self._wait_until_healthy()
        self.command("apply", str(records))

    def command(self, *words: str) -> None:
        """One `tandem` command against this instance."""
        options = ["--url", self.url, "--key-file", str(self.key_file)]
        done = subprocess.run([str(TANDEM), *words, *options], capture_output=True, text=True, cwd=self._folder)
        if done.returncode != 0:
            raise RuntimeError(f"tandem {words[0]}: {done.stderr or done.stdout}")

    def _wait_until_healthy(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api/v1/health", timeout=2) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.2)
        raise RuntimeError(f"Tandem would not start: {(self._folder / 'tandem.log').read_text()[-2000:]}")

    def cdrs(self) -> int:
        """Answered calls in the store."""
        with sqlite3.connect(f"file:{self._folder / 'data' / 'tandem.db'}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM cdrs WHERE answered_ms IS NOT NULL").fetchone()[0])

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_S)
            self._process = None


class SwitchAlone:
    """`python -m switch`: the data plane without the control plane; its CDRs end in the journal."""

    name = "switch"

    def __init__(self, folder: Path, rows: list[tuple[str, str]], processor: str | None) -> None:
        self._folder = folder / "switch"
        self._rows = rows
        self._pin = ["taskset", "-c", processor] if processor else []
        self._process: subprocess.Popen[str] | None = None

    @property
    def root(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def start(self) -> None:
        subprocess.run(["rm", "-rf", str(self._folder)], check=True)
        self._folder.mkdir()
        write_decks(self._folder, self._rows)
        (self._folder / "settings.toml").write_text(SETTINGS.format(folder=self._folder, ring_bytes=RING_BYTES))
        write_snapshot(self._folder)
        with (self._folder / "switch.log").open("a") as log:
            command = [*self._pin, sys.executable, "-P", "-m", "switch", "--snapshot", "snapshot.msgpack"]
            command += ["--settings", "settings.toml", "--data", "data"]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=self._folder, text=True)
        assert self._process.stdout is not None
        if not self._process.stdout.readline().startswith("ready"):
            raise RuntimeError(f"the switch would not start: {(self._folder / 'switch.log').read_text()[-2000:]}")

    def cdrs(self) -> int:
        from switch.journal_read import JournalReader
        from switch.records import CallEnded

        reader = JournalReader(self._folder / "data" / "journal", 0)
        count = 0
        while records := reader.read(10_000):
            count += sum(isinstance(record, CallEnded) and record.cdr.answered_ms is not None for _, record in records)
        return count

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_S)
            self._process = None


def write_snapshot(folder: Path) -> None:
    """The same records as `RECORDS`, as the switch has them, with decks compiled beside them."""
    import msgspec

    from rating.deck_build import compile_deck
    from rating.money import parse_amount
    from rating.rows import RateRow
    from switch import snapshot

    for name in ("sell", *BUY_SHARES):
        with (folder / f"{name}.csv").open(newline="") as file:
            rows = [RateRow(row["prefix"], row["name"], parse_amount(row["rate"])) for row in csv.DictReader(file)]
        compile_deck(rows, folder / name)
    cards = [
        snapshot.RateCard(
            id=1, name="Sell", direction="sell", vendor_card_ids=(2, 3), revisions=(_revision(1, "sell"),)
        ),
        snapshot.RateCard(id=2, name="Near", direction="buy", provider_id=1, revisions=(_revision(2, "buy_near"),)),
        snapshot.RateCard(id=3, name="Far", direction="buy", provider_id=2, revisions=(_revision(3, "buy_far"),)),
    ]
    records: list[snapshot.Record] = [
        snapshot.Customer(id=1, name="Acme", status="active", debit_limit_nanos=10**15, channels=CHANNELS),
        snapshot.Endpoint(id=1, customer_id=1, direction="egress", host="127.0.0.1", tech_prefix=TECH_PREFIX),
        snapshot.IngressRoute(id=1, customer_id=1, rate_card_id=1, channels=CHANNELS, profit_mode="rate"),
        snapshot.Provider(id=1, name="Near"),
        snapshot.Provider(id=2, name="Far"),
        snapshot.Gateway(id=1, provider_id=1, host="127.0.0.1", port=5080),
        snapshot.Gateway(id=2, provider_id=2, host="127.0.0.1", port=5081),
        *cards,
    ]
    whole = snapshot.Snapshot(version=1, records=tuple(records))
    (folder / "snapshot.msgpack").write_bytes(msgspec.msgpack.encode(whole))


def _revision(number: int, path: str) -> Revision:
    from switch.snapshot import Revision

    return Revision(id=number, path=path)
