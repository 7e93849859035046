"""What a contact does about its own login: profile, password, links to set one, second factor."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import pyotp
from msgspec import Meta
from sqlalchemy import select, update
from sqlalchemy.engine import RowMapping

from control.services.admin_keys import hash_key
from control.services.contacts import CONTACTS, Password, contact_by_email
from control.services.context import Change, Context
from control.services.email_addresses import email_key
from control.services.errors import Conflict, FieldError, MailFailed, NotFound, invalid
from control.services.fields import Label, Moment, Name, moment_or_none, ms_moment
from control.services.portal_gate import address_key
from control.services.sessions import (
    Code,
    Login,
    Secret,
    Text320,
    actor_of,
    matching_step,
    new_token,
)
from control.store import tables
from control.store.contact_tables import contact_tokens, contacts
from control.store.engine import Tx

ISSUER: Final = "Tandem"
LINK_EVERY_MS: Final = 120_000
"""A link that was mailed this long ago or less is not mailed again: nobody's box is filled by others."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Who is logged in, and for whom."""

    id: int
    row_version: int
    name: str
    email: str
    phone: str
    notes: str
    """For the contact to read."""
    has_second_factor: bool
    last_login_at: Moment | None
    customer_id: int
    customer: str
    customer_status: str
    customer_notes: str
    currency: str
    time_zone: str


class ProfilePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a contact may change of itself."""

    name: Name = ""
    phone: Label = ""


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    current: Secret
    new: Password


class LinkWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Text320


class PasswordReset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=200)]
    """Of the mailed link."""
    password: Password


class SecondFactor(msgspec.Struct, frozen=True, kw_only=True):
    """To be typed or scanned into an authenticator; it counts once a code of it was sent back."""

    secret: str
    uri: str
    """`otpauth://…`, as a QR code has it."""


class CodeSent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: Code


class PasswordSent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    current: Secret


async def profile(ctx: Context) -> Profile:
    customers = tables.customers
    async with ctx.store.read() as tx:
        row = await _own_row(ctx, tx)
        query = select(customers).where(customers.c.id == row["customer_id"])
        customer = (await tx.execute(query)).mappings().one()
    return Profile(
        id=row["id"],
        row_version=row["row_version"],
        name=row["name"],
        email=row["email"],
        phone=row["phone"],
        notes=row["notes_public"],
        has_second_factor=bool(row["totp_sealed"]),
        last_login_at=moment_or_none(row["last_login_ms"]),
        customer_id=customer["id"],
        customer=customer["name"],
        customer_status=customer["status"],
        customer_notes=customer["notes_public"],
        currency=customer["currency"],
        time_zone=customer["time_zone"],
    )


async def change_profile(ctx: Context, sent: dict[str, Any], version: int | None) -> Profile:
    await CONTACTS.update(ctx, _own_id(ctx), sent, version)
    return await profile(ctx)


async def change_password(ctx: Context, asked: PasswordChange, address: str, user_agent: str) -> Login:
    """Set another password; every session ends, and the answer is a new one.

    Raises:
        Throttled: too many wrong tries at the current password.
        Invalid: it is not the current one.
    """
    await _check_password(ctx, asked.current)
    lifetime_s = ctx.portal.settings.session_s
    async with ctx.change() as change:
        row = await _own_row(ctx, change.tx)
        changed = await CONTACTS.set_password(ctx, change, row, asked.new)
        token = await new_token(change, row["id"], "session", lifetime_s, address, user_agent)
        expires_at = ms_moment(change.now_ms + lifetime_s * 1000)
    return Login(token=token, expires_at=expires_at, contact_id=changed.id, name=changed.name)


async def want_link(ctx: Context, wanted: LinkWanted, address: str) -> None:
    """Mail a link to set a password, if there is somebody to mail it to: the answer is the same.

    Raises:
        Throttled: too many were asked for from this address.
        Conflict: the installation sends no mail.
    """
    _check_mail(ctx)
    place = address_key(address)
    ctx.portal.addresses.check(place)
    ctx.portal.pairs.check(f"link {place} {email_key(wanted.email)}")
    ctx.portal.addresses.note(place)
    ctx.portal.pairs.note(f"link {place} {email_key(wanted.email)}")
    ctx.portal.start(_mail_wanted_link(ctx, wanted.email))


async def mail_link(ctx: Context, contact_id: int) -> None:
    """Mail a contact a link to set a password, as staff asked for.

    Raises:
        MailFailed: the server does not take it.
    """
    _check_mail(ctx)
    async with ctx.store.read() as tx:
        row = await CONTACTS.row(tx, contact_id)
    await _mail_link(ctx, row)


async def reset_password(ctx: Context, asked: PasswordReset) -> None:
    """Set a password by a mailed link, which works once.

    Raises:
        Invalid: it was used, has expired, or is nobody's.
    """
    t = contact_tokens.c
    async with ctx.change() as change:
        query = select(t.contact_id).where(
            t.token_hash == hash_key(asked.token),
            t.kind == "reset",
            t.ended_ms.is_(None),
            t.expires_ms > change.now_ms,
        )
        contact_id = (await change.tx.execute(query)).scalar_one_or_none()
        if contact_id is None:
            raise _bad_link()
        try:
            row = await CONTACTS.row(change.tx, contact_id)
        except NotFound as error:
            raise _bad_link() from error
        change.actor = actor_of(row)
        await CONTACTS.set_password(ctx, change, row, asked.password)


async def begin_second_factor(ctx: Context) -> SecondFactor:
    """Make a secret; logins ask for its codes once one has been confirmed."""
    secret = pyotp.random_base32()
    sealed = await ctx.portal.seal(secret)
    async with ctx.change() as change:
        row = await _own_row(ctx, change.tx)
        if row["totp_sealed"]:
            raise Conflict("There is a second factor already; remove it first.")
        own = update(contacts).where(contacts.c.id == row["id"])
        await change.tx.execute(own.values(totp_pending=sealed))
        await change.audit("begin_second_factor", "contact", row["id"])
    return SecondFactor(secret=secret, uri=pyotp.TOTP(secret).provisioning_uri(name=row["email"], issuer_name=ISSUER))


async def confirm_second_factor(ctx: Context, sent: CodeSent) -> None:
    async with ctx.store.read() as tx:
        row = await _own_row(ctx, tx)
    key = f"own {row['id']}"
    ctx.portal.pairs.check(key)
    ctx.portal.pairs.note(key)
    step = await matching_step(ctx, row["totp_pending"], 0, sent.code) if row["totp_pending"] else 0
    if not step:
        raise invalid("code", "not the code of now")
    ctx.portal.pairs.give_back(key)
    async with ctx.change() as change:
        now = await _own_row(ctx, change.tx)
        if now["totp_pending"] != row["totp_pending"]:
            raise invalid("code", "of another secret than the last one")
        values = {"totp_sealed": row["totp_pending"], "totp_pending": "", "totp_step": step}
        await CONTACTS.note(change, "set_second_factor", now, values)


async def remove_own_second_factor(ctx: Context, sent: PasswordSent) -> None:
    await _check_password(ctx, sent.current)
    await remove_second_factor(ctx, _own_id(ctx))


async def remove_second_factor(ctx: Context, contact_id: int) -> None:
    """The phone is lost: logins need the password alone again."""
    async with ctx.change() as change:
        row = await CONTACTS.row(change.tx, contact_id)
        if row["totp_sealed"] or row["totp_pending"]:
            await CONTACTS.note(change, "remove_second_factor", row, {"totp_sealed": "", "totp_pending": ""})


def _own_id(ctx: Context) -> int:
    assert ctx.actor.id is not None, "the route is for contacts"
    return ctx.actor.id


async def _own_row(ctx: Context, tx: Tx) -> RowMapping:
    return await CONTACTS.row(tx, _own_id(ctx))


async def _check_password(ctx: Context, password: str) -> None:
    """Who found an open session does not guess the password either."""
    async with ctx.store.read() as tx:
        row = await _own_row(ctx, tx)
    key = f"own {row['id']}"
    ctx.portal.pairs.check(key)
    ctx.portal.pairs.note(key)
    if not await ctx.portal.is_password(row["password_hash"], password):
        async with ctx.change() as change:
            await change.audit("password_failed", "contact", row["id"])
        raise invalid("current", "not the current password")
    ctx.portal.pairs.forget(key)


def _check_mail(ctx: Context) -> None:
    if ctx.mail is None:
        raise Conflict("No mail server is set.", errors=[FieldError("", "no mail server is set")])


def _bad_link() -> Exception:
    return invalid("token", "not a link that can be used, or not any more")


async def _mail_wanted_link(ctx: Context, email: str) -> None:
    async with ctx.store.read() as tx:
        row = await contact_by_email(tx, email)
        t = contact_tokens.c
        since = ctx.now_ms() - LINK_EVERY_MS
        recent = None
        if row is not None:
            query = select(t.id).where(t.contact_id == row["id"], t.kind == "reset", t.created_ms > since)
            recent = (await tx.execute(query.limit(1))).first()
    if row is None or recent is not None or not row["enabled"] or not row["portal_access"]:
        return
    try:
        await _mail_link(ctx.acting(actor_of(row)), row)
    except MailFailed:
        # It is in the log and in the audit; whoever asked must not learn that there was somebody to mail.
        return


async def _mail_link(ctx: Context, row: RowMapping) -> None:
    assert ctx.mail is not None, "checked before"
    settings = ctx.portal.settings
    async with ctx.change() as change:
        token = await new_token(change, row["id"], "reset", settings.reset_s)
    link = f"{settings.url.rstrip('/')}/reset?token={token}" if settings.url else token
    minutes = settings.reset_s // 60
    lines = (
        f"Hello {row['name']},",
        f"set a password with this, once, within {minutes} minutes:",
        link,
        "If you did not ask for it, nothing has changed and you need do nothing.\n",
    )
    result = "failed"
    try:
        await ctx.mail.send(row["email"], "Set your password", "\n\n".join(lines))
        result = "sent"
    finally:
        async with ctx.change() as change:
            await _note_mail(change, row, result)


async def _note_mail(change: Change, row: RowMapping, result: str) -> None:
    await change.audit("mail_link", "contact", row["id"], after={"to": row["email"], "result": result})
