"""A real call, a package and a payment through a whole installation, on an invoice with its page, mailed once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fakes.example_calls import cdrs_by_call_id, example_vendor, whole_call
from tests.fakes.installation import Installation
from tests.fakes.mailbox import Mailbox, running_mailbox

pytestmark = pytest.mark.slow


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server in a thread of its own."""
    loop, ready, found = asyncio.new_event_loop(), threading.Event(), []
    done = asyncio.Event()

    async def serve() -> None:
        async with running_mailbox() as box:
            found.append(box)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10.0)
    yield found[0]
    loop.call_soon_threadsafe(done.set)
    thread.join()
    loop.close()


@pytest.fixture
def tandem(installation: Installation, mailbox: Mailbox) -> Installation:
    more = (
        f'\n[billing]\nseller_name = "Tandem Ltd"\n[mail]\nhost = "127.0.0.1"\nport = {mailbox.port}\n'
        'security = "none"\nsender = "tandem@example.net"\n'
    )
    installation.config.write_text(installation.config.read_text() + more)
    installation.start()
    return installation


def test_a_call_and_a_package_are_charged_invoiced_and_mailed_once_through_a_kill(
    tandem: Installation, mailbox: Mailbox, tmp_path: Path
) -> None:
    with example_vendor(tandem, tmp_path) as vendor:
        call_id = whole_call(tandem, vendor, 1)
    tandem.wait(lambda: call_id in cdrs_by_call_id(tandem), "the CDR")
    cdr = cdrs_by_call_id(tandem)[call_id]
    customer = cdr["customer_id"]
    today = datetime.now(UTC).date().isoformat()
    package = tandem.api.post(
        "/packages", {"name": "Gold", "retail": "7", "frequency": "daily", "currency": cdr["currency"]}
    )
    tandem.api.post(f"/customers/{customer}/customer-packages", {"package_id": package["id"], "start": today})
    tandem.api.patch(f"/customers/{customer}/invoicing", {"recipients": ["books@example.com"]})

    def charged() -> int:
        items = tandem.api.items(f"/customers/{customer}/ledger", {"kind": "package"})
        return len(list(items))

    tandem.wait(lambda: charged() == 1, "the package to be charged")
    shown = tandem.tandem("invoice", "create", "Acme Voice", "--from", today, "--to", today, "--issue")
    assert "INV-000001" in shown
    # The control process dies at once; mail and packages go on where they were.
    os.kill(tandem.child("control"), signal.SIGKILL)
    tandem.wait(lambda: len(tandem.ready_lines()) >= 3, "the control process to be back")
    [row] = json.loads(tandem.tandem("invoice", "list", "--json"))
    detail = tandem.api.get(f"/invoices/{row['id']}")
    assert {line["section"] for line in detail["lines"]} >= {"call", "package"}
    [call] = [line for line in detail["lines"] if line["section"] == "call"]
    assert (call["net"], call["prefix"]) == (cdr["net"], cdr["prefix"])
    tandem.wait(lambda: len(mailbox.messages) == 1, "the mail")
    tandem.tandem("invoice", "pdf", str(row["id"]), str(tmp_path / "invoice.pdf"))
    (part,) = mailbox.messages[0].iter_attachments()
    assert part.get_content() == (tmp_path / "invoice.pdf").read_bytes()
    assert charged() == 1
    assert json.loads(tandem.tandem("doctor", "--json"))["invariants"]["is_sound"]
