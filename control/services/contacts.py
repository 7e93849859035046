"""Contacts: people of a customer, who may log in to the portal.

A password is set by hand, or made here and mailed once; the store has its Argon2 hash. Whatever takes
a login away (another password, `enabled` false, archiving) ends the sessions that it had begun.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import select, update
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.email_addresses import check_email, email_key
from control.services.errors import Conflict, FieldError, MailFailed, invalid
from control.services.fields import Id, Label, Moment, Name, Notes, check_name, moment_or_none
from control.services.hosts import Host, network_text
from control.services.nouns import Noun
from control.services.owners import check_customer
from control.services.pages import ListQuery
from control.store import tables
from control.store.contact_tables import contact_tokens, contacts
from control.store.engine import Tx
from rating.numbers import normalise_e164

GENERATED_BYTES: Final = 12
"""16 characters, 96 bits."""

Password = Annotated[
    str,
    Meta(min_length=10, max_length=200, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])", description="Write-only."),
]


class ContactFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id
    name: Name
    email: Label
    """Logs in by it; one contact of all has it, whatever the case."""
    phone: Label = ""
    """Kept as `+` and digits."""
    enabled: bool = True
    """Whether it may log in; the customer's `portal_access` must be on too."""
    ip_allow_list: Annotated[tuple[Host, ...], Meta(max_length=100)] = ()
    """Addresses and blocks that it may log in from; none: from anywhere."""
    notes_public: Notes = ""
    """Shown in the portal."""
    notes_private: Notes = ""


class ContactNew(ContactFields, frozen=True, kw_only=True):
    password: Password | UnsetType = UNSET
    generate_password: bool = False
    """Make one and mail it. Instead of `password`; needs a mail server."""


class Contact(ContactFields, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    has_password: bool
    password_set_at: Moment | None
    has_second_factor: bool
    last_login_at: Moment | None
    password_mail: Literal["sent", "failed"] | None = None
    """What became of a password that was made by this very request."""


class ContactQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Id | None = None
    email: Label | None = None
    enabled: bool | None = None


class Contacts(Noun[ContactNew, Contact]):
    name = "contact"
    table = contacts
    new = ContactNew
    out = Contact
    unscheduled = ("generate_password",)
    fixed = ("customer_id",)
    sorts = ("id", "name", "email", "customer_id", "created_at", "updated_at")
    search = ("name", "email", "phone")

    async def check(self, ctx: Context, change: Change, new: ContactNew, before: RowMapping | None) -> dict[str, Any]:
        await check_customer(change.tx, new.customer_id)
        check_name("name", new.name)
        check_email("email", new.email)
        key = email_key(new.email)
        await self.check_unique(change.tx, before, "email", "Another contact logs in by this address.", email_key=key)
        values: dict[str, Any] = {
            "email_key": key,
            "phone": _phone(new.phone),
            "ip_allow_list": [network_text(f"ip_allow_list[{n}]", text) for n, text in enumerate(new.ip_allow_list)],
        }
        if not isinstance(new.password, UnsetType):
            if new.generate_password:
                raise invalid("generate_password", "either this or a password")
            values["password_hash"] = await ctx.portal.hash_password(new.password)
            values["password_set_ms"] = change.now_ms
        if before is not None and ("password_hash" in values or not new.enabled):
            await end_tokens(change, before["id"])
        return values

    async def create(self, ctx: Context, new: ContactNew) -> Contact:
        _check_mail(ctx, new.generate_password)
        made = await super().create(ctx, new)
        return await self._with_password(ctx, made) if new.generate_password else made

    async def update(self, ctx: Context, row_id: int, sent: dict[str, Any], expected: int | None = None) -> Contact:
        wants_password = sent.get("generate_password") is True
        _check_mail(ctx, wants_password)
        changed = await super().update(ctx, row_id, sent, expected)
        return await self._with_password(ctx, changed) if wants_password else changed

    async def archive_owned(self, change: Change, row: RowMapping) -> None:
        await end_tokens(change, row["id"])

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {
            "has_password": bool(row["password_hash"]),
            "password_set_at": moment_or_none(row["password_set_ms"]),
            "has_second_factor": bool(row["totp_sealed"]),
            "last_login_at": moment_or_none(row["last_login_ms"]),
        }

    async def set_password(self, ctx: Context, change: Change, row: RowMapping, password: str, **more: Any) -> Contact:
        """Set it within a change; all sessions and links end, and the audit says that it changed."""
        hashed = await ctx.portal.hash_password(password)
        await end_tokens(change, row["id"])
        values = {"password_hash": hashed, "password_set_ms": change.now_ms, **more}
        return await self.note(change, "set_password", row, values)

    async def note(self, change: Change, action: str, row: RowMapping, values: dict[str, Any]) -> Contact:
        """Write columns that no field gives, with an audit row of this action."""
        return await self._announce(change, action, row, await self.write(change, row, values))

    async def _with_password(self, ctx: Context, contact: Contact) -> Contact:
        """Make a password and mail it, once: where the mail fails nobody ever has it, and another can be made."""
        assert ctx.mail is not None, "checked before anything was stored"
        password = secrets.token_urlsafe(GENERATED_BYTES)
        async with ctx.change() as change:
            changed = await self.set_password(ctx, change, await self.row(change.tx, contact.id), password)
        lines = [f"Hello {contact.name},", f"your password is: {password}"]
        if ctx.portal.settings.url:
            lines.append(f"Log in at {ctx.portal.settings.url}")
        text = "\n\n".join([*lines, "Please change it after your first login.\n"])
        result: Literal["sent", "failed"] = "sent"
        try:
            await ctx.mail.send(contact.email, "Your password", text)
        except MailFailed:
            result = "failed"
        async with ctx.change() as change:
            await change.audit("mail_password", "contact", contact.id, after={"to": contact.email, "result": result})
        return msgspec.structs.replace(changed, password_mail=result)


CONTACTS: Final = Contacts()


async def end_tokens(change: Change, contact_id: int, kind: str | None = None, but_id: int | None = None) -> None:
    """End a contact's sessions and links that have not ended; `but_id` stays."""
    c = contact_tokens.c
    statement = update(contact_tokens).where(c.contact_id == contact_id, c.ended_ms.is_(None))
    if kind is not None:
        statement = statement.where(c.kind == kind)
    if but_id is not None:
        statement = statement.where(c.id != but_id)
    await change.tx.execute(statement.values(ended_ms=change.now_ms))


async def contact_by_email(tx: Tx, email: str) -> RowMapping | None:
    """The contact of a login, with its customer's `portal_access`; None where there is none alive."""
    customers = tables.customers
    query = (
        select(contacts, customers.c.portal_access)
        .join(customers, customers.c.id == contacts.c.customer_id)
        .where(
            contacts.c.email_key == email_key(email),
            contacts.c.archived_ms.is_(None),
            customers.c.archived_ms.is_(None),
        )
    )
    return (await tx.execute(query)).mappings().first()


def _check_mail(ctx: Context, is_wanted: bool) -> None:
    if is_wanted and ctx.mail is None:
        detail = "No mail server is set: passwords can be set by hand only."
        raise Conflict(detail, errors=[FieldError("generate_password", detail)])


def _phone(text: str) -> str:
    if not text.strip():
        return ""
    digits = normalise_e164(text)
    if digits is None:
        raise invalid("phone", "not an international number, as in +44 20 7183 8750")
    return f"+{digits}"
