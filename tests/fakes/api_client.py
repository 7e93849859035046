"""The command line's API client on a control plane of tests: the same requests, without a socket."""

from __future__ import annotations

import asyncio
import http.client
import io
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx

from control.client import ApiClient
from tests.fakes.control import ControlPlane

ReturnT = TypeVar("ReturnT")


class PlaneConnection:
    """Answers as `http.client` does; used in a thread of its own, while the plane's loop runs."""

    def __init__(self, plane: ControlPlane, loop: asyncio.AbstractEventLoop) -> None:
        self.sock: object | None = None
        self._plane = plane
        self._loop = loop
        self._answer: httpx.Response

    def connect(self) -> None:
        self.sock = None

    def close(self) -> None:
        self.sock = None

    def request(self, method: str, target: str, body: bytes | Iterator[bytes] | None, headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) or body is None else b"".join(body)
        asked = self._plane.client.request(method, target, content=content, headers=headers)
        self._answer = asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    def getresponse(self) -> http.client.HTTPResponse:
        answer = self._answer
        head = f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\r\nContent-Length: {len(answer.content)}\r\n\r\n"
        response = http.client.HTTPResponse(_Bytes(head.encode() + answer.content))  # type: ignore[arg-type]
        response.begin()
        return response


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


async def with_client(plane: ControlPlane, work: Callable[[ApiClient], ReturnT], **more: Any) -> ReturnT:
    """Let synchronous code ask the plane, with an admin's key."""
    client = ApiClient("http://tandem.test", plane.keys["admin"])
    client._connection = PlaneConnection(plane, asyncio.get_running_loop())  # type: ignore[assignment]
    return await asyncio.to_thread(work, client, **more)
