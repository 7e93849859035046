"""Answers that are files: streamed as they are made, or whole documents that never change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from litestar import Response
from litestar.response import Stream

PDF: Final = "application/pdf"


def streamed(pieces: AsyncIterator[bytes], name: str, media_type: str = "text/csv", **more: str) -> Stream:
    """A table that is written while it is read; `more` are further headers, with `_` for `-`."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        **{header.replace("_", "-"): value for header, value in more.items()},
    }
    return Stream(pieces, media_type=media_type, headers=headers)


def document(name: str, content: bytes, sha256: str) -> Response[bytes]:
    """A PDF that is kept as it is. A name that a person gave keeps what is safe in a header."""
    safe = "".join(each if each.isascii() and (each.isalnum() or each in "-_. ") else "-" for each in name)
    headers = {
        "Content-Disposition": f'attachment; filename="{safe}"',
        "Cache-Control": "no-store",
        "ETag": f'"{sha256}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=PDF, headers=headers)
