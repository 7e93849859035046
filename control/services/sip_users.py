"""SIP users: customers that sign in with a digest instead of coming from a known address.

The password is written and never read: the store has what RFC 8760's three algorithms need of it,
which is worth as much as the password to this realm and nothing elsewhere.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.did_references import dids_ringing
from control.services.endpoints import CliPrefix, DialPattern, ForceFrom, StripDigits, check_dial_pattern
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import Channels, Codecs, Cps, Id, Label, Moment, Transport
from control.services.hosts import Host, network_text
from control.services.nouns import Noun
from control.services.number_blocks import check_user_name
from control.services.owners import check_customer
from control.services.pages import ListQuery
from control.services.records import sip_user_record
from control.services.telephone_services import of_sip_user
from control.store import tables
from control.store.engine import Tx
from switch.snapshot import Record

Username = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._~+*!-]+$(?!\n)")]
Password = Annotated[
    str, Meta(min_length=6, max_length=128, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])", description="Write-only.")
]


class SipUserFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    username: Username
    realm: Label = ""
    """Empty: the installation's own."""
    channels: Channels | None = None
    flow_speed_cps: Cps | None = None
    transport: Transport | None = None
    ip_allow_list: Annotated[tuple[Host, ...], Meta(max_length=100)] = ()
    codecs: Codecs = ()
    dial_pattern: DialPattern = ""
    cli_prefix: CliPrefix = ""
    strip_digits: StripDigits = 0
    force_from: ForceFrom = ""
    enabled: bool = True


class SipUserNew(SipUserFields, frozen=True, kw_only=True):
    password: Password | UnsetType = UNSET
    """Needed to create one, and again with a change of `username` or `realm`, which it is hashed with."""


class SipUser(SipUserFields, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class SipUserQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    username: Label | None = None
    realm: Label | None = None
    enabled: bool | None = None


class SipUsers(Noun[SipUserNew, SipUser]):
    name = "sip_user"
    table = tables.sip_users
    new = SipUserNew
    out = SipUser
    fixed = ("customer_id",)
    sorts = ("id", "username", "customer_id", "created_at", "updated_at")
    search = ("username", "realm")

    async def check(self, ctx: Context, change: Change, new: SipUserNew, before: RowMapping | None) -> dict[str, Any]:
        await check_customer(change.tx, new.customer_id)
        realm = new.realm or ctx.realm
        if '"' in realm or "\\" in realm or ":" in realm:
            raise invalid("realm", "no quotes, backslashes or colons")
        await self._check_username(change.tx, new.username, realm, before)
        if before is None or before["username"] != new.username:
            await check_user_name(change.tx, new.customer_id, new.username)
        check_dial_pattern("dial_pattern", new.dial_pattern)
        allowed = [network_text(f"ip_allow_list[{n}]", text) for n, text in enumerate(new.ip_allow_list)]
        return {"realm": realm, "ip_allow_list": allowed, **_hashes(new, realm, before)}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        return await dids_ringing(tx, self.name, row) + await of_sip_user(tx, row["id"])

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return sip_user_record(row)

    async def _check_username(self, tx: Tx, username: str, realm: str, before: RowMapping | None) -> None:
        """Names that differ by case alone are one name, so that none can pass for another."""
        users = self.table
        query = select(users.c.id).where(
            func.lower(users.c.username) == username.lower(), users.c.realm == realm, users.c.archived_ms.is_(None)
        )
        if before is not None:
            query = query.where(users.c.id != before["id"])
        other = (await tx.execute(query.limit(1))).scalar_one_or_none()
        if other is not None:
            detail = f"There is a user {username} in realm {realm} already."
            raise Conflict(
                detail,
                errors=[FieldError("username", detail)],
                references=[Reference(noun=self.name, id=str(other), name=username)],
            )


SIP_USERS: Final = SipUsers()


def _hashes(new: SipUserNew, realm: str, before: RowMapping | None) -> dict[str, str]:
    """H(username:realm:password) of RFC 7616 §3.4.2 by each algorithm; none where it stays as it is."""
    if isinstance(new.password, UnsetType):
        if before is None:
            raise invalid("password", "needed")
        if (before["username"], before["realm"]) != (new.username, realm):
            raise invalid("password", "needed again: the stored digests hold the old username and realm")
        return {}
    secret = f"{new.username}:{realm}:{new.password}".encode()
    return {
        "ha1_md5": hashlib.md5(secret, usedforsecurity=False).hexdigest(),
        "ha1_sha256": hashlib.sha256(secret).hexdigest(),
        "ha1_sha512_256": hashlib.new("sha512_256", secret).hexdigest(),
    }
