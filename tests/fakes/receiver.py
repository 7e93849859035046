"""An HTTP server on loopback that keeps what it is sent, and answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

Reply = tuple[int, dict[str, str], bytes]


class Received(msgspec.Struct):
    path: str
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Receiver:
    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.port = 0
        self.status = 200
        self.reply: Callable[[Received], Reply] | None = None
        """Instead of `status`."""
        self.is_silent = False
        """Take the request and say nothing."""
        self.connections = 0
        self.is_asked = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def events(self) -> list[str]:
        return [request.json["event"] for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Received(head[0].split()[1], headers, body)
        self.requests.append(request)
        self.is_asked.set()
        if self.is_silent:
            await reader.read()
            return False
        status, more, answer = (self.status, {}, b"") if self.reply is None else self.reply(request)
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in more.items())]
        if "content-length" not in {name.lower() for name in more}:
            lines.append(f"Content-Length: {len(answer)}")
        writer.write("\r\n".join([*lines, "", ""]).encode() + answer)
        await writer.drain()
        return True


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
