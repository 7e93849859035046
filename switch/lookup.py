"""Where a gateway's name leads: NAPTR, SRV, A and AAAA records (RFC 3263 §4, RFC 2782).

A gateway's transport is configured, so NAPTR records only choose the SRV name for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from switch.outputs import Target
from switch.snapshot import Gateway

LOOKUP_TIMEOUT_S: Final = 5.0
TTL_MAX_S: Final = 3_600.0
HOSTS_TTL_S: Final = 60.0
RECORDS_MAX: Final = 32
"""Of one answer; the rest of a longer one is left."""
TARGETS_MAX: Final = 64

Transport = Literal["udp", "tcp", "tls"]
_SERVICE: Final[dict[str, bytes]] = {"udp": b"sip+d2u", "tcp": b"sip+d2t", "tls": b"sips+d2t"}
_SRV_PREFIX: Final = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
DEFAULT_PORT: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}
_NOTHING: Final = (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer)


class LookupFailed(Exception):
    """A name could not be resolved; the text says which and why."""


class Answer(NamedTuple):
    targets: list[Target]
    ttl_s: float


class Lookup:
    """RFC 3263 §4 for one gateway at a time, with dnspython."""

    def __init__(
        self,
        versions: frozenset[int] = frozenset({4, 6}),
        resolver: dns.asyncresolver.Resolver | None = None,
        hosts: Path = Path("/etc/hosts"),
        rng: random.Random | None = None,
    ) -> None:
        """`versions` are the IP versions that a listener can send from."""
        self._versions = versions
        self._resolver = resolver or system_resolver()
        self._hosts = hosts
        self._rng = rng or random.Random()

    async def find(self, gateway: Gateway) -> Answer:
        """Targets of one gateway, the best first.

        Raises:
            LookupFailed: nothing was found, or no name server answered.
        """
        answer = await self._find_by(gateway.host, gateway.port, gateway.transport)
        return Answer(answer.targets[:TARGETS_MAX], answer.ttl_s)

    async def _find_by(self, host: str, port: int | None, transport: Transport) -> Answer:
        server_name = host if transport == "tls" else ""
        if port is not None:  # RFC 3263 §4.2: an explicit port means no SRV
            ips, ttl_s = await self._addresses(host)
            return Answer([Target(transport, ip, port, server_name) for ip in ips], ttl_s)
        service, ttl_s = await self._service_name(host, transport)
        try:
            answer = await self._ask(service, "SRV")
        except _NOTHING:
            ips, ips_ttl_s = await self._addresses(host)
            default = DEFAULT_PORT[transport]
            return Answer([Target(transport, ip, default, server_name) for ip in ips], min(ttl_s, ips_ttl_s))
        ttl_s = min(ttl_s, _ttl_s(answer))
        records = list(answer)[:RECORDS_MAX]
        if len(records) == 1 and records[0].target == dns.name.root:
            raise LookupFailed(f"{service}: the service is said not to exist")  # RFC 2782, target "."
        targets: list[Target] = []
        reason: LookupFailed | None = None
        for record in order_by_weight(records, self._rng):
            try:
                ips, ips_ttl_s = await self._addresses(record.target.to_text(omit_final_dot=True))
            except LookupFailed as error:
                reason = error
                continue
            ttl_s = min(ttl_s, ips_ttl_s)
            for ip in ips:
                targets.append(Target(transport, ip, record.port, server_name, record.priority, record.weight))
        if not targets:
            raise reason or LookupFailed(f"{service}: no usable record")
        return Answer(targets, ttl_s)

    async def _service_name(self, host: str, transport: Transport) -> tuple[str, float]:
        """The SRV name that NAPTR gives for this transport, else the one made from the host (§4.1)."""
        made = _SRV_PREFIX[transport] + host
        try:
            answer = await self._ask(host, "NAPTR")
        except _NOTHING:
            return made, TTL_MAX_S
        usable = [
            record
            for record in list(answer)[:RECORDS_MAX]
            if record.service.lower() == _SERVICE[transport] and record.flags.lower() == b"s"
        ]
        if not usable:
            return made, _ttl_s(answer)
        best = min(usable, key=lambda record: (record.order, record.preference))
        return best.replacement.to_text(omit_final_dot=True), _ttl_s(answer)

    async def _addresses(self, host: str) -> tuple[list[str], float]:
        known = await asyncio.to_thread(self._read_hosts, host.lower())
        if known:
            return known, HOSTS_TTL_S
        found: list[str] = []
        ttl_s = TTL_MAX_S
        failure: LookupFailed | None = None
        for version, kind in ((4, "A"), (6, "AAAA")):
            if version not in self._versions:
                continue
            try:
                answer = await self._ask(host, kind)
            except _NOTHING:
                continue
            except LookupFailed as error:
                failure = error
                continue
            found += [record.address for record in list(answer)[:RECORDS_MAX]]
            ttl_s = min(ttl_s, _ttl_s(answer))
        if not found:
            raise failure or LookupFailed(f"{host}: no address")
        return found, ttl_s

    async def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        try:
            return await self._resolver.resolve(name, kind, lifetime=LOOKUP_TIMEOUT_S, search=False)
        except _NOTHING:
            raise
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise LookupFailed(f"{name} {kind}: {error or type(error).__name__}") from error

    def _read_hosts(self, host: str) -> list[str]:
        """Addresses that the hosts file has for a name, as the system's own resolver would look first."""
        try:
            lines = self._hosts.read_text(errors="replace").splitlines()
        except OSError:
            return []
        found: list[str] = []
        for line in lines:
            words = line.partition("#")[0].lower().split()
            if host in words[1:] and _version(words[0]) in self._versions and words[0] not in found:
                found.append(words[0])
        return found


def order_by_weight(records: Iterable[Any], rng: random.Random) -> list[Any]:
    """SRV records by priority, and within one drawn by weight (RFC 2782's algorithm)."""
    ordered: list[Any] = []
    left = sorted(records, key=lambda record: (record.priority, record.weight))
    while left:
        group = [record for record in left if record.priority == left[0].priority]
        drawn = rng.randint(0, sum(record.weight for record in group))
        for record in group:  # weights of 0 stand first: they are taken only when 0 was drawn
            drawn -= record.weight
            if drawn <= 0:
                break
        ordered.append(record)
        left.remove(record)
    return ordered


def literal_targets(gateway: Gateway) -> list[Target]:
    """The target of a gateway whose host is an address; empty where it is a name."""
    ip = gateway.host.strip("[]")
    if not _version(ip):
        return []
    return [Target(gateway.transport, ip, gateway.port or DEFAULT_PORT[gateway.transport])]


def system_resolver() -> dns.asyncresolver.Resolver:
    """What `/etc/resolv.conf` says; without one, every look-up fails with a reason."""
    try:
        return dns.asyncresolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return dns.asyncresolver.Resolver(configure=False)


def _ttl_s(answer: dns.resolver.Answer) -> float:
    return float(answer.chaining_result.minimum_ttl)


def _version(host: str) -> int:
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0
