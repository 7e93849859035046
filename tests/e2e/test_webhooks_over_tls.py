"""Webhooks over HTTPS: who cannot prove to be the receiver is sent nothing, is tried again, and is told of."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from control.services.signing import verify
from sipp_scenarios.traps import free_ports
from tests.e2e.secured import serving
from tests.fakes.certificates import Authority
from tests.fakes.installation import Installation
from tests.fakes.receiver import Receiver

pytestmark = pytest.mark.slow

NAME = "localhost"


class Hook:
    """A receiver in a thread, on one port for good, whose certificate can be changed."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.failures = 0
        """Handshakes that the other side broke off."""
        self.context: ssl.SSLContext | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> None:
        (self.receiver.port,) = free_ports(1)
        # At every address of the name: which of them is the first is the machine's business.
        self._server = await asyncio.start_server(self._serve, NAME, self.receiver.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.context is not None
        try:
            await writer.start_tls(self.context)
        except OSError:  # of ssl.SSLError too
            self.failures += 1
            writer.close()
            return
        await self.receiver.serve(reader, writer)

    async def _stop(self) -> None:
        self._server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@contextmanager
def listening() -> Iterator[Hook]:
    hook = Hook()
    try:
        yield hook
    finally:
        hook.close()


def only_delivery(tandem: Installation) -> dict[str, Any]:
    (delivery,) = tandem.api.items("/deliveries")
    return dict(delivery)


@pytest.mark.parametrize("trusted_by", ["setting", "environment"])
def test_a_receiver_with_another_certificate_is_sent_nothing_until_it_has_the_right_one(
    tmp_path: Path, trusted_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority()
    root = authority.write_root(tmp_path / "root.pem")
    tandem = Installation(tmp_path)
    events = "[events]\nallow_private = true\n"
    if trusted_by == "setting":
        events += 'ca_file = "root.pem"\n'
    else:
        monkeypatch.setenv("SSL_CERT_FILE", str(root))
    tandem.config.write_text(tandem.config.read_text().replace("[api]", events + "[api]"))
    with listening() as hook:
        hook.context = serving(Authority("Another").issue(tmp_path, NAME))
        tandem.start()
        try:
            url = f"https://{NAME}:{hook.receiver.port}/hook"
            made = tandem.api.post("/webhooks", {"name": "ours", "url": url, "events": ["webhook.test"]})
            tandem.api.post(f"/webhooks/{made['id']}/test", {})
            tandem.wait(lambda: only_delivery(tandem)["attempts"] >= 1, "a try")
            refused = only_delivery(tandem)
            assert (refused["state"], refused["status"]) == ("pending", None)
            assert "certificate verify failed" in refused["error"], refused
            assert refused["next_attempt_at"] is not None

            # The right root, and another's name.
            hook.context = serving(authority.issue(tmp_path, "other.example"))
            tandem.wait(lambda: only_delivery(tandem)["attempts"] >= 2, "another try")
            misnamed = only_delivery(tandem)
            assert (misnamed["state"], misnamed["status"]) == ("pending", None)
            assert "ostname mismatch" in misnamed["error"], misnamed
            assert hook.receiver.requests == []
            assert hook.failures == 2

            hook.context = serving(authority.issue(tmp_path, NAME))
            tandem.wait(lambda: only_delivery(tandem)["state"] == "delivered", "the delivery")
            (request,) = hook.receiver.requests
            assert request.headers["host"] == f"{NAME}:{hook.receiver.port}"
            assert request.headers["tandem-attempt"] == "3"
            assert request.json["event"] == "webhook.test"
            stamp = int(request.headers["tandem-signature"].partition("t=")[2].partition(",")[0])
            assert verify(made["secret"], request.headers["tandem-signature"], request.body, stamp * 1000)
        finally:
            tandem.kill()
    assert "Traceback" not in tandem.log.read_text()
