"""`tandem run` with its store in PostgreSQL: calls, CDRs, money, and a database that comes and goes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from control.client import ApiError
from control.supervisor import child_environment
from sipp_scenarios.traps import free_ports
from tests.e2e.peer import Peer, answered_call, hang_up
from tests.fakes.example_calls import cdrs_by_call_id, example_vendor, whole_call
from tests.fakes.installation import COMMAND, Installation
from tests.fakes.postgres import PostgresServer

pytestmark = pytest.mark.slow

CALL = Decimal("0.0049")
"""Half a minute, the least that is billed, of the example's rate."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Over TCP with a password, as most have it."""
    (port,) = free_ports(1)
    server = PostgresServer(port).start()
    query(server, "postgres", "CREATE DATABASE tandem TEMPLATE template0")
    yield server
    server.remove()


@pytest.fixture
def tandem(installation: Installation, server: PostgresServer) -> Installation:
    use(installation, server)
    return installation


def use(installation: Installation, server: PostgresServer) -> None:
    url = server.url("tandem").replace("postgresql://", "postgresql+asyncpg://")
    installation.config.write_text(f'{installation.config.read_text()}\n[store]\nurl = "{url}"\n')


def query(server: PostgresServer, database: str, statement: str) -> list[Any]:
    async def run() -> list[Any]:
        connection = await asyncpg.connect(**server.parameters(database))
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(run())


def acme(tandem: Installation) -> dict[str, Any]:
    (found,) = (row for row in tandem.api.items("/customers") if row["name"] == "Acme Voice")
    return found


def balance(tandem: Installation) -> Decimal:
    """As the switch has it; a check that runs over both ledgers compares the store's."""
    money = acme(tandem)
    assert money["is_balance_live"]
    return Decimal(money["balance"])


def assert_sound(tandem: Installation) -> None:
    report = tandem.api.get("/invariants")
    assert report["is_sound"], report
    assert {check["state"] for check in report["checks"]} == {"holds"}


def status_of(act: Callable[[], Any]) -> int:
    """What the API answers; 200 for whatever it took."""
    try:
        act()
    except ApiError as error:
        return error.status
    return 200


def test_calls_are_in_postgresql_once_and_none_feels_that_it_stops(
    tandem: Installation, server: PostgresServer, tmp_path: Path
) -> None:
    tandem.start()
    assert not list(tandem.data.glob("*.db"))
    with example_vendor(tandem, tmp_path) as vendor:
        opening = balance(tandem)
        calls = {whole_call(tandem, vendor, number) for number in range(20)}
        tandem.wait(lambda: calls <= cdrs_by_call_id(tandem).keys(), "the CDRs")

        with Peer(("127.0.0.1", 0), tandem.sip) as caller:
            dialog, _ = answered_call(caller, vendor, "1234442071777777")
            server.stop()
            slowest_s = 0.0
            for number in range(20, 60):
                begun = time.monotonic()
                calls.add(whole_call(tandem, vendor, number))
                slowest_s = max(slowest_s, time.monotonic() - begun)
            # A call from INVITE to the 200 of its BYE: no step of it waits for the store.
            assert slowest_s < 1.0
            assert tandem.health()["store"] == "failed"
            assert status_of(lambda: tandem.api.get("/customers")) == 503
            server.start()
            # The call that was up all the while.
            hang_up(dialog, caller, vendor)
            calls.add(dialog.call_id)
        tandem.wait(lambda: tandem.health()["store"] == "ok", "the store")
        tandem.wait(lambda: calls <= cdrs_by_call_id(tandem).keys(), "the CDRs of the calls meanwhile")
        tandem.wait(lambda: tandem.health()["status"] == "ok", "all to be well")

        # It goes down with the control process in the midst of writing, and comes back after it.
        with Peer(("127.0.0.1", 0), tandem.sip) as caller:
            os.kill(tandem.child("control"), signal.SIGKILL)
            server.stop()
            calls.add(one_more(tandem, caller, vendor))
            server.start()
        tandem.wait(lambda: len(tandem.ready_lines()) >= 3, "the control process again")
        tandem.wait(lambda: calls <= cdrs_by_call_id(tandem).keys(), "the last CDR")

        assert cdrs_by_call_id(tandem).keys() == calls
        stored = query(server, "tandem", "SELECT call_id, gross_nanos FROM cdrs")
        assert sorted(row["call_id"] for row in stored) == sorted(calls)
        assert {row["gross_nanos"] for row in stored} == {4_900_000}
        tandem.wait(lambda: tandem.health()["status"] == "ok", "all to be well again")
        assert balance(tandem) == opening - CALL * len(calls)
        assert_sound(tandem)
    assert tandem.stop() == 0
    log = tandem.log.read_text()
    assert "Traceback" not in log
    assert "only for tests" not in log


