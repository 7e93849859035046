"""The control plane's end of the socket, as bare as can be."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import msgspec

from switch.frames import Answer, Hello


class ControlClient:
    """One connection; the Hello has been read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: Hello) -> None:
        self.reader = reader
        self.writer = writer
        self.hello = hello

    @classmethod
    async def connect(cls, path: Path) -> ControlClient:
        reader, writer = await asyncio.open_unix_connection(str(path))
        hello = await _hear(reader)
        assert isinstance(hello, Hello)
        return cls(reader, writer, hello)

    def say(self, request: object) -> None:
        body = msgspec.msgpack.encode(request)
        self.writer.write(struct.pack(">I", len(body)) + body)

    async def hear(self) -> Any:
        return await _hear(self.reader)

    async def ask(self, request: object) -> Any:
        self.say(request)
        return await self.hear()


async def _hear(reader: asyncio.StreamReader) -> Any:
    async with asyncio.timeout(5.0):
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return msgspec.msgpack.decode(await reader.readexactly(length), type=Answer)
