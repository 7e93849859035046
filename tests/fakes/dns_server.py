"""A small DNS server on loopback that answers from a zone kept in memory."""

from __future__ import annotations

import asyncio
from typing import cast

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

Records = dict[tuple[str, str], tuple[int, list[str]]]
"""(name, type) to TTL in seconds and records in presentation format."""


class DnsServer(asyncio.DatagramProtocol):
    """`records` may be changed while it runs; `questions` holds what was asked; `is_silent` drops all."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.questions: list[tuple[str, str]] = []
        self.is_silent = False
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))

    def resolver(self) -> dns.asyncresolver.Resolver:
        assert self._transport is not None
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self._transport.get_extra_info("sockname")[1]
        return resolver

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((name, kind))
        if self.is_silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        found = self.records.get((name, kind))
        if found is not None:
            answer.answer.append(dns.rrset.from_text(question.name, found[0], "IN", kind, *found[1]))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)
