"""Network information of clients: at a site a VLAN with its subnet, gateway, name servers and public addresses.

At one site a VLAN is one client's, and subnets do not overlap; a public address is one client's anywhere.
Internet access goes with the client's status, the local network works as long as the client is there.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import Id, Moment, Notes
from control.services.hosts import Host
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery
from control.store import tables
from control.store.client_service_tables import networks
from control.store.client_tables import sites

Vlan = Annotated[int, Meta(ge=1, le=4094, description="IEEE 802.1Q.")]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class NetworkNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: Id
    site_id: Id
    vlan: Vlan
    subnet: Host
    """A block of addresses, as in 10.20.30.0/24."""
    gateway: Host
    """An address of the subnet that a host can have."""
    dns: Annotated[tuple[Host, ...], Meta(max_length=8)] = ()
    public_addresses: Annotated[tuple[Host, ...], Meta(max_length=256)] = ()
    """Addresses or blocks that the client is seen by from outside."""
    notes: Notes = ""


class NetworkInfo(NetworkNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class NetworkShown(NetworkInfo, frozen=True, kw_only=True):
    site: str
    internet_is_on: bool
    """Only of an active client."""
    local_network_is_on: bool
    """Of a suspended one too."""


class NetworkQuery(ListQuery, frozen=True, kw_only=True):
    client_id: Id | None = None
    site_id: Id | None = None
    vlan: Vlan | None = None


class Networks(Noun[NetworkNew, NetworkInfo]):
    name = "network"
    table = networks
    new = NetworkNew
    out = NetworkInfo
    fixed = ("client_id",)
    sorts = ("id", "vlan", "client_id", "site_id", "created_at", "updated_at")
    search = ("subnet", "gateway", "public_addresses", "notes")

    async def check(self, ctx: Context, change: Change, new: NetworkNew, before: RowMapping | None) -> dict[str, Any]:
        client = await require(change.tx, tables.clients, "client_id", "client", new.client_id)
        if before is None and client["status"] == "inactive":
            detail = "An inactive client has no network."
            raise Conflict(detail, errors=[FieldError("client_id", detail)])
        await require(change.tx, sites, "site_id", "site", new.site_id)
        detail = "The VLAN is another network's at this site."
        await self.check_unique(change.tx, before, "vlan", detail, site_id=new.site_id, vlan=new.vlan)
        subnet = _block("subnet", new.subnet)
        gateway = _address("gateway", new.gateway)
        if gateway not in subnet:
            raise invalid("gateway", f"not in {subnet}")
        if subnet.version == 4 and subnet.prefixlen < 31 and gateway in (subnet[0], subnet[-1]):
            raise invalid("gateway", f"no host of {subnet} has this address")
        dns = [str(_address(f"dns[{n}]", text)) for n, text in enumerate(new.dns)]
        public = [_block(f"public_addresses[{n}]", text) for n, text in enumerate(new.public_addresses)]
        for n, block in enumerate(public):
            if any(_overlap(block, other) for other in public[:n]):
                raise invalid(f"public_addresses[{n}]", "given twice")
        others = [row for row in await self._alive(change) if before is None or row["id"] != before["id"]]
        self._check_apart(new, subnet, public, others)
        shown = [str(block.network_address) if block.num_addresses == 1 else str(block) for block in public]
        return {"subnet": str(subnet), "gateway": str(gateway), "dns": dns, "public_addresses": shown}

    async def _alive(self, change: Change) -> list[RowMapping]:
        query = select(networks).where(networks.c.archived_ms.is_(None)).order_by(networks.c.id)
        return list((await change.tx.execute(query)).mappings())

    def _check_apart(self, new: NetworkNew, subnet: Network, public: list[Network], others: list[RowMapping]) -> None:
        for row in others:
            if row["site_id"] == new.site_id and _overlap(subnet, ipaddress.ip_network(row["subnet"])):
                raise _taken("subnet", f"Overlaps {row['subnet']} of VLAN {row['vlan']} at this site.", row)
            blocks = [ipaddress.ip_network(text) for text in row["public_addresses"]]
            for n, block in enumerate(public):
                if any(_overlap(block, other) for other in blocks):
                    raise _taken(f"public_addresses[{n}]", f"{block} is another network's.", row)

    @property
    def answer(self) -> Any:
        return NetworkShown

    async def answers(self, ctx: Context, rows: list[NetworkInfo]) -> list[Any]:
        c = tables.clients.c
        named = select(sites.c.id, sites.c.name).where(sites.c.id.in_({row.site_id for row in rows}))
        states = select(c.id, c.status).where(c.id.in_({row.client_id for row in rows}))
        async with ctx.store.read() as tx:
            site = {row.id: row.name for row in await tx.execute(named)}
            status = {row.id: row.status for row in await tx.execute(states)}
        return [
            NetworkShown(
                **msgspec.structs.asdict(row),
                site=site[row.site_id],
                internet_is_on=status[row.client_id] == "active",
                local_network_is_on=status[row.client_id] in ("active", "suspended"),
            )
            for row in rows
        ]

    async def end_all(self, change: Change, client_id: int) -> None:
        """Of a client that became inactive: VLAN, subnet and addresses are free for others."""
        for row in await self.rows_of(change.tx, "client_id", client_id):
            await self.archive_in(change, row["id"])


NETWORKS: Final = Networks()


def _block(path: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise invalid(path, "no block of addresses, as in 10.20.30.0/24") from error


def _address(path: str, text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise invalid(path, "no address") from error


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _taken(path: str, detail: str, row: RowMapping) -> Conflict:
    references = [Reference("network", str(row["id"])), Reference("client", str(row["client_id"]))]
    return Conflict(detail, errors=[FieldError(path, detail)], references=references)
