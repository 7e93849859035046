"""Alerts: what is watched of a customer or of the whole installation, and who is told.

The rule is here; `alert_rules` says when it fires, `alert_measures` what it looks at, and `alert_watch`
does both every few seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import RowMapping

from control.services.alert_measures import FAILURES_MAX, NANOS, Area
from control.services.alert_rules import MINUTE_MS, Operator, Rule, State
from control.services.context import Change, Context
from control.services.email_addresses import check_email
from control.services.errors import Conflict, FieldError, Invalid, NotFound, Reference, invalid
from control.services.fields import Amount, Id, Label, Moment, Name, Notes, amount_nanos, moment_or_none
from control.services.nouns import Noun
from control.services.outbox import Target
from control.services.owners import check_customer
from control.services.pages import ListQuery
from control.services.providers import PROVIDERS
from control.services.webhooks import check_webhook
from control.store.alert_tables import alert_states, alerts
from control.store.engine import Tx
from rating.money import format_amount
from rating.numbers import normalise_e164

SAMPLE_MINUTES_MAX: Final = 1_440
CPS_SAMPLE_MINUTES_MAX: Final = 60
WEEK_MINUTES: Final = 10_080

SampleMinutes = Annotated[int, Meta(ge=1, le=SAMPLE_MINUTES_MAX)]
MinimumCalls = Annotated[int, Meta(ge=1, le=1_000_000)]
PenaltyMinutes = Annotated[int, Meta(ge=1, le=WEEK_MINUTES)]


class Recipient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One of the three."""

    email: Label | None = None
    phone: Annotated[str, Meta(max_length=32)] | None = None
    """For SMS, E.164."""
    webhook_id: Id | None = None
    """Told whatever events it asks for."""


class AlertNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    customer_id: Id | None = None
    """None: of the whole installation, or of a provider."""
    provider_id: Id | None = None
    """Instead of a customer: attempts of outbound calls at this provider are what is judged."""
    recipients: Annotated[tuple[Recipient, ...], Meta(max_length=50)] = ()
    area: Area
    """`balance` in the customer's currency, `asr` in percent, `acd` mean seconds of answered calls, `pdd` mean
    milliseconds, `cps` the busiest second's new calls, `channels` calls that are up, `spend_per_hour` gross,
    `failures` calls one after another, up to the last, for which the network did not do its part."""
    operator: Operator
    threshold: Amount
    reset_threshold: Amount | None = None
    """Armed again past this; without it as soon as the threshold is not crossed."""
    sample_minutes: SampleMinutes = 15
    """Calls of so many minutes are judged; of `balance`, `channels` and `failures` the moment is."""
    minimum_calls: MinimumCalls = 30
    """Fewer in the sample are not judged by `asr`, `acd` and `pdd`."""
    penalty_minutes: PenaltyMinutes | None = None
    """Status `penalty` for so long, or no calls to the provider; it ends by itself and arms the alert again."""
    repeat_minutes: Annotated[int, Meta(ge=1, le=WEEK_MINUTES)] | None = None
    """Told again that often while it is fired; without it once."""
    enabled: bool = True
    notes: Notes = ""


