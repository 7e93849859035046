"""Lists, filters, searches and summaries over a large store, through the real API of a running Tandem.

Fills a SQLite store in a temporary folder past the API (10,000 customers, 100,000 endpoints, 5,000,000
CDRs of 30 days with their sums), starts the whole of Tandem over it and asks each question many times,
one after the other. Prints a line each, and as the last one `store_p95_ms=… store_slow=…`: the worst
p95, and the questions above the limit.

Run by `make bench BENCH=--store`, or `PYTHONPATH=. python -P bench/store.py` for the sources.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

CUSTOMERS, ENDPOINTS_EACH, CDRS, PROVIDERS, DAYS = 10_000, 10, 5_000_000, 20, 30
LIMIT_MS = 100.0
MINUTE_MS, QUARTER_MS, DAY_MS = 60_000, 900_000, 86_400_000
BIG = 10
"""The first customers have a tenth of all calls between them."""
WORDS = ("Acme", "Borealis", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbor", "Indigo", "Juniper")
KINDS = ("Voice", "Telecom", "Networks", "Carrier", "Wholesale", "Dial", "Connect", "Trunk", "Call Centre", "Labs")
PREFIXES = 500

SETTINGS = """data = "{folder}/data"

[sip]
allow_loopback = true

[[sip.listeners]]
transport = "udp"
host = "127.0.0.1"
port = {sip}

[api]
port = {api}

[log]
level = "warning"
"""


def fill(file: Path, now_ms: int) -> None:
    """All rows, by SQL where there are millions of them."""
    db = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "foreign_keys = OFF", "cache_size = -2000000"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("BEGIN")
    fill_records(db, now_ms)
    fill_calls(db, now_ms)
    fill_sums(db, now_ms)
    db.execute("COMMIT")
    db.execute("ANALYZE")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


def insert(db: sqlite3.Connection, table: str, rows: list[dict[str, object]]) -> None:
    names = list(rows[0])
    marks = ", ".join("?" for _ in names)
    db.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", [tuple(row.values()) for row in rows])


def fill_records(db: sqlite3.Connection, now_ms: int) -> None:
    stamps: dict[str, object] = {"created_ms": now_ms, "updated_ms": now_ms}
    rng = random.Random(1)
    zones = ("UTC", "Europe/London", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
    names = [f"{rng.choice(WORDS)} {rng.choice(KINDS)} {n:05}" for n in range(1, CUSTOMERS + 1)]
    card: dict[str, object] = {"id": 1, "name": "Sell", "name_key": "sell", "direction": "sell", "currency": "USD"}
    insert(db, "rate_cards", [card | stamps])
    provider = {"currency": "USD", "number_format": "e164", **stamps}
    insert(
        db,
        "providers",
        [{"id": n, "name": f"Vendor {n}", "name_key": f"vendor {n}", **provider} for n in range(1, PROVIDERS + 1)],
    )
    insert(
        db,
        "customers",
        [
            {"id": n, "name": name, "name_key": name.lower(), "status": "inactive" if n % 50 == 0 else "active"}
            | {"currency": "USD", "time_zone": zones[n % 5], "tags": f'["tier-{n % 7}", "region-{n % 13}"]'}
            | {"paypal_email": f"billing{n}@example.com", "address": f"{n} High Street", **stamps}
            for n, name in enumerate(names, 1)
        ],
    )
    insert(db, "accounts", [{"customer_id": n, "balance_nanos": 10**12} for n in range(1, CUSTOMERS + 1)])
    insert(
        db,
        "contacts",
        [
            {"id": n, "customer_id": n, "name": f"Contact {n}", "email": f"noc{n}@customer{n}.example"}
            | {"email_key": f"noc{n}@customer{n}.example", "phone": f"1555{n:07}", **stamps}
            for n in range(1, CUSTOMERS + 1)
        ],
    )
    insert(
        db,
        "endpoints",
        [
            {"id": (n - 1) * ENDPOINTS_EACH + e + 1, "customer_id": n, "direction": "egress"}
            | {"host": address(n, e), "transport": None, **stamps}
            for n in range(1, CUSTOMERS + 1)
            for e in range(ENDPOINTS_EACH)
        ],
    )
    insert(
        db,
        "ingress_routes",
        [{"id": n, "customer_id": n, "name": "main", "rate_card_id": 1, **stamps} for n in range(1, CUSTOMERS + 1)],
    )


def address(customer: int, endpoint: int) -> str:
    number = (customer - 1) * ENDPOINTS_EACH + endpoint
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


# A linear congruential step for each call: what is drawn repeats from run to run.
CALLS = f"""
CREATE TEMP TABLE calls AS
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :cdrs)
SELECT n, CASE WHEN n % 10 = 0 THEN 1 + h % {BIG} ELSE 1 + h % {CUSTOMERS} END AS customer_id,
 :start + n * :gap AS invited_ms, 1 + (h >> 7) % {PROVIDERS} AS provider_id,
 20000 + (h >> 11) % {PREFIXES} AS prefix, 1000000 + (h >> 3) % 8999999 AS tail,
 CASE WHEN (h >> 5) % 100 < 45 THEN 200 WHEN (h >> 5) % 100 < 60 THEN 486
  WHEN (h >> 5) % 100 < 85 THEN 487 ELSE 503 END AS status,
 1000 * (5 + (h >> 13) % 300) AS length_ms
