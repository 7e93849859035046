"""A PostgreSQL of the tests' own, from Debian's package: in a temporary folder, gone with the process.

It has no fsync, for nothing here outlives a crash of the machine, and it sorts as people do (ICU),
unlike SQLite: what leans on the order of bytes shows.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

START_S: Final = 30.0
ROLE: Final = "tandem"
PASSWORD: Final = "only for tests"
SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_wal_size": "256MB",
    "logging_collector": "off",
}
PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None)


def find_binaries() -> Path | None:
    """Where Debian has the newest server's programs; they are not in the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return next((path for path in reversed(found) if (path / "initdb").exists()), None)


class PostgresServer:
    """`start`, `url(database)`, `stop`; what is in it outlives a `stop`, and ends with `remove`.

    Args:
        port: on 127.0.0.1, with a password asked for; None: a Unix socket in its folder alone.
    """

    def __init__(self, port: int | None = None) -> None:
        found = find_binaries()
        if found is None:
            pytest.skip("no PostgreSQL under /usr/lib/postgresql; `bench/tools.sh test` installs it")
        self._binaries = found
        self.port = port
        self._folder = Path(tempfile.mkdtemp(prefix="tandem-pg-"))
        self._data = self._folder / "data"
        self._log = self._folder / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None
        # The server refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self._folder, account.pw_uid, account.pw_gid)
            self._user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._initialise()

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)  # in a folder that nobody else may enter
        method = "trust" if self.port is None else "scram-sha-256"
        options = ["-D", str(self._data), "-U", ROLE, "--pwfile", str(password), "-A", method, "-E", "UTF8"]
        locale = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"]
        subprocess.run(
            [str(self._binaries / "initdb"), *options, *locale, "--no-sync"],
            check=True,
            capture_output=True,
            cwd=self._folder,
            **self._user,
        )

    def start(self) -> PostgresServer:
        settings = dict(SETTINGS, unix_socket_directories=str(self._folder))
        settings["listen_addresses"] = "" if self.port is None else "127.0.0.1"
        if self.port is not None:
            settings["port"] = str(self.port)
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in settings.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                # A run of tests that is killed leaves no server behind.
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT),
                **self._user,
            )
        last = time.monotonic() + START_S
        while subprocess.run(
            [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder), "-p", str(self.port or 5432)],
            capture_output=True,
        ).returncode:
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < last, self._log.read_text(errors="replace")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """At once, as after a loss of power: connections are cut, and the next start recovers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_S)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str) -> str:
        if self.port is None:
            return f"postgresql://{ROLE}@/{database}?host={self._folder}"
        return f"postgresql://{ROLE}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def parameters(self, database: str) -> dict[str, Any]:
        """What asyncpg connects with."""
        host, port = (str(self._folder), 5432) if self.port is None else ("127.0.0.1", self.port)
        return {"host": host, "port": port, "user": ROLE, "password": PASSWORD, "database": database}


@cache
def shared_server() -> PostgresServer:
    """One for the whole run, begun by whoever needs it first; `tests/conftest.py` ends it."""
    return PostgresServer().start()
