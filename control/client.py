"""A small client of our own API for the command line: JSON in, JSON out, pages walked, files sent.

It is synchronous and keeps one connection. Every failure is an `ApiError` of one line that says
what to do about it, since its text is what the user of `tandem` sees.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

TIMEOUT_S: Final = 120.0
"""A deck of a million rows is compiled within one request."""
CONNECT_TIMEOUT_S: Final = 5.0
CHUNK_BYTES: Final = 65_536
PAGE_ROWS: Final = 200
API: Final = "/api/v1"


class ApiError(Exception):
    """A request that did not do what was asked; `status` is 0 where nothing answered."""

    def __init__(self, text: str, status: int = 0, problem: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.problem = problem if problem is not None else {}


class ApiClient:
    """One running Tandem, by its address and a bearer key."""

    def __init__(self, url: str, key: str) -> None:
        parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ApiError(f"{url}: not an http:// or https:// address")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._key = key
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=CONNECT_TIMEOUT_S, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=CONNECT_TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        return self._json("GET", path, query)

    def post(self, path: str, body: Any = None, query: dict[str, Any] | None = None, *, key: str = "") -> Any:
        """`key` is the `Idempotency-Key`: said again with the same one, it is done once."""
        headers = {"Idempotency-Key": key} if key else None
        return self._json("POST", path, query, msgspec.json.encode(body if body is not None else {}), headers)

    def patch(self, path: str, body: Any) -> Any:
        return self._json("PATCH", path, None, msgspec.json.encode(body))

    def put(self, path: str, body: Any) -> Any:
        return self._json("PUT", path, None, msgspec.json.encode(body))

    def delete(self, path: str) -> Any:
        return self._json("DELETE", path)

    def items(self, path: str, query: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """Every row of a list, page after page by its cursor."""
        asked = {"limit": PAGE_ROWS, **(query or {})}
        while True:
            page = self.get(path, asked)
            yield from page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = cursor

    def upload(
        self,
        path: str,
        file: Path,
        query: dict[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """POST a file as the body; `progress(sent, total)` in bytes after every piece."""
        try:
            total = file.stat().st_size
            with file.open("rb") as stream:
                body = _pieces(stream, total, progress)
                headers = {"Content-Type": "text/csv", "Content-Length": str(total)}
                return self._json("POST", path, query, body, headers)
        except OSError as error:
            raise ApiError(f"{file}: {error.strerror or error}") from error

    def download(self, path: str, query: dict[str, Any] | None = None) -> Iterator[bytes]:
        """The body of a GET in pieces, as it comes."""
        response = self._send("GET", path, query)
        while piece := response.read(CHUNK_BYTES):
            yield piece

    def _json(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        content = self._send(method, path, query, body, headers).read()
        if not content:
            return None
        try:
            return msgspec.json.decode(content)
        except msgspec.DecodeError as error:
            raise ApiError(f"{self.url}{path}: the answer is not JSON; is this a Tandem?") from error

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        target = API + path
        if query:
            given = {name: _text(value) for name, value in query.items() if value is not None}
            target += "?" + urllib.parse.urlencode(given)
        sent = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", **(headers or {})}
        # The server may have closed a kept connection meanwhile. What may be said twice is repeated
        # once; a POST goes over a connection of its own.
        if method == "POST":
            self._connection.close()
        tries = 2 if self._connection.sock is not None else 1
        for left in reversed(range(tries)):
            try:
                if self._connection.sock is None:
                    self._connection.connect()
                    self._wait_longer()
                self._connection.request(method, target, body, sent)
                response = self._connection.getresponse()
                break
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self._connection.close()
                if not left:
                    raise ApiError(f"{self.url} closed the connection") from error
            except TimeoutError as error:
                self._connection.close()
                raise ApiError(f"{self.url} did not answer in time") from error
            except (OSError, socket.gaierror, http.client.HTTPException) as error:
                self._connection.close()
                raise ApiError(
                    f"no Tandem answers at {self.url} ({getattr(error, 'strerror', None) or error}); is it running?"
                ) from error
        if response.status >= 400:
            raise _problem(method, path, response)
        return response

    def _wait_longer(self) -> None:
        """A connection is made at once or never; an answer may take as long as a deck takes."""
        opened: socket.socket | None = self._connection.sock
        if opened is not None:
            opened.settimeout(TIMEOUT_S)


def _pieces(stream: BinaryIO, total: int, progress: Callable[[int, int], None] | None) -> Iterator[bytes]:
    sent = 0
    while piece := stream.read(CHUNK_BYTES):
        sent += len(piece)
        yield piece
        if progress is not None:
            progress(sent, total)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _problem(method: str, path: str, response: http.client.HTTPResponse) -> ApiError:
    """One line out of an RFC 9457 problem document."""
    problem: dict[str, Any] = {}
    try:
        decoded = msgspec.json.decode(response.read())
        problem = decoded if isinstance(decoded, dict) else {}
    except msgspec.DecodeError:
        pass
    if response.status == 401:
        text = "the key is not accepted; give the right file with --key-file"
    elif response.status == 403:
        text = "this key's role may not do that"
    else:
        text = str(problem.get("detail") or problem.get("title") or response.reason)
        faults = [
            f"{fault.get('path')}: {fault.get('reason')}"
            for fault in problem.get("errors") or []
            if isinstance(fault, dict)
        ]
        if faults:
            text += " (" + "; ".join(faults) + ")"
    return ApiError(f"{method} {path}: {text}", response.status, problem)
