"""Kamailio as the comparison runs it: tuned allocator, one worker, CDRs in SQLite."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCHEMAS = Path("/usr/share/kamailio/db_sqlite")
CDRS = """CREATE TABLE cdrs (id INTEGER PRIMARY KEY, started TEXT, ended TEXT, seconds REAL,
customer TEXT, cli TEXT, dialled TEXT, price TEXT, call_id TEXT)"""
START_S = 20.0


class Kamailio:
    name = "kamailio"

    def __init__(self, folder: Path, rows: list[tuple[str, str]], processor: str | None) -> None:
        self._folder = folder
        self._rows = rows
        self._pin = ["taskset", "-c", processor] if processor else []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> int:
        assert self._process is not None, "start() comes first"
        return self._process.pid

    def start(self) -> None:
        database = self._folder / "kamailio.db"
        for old in self._folder.glob("kamailio.db*"):
            old.unlink()
        with sqlite3.connect(database) as db:
            # Write-ahead, as Tandem's store has it: Kamailio's rows cost less this way.
            db.execute("PRAGMA journal_mode=wal")
            for table in ("standard", "permissions", "mtree", "acc", "dialog"):
                db.executescript((SCHEMAS / f"{table}-create.sql").read_text())
            db.execute(CDRS)
            db.execute("INSERT INTO address (grp, ip_addr, mask, port, tag) VALUES (1, '127.0.0.1', 32, 0, 'acme')")
            db.executemany("INSERT INTO mtree (tprefix, tvalue) VALUES (?, ?)", self._rows)
        db.close()
        config = self._folder / "kamailio.cfg"
        config.write_text((HERE / "kamailio.cfg").read_text().replace("sqlite:////BENCH", f"sqlite:///{database}"))
        # Debian starts it with the debugging allocator, which doubles the cost of a call; -x tlsf does not.
        command = [*self._pin, "kamailio", "-f", str(config), "-DD", "-E", "-m", "512", "-M", "256"]
        # A burst must fit into the socket while it writes a row: the default buffer loses calls at 2,000 a second.
        command += ["-b", "4194304", "-x", "tlsf", "-X", "tlsf", "-P", str(self._folder / "kamailio.pid")]
        with (self._folder / "kamailio.log").open("a") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while ":13C4 " not in Path("/proc/net/udp").read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kamailio would not start: see {self._folder / 'kamailio.log'}")
            time.sleep(0.1)
        time.sleep(0.5)

    def cdrs(self) -> int:
        with sqlite3.connect(f"file:{self._folder / 'kamailio.db'}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM cdrs").fetchone()[0])

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None
