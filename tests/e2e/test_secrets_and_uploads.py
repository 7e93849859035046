"""What is secret stands in no file, answer or log; what is too large, or takes long, holds up no call."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.example_calls import example_vendor, whole_call
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

SIP_PASSWORD = "sip-Passw0rd-1f9c"
PORTAL_PASSWORD = "portal-Passw0rd-77ae"
ROWS = 100_000
CALL_S = 1.0
"""Far above what a call takes, and far below what it would take to wait for a file."""


def ask(tandem: Installation, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, str]:
    parts = urllib.parse.urlsplit(tandem.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    token = token or (tandem.data / "admin.key").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        connection.request(method, f"/api/v1{path}", data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_no_password_key_or_token_stands_in_any_file_answer_or_log(tandem: Installation, tmp_path: Path) -> None:
    with example_vendor(tandem, tmp_path) as vendor:
        whole_call(tandem, vendor, 1)
    user = {"username": "carol", "password": SIP_PASSWORD}
    status, made = ask(tandem, "POST", "/customers/1/sip-users", user)
    assert (status, SIP_PASSWORD in made) == (201, False)
    assert ask(tandem, "PATCH", "/customers/1", {"portal_access": True})[0] == 200
    contact = {"name": "Ann", "email": "ann@example.com", "password": PORTAL_PASSWORD}
    assert ask(tandem, "POST", "/customers/1/contacts", contact)[0] == 201
    status, login = ask(tandem, "POST", "/portal/login", {"email": "ann@example.com", "password": PORTAL_PASSWORD})
    assert status == 200
    token = json.loads(login)["token"]
    assert ask(tandem, "GET", "/portal/me", token=token)[0] == 200
    wrong = {"email": "ann@example.com", "password": f"{PORTAL_PASSWORD}x"}
    assert ask(tandem, "POST", "/portal/login", wrong)[0] == 401
    status, key = ask(tandem, "POST", "/admin-keys", {"name": "Second", "role": "operator"})
    assert status == 201
    # A mistake beside a password must not bring it back in what is said of the mistake.
    bad = {"username": "dave", "password": SIP_PASSWORD, "channels": "many", SIP_PASSWORD: 1}
    assert ask(tandem, "POST", "/customers/1/sip-users", bad)[0] == 400
    for path in ("/sip-users", "/contacts", "/audit?limit=100", "/admin-keys", "/customers/1", "/simulations"):
        status, text = ask(tandem, "GET", path)
        assert status == 200, path
        for secret in (SIP_PASSWORD, PORTAL_PASSWORD, token, json.loads(key)["key"]):
            assert secret not in text, path
    tandem.stop()
    secrets = {SIP_PASSWORD, PORTAL_PASSWORD, token, json.loads(key)["key"]}
    first = (tandem.data / "admin.key").read_text().strip()
    for file in [tandem.log, *(each for each in tandem.data.rglob("*") if each.is_file())]:
        data = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in data], file
        assert file.name == "admin.key" or first.encode() not in data, file
    assert (tandem.data / "admin.key").stat().st_mode & 0o077 == 0
    assert (tandem.data / "messages.ring").stat().st_mode & 0o077 == 0


def test_a_gigabyte_is_refused_by_its_announcement(tandem: Installation, tmp_path: Path) -> None:
    with example_vendor(tandem, tmp_path) as vendor:
        key = (tandem.data / "admin.key").read_text().strip()
        parts = urllib.parse.urlsplit(tandem.url)
        for path in ("/rate-cards/1/revisions", "/customers", "/customers.csv"):
            with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as connection:
                head = f"POST /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                connection.sendall(f"{head}Content-Type: text/csv\r\nContent-Length: 1073741824\r\n\r\n".encode())
                began = time.monotonic()
                assert b" 413 " in connection.recv(65_536).split(b"\r\n")[0], path
                assert time.monotonic() - began < 5.0
        assert whole_call(tandem, vendor, 1)


def test_a_large_price_list_holds_up_no_call(tandem: Installation, tmp_path: Path) -> None:
    with example_vendor(tandem, tmp_path) as vendor:
        whole_call(tandem, vendor, 0)
        # The new list prices the calls too: some are made between its activation and the API's answer.
        rows = "442071,London,0.001\n" + "".join(f"44{n:06d},UK {n},0.001\n" for n in range(ROWS))
        done: list[tuple[int, str]] = []

        def load() -> None:
            path = "/rate-cards/1/revisions?activate=true"
            done.append(ask(tandem, "POST", path, f"prefix,name,rate\n{rows}".encode()))

        loading = threading.Thread(target=load)
        loading.start()
        number, slowest = 0, 0.0
        while loading.is_alive() or number < 20:
            number += 1
            began = time.monotonic()
            whole_call(tandem, vendor, number)
            slowest = max(slowest, time.monotonic() - began)
        loading.join()
        assert done[0][0] == 201, done[0][1][:500]
        whole_call(tandem, vendor, number + 1)
        assert slowest < CALL_S