FROM (SELECT n, (n * 2654435761) & 1073741823 AS h FROM numbers)
"""
ATTEMPT = (
    '\'[{"provider_id":\' || provider_id || \',"provider_name":"Vendor \' || provider_id || \'","gateway_id":\' ||'
    ' provider_id || \',"card_id":2,"revision_id":2,"prefix":"\' || prefix || \'","rate_nanos":5000000,'
    '"dialled_out":"\' || prefix || tail || \'","started_ms":\' || (invited_ms + 3) || \',"progress_ms":\' ||'
    " (invited_ms + 900) || ',\"answered_ms\":' || CASE status WHEN 200 THEN invited_ms + 4000 ELSE 'null' END ||"
    ' \',"ended_ms":\' || (invited_ms + 4000 + length_ms) || \',"status":\' || status || \',"cause":"\' ||'
    " CASE status WHEN 200 THEN 'answered' ELSE 'rejected' END || '\",\"billed_s\":0,\"cost_nanos\":0}]'"
)
CANDIDATES = '\'[[2,\' || provider_id || \',"taken",5000000,4000000,""],[3,1,"not_reached",6000000,3000000,""]]\''
IS_ANSWERED = "status = 200"
CHARGE = f"CASE WHEN {IS_ANSWERED} THEN length_ms * 150 ELSE 0 END"
COST = f"CASE WHEN {IS_ANSWERED} THEN length_ms * 90 ELSE 0 END"
LENGTH = f"CASE WHEN {IS_ANSWERED} THEN length_ms ELSE 0 END"


def fill_calls(db: sqlite3.Connection, now_ms: int) -> None:
    gap = DAYS * DAY_MS // CDRS
    db.execute(CALLS, {"cdrs": CDRS, "start": now_ms - DAYS * DAY_MS - gap, "gap": gap})
    values = {
        "number": "n", "sequence": "n", "id": "printf('%032x', n)", "customer_id": "customer_id",
        "endpoint_id": f"(customer_id - 1) * {ENDPOINTS_EACH} + 1", "route_id": "customer_id",
        "provider_id": "provider_id", "gateway_id": "provider_id", "direction": "'outbound'",
        "source": "'10.0.' || (customer_id % 250) || '.7:5060'", "transport": "'udp'",
        "call_id": "n || '-4711@10.0.0.7'", "cli_in": "'1555' || tail", "cli_out": "'1555' || tail",
        "dialled_in": "'1234' || prefix || tail", "dialled_out": "prefix || tail", "invited_ms": "invited_ms",
        "progress_ms": "invited_ms + 900", "answered_ms": f"CASE WHEN {IS_ANSWERED} THEN invited_ms + 4000 END",
        "ended_ms": "invited_ms + 4000 + length_ms", "pdd_ms": "900", "duration_ms": LENGTH,
        "billed_s": f"({LENGTH}) / 1000", "release": "'caller'",
        "cause": "CASE status WHEN 200 THEN 'normal' WHEN 486 THEN 'busy' WHEN 487 THEN 'cancelled' ELSE 'failed' END",
        "status": "status", "currency": "'USD'", "card_id": "1", "revision_id": "1", "prefix": "CAST(prefix AS TEXT)",
        "destination": "'Destination ' || prefix", "rate_nanos": "9000000", "net_nanos": CHARGE, "tax_nanos": "0",
        "gross_nanos": CHARGE, "cost_nanos": COST, "margin_nanos": f"({CHARGE}) - ({COST})",
        "user_agent": "'wholesale-trunk/2.3'", "codecs": "'PCMA'", "recording": "'off'", "attempts": ATTEMPT,
        "explanation": CANDIDATES,
    }  # fmt: skip
    # Indexes over sorted rows take a fraction of what they take row by row.
    found = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'cdrs' AND sql <> ''")
    indexes = found.fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    db.execute(f"INSERT INTO cdrs ({', '.join(values)}) SELECT {', '.join(values.values())} FROM calls ORDER BY n")
    for _, statement in indexes:
        db.execute(statement)


def fill_sums(db: sqlite3.Connection, now_ms: int) -> None:
    """As the ingest would have left them: minutes of a day, quarters of an hour before."""
    folded_ms = (now_ms - DAY_MS) // QUARTER_MS * QUARTER_MS
    step = f"CASE WHEN invited_ms < {folded_ms} THEN {QUARTER_MS} ELSE {MINUTE_MS} END"
    at = f"invited_ms - invited_ms % ({step})"
    counts = (
        f"COUNT(*), SUM({IS_ANSWERED}), SUM(status <> 503), SUM({LENGTH}), SUM({LENGTH}) / 1000,"
        " COUNT(*) * 900, COUNT(*)"
    )
    money = f"SUM({CHARGE}), 0, SUM({CHARGE}), SUM({COST})"
    for table, keys, more, sums in (
        ("call_rollups", f"customer_id, {at}, customer_id, 'USD', status", "", money),
        ("call_rollups", f"0, {at}, 0, 'USD', status", "", money),
        ("prefix_rollups", f"customer_id, {at}, CAST(prefix AS TEXT), 'USD'", ", 'Destination'", money),
        ("provider_rollups", f"provider_id, {at}, provider_id, 'USD', status", "", f"SUM({CHARGE}), SUM({COST})"),
    ):
        # A number in GROUP BY would be taken for a column's place.
        by = ", ".join(key for key in keys.split(", ") if key not in ("0", "'USD'"))
        db.execute(f"INSERT INTO {table} SELECT {keys}{more}, {counts}, {sums} FROM calls GROUP BY {by}")
    db.execute("UPDATE rollup_state SET cursor_number = ?, upto_number = ?, folded_ms = ?", (CDRS, CDRS, folded_ms))
    db.execute("DROP TABLE calls")


Ask = Callable[[random.Random], str]


def questions(now_ms: int) -> dict[str, Ask]:
    """What is asked, each time of somebody else."""

    def moment(rng: random.Random) -> str:
        at = time.gmtime((now_ms - rng.randrange(DAYS * DAY_MS)) / 1000)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", at)

    def someone(rng: random.Random) -> int:
        return rng.randint(1, CUSTOMERS)

    def big(rng: random.Random) -> int:
        return rng.randint(1, BIG)

    def number(rng: random.Random) -> int:
        return rng.randint(CDRS // 2, CDRS)

    return {
        "customers: list": lambda rng: f"/customers?sort={rng.choice(('name', '-id', 'status', '-created_at'))}",
        "customers: filter by status": lambda rng: "/customers?status=inactive",
        "customers: filter by tag": lambda rng: f"/customers?tag=tier-{rng.randrange(7)}",
        "customers: search a name": lambda rng: f"/customers?search={rng.choice(KINDS).lower()}%20{someone(rng):05}",
        "customers: search a word": lambda rng: f"/customers?search={rng.choice(WORDS)}",
        "customers: search an address": lambda rng: f"/customers?search={address(someone(rng), rng.randrange(10))}",
        "customers: search a login": lambda rng: f"/customers?search=customer{someone(rng)}.example",
        "customers: search in vain": lambda rng: f"/customers?search=nobody{rng.randrange(10**6)}",
        "endpoints: list of a customer": lambda rng: f"/customers/{someone(rng)}/endpoints",
        "endpoints: search a host": lambda rng: f"/endpoints?search={address(someone(rng), rng.randrange(10))}",
        "endpoints: list": lambda rng: "/endpoints?limit=100",
        "contacts: search": lambda rng: f"/contacts?search=noc{someone(rng)}@",
        "cdrs: list": lambda rng: "/cdrs",
        "cdrs: of a customer": lambda rng: f"/cdrs?customer_id={someone(rng)}",
        "cdrs: of a big customer": lambda rng: f"/cdrs?customer_id={big(rng)}&to={moment(rng)}",
        "cdrs: answered before a time": lambda rng: f"/cdrs?answered=true&to={moment(rng)}",
        "cdrs: of a cause": lambda rng: f"/cdrs?cause={rng.choice(('busy', 'cancelled', 'failed'))}&to={moment(rng)}",
        "cdrs: of a provider": lambda rng: f"/cdrs?provider_id={rng.randint(1, PROVIDERS)}&to={moment(rng)}",
        "cdrs: of a status in a customer": lambda rng: f"/cdrs?customer_id={someone(rng)}&status=486",
        "cdrs: number in a customer": lambda rng: f"/cdrs?customer_id={someone(rng)}&number={rng.randint(100, 999)}",
        "cdrs: number in an hour": lambda rng: hour(rng, f"number={rng.randint(1000, 9999)}"),
        "cdrs: a Call-ID": lambda rng: f"/cdrs?call_id={number(rng)}-4711%4010.0.0.7",
        "cdrs: a whole number": lambda rng: (
            f"/cdrs?number={20000 + rng.randrange(PREFIXES)}{rng.randint(10**6, 10**7)}"
        ),
        "cdrs: one": lambda rng: f"/cdrs/{number(rng):032x}",
        "summary of a customer": lambda rng: f"/customers/{someone(rng)}/summary",
        "summary of a big customer": lambda rng: f"/customers/{big(rng)}/summary",
        "summary of a provider": lambda rng: f"/providers/{rng.randint(1, PROVIDERS)}/summary",
        "stats of a customer by day": lambda rng: f"/customers/{someone(rng)}/stats?step=day",
        "stats of a big customer by hour": lambda rng: f"/customers/{big(rng)}/stats?step=hour",
        "stats of a big customer by prefix": lambda rng: f"/customers/{big(rng)}/stats?group=prefix",
        "stats of all by day": lambda rng: "/stats?step=day",
        "stats of all by code": lambda rng: "/stats?group=code",
        "ledger of a customer": lambda rng: f"/customers/{someone(rng)}/ledger",
    }


def hour(rng: random.Random, more: str) -> str:
    start = time.time() - rng.randrange(1, DAYS - 1) * 86_400
    ends = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start + offset)) for offset in (0, 3600)]
    return f"/cdrs?from={ends[0]}&to={ends[1]}&{more}"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(folder: Path) -> None:
    """A store of this release with all rows, in the data folder of an installation."""
    from control.store.engine import open_store

    data = folder / "data"
    data.mkdir(parents=True)

    async def migrate() -> None:
        store = open_store(f"sqlite:///{data / 'tandem.db'}")
        await store.migrate()
        await store.close()

    asyncio.run(migrate())
    began = time.monotonic()
    fill(data / "tandem.db", time.time_ns() // 1_000_000)
    size = (data / "tandem.db").stat().st_size / 1e9
    print(f"filled in {time.monotonic() - began:.0f} s: {size:.1f} GB", flush=True)


def ask_all(url: str, key: str, repeats: int, only: str) -> list[tuple[str, float, float, float]]:
    rows = []
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for name, ask in questions(time.time_ns() // 1_000_000).items():
            if only not in name:
                continue
            rng = random.Random(name)
            times = []
            deadline = time.monotonic() + 10
            for _ in range(repeats):
                began = time.perf_counter()
                answer = client.get(ask(rng))
                times.append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200:
                    raise RuntimeError(f"{name}: {answer.status_code} {answer.text[:300]}")
                if time.monotonic() > deadline:
                    break
            p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
            rows.append((name, statistics.median(times), p95, max(times)))
            mark = "" if p95 < LIMIT_MS else "  above the limit"
            print(f"{name:36} {rows[-1][1]:9.1f} {p95:9.1f} {rows[-1][3]:9.1f}  n={len(times)}{mark}", flush=True)
    return rows


def run(folder: Path, repeats: int, only: str) -> int:
    api = free_port()
    settings = folder / "tandem.toml"
    settings.write_text(SETTINGS.format(folder=folder, api=api, sip=free_port(socket.SOCK_DGRAM)))
    with (folder / "tandem.log").open("w") as log:
        entry = "from control.cli import main; main()"
        command = [sys.executable, "-P", "-c", entry, "run", "--config", str(settings)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ})
        try:
            assert process.stdout is not None
            # The control process says it last, once the switch has its configuration.
            while not (line := process.stdout.readline()).startswith("ready http"):
                if not line:
                    raise RuntimeError(f"Tandem would not start: {(folder / 'tandem.log').read_text()[-2000:]}")
            key = (folder / "data" / "admin.key").read_text().strip()
            print(f"{'ms':36} {'p50':>9} {'p95':>9} {'worst':>9}", flush=True)
            rows = ask_all(f"http://127.0.0.1:{api}", key, repeats, only)
        finally:
            process.terminate()
            process.wait(60)
    slow = [name for name, _, p95, _ in rows if p95 >= LIMIT_MS]
    print(f"store_p95_ms={max(row[2] for row in rows):.1f} store_slow={len(slow)}", flush=True)
    return 1 if slow else 0


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100, help="of each question")
    parser.add_argument("--folder", type=Path, help="keep the store there, or use the one that is there")
    parser.add_argument("--only", default="", help="questions whose name has this in it")
    args = parser.parse_args(words)
    folder = args.folder or Path(tempfile.mkdtemp(prefix="tandem-store-"))
    try:
        if not (folder / "data" / "tandem.db").exists():
            prepare(folder)
        return run(folder, args.repeats, args.only)
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