def one_more(tandem: Installation, caller: Peer, vendor: Peer) -> str:
    dialog, _ = answered_call(caller, vendor, "1234442071888888")
    hang_up(dialog, caller, vendor)
    return dialog.call_id


def test_a_payment_asked_for_while_the_database_restarts_is_booked_once(
    tandem: Installation, server: PostgresServer
) -> None:
    tandem.start("--example")
    path = f"/customers/{acme(tandem)['id']}/payments"
    opening = balance(tandem)

    def pay() -> int:
        return status_of(lambda: tandem.api.post(path, {"total": "12.50"}, key="one payment"))

    server.stop()
    assert pay() == 503
    server.start()
    tandem.wait(lambda: tandem.health()["store"] == "ok", "the store")
    assert [pay() for _ in range(3)] == [200] * 3
    assert balance(tandem) == opening + Decimal("12.50")
    # The ingest looks again some seconds after a failure; until then it is a fault.
    tandem.wait(lambda: tandem.health()["status"] == "ok", "all to be well")
    tandem.tandem("doctor")
    assert tandem.stop() == 0


def test_a_database_that_comes_late_is_waited_for_and_a_second_installation_is_refused(
    tandem: Installation, server: PostgresServer, tmp_path: Path
) -> None:
    server.stop()
    with tandem.log.open("a") as log:
        tandem.process = subprocess.Popen(
            [*COMMAND, "run", "--config", str(tandem.config), "--example"],
            env=child_environment(),
            stdout=log,
            stderr=log,
            text=True,
        )
    tandem.wait(lambda: "the store is waited for" in tandem.log.read_text(), "the control process to say so")
    # The switch is there already.
    tandem.wait(lambda: len(tandem.ready_lines()) == 1, "the switch")
    server.start()
    tandem.wait(lambda: len(tandem.ready_lines()) == 2, "the control process")
    assert tandem.health()["store"] == "ok"

    (tmp_path / "second").mkdir()
    second = Installation(tmp_path / "second")
    use(second, server)
    complaint = second.tandem("run", "--config", str(second.config), status=1)
    assert "another control process uses this database" in complaint
    assert "only for tests" not in complaint
    assert tandem.health()["status"] == "ok"
    assert tandem.stop() == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("only%20for%20tests", "wrong"), "password authentication failed"),
        (('/tandem"', '/nothing"'), 'database "nothing" does not exist'),
        (('/tandem"', '/tandem?colour=red"'), "PostgreSQL has no option colour"),
    ],
)
def test_a_mistake_in_the_address_of_the_store_is_one_clear_line(
    tandem: Installation, change: tuple[str, str], complaint: str
) -> None:
    head, _, url = tandem.config.read_text().rpartition("\n[store]\n")
    tandem.config.write_text(f"{head}\n[store]\n{url.replace(*change)}")
    said = tandem.tandem("run", "--config", str(tandem.config), status=1)
    (line,) = (line for line in said.splitlines() if line.startswith("tandem: store"))
    assert complaint in line
    assert "***" not in line
    assert "only%20for%20tests" not in said
