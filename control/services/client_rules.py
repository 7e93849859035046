"""A client's statuses and dates: what may follow what, and what the dates make of each other.

`start_date` and `contract_end` are days, or times, on the client's own clocks. Services run from the
start of the one to the end of the other: a contract that ends on a day ends when that day is over.
`end_date` is about rooms alone and stops nothing; it is a year after the start where nobody says other,
and of a start on 29 February the 28th of the next year. Where the start is moved, an end that was
made by this rule moves along.
"""

from __future__ import annotations

from datetime import date
from typing import Any, Final, Literal

import msgspec
from sqlalchemy.engine import RowMapping

from control.services.days import begin_ms, day_of, end_ms, year_after
from control.services.errors import Conflict, FieldError, invalid
from control.services.fields import YEAR_MAX
from control.services.periods import FIRST_DAY, LAST_DAY, Period, Rule, day_at, period_of

Status = Literal["new", "scheduled", "active", "suspended", "inactive"]

MOVES: Final[dict[Status, tuple[Status, ...]]] = {
    "new": ("scheduled", "active", "inactive"),
    "scheduled": ("new", "active", "inactive"),
    "active": ("suspended", "inactive"),
    "suspended": ("active", "inactive"),
    "inactive": (),
}
"""From each status to where. Inactive is final: numbers have gone by then."""

MONTHLY: Final = Rule("monthly")
BILL_DELAY_MS: Final = 3_600_000
OWN_DATES: Final = ("suspend_at", "reactivate_at", "decommission_at")


class Wanted(msgspec.Struct, frozen=True):
    """A client as it shall be: what its statuses and dates are judged by."""

    status: Status
    time_zone: str
    start_date: str | None
    end_date: str | None
    contract_end: str | None
    suspend_at_ms: int | None
    reactivate_at_ms: int | None
    decommission_at_ms: int | None


def resolve(wanted: Wanted, before: RowMapping | None, now_ms: int) -> dict[str, Any]:
    """Columns that statuses and dates lead to.

    Raises:
        Invalid: a date that makes no sense, by its field.
        Conflict: a status that does not follow from the one before.
    """
    was = None if before is None else before["status"]
    zone = wanted.time_zone
    start_date = wanted.start_date
    if start_date is None and wanted.status == "active" and was != "active":
        start_date = day_at(now_ms, zone).isoformat()
    starts_at_ms = begin_ms("start_date", start_date, zone)
    contract_ms = end_ms("contract_end", wanted.contract_end, zone)
    if starts_at_ms is not None and contract_ms is not None and contract_ms <= starts_at_ms:
        raise invalid("contract_end", "not after start_date")
    end_ms("end_date", wanted.end_date, zone)
    end_date = _end_date(start_date, wanted, before)
    _check_end(start_date, end_date, zone, before)
    _check_start(wanted.status, before, start_date, starts_at_ms, now_ms)
    _check_contract(wanted, before, contract_ms, now_ms)
    _check_dates(wanted, before, now_ms)
    ends = [ms for ms in (contract_ms, wanted.decommission_at_ms) if ms is not None]
    ends_at_ms = min(ends, default=None)
    values: dict[str, Any] = {
        "start_date": start_date,
        "starts_at_ms": starts_at_ms,
        "end_date": end_date,
        "ends_at_ms": ends_at_ms,
        **_life(wanted.status, before, starts_at_ms, ends_at_ms, now_ms),
    }
    values |= _bills(zone, before, values["activated_ms"])
    # What a scheduled change was for has come about by itself, or by hand: left in place it would come again.
    if wanted.status == "inactive":
        values |= {f"{name}_ms": None for name in OWN_DATES}
    elif was != wanted.status and was is not None:
        if wanted.status == "suspended" and _is_as_before(before, "suspend_at_ms", wanted.suspend_at_ms):
            values["suspend_at_ms"] = None
        if wanted.status == "active" and _is_as_before(before, "reactivate_at_ms", wanted.reactivate_at_ms):
            values["reactivate_at_ms"] = wanted.reactivate_at_ms if wanted.suspend_at_ms is not None else None
    return values


def month_named(name: str) -> Period:
    """The month `2027-02`; ValueError where the calendar has none of that name."""
    first = date.fromisoformat(f"{name}-01")
    if not FIRST_DAY <= first < LAST_DAY:
        raise ValueError(f"outside {FIRST_DAY} to {LAST_DAY}")
    return period_of(MONTHLY, first)


def bill_due_ms(month: str, time_zone: str) -> int:
    """When a month's bill is drawn up: when the month is over there, and its last calls are in the store."""
    return month_named(month).end_ms(time_zone) + BILL_DELAY_MS


def check_management(new_status: Status, contract_end: str | None, dates: dict[str, Any]) -> None:
    """The management client is always active and has no end."""
    if new_status != "active":
        detail = "The management client is always active."
        raise Conflict(detail, errors=[FieldError("status", detail)])
    for path, value in {"contract_end": contract_end, **dates}.items():
        if value is not None:
            raise invalid(path, "the management client does not end")


def check_move(was: Status, status: Status) -> None:
    if was != status and status not in MOVES[was]:
        detail = f"A client cannot go from {was} to {status}."
        raise Conflict(detail, errors=[FieldError("status", detail)])


