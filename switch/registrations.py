"""Contacts of SIP users as they are written down, and the file that brings them back after a restart.

Each change is appended to `registrations.log` before the answer to its REGISTER leaves, so that `kill -9`
loses none; nothing is synced, since a phone that a loss of power has made us forget registers again
within its interval. The file is written anew, in a thread, when it has grown to several times of
what it says. It is no part of the journal: contacts move no money, come every minute from every phone,
and nobody has to read them but the next process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec
import structlog

from switch.flow import Flow

REGISTRATIONS_FILE: Final = "registrations.log"
GROWTH: Final = 4
"""Times its size after the last writing anew, from which it is written anew."""
SIZE_MIN: Final = 1_048_576
_HEAD_BYTES: Final = 8
_RECORD_BYTES_MAX: Final = 65_536

log = structlog.get_logger("switch.registrations")


class Registration(msgspec.Struct, frozen=True, array_like=True):
    """One contact of one user, or that it is gone."""

    user_id: int
    uri: bytes
    expires_ms: int
    """Wall clock; 0: it is gone."""
    flow: Flow
    transport: str
    path: bytes = b""
    q: int = 1_000
    call_id: bytes = b""
    cseq: int = 0
    user_agent: str = ""
    registered_ms: int = 0
    instance: bytes = b""


class RegistrationFile:
    """Reads once, then appends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encode = msgspec.msgpack.Encoder().encode
        self._fd = -1
        self._size = 0
        self._size_anew = SIZE_MIN
        self._since: list[bytes] | None = None
        """What has come while the file is being written anew; None: it is not."""
        self.failure = ""
        """Why it takes nothing; phones are rung all the same until the process ends."""

    def read(self, now_ms: int) -> list[Registration]:
        """What is in force by the file, which is written anew with just that.

        A record that cannot be read ends it: a file that was cut off says less, never something else.
        """
        found: dict[tuple[int, bytes], Registration] = {}
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            log.error("registrations not read", path=str(self._path), reason=error.strerror)
            data = b""
        for registration in _decoded(data):
            key = (registration.user_id, registration.uri)
            if registration.expires_ms > now_ms:
                found[key] = registration
            else:
                found.pop(key, None)
        in_force = list(found.values())
        try:
            frames = [self._frame(each) for each in in_force]
            self._take(_write(self._path.with_suffix(".new"), frames), [])
        except OSError as error:
            self._fail(error)
        return in_force

    def append(self, registrations: Sequence[Registration]) -> None:
        data = b"".join([self._frame(each) for each in registrations])
        if self._since is not None:
            self._since.append(data)
        if self._fd < 0:
            return
        try:
            os.write(self._fd, data)
        except OSError as error:
            self._fail(error)
            return
        self.failure = ""
        self._size += len(data)

    @property
    def wants_writing(self) -> bool:
        return self._since is None and (self._fd < 0 or self._size > GROWTH * self._size_anew)

    async def write_anew(self, in_force: Iterable[Registration]) -> None:
        """Begin the file again with what is in force; what comes meanwhile is appended after."""
        frames = [self._frame(each) for each in in_force]
        self._since = []
        try:
            fd = await asyncio.to_thread(_write, self._path.with_suffix(".new"), frames)
            self._take(fd, self._since)
        except OSError as error:
            self._fail(error)
        finally:
            self._since = None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _frame(self, registration: Registration) -> bytes:
        body = self._encode(registration)
        return len(body).to_bytes(4, "big") + crc32(body).to_bytes(4, "big") + body

    def _take(self, fd: int, since: Sequence[bytes]) -> None:
        """Put the new file in place of the old one."""
        try:
            for data in since:
                os.write(fd, data)
            self._path.with_suffix(".new").replace(self._path)
        except OSError:
            os.close(fd)
            raise
        self.close()
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self._size_anew = max(SIZE_MIN, self._size)
        self.failure = ""

    def _fail(self, error: OSError) -> None:
        if not self.failure:
            log.error("registrations not written", path=str(self._path), reason=error.strerror)
        self.failure = error.strerror or str(error)


def _write(path: Path, frames: Sequence[bytes]) -> int:
    """A file of these frames, open for appending. Meant for a thread where there are many.

    Raises:
        OSError: the disk does not take it.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        data = memoryview(b"".join(frames))
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        os.close(fd)
        raise
    return fd


def _decoded(data: bytes) -> list[Registration]:
    decode = msgspec.msgpack.Decoder(Registration).decode
    found: list[Registration] = []
    at = 0
    while at + _HEAD_BYTES <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + _HEAD_BYTES : at + _HEAD_BYTES + size]
        if size > _RECORD_BYTES_MAX or len(body) < size or crc32(body) != int.from_bytes(data[at + 4 : at + 8], "big"):
            log.warning("registrations end in a record that cannot be read", offset=at, bytes=len(data))
            break
        try:
            found.append(decode(body))
        except msgspec.MsgspecError:
            log.warning("a registration of another release is passed over", offset=at)
        at += _HEAD_BYTES + size
    return found
