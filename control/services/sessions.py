"""Logins of contacts: who is let in, for how long, and everything about it in the audit.

A wrong address, a wrong password, a closed account and a forbidden place get one and the same answer,
in the same time: whoever guesses learns nothing. The audit has the reason.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

import msgspec
import pyotp
from msgspec import Meta
from sqlalchemy import insert, select, update
from sqlalchemy.engine import RowMapping

from control.services.admin_keys import KEY_BYTES, hash_key
from control.services.contacts import CONTACTS, contact_by_email, end_tokens
from control.services.context import Actor, Change, Context
from control.services.email_addresses import email_key
from control.services.errors import ServiceError
from control.services.fields import Moment, ms_moment
from control.services.hosts import is_in_networks
from control.services.portal_gate import address_key
from control.store import tables
from control.store.contact_tables import contact_tokens, contacts
from control.store.engine import Tx

TOKEN_PREFIX: Final = "tandem_portal_"  # noqa: S105
KNOWN_MS: Final = 90 * 86_400_000
"""An address that a contact was logged in from within this time is no stranger's."""
STEP_S: Final = 30
"""Of a second factor (RFC 6238 §4); a code of the step before or after is taken too."""

Text320 = Annotated[str, Meta(min_length=1, max_length=320, pattern=r"^(?![\s\S]*\x00)")]
Secret = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^(?![\s\S]*\x00)")]
Code = Annotated[str, Meta(max_length=10, pattern=r"^[0-9 ]*$(?!\n)")]


class LoginNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Text320
    password: Secret
    code: Code = ""
    """Of the second factor, where one is set up."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    """Bearer token of everything below `/portal`; it is not shown again."""
    expires_at: Moment
    contact_id: int
    name: str


class LoginRefused(ServiceError):
    """Not let in; the answer says no more than it may."""

    def __init__(self, *, is_code_missing: bool = False) -> None:
        # Who has the password may know that a code is asked for; nobody else learns it.
        what = "A code of the second factor is needed." if is_code_missing else "Wrong e-mail, password or code."
        super().__init__(what)
        self.is_code_missing = is_code_missing


async def log_in(ctx: Context, new: LoginNew, address: str, user_agent: str) -> Login:
    """Check who it is and begin a session.

    Raises:
        Throttled: too many wrong tries from this address, or at this account.
        LoginRefused: not let in.
    """
    async with ctx.store.read() as tx:
        contact = await contact_by_email(tx, new.email)
        is_known = contact is not None and await _was_here(tx, contact["id"], address, ctx.now_ms())
    gate, place = ctx.portal, address_key(address)
    account = email_key(new.email)
    counts = [(gate.addresses, place), (gate.pairs, f"{place} {account}")]
    if not is_known:
        counts.append((gate.strangers, account))
    for throttle, key in counts:
        throttle.check(key)
    # Counted as wrong before it is looked at: tries that come together must not all pass the check.
    noted = [throttle.note(key) for throttle, key in counts]
    closes = any(noted)
    is_right = await gate.is_password("" if contact is None else contact["password_hash"], new.password)
    reason = _refusal(contact, address) if is_right and contact is not None else "password"
    step = 0
    if contact is not None and not reason and contact["totp_sealed"]:
        step = await matching_step(ctx, contact["totp_sealed"], contact["totp_step"], new.code)
        reason = "" if step else "code_missing" if not new.code.strip() else "code"
    made = None
    if contact is not None and not reason:
        made = await _begin(ctx, contact, address, user_agent, step)
        reason = "" if made is not None else "changed_meanwhile"
    if made is not None or reason == "code_missing":
        # Who has the password and only lacked the code has not guessed.
        for throttle, key in counts:
            throttle.give_back(key)
        closes = False
    if made is not None:
        gate.pairs.forget(f"{place} {account}")
        return made
    await _audit_failure(ctx, contact, new.email, address, "unknown" if contact is None else reason, closes=closes)
    raise LoginRefused(is_code_missing=reason == "code_missing")


async def authenticate(ctx: Context, token: str, address: str) -> Actor | None:
    """Whose session this is; None where it has ended, or its contact may not be here any more."""
    customers, t = tables.customers, contact_tokens.c
    query = (
        select(contacts, customers.c.portal_access)
        .join(contact_tokens, t.contact_id == contacts.c.id)
        .join(customers, customers.c.id == contacts.c.customer_id)
        .where(
            t.token_hash == hash_key(token),
            t.kind == "session",
            t.ended_ms.is_(None),
            t.expires_ms > ctx.now_ms(),
            contacts.c.archived_ms.is_(None),
            customers.c.archived_ms.is_(None),
        )
    )
    async with ctx.store.read() as tx:
        row = (await tx.execute(query)).mappings().first()
    return None if row is None or _refusal(row, address) else actor_of(row)


async def log_out(ctx: Context, token: str) -> None:
    async with ctx.change() as change:
        own = contact_tokens.c.token_hash == hash_key(token)
        await change.tx.execute(update(contact_tokens).where(own).values(ended_ms=change.now_ms))
        await change.audit("logout", "contact", ctx.actor.id)


async def end_all(ctx: Context, contact_id: int) -> None:
    """End every session of a contact: a lost laptop, a leaver."""
    async with ctx.change() as change:
        await CONTACTS.row(change.tx, contact_id)
        await end_tokens(change, contact_id)
        await change.audit("end_sessions", "contact", contact_id)


def actor_of(contact: RowMapping) -> Actor:
    return Actor(
        kind="contact",
        name=contact["email"],
        role="customer",
        id=contact["id"],
        customer_id=contact["customer_id"],
    )


async def new_token(
    change: Change, contact_id: int, kind: str, lifetime_s: int, address: str = "", user_agent: str = ""
) -> str:
    """A token of 32 random bytes; the store has its hash."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    values = {
        "contact_id": contact_id,
        "kind": kind,
        "token_hash": hash_key(token),
        "address": address_key(address),
        "user_agent": user_agent[:255],
        "created_ms": change.now_ms,
        "expires_ms": change.now_ms + lifetime_s * 1000,
    }
    await change.tx.execute(insert(contact_tokens).values(**values))
    return token


