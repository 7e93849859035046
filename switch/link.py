"""The Unix socket that the control plane connects to: frames in, frames out (`switch/frames.py`).

Each client gets a Hello first, then the alarms that stand; its requests are handled one after
another, in order. A bad frame closes that client alone. Events go to all of them.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from switch.frames import Answer, Reply, Request
from switch.outputs import Event

FRAME_BYTES_MAX: Final = 268_435_456
"""A snapshot of a very large installation fits ten times."""
CLIENTS_MAX: Final = 16
UNREAD_BYTES_MAX: Final = 67_108_864
"""A client that leaves this much unread is closed."""
SOCKET_PATH_BYTES_MAX: Final = 107
"""sockaddr_un has room for 108 with the final zero (unix(7))."""

_LENGTH: Final = struct.Struct(">I")

log = structlog.get_logger("switch.link")


class LinkUnusable(Exception):
    """The socket cannot be made; the text says why."""


class LinkServer:
    """Listens on one path. `handle` answers a request; `greet` says what a new client hears first."""

    def __init__(
        self, path: Path, greet: Callable[[], list[Answer]], handle: Callable[[Request], Reply | None]
    ) -> None:
        self._path = path
        self._greet = greet
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Request).decode

    async def start(self) -> None:
        """Listen; a socket file that an earlier run left is replaced (the folder is ours alone by then).

        Raises:
            LinkUnusable: the path is too long, or the folder does not allow it.
        """
        if len(os.fsencode(self._path)) > SOCKET_PATH_BYTES_MAX:
            raise LinkUnusable(f"{self._path}: longer than {SOCKET_PATH_BYTES_MAX} bytes; choose another data folder")
        before = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            raise LinkUnusable(f"{self._path}: {error.strerror}") from error
        finally:
            os.umask(before)

    def broadcast(self, event: Event) -> None:
        if self._clients:
            frame = self._frame(event)
            for writer in list(self._clients):
                self._write(writer, frame)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._clients):
            writer.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            writer.close()
            return
        self._clients.add(writer)
        try:
            for answer in self._greet():
                self._write(writer, self._frame(answer))
            while True:
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                if length > FRAME_BYTES_MAX:
                    log.warning("control client closed", reason=f"frame of {length} bytes")
                    return
                reply = self._handle(self._decode(await reader.readexactly(length)))
                if reply is not None:
                    self._write(writer, self._frame(reply))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it went away
        except msgspec.MsgspecError as error:
            log.warning("control client closed", reason=f"bad frame: {error}")
        finally:
            self._clients.discard(writer)
            writer.close()

    def _frame(self, answer: Answer) -> bytes:
        body = self._encode(answer)
        return _LENGTH.pack(len(body)) + body

    def _write(self, writer: asyncio.StreamWriter, frame: bytes) -> None:
        if writer.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            log.warning("control client closed", reason="it does not read")
            self._clients.discard(writer)
            writer.transport.abort()
            return
        writer.write(frame)
