"""A small carrier as records: one customer, one route, a sell card and two vendors with decks.

Tests take `carrier(tmp_path)`, change records with `with_`, and load them into `Tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from rating.decks import compile_deck
from rating.rows import RateRow
from switch.policy.tables import Tables
from switch.policy.verdicts import Facts
from switch.snapshot import (
    Customer,
    Endpoint,
    Gateway,
    IngressRoute,
    Provider,
    RateCard,
    Record,
    Revision,
    SipUser,
    Snapshot,
)

CENT = 10_000_000
NOW_MS = 1_780_000_000_000

CREDIT = 100_000 * CENT

SELL = 1
CHEAP = 2
DEAR = 3

DEFAULT_RECORDS: tuple[Record, ...] = (
    Customer(id=1, name="Acme Voice", status="active", debit_limit_nanos=CREDIT),
    Endpoint(id=1, customer_id=1, direction="egress", host="192.0.2.10"),
    SipUser(id=1, customer_id=1, username="alice", realm="tandem"),
    IngressRoute(id=1, customer_id=1, name="standard", rate_card_id=SELL),
    Provider(id=1, name="Cheapline"),
    Provider(id=2, name="Dearline"),
    Gateway(id=1, provider_id=1, host="198.51.100.1"),
    Gateway(id=2, provider_id=2, host="198.51.100.2"),
    RateCard(
        id=SELL,
        name="retail",
        direction="sell",
        vendor_card_ids=(DEAR, CHEAP),
        revisions=(Revision(id=11, path="sell"),),
    ),
    RateCard(id=CHEAP, name="cheap", direction="buy", provider_id=1, revisions=(Revision(id=12, path="cheap"),)),
    RateCard(id=DEAR, name="dear", direction="buy", provider_id=2, revisions=(Revision(id=13, path="dear"),)),
)

DEFAULT_DECKS: dict[str, tuple[RateRow, ...]] = {
    "sell": (RateRow("44", "United Kingdom", 5 * CENT), RateRow("44900", "UK premium", 90 * CENT, is_blocked=True)),
    "cheap": (RateRow("44", "UK", 2 * CENT),),
    "dear": (RateRow("44", "UK", 3 * CENT),),
}


def with_(records: Iterable[Record], kind: type, record_id: int, **changes: object) -> tuple[Record, ...]:
    """The records with one of them changed."""
    found = [type(r) is kind and r.id == record_id for r in records]
    assert sum(found) == 1, f"no {kind.__name__} {record_id}"
    return tuple(
        msgspec.structs.replace(record, **changes) if is_it else record
        for record, is_it in zip(records, found, strict=True)
    )


def carrier(
    folder: Path, records: Iterable[Record] = DEFAULT_RECORDS, decks: Mapping[str, tuple[RateRow, ...]] | None = None
) -> Tables:
    """Tables that hold these records, with their decks compiled in `folder`."""
    for name, rows in {**DEFAULT_DECKS, **(decks or {})}.items():
        compile_deck(rows, folder / name)
    tables = Tables(folder)
    tables.load(Snapshot(version=1, records=tuple(records)))
    return tables


def invite(
    dialled: str = "442079460000",
    *,
    cli: str = "15551230001",
    source_ip: str = "192.0.2.10",
    transport: str = "udp",
    now_ms: int = NOW_MS,
    now_s: float = 1000.0,
    user: SipUser | None = None,
    kbps: int = 0,
    max_duration_s: int = 14_400,
) -> Facts:
    """The facts of an INVITE that the default carrier lets in."""
    return Facts(source_ip, transport, dialled, cli, now_ms, now_s, user, kbps, max_duration_s)