async def matching_step(ctx: Context, sealed: str, last_step: int, code: str) -> int:
    """The time step whose code this is, later than the last one taken; 0: none (RFC 6238 §5.2)."""
    secret = await ctx.portal.unseal(sealed)
    digits = code.replace(" ", "")
    if secret is None or not digits:
        return 0
    totp = pyotp.TOTP(secret, interval=STEP_S)
    now_step = ctx.now_ms() // (STEP_S * 1000)
    for step in (now_step, now_step - 1, now_step + 1):
        if step > last_step and secrets.compare_digest(totp.generate_otp(step), digits):
            return step
    return 0


def _refusal(contact: RowMapping, address: str) -> str:
    """Why this contact may not be in the portal from there; empty: it may."""
    if not contact["enabled"]:
        return "disabled"
    if not contact["portal_access"]:
        return "portal_access"
    if contact["ip_allow_list"] and not is_in_networks(address, contact["ip_allow_list"]):
        return "address"
    return ""


async def _begin(ctx: Context, contact: RowMapping, address: str, user_agent: str, step: int) -> Login | None:
    """Begin a session; None where another login has used the same code meanwhile, or the contact has gone."""
    settings = ctx.portal.settings
    async with ctx.acting(actor_of(contact)).change() as change:
        c = contacts.c
        values: dict[str, Any] = {"last_login_ms": change.now_ms}
        own = update(contacts).where(
            c.id == contact["id"], c.archived_ms.is_(None), c.password_hash == contact["password_hash"]
        )
        if step:
            own, values = own.where(c.totp_step < step), {**values, "totp_step": step}
        if (await change.tx.execute(own.values(**values))).rowcount != 1:
            return None
        token = await new_token(change, contact["id"], "session", settings.session_s, address, user_agent)
        await change.audit(
            "login", "contact", contact["id"], after={"address": address, "user_agent": user_agent[:255]}
        )
        expires_at = ms_moment(change.now_ms + settings.session_s * 1000)
    return Login(token=token, expires_at=expires_at, contact_id=contact["id"], name=contact["name"])


async def _was_here(tx: Tx, contact_id: int, address: str, now_ms: int) -> bool:
    t = contact_tokens.c
    query = select(t.id).where(
        t.contact_id == contact_id,
        t.kind == "session",
        t.address == address_key(address),
        t.created_ms > now_ms - KNOWN_MS,
    )
    return (await tx.execute(query.limit(1))).first() is not None


async def _audit_failure(
    ctx: Context, contact: RowMapping | None, email: str, address: str, reason: str, *, closes: bool
) -> None:
    """One row for each try that was looked at. The last one before the door closes says so: others have none."""
    actor = Actor(kind="contact", name=email, role="customer", id=None if contact is None else contact["id"])
    async with ctx.acting(actor).change() as change:
        facts = {"address": address, "reason": reason, "throttled_from_now": closes}
        await change.audit("login_failed", "contact", "" if contact is None else contact["id"], after=facts)