class Alert(AlertNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class AlertShown(Alert, frozen=True, kw_only=True):
    is_fired: bool
    fired_at: Moment | None
    told_at: Moment | None
    """When somebody was last told since."""
    penalty_until: Moment | None
    last_value: str | None
    """What was measured when it last fired or was armed again …"""
    last_value_at: Moment | None
    """… and when that was."""


class AlertQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Annotated[Id | None, Meta(description="Of this customer.")] = None
    provider_id: Annotated[Id | None, Meta(description="Of this provider.")] = None
    area: Annotated[Area | None, Meta(description="That watch this.")] = None
    enabled: Annotated[bool | None, Meta(description="That are evaluated, or are not.")] = None


class Alerts(Noun[AlertNew, Alert]):
    name = "alert"
    table = alerts
    new = AlertNew
    out = Alert
    amounts = ("threshold", "reset_threshold")
    fixed = ("customer_id", "provider_id")
    sorts = ("id", "name", "created_at", "updated_at")
    search = ("name_key",)

    async def check(self, ctx: Context, change: Change, new: AlertNew, before: RowMapping | None) -> dict[str, Any]:
        await self._check_name(change.tx, new, before)
        found = [*_mistakes(new)]
        for place, recipient in enumerate(new.recipients):
            try:
                await _check_recipient(ctx, change, f"recipients[{place}]", recipient, new.customer_id)
            except Invalid as error:
                found.extend(error.errors)
        if found:
            raise Invalid(found)
        if new.customer_id is not None and before is None:
            await check_customer(change.tx, new.customer_id)
        if new.provider_id is not None and before is None:
            await _check_provider(change.tx, new.provider_id)
        return {}

    async def create_in(self, ctx: Context, change: Change, new: AlertNew, **more: Any) -> Alert:
        made = await super().create_in(ctx, change, new, **more)
        await change.tx.execute(insert(alert_states).values(alert_id=made.id, armed_ms=0))
        return made

    async def write(self, change: Change, before: RowMapping, values: dict[str, Any]) -> RowMapping:
        """A rule that judges by other measures begins anew; who is told and how often may change meanwhile."""
        row = await super().write(change, before, values)
        if any(before[name] != row[name] for name in JUDGED_BY):
            s = alert_states.c
            # What led to a penalty is not judged again by another threshold.
            armed = func.coalesce(s.penalty_until_ms, s.armed_ms)
            anew = {"fired_ms": None, "told_ms": None, "penalty_until_ms": None, "armed_ms": armed}
            await change.tx.execute(update(alert_states).where(s.alert_id == row["id"]).values(**anew))
        return row

    @property
    def answer(self) -> type[AlertShown]:
        return AlertShown

    async def answers(self, ctx: Context, rows: list[Alert]) -> list[Any]:
        query = select(alert_states).where(alert_states.c.alert_id.in_([row.id for row in rows]))
        async with ctx.store.read() as tx:
            states = {state["alert_id"]: state for state in (await tx.execute(query)).mappings()}
        return [_shown(row, states[row.id]) for row in rows]

    async def _check_name(self, tx: Tx, new: AlertNew, before: RowMapping | None) -> None:
        """Unique in its customer; a NULL is equal to none, so not by `check_unique`."""
        c = self.table.c
        same = c.customer_id.is_(None) if new.customer_id is None else c.customer_id == new.customer_id
        query = select(c.id).where(same, c.name_key == self.columns(new)["name_key"], c.archived_ms.is_(None))
        if before is not None:
            query = query.where(c.id != before["id"])
        other = (await tx.execute(query.limit(1))).scalar_one_or_none()
        if other is not None:
            detail = "Another alert of this customer has this name."
            references = [Reference(noun="alert", id=str(other))]
            raise Conflict(detail, errors=[FieldError("name", detail)], references=references)


ALERTS: Final = Alerts()

JUDGED_BY: Final = (
    "area",
    "operator",
    "threshold_nanos",
    "reset_threshold_nanos",
    "sample_minutes",
    "minimum_calls",
    "enabled",
)


def rule_of(row: RowMapping | dict[str, Any]) -> Rule:
    return Rule(
        operator=row["operator"],
        threshold=row["threshold_nanos"],
        reset=row["reset_threshold_nanos"],
        repeat_ms=None if row["repeat_minutes"] is None else row["repeat_minutes"] * MINUTE_MS,
        penalty_ms=None if row["penalty_minutes"] is None else row["penalty_minutes"] * MINUTE_MS,
    )


def state_of(row: RowMapping) -> State:
    return State(
        armed_ms=row["armed_ms"],
        fired_ms=row["fired_ms"],
        told_ms=row["told_ms"],
        penalty_until_ms=row["penalty_until_ms"],
    )


def targets_of(recipients: list[dict[str, Any]]) -> list[Target]:
    found = []
    for each in recipients:
        if each.get("email"):
            found.append(Target("mail", each["email"]))
        elif each.get("phone"):
            found.append(Target("sms", each["phone"]))
        else:
            found.append(Target("webhook", webhook_id=each["webhook_id"]))
    return found


def _mistakes(new: AlertNew) -> list[FieldError]:
    """What the types cannot say."""
    found = []
    threshold = amount_nanos("threshold", new.threshold)
    if new.reset_threshold is not None:
        reset = amount_nanos("reset_threshold", new.reset_threshold)
        is_low = new.operator in ("<", "<=")
        if (reset < threshold) if is_low else (reset > threshold):
            side = "above" if is_low else "below"
            found.append(FieldError("reset_threshold", f"must not lie on the side that fires: {side} the threshold"))
    if new.area != "balance" and threshold < 0:
        found.append(FieldError("threshold", "below 0"))
    if new.area == "asr" and threshold > 100 * NANOS:
        found.append(FieldError("threshold", "above 100 percent"))
    if new.area == "failures" and threshold > FAILURES_MAX * NANOS:
        found.append(FieldError("threshold", f"above {FAILURES_MAX}"))
    if new.area == "cps" and new.sample_minutes > CPS_SAMPLE_MINUTES_MAX:
        found.append(FieldError("sample_minutes", f"above {CPS_SAMPLE_MINUTES_MAX} for cps"))
    if new.provider_id is not None:
        if new.customer_id is not None:
            found.append(FieldError("provider_id", "a customer's alert, or a provider's; not both"))
        if new.area in ("balance", "spend_per_hour"):
            found.append(FieldError("area", f"{new.area} is a customer's: customer_id is needed"))
    elif new.customer_id is None:
        if new.area == "balance":
            found.append(FieldError("area", "a balance is a customer's: customer_id is needed"))
        if new.penalty_minutes is not None:
            found.append(FieldError("penalty_minutes", "a penalty is a customer's or a provider's: whose is needed"))
    return found


async def _check_provider(tx: Tx, provider_id: int) -> None:
    try:
        await PROVIDERS.row(tx, provider_id)
    except NotFound as error:
        raise invalid("provider_id", f"there is no provider {provider_id}") from error


async def _check_recipient(
    ctx: Context, change: Change, path: str, recipient: Recipient, customer_id: int | None
) -> None:
    given = [name for name in ("email", "phone", "webhook_id") if getattr(recipient, name) is not None]
    if len(given) != 1:
        raise invalid(path, "one of email, phone and webhook_id")
    if recipient.email is not None:
        check_email(f"{path}.email", recipient.email)
        if ctx.mail is None:
            raise invalid(f"{path}.email", "no mail server is set")
    elif recipient.phone is not None:
        if normalise_e164(recipient.phone) is None:
            raise invalid(f"{path}.phone", "not an E.164 number")
        if not ctx.events.sms_url:
            raise invalid(f"{path}.phone", "no SMS gateway is set (events.sms_url)")
    elif recipient.webhook_id is not None:
        await check_webhook(change, f"{path}.webhook_id", recipient.webhook_id, customer_id)


def _shown(row: Alert, state: RowMapping) -> AlertShown:
    def moment(name: str) -> Any:
        return moment_or_none(state[name])

    value = state["value_nanos"]
    return AlertShown(
        **msgspec.structs.asdict(row),
        is_fired=state["fired_ms"] is not None,
        fired_at=moment("fired_ms"),
        told_at=moment("told_ms"),
        penalty_until=moment("penalty_until_ms"),
        last_value=None if value is None else format_amount(value),
        last_value_at=moment("value_ms"),
    )
