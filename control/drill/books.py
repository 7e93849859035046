"""What the API says at the end: accounts, CDRs, live calls, and its own check of the invariants."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from control.client import ApiClient
from rating.money import parse_amount


class Attempted(msgspec.Struct, kw_only=True):
    """One attempt of a CDR."""

    vendor: str
    status: int
    cost_nanos: int


class Charged(msgspec.Struct, kw_only=True):
    """A CDR, as far as it can be compared with what peers saw."""

    id: str
    customer_id: int
    call_id: str
    dialled: str
    invited_ms: int
    answered_ms: int | None
    ended_ms: int
    duration_ms: int
    billed_s: int
    cause: str
    status: int
    net_nanos: int
    tax_nanos: int
    gross_nanos: int
    cost_nanos: int
    margin_nanos: int
    attempts: list[Attempted]


class Balance(msgspec.Struct, kw_only=True):
    """A customer's account, in nano-units."""

    id: int
    name: str
    balance_nanos: int
    held_nanos: int
    available_nanos: int
    is_live: bool = True
    """As the switch has it; False: as the store has it while the switch is away."""


class Books(msgspec.Struct, kw_only=True):
    balances: list[Balance] = []
    cdrs: list[Charged] = []
    live_calls: int = 0
    broken_invariants: list[str] = []
    """What /invariants finds wrong, a line each."""
    health_faults: list[str] = []


def read_books(client: ApiClient) -> Books:
    """Everything, through the API like any auditor.

    Raises:
        ApiError: it cannot be read.
    """
    return Books(
        balances=read_balances(client),
        cdrs=[_charged(row) for row in client.items("/cdrs", {"limit": 500})],
        live_calls=_count(client.items("/calls")),
        broken_invariants=_broken(client.get("/invariants")),
        health_faults=list(client.get("/health")["faults"]),
    )


def read_balances(client: ApiClient) -> list[Balance]:
    return [_balance(row) for row in client.items("/customers")]


def count_live(client: ApiClient) -> int:
    return _count(client.items("/calls"))


def moment_ms(text: str | None) -> int | None:
    """Milliseconds since the epoch of an RFC 3339 time."""
    return None if text is None else round(datetime.fromisoformat(text).timestamp() * 1_000)


def _count(rows: Iterable[Any]) -> int:
    return sum(1 for _ in rows)


def _balance(row: dict[str, Any]) -> Balance:
    return Balance(
        id=row["id"],
        name=row["name"],
        balance_nanos=parse_amount(row["balance"]),
        held_nanos=parse_amount(row["held"]),
        available_nanos=parse_amount(row["available"]),
        is_live=row["is_balance_live"],
    )


def _charged(row: dict[str, Any]) -> Charged:
    invited_ms, ended_ms = moment_ms(row["invited"]), moment_ms(row["ended"])
    assert invited_ms is not None
    assert ended_ms is not None
    return Charged(
        id=row["id"],
        customer_id=row["customer_id"],
        call_id=row["call_id"],
        dialled=row["dialled_out"],
        invited_ms=invited_ms,
        answered_ms=moment_ms(row["answered"]),
        ended_ms=ended_ms,
        duration_ms=row["duration_ms"],
        billed_s=row["billed_s"],
        cause=row["cause"],
        status=row["status"],
        net_nanos=parse_amount(row["net"]),
        tax_nanos=parse_amount(row["tax"]),
        gross_nanos=parse_amount(row["gross"]),
        cost_nanos=parse_amount(row["cost"]),
        margin_nanos=parse_amount(row["margin"]),
        attempts=[
            Attempted(vendor=each["provider"], status=each["status"], cost_nanos=parse_amount(each["cost"]))
            for each in row["attempts"]
        ],
    )


def _broken(answer: dict[str, Any]) -> list[str]:
    """A check that could not be made proves nothing, so it counts too."""
    lines = []
    for check in answer["checks"]:
        if check["state"] != "holds":
            found = "; ".join(f"{each['noun']} {each['id']}: {each['detail']}" for each in check["violations"][:3])
            lines.append(f"{check['name']} {check['state']}: {check['detail']}{found}")
    return lines
