"""Rows of the store as the switch's snapshot records."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import Table, select
from sqlalchemy.engine import RowMapping

from control.services.context import current_version, wall_ms
from control.store import tables
from control.store.cli_rule_tables import cli_rules
from control.store.did_tables import dids
from control.store.engine import Tx
from switch.snapshot import (
    Client,
    CliRule,
    Customer,
    Did,
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

StructT = TypeVar("StructT", bound=msgspec.Struct)


class Recorder(Protocol):
    def __call__(self, row: RowMapping) -> Record: ...


def customer_record(row: RowMapping) -> Customer:
    return _fill(Customer, row)


def client_record(row: RowMapping) -> Client:
    return _fill(Client, row)


def endpoint_record(row: RowMapping) -> Endpoint:
    return _fill(Endpoint, row)


def sip_user_record(row: RowMapping) -> SipUser:
    return _fill(SipUser, row)


def ingress_route_record(row: RowMapping) -> IngressRoute:
    return _fill(IngressRoute, row)


def cli_rule_record(row: RowMapping) -> CliRule:
    return _fill(CliRule, row)


def provider_record(row: RowMapping) -> Provider:
    return _fill(Provider, row)


def gateway_record(row: RowMapping) -> Gateway:
    return _fill(Gateway, row)


def rate_card_record(row: RowMapping, revisions: tuple[Revision, ...]) -> RateCard:
    return _fill(RateCard, row, revisions=revisions)


def rings(row: RowMapping) -> bool:
    """Whether calls to a DID are anybody's: the switch knows no others."""
    return bool(row["state"] == "assigned" and row["enabled"])


def did_record(row: RowMapping) -> Did:
    return _fill(Did, row)


async def whole_snapshot(tx: Tx, now_ms: int | None = None) -> tuple[Record, ...]:
    """Every record that is not archived, those referred to before those that refer."""
    records: list[Record] = []
    first: list[tuple[Table, Recorder]] = [
        (tables.clients, client_record),
        (tables.customers, customer_record),
        (tables.providers, provider_record),
        (tables.gateways, gateway_record),
    ]
    last: list[tuple[Table, Recorder]] = [
        (tables.endpoints, endpoint_record),
        (tables.sip_users, sip_user_record),
        (tables.ingress_routes, ingress_route_record),
        (cli_rules, cli_rule_record),
    ]
    for table, recorder in first:
        records.extend(recorder(row) for row in await _alive(tx, table))
    revisions = await card_revisions(tx, wall_ms() if now_ms is None else now_ms)
    for row in await _alive(tx, tables.rate_cards):
        records.append(rate_card_record(row, revisions.get(row["id"], ())))
    for table, recorder in last:
        records.extend(recorder(row) for row in await _alive(tx, table))
    records.extend(did_record(row) for row in await _alive(tx, dids) if rings(row))
    return tuple(records)


async def read_snapshot(tx: Tx) -> Snapshot:
    """The whole configuration with its version, read in one transaction."""
    version = await current_version(tx)
    return Snapshot(version=version, records=await whole_snapshot(tx))


async def card_revisions(tx: Tx, now_ms: int, card_id: int | None = None) -> dict[int, tuple[Revision, ...]]:
    """Of each card: the revision that is active, and those scheduled after it, in order of time."""
    query = (
        select(
            tables.activations.c.card_id,
            tables.activations.c.active_from_ms,
            tables.revisions.c.id,
            tables.revisions.c.path,
        )
        .join(tables.revisions, tables.revisions.c.id == tables.activations.c.revision_id)
        .where(tables.activations.c.cancelled_ms.is_(None))
        .order_by(tables.activations.c.active_from_ms, tables.activations.c.id)
    )
    if card_id is not None:
        query = query.where(tables.activations.c.card_id == card_id)
    found: dict[int, list[Revision]] = {}
    for card, active_from_ms, revision_id, path in await tx.execute(query):
        revisions = found.setdefault(card, [])
        if active_from_ms <= now_ms:
            revisions.clear()
        revisions.append(Revision(id=revision_id, path=path, active_from_ms=active_from_ms))
    return {card: tuple(revisions) for card, revisions in found.items()}


async def _alive(tx: Tx, table: Table) -> list[RowMapping]:
    rows = await tx.execute(select(table).where(table.c.archived_ms.is_(None)).order_by(table.c.id))
    return list(rows.mappings())


def _fill(kind: type[StructT], row: RowMapping, **more: Any) -> StructT:
    """A record from the columns of the same names; JSON columns bring lists and string keys."""
    values = {name: row[name] for name in kind.__struct_fields__ if name in row}
    return msgspec.convert({**values, **more}, kind, str_keys=True)
