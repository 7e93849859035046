"""What people are told of an alert, in words: one line for SMS and subjects, some more for mails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from control.services.alert_rules import What
from control.services.fields import moment_or_none, ms_moment
from rating.money import format_amount

AREAS: Final = {
    "balance": "balance",
    "asr": "ASR",
    "acd": "ACD",
    "pdd": "PDD",
    "cps": "calls a second",
    "channels": "calls at a time",
    "spend_per_hour": "spending an hour",
    "failures": "failed calls in a row",
}
UNITS: Final = {"asr": " %", "acd": " s", "pdd": " ms"}
DECIMALS_NANOS: Final = 10_000_000
"""People are told two decimals."""


def facts(
    row: Mapping[str, Any],
    customer: str,
    currency: str,
    what: What,
    value: int | None,
    now_ms: int,
    penalty_until_ms: int | None,
    *,
    provider: str = "",
) -> dict[str, Any]:
    """The payload of an alert's event; `title` and `text` are what mails and SMS say."""
    unit = f" {currency}" if row["area"] in ("balance", "spend_per_hour") and currency else UNITS.get(row["area"], "")
    area = AREAS[row["area"]]
    measured = "" if value is None else f"{_number(value)}{unit}"
    threshold = f"{_number(row['threshold_nanos'])}{unit}"
    whose = customer or provider or "all customers"
    if what in ("fire", "repeat"):
        verb = "is still" if what == "repeat" else "is"
        limit = f"{row['operator']} {threshold}"
        title = f"{row['name']}: {area} of {whose} {verb} {measured or 'not measured'} ({limit})"
    else:
        title = f"{row['name']}: over; {area} of {whose} is {measured or 'not judged yet'}"
    lines = [title, f"At {ms_moment(now_ms):%Y-%m-%d %H:%M:%S} UTC."]
    if row["area"] not in ("balance", "channels", "failures"):
        lines.append(f"Judged by the last {row['sample_minutes']} minutes.")
    if penalty_until_ms is not None and what == "fire":
        what_stops = "calls to it" if provider else "outbound calls"
        lines.append(f"No {what_stops} until {ms_moment(penalty_until_ms):%Y-%m-%d %H:%M:%S} UTC.")
    return {
        "alert_id": row["id"],
        "name": row["name"],
        "customer_id": row["customer_id"],
        "customer": customer,
        "provider_id": row["provider_id"],
        "provider": provider,
        "area": row["area"],
        "operator": row["operator"],
        "threshold": format_amount(row["threshold_nanos"]),
        "value": None if value is None else format_amount(value),
        "penalty_until": moment_or_none(penalty_until_ms),
        "why": what,
        "title": title,
        "text": "\n".join(lines) + "\n",
    }


def _number(nanos: int) -> str:
    half = DECIMALS_NANOS // 2
    rounded = (nanos + half) // DECIMALS_NANOS * DECIMALS_NANOS
    return format_amount(rounded)
