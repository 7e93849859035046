"""Admin keys: bearer tokens with a role. The store has their hashes; the key itself is shown once.

A key is 32 random bytes, so a plain SHA-256 of it is as hard to turn back as the key is to guess;
the slow hashes that passwords need would only cost time on each request.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services.context import Actor, Change, Context, Role
from control.services.errors import Conflict, FieldError, invalid
from control.services.fields import Moment, Name
from control.services.nouns import Noun
from control.services.pages import ListQuery
from control.store import tables
from control.store.engine import Tx

KEY_BYTES: Final = 32
KEY_PREFIX: Final = "tandem_"
"""So that scanners of leaked secrets, and people, know one when they see it."""


class AdminKeyNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    role: Role
    expires_at: Moment | None = None


class AdminKey(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    name: str
    role: Role
    expires_at: Moment | None
    hint: str
    """The key's last characters."""


class AdminKeyCreated(AdminKey, frozen=True, kw_only=True):
    key: str
    """The bearer token; it is not shown again."""


class AdminKeyQuery(ListQuery, frozen=True, kw_only=True):
    role: Role | None = None


class AdminKeys(Noun[AdminKeyNew, AdminKey]):
    name = "admin_key"
    table = tables.admin_keys
    new = AdminKeyNew
    out = AdminKey
    moments = ("expires_at",)
    sorts = ("id", "name", "role", "created_at", "updated_at")
    search = ("name_key",)

    async def check(self, ctx: Context, change: Change, new: AdminKeyNew, before: RowMapping | None) -> dict[str, Any]:
        columns = self.columns(new)
        detail = "Another key has this name."
        await self.check_unique(change.tx, before, "name", detail, name_key=columns["name_key"])
        expires_ms = columns["expires_at_ms"]
        is_dated_anew = before is None or before["expires_at_ms"] != expires_ms
        if expires_ms is not None and expires_ms <= change.now_ms and is_dated_anew:
            raise invalid("expires_at", "not in the future")
        if before is not None and before["role"] == "admin" and (new.role != "admin" or expires_ms is not None):
            await self._check_other_admin(change.tx, before)
        return {}

    async def archive_owned(self, change: Change, row: RowMapping) -> None:
        if row["role"] == "admin":
            await self._check_other_admin(change.tx, row)

    async def issue(self, ctx: Context, new: AdminKeyNew) -> AdminKeyCreated:
        """Make a key; the answer is the only place where it stands in clear."""
        key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
        async with ctx.change() as change:
            made = await self.create_in(ctx, change, new, key_hash=hash_key(key), hint=key[-4:])
        return AdminKeyCreated(**msgspec.structs.asdict(made), key=key)

    async def _check_other_admin(self, tx: Tx, row: RowMapping) -> None:
        """The last key that can make keys stays."""
        keys = self.table
        query = select(func.count()).where(
            keys.c.role == "admin", keys.c.archived_ms.is_(None), keys.c.expires_at_ms.is_(None), keys.c.id != row["id"]
        )
        if not (await tx.execute(query)).scalar_one():
            detail = "This is the last admin key that does not expire."
            raise Conflict(detail, errors=[FieldError("role", detail)])


ADMIN_KEYS: Final = AdminKeys()


def hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


async def authenticate(ctx: Context, key: str) -> Actor | None:
    """Who holds this key; None for one that is unknown, archived or expired."""
    keys = tables.admin_keys
    query = select(keys).where(keys.c.key_hash == hash_key(key), keys.c.archived_ms.is_(None))
    async with ctx.store.read() as tx:
        row = (await tx.execute(query)).mappings().first()
    if row is None or (row["expires_at_ms"] is not None and row["expires_at_ms"] <= ctx.now_ms()):
        return None
    return Actor(kind="key", id=row["id"], name=row["name"], role=row["role"])


async def ensure_first_key(ctx: Context, path: Path) -> bool:
    """Where no admin key exists, make one and write it to `path`, readable by its owner alone.

    The file is there before the row: a crash between the two leaves a key that opens nothing, and
    the next start makes another. True where a key was made.
    """
    keys = tables.admin_keys
    async with ctx.change() as change:
        query = select(func.count()).where(keys.c.role == "admin", keys.c.archived_ms.is_(None))
        if (await change.tx.execute(query)).scalar_one():
            return False
        key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
        await asyncio.to_thread(_write_private, path, key + "\n")
        new = AdminKeyNew(name="First admin key", role="admin")
        await ADMIN_KEYS.create_in(ctx, change, new, key_hash=hash_key(key), hint=key[-4:])
    return True


def _write_private(path: Path, text: str) -> None:
    """Written aside and moved into place, so that the name never stands for half a key."""
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
