"""The API client of the command line against a bare HTTP server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from control.client import ApiClient, ApiError


class Server(ThreadingHTTPServer):
    """Answers in turn what `answers` says; notes what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.closes_after_each = False
        """Closes a kept connection without a word, as servers do after a while."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.bodies.append(self.rfile.read(length))
        status, body = self.server.answers.pop(0)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        if self.server.closes_after_each:
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as it:
        yield it


@contextmanager
def running() -> Iterator[Server]:
    it = Server()
    thread = threading.Thread(target=it.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield it
    finally:
        it.shutdown()
        it.server_close()


def client_of(server: Server) -> ApiClient:
    return ApiClient(f"http://127.0.0.1:{server.server_port}", "key")


def test_lists_are_walked_to_their_end_by_cursor(server: Server) -> None:
    server.answers = [(200, {"items": [1, 2], "next_cursor": "c&1"}), (200, {"items": [3], "next_cursor": None})]
    found: list[Any] = list(client_of(server).items("/things", {"sort": "id"}))
    assert found == [1, 2, 3]
    assert server.asked[1].endswith("cursor=c%261")


def test_a_read_over_a_connection_that_was_closed_is_repeated(server: Server) -> None:
    server.closes_after_each = True
    server.answers = [(200, "first"), (200, "second")]
    client = client_of(server)
    assert [client.get("/a"), client.get("/b")] == ["first", "second"]


def test_a_post_is_never_repeated(server: Server) -> None:
    server.closes_after_each = True
    server.answers = [(201, "made")] * 2
    client = client_of(server)
    client.post("/a", {"n": 1})
    client.post("/a", {"n": 2})
    assert server.bodies == [b'{"n":1}', b'{"n":2}']


def test_a_problem_becomes_one_line_with_every_fault(server: Server) -> None:
    faults = [{"path": "name", "reason": "too long"}, {"path": "port", "reason": "not a number"}]
    server.answers = [(400, {"title": "Bad Request", "detail": "The request is wrong.", "errors": faults})]
    with pytest.raises(ApiError) as caught:
        client_of(server).post("/things")
    assert str(caught.value) == "POST /things: The request is wrong. (name: too long; port: not a number)"
    assert caught.value.status == 400


@pytest.mark.parametrize(("status", "told"), [(401, "--key-file"), (403, "role"), (502, "Bad Gateway")])
def test_other_refusals_say_what_to_do(server: Server, status: int, told: str) -> None:
    server.answers = [(status, b"<html>")]
    with pytest.raises(ApiError, match=told):
        client_of(server).get("/things")


def test_an_answer_that_is_not_json_is_named(server: Server) -> None:
    server.answers = [(200, b"<html>hello</html>")]
    with pytest.raises(ApiError, match="is this a Tandem"):
        client_of(server).get("/things")


def test_nobody_there_is_one_line() -> None:
    with running() as gone:
        client = client_of(gone)
    with pytest.raises(ApiError, match="is it running"):
        client.get("/things")


@pytest.mark.parametrize("url", ["ftp://host", "http://", "//"])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ApiError, match="not an http"):
        ApiClient(url, "key")


def test_a_file_is_sent_whole_with_progress(server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1_000
    (tmp_path / "deck.csv").write_bytes(content)
    server.answers = [(201, {"rows": 5})]
    seen: list[tuple[int, int]] = []
    answer = client_of(server).upload(
        "/decks", tmp_path / "deck.csv", {"dry_run": True, "at": None}, lambda sent, total: seen.append((sent, total))
    )
    assert answer == {"rows": 5}
    assert server.bodies == [content]
    assert server.asked == ["POST /api/v1/decks?dry_run=true"]
    assert seen[-1] == (len(content), len(content))
    assert seen == sorted(seen)
