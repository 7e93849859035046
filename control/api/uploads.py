"""A file that a request brings, as its body or as a part of a form, on disk."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.datastructures import UploadFile

from control.api.routing import Call
from control.services.errors import invalid

UPLOAD_BYTES_MAX: Final = 268_435_456
CHUNK_BYTES: Final = 1_048_576


class Upload(msgspec.Struct, frozen=True):
    path: Path
    name: str
    """As the sender calls it; empty where it does not."""
    sha256: str


@asynccontextmanager
async def uploaded_file(call: Call) -> AsyncIterator[Upload]:
    """The file, until the block ends. A body is written away as it comes: a large one needs no memory.

    Raises:
        Invalid: a form without a file, or an empty body.
    """
    request = call.request
    descriptor, path = await asyncio.to_thread(_make_file, call.ctx.data_folder / "uploads")
    try:
        digest = hashlib.sha256()
        sent_name, count = "", 0
        with os.fdopen(descriptor, "wb") as file:
            if request.content_type[0].startswith("multipart/"):
                part = await _form_file(request)
                sent_name = part.filename
                chunks = _chunks(part)
            else:
                chunks = request.stream()
            async for chunk in chunks:
                digest.update(chunk)
                count += len(chunk)
                await asyncio.to_thread(file.write, chunk)
        if not count:
            raise invalid("file", "empty")
        yield Upload(path, sent_name, digest.hexdigest())
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def uploaded_bytes(call: Call) -> tuple[bytes, str]:
    """A file that is read whole, and its name; the route's `body_bytes_max` is small enough for that.

    Raises:
        Invalid: a form without a file, or an empty body.
    """
    async with uploaded_file(call) as file:
        return await asyncio.to_thread(file.path.read_bytes), file.name


async def _form_file(request: Request[Any, Any, Any]) -> UploadFile:
    for value in (await request.form()).values():
        if isinstance(value, UploadFile):
            return value
    raise invalid("file", "no file among the parts of the form")


async def _chunks(part: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await part.read(CHUNK_BYTES):
        yield chunk


def _make_file(folder: Path) -> tuple[int, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(".upload", "deck-", folder)
    return descriptor, Path(name)