def _end_date(start_date: str | None, wanted: Wanted, before: RowMapping | None) -> str | None:
    if start_date is None:
        return wanted.end_date
    made = default_end(start_date, wanted.time_zone)
    if before is None or before["start_date"] is None:
        return made if wanted.end_date is None else wanted.end_date
    if before["start_date"] == start_date or wanted.end_date != before["end_date"]:
        return wanted.end_date
    old = default_end(before["start_date"], before["time_zone"])
    return made if wanted.end_date == old else wanted.end_date


def default_end(start_date: str, time_zone: str) -> str:
    """A year after the start; never beyond the last day that a client may name."""
    return min(year_after(day_of("start_date", start_date, time_zone)), date(YEAR_MAX, 12, 31)).isoformat()


def _check_end(start_date: str | None, end_date: str | None, zone: str, before: RowMapping | None) -> None:
    if start_date is None or end_date is None:
        return
    if before is not None and (before["start_date"], before["end_date"]) == (start_date, end_date):
        return
    if day_of("end_date", end_date, zone) <= day_of("start_date", start_date, zone):
        raise invalid("end_date", "not after start_date")


def _check_start(
    status: Status, before: RowMapping | None, start_date: str | None, starts_at_ms: int | None, now_ms: int
) -> None:
    was = None if before is None else before["status"]
    is_waiting = starts_at_ms is not None and starts_at_ms > now_ms
    is_dated_anew = before is None or before["starts_at_ms"] != starts_at_ms
    if status == "scheduled" and (was != "scheduled" or is_dated_anew):
        if starts_at_ms is None:
            raise invalid("start_date", "needed with status scheduled")
        if not is_waiting:
            raise invalid("start_date", "not in the future, as status scheduled wants it")
    if status in ("active", "suspended") and is_waiting:
        if before is None or was in ("new", "scheduled"):
            raise invalid("status", "start_date is in the future: scheduled becomes active by itself")
        if before["start_date"] != start_date:
            raise invalid("start_date", "in the future, and the client has begun")


def _check_contract(wanted: Wanted, before: RowMapping | None, contract_ms: int | None, now_ms: int) -> None:
    """A contract that is entered now is not over: by a slip of the pen the client would lose all that it has."""
    if contract_ms is None or contract_ms > now_ms or wanted.status not in ("scheduled", "active", "suspended"):
        return
    if before is None or before["status"] == "new" or before["contract_end"] != wanted.contract_end:
        raise invalid("contract_end", "is over already; to end the client now decommission it")


def _check_dates(wanted: Wanted, before: RowMapping | None, now_ms: int) -> None:
    """Dates that are set by this very change lie ahead, and in their order."""
    for name in OWN_DATES:
        at_ms = getattr(wanted, f"{name}_ms")
        if at_ms is None or _is_as_before(before, f"{name}_ms", at_ms):
            continue
        if wanted.status == "inactive":
            raise invalid(name, "an inactive client stays as it is")
        if at_ms <= now_ms:
            raise invalid(name, "not in the future")
    back_ms, stop_ms = wanted.reactivate_at_ms, wanted.suspend_at_ms
    if back_ms is None or _is_as_before(before, "reactivate_at_ms", back_ms):
        return
    if wanted.status != "suspended" and stop_ms is None:
        raise invalid("reactivate_at", "the client is not suspended, and no suspension is scheduled")
    if stop_ms is not None and back_ms <= stop_ms:
        raise invalid("reactivate_at", "not after the suspension begins")


def _is_as_before(before: RowMapping | None, column: str, value: int | None) -> bool:
    return before is not None and before[column] == value


def _life(
    status: Status, before: RowMapping | None, starts_at_ms: int | None, ends_at_ms: int | None, now_ms: int
) -> dict[str, int | None]:
    """When it was active first, and when it became inactive: what lies between is billed.

    Where the dates were reached while nobody looked, theirs are the moments: the switch kept to them.
    """
    activated_ms = None if before is None else before["activated_ms"]
    ended_ms = None if before is None else before["ended_ms"]
    has_begun = before is not None and before["status"] == "scheduled" and (starts_at_ms or now_ms) <= now_ms
    if activated_ms is None:
        if status in ("active", "suspended"):
            activated_ms = starts_at_ms if has_begun else now_ms
        elif status == "inactive" and has_begun:
            activated_ms = starts_at_ms
    if status == "inactive" and ended_ms is None:
        ended_ms = now_ms if ends_at_ms is None else min(now_ms, ends_at_ms)
    return {"activated_ms": activated_ms, "ended_ms": ended_ms}


def _bills(zone: str, before: RowMapping | None, activated_ms: int | None) -> dict[str, Any]:
    """The next month to be billed, and when: the first is that in which the client is active first.

    Raises:
        Conflict: on other clocks it began in another month, and the one that it began in is billed.
    """
    month = None if before is None else before["bill_month"]
    if activated_ms is not None:
        began = _month_of(activated_ms, zone)
        if before is None or before["activated_ms"] is None:
            month = began
        elif month is not None and began != (was := _month_of(activated_ms, before["time_zone"])):
            if month != was:
                detail = f"There the client began in {began}, and is billed from {was} on already."
                raise Conflict(detail, errors=[FieldError("time_zone", detail)])
            month = began
    return {"bill_month": month, "bill_due_ms": None if month is None else bill_due_ms(month, zone)}


def _month_of(ms: int, zone: str) -> str:
    return day_at(ms, zone).isoformat()[:7]
