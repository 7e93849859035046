"""Datagrams by the batch: `recvmmsg` and `sendmmsg`, which Python's sockets do not offer.

One system call takes all that the kernel holds and one hands over all that a wake-up has to say.
The structures that the kernel reads are made once and point into buffers of our own (`mmsg`); what
changes with each message, its length and address, is written through memory views.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final

from switch.flow import Address
from switch.mmsg import (
    HEADER_BYTES,
    NAME_BYTES,
    NAME_BYTES_IPV4,
    SLOT_BYTES,
    Slots,
    last_errno,
    recvmmsg,
    sendmmsg,
)

RECEIVE_SLOTS: Final = 64
SEND_SLOTS: Final = 64
ADDRESSES_MAX: Final = 65_536
"""Peers whose socket addresses are remembered; then the memory begins anew."""


class Receiver:
    """Takes what a UDP socket holds, up to `RECEIVE_SLOTS` datagrams at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._fd: int = sock.fileno()
        self._is_ipv6: bool = sock.family == socket.AF_INET6
        # The kernel writes back how long each address is: always the same for one family.
        self._slots: Slots = Slots(RECEIVE_SLOTS, NAME_BYTES if self._is_ipv6 else NAME_BYTES_IPV4)
        self._at: int = self._slots.address
        self._names: list[memoryview] = self._slots.names_of(NAME_BYTES if self._is_ipv6 else 8)
        self._views: list[memoryview] = self._slots.views
        self._lengths: memoryview = self._slots.lengths
        self._length_places: list[int] = self._slots.length_places
        self._known: dict[bytes, Address] = {}

    def receive(self) -> list[tuple[bytes, Address]]:
        """Datagrams with where they came from, in the order of their arrival; fewer than `RECEIVE_SLOTS`: that was all.

        Raises:
            BlockingIOError: there is none.
            OSError: the socket has an error to report first.
        """
        count: int = recvmmsg(self._fd, self._at, RECEIVE_SLOTS, socket.MSG_DONTWAIT, None)
        if count <= 0:
            number = last_errno()
            if number == errno.EAGAIN:
                raise BlockingIOError(number, "nothing to read")
            raise OSError(number, os.strerror(number))
        names, views, lengths, places, known = self._names, self._views, self._lengths, self._length_places, self._known
        found: list[tuple[bytes, Address]] = []
        for index in range(count):
            name = names[index].tobytes()
            address = known.get(name)
            if address is None:
                address = self._remember(name)
            found.append((views[index][: lengths[places[index]]].tobytes(), address))
        return found

    def _remember(self, name: bytes) -> Address:
        port = int.from_bytes(name[2:4], "big")
        if self._is_ipv6:
            address = (socket.inet_ntop(socket.AF_INET6, name[8:24]), port)
        else:
            address = (socket.inet_ntop(socket.AF_INET, name[4:8]), port)
        if len(self._known) >= ADDRESSES_MAX:
            self._known.clear()
        self._known[name] = address
        return address


class Sender:
    """Hands datagrams to a UDP socket, up to `SEND_SLOTS` at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._fd: int = sock.fileno()
        self._is_ipv6: bool = sock.family == socket.AF_INET6
        name_bytes = NAME_BYTES if self._is_ipv6 else NAME_BYTES_IPV4
        self._slots: Slots = Slots(SEND_SLOTS, name_bytes)
        self._at: int = self._slots.address
        self._names: list[memoryview] = self._slots.names_of(name_bytes)
        self._views: list[memoryview] = self._slots.views
        self._sizes: memoryview = self._slots.sizes
        self._size_places: list[int] = self._slots.size_places
        self._known: dict[Address, bytes] = {}

    def put(self, index: int, data: bytes, address: Address) -> None:
        """Make `data` the message of slot `index`.

        Raises:
            OSError: the address is none, or the message is longer than any datagram.
        """
        name = self._known.get(address)
        if name is None:
            name = self._remember(address)
        size = len(data)
        if size > SLOT_BYTES:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        self._names[index][:] = name
        self._views[index][:size] = data
        self._sizes[self._size_places[index]] = size

    def send(self, first: int, count: int) -> int:
        """Send slots `first` to `count`; returns how many the kernel took, at least one.

        Raises:
            OSError: not even the first; BlockingIOError where the kernel has no room.
        """
        taken: int = sendmmsg(self._fd, self._at + first * HEADER_BYTES, count - first, socket.MSG_DONTWAIT)
        if taken <= 0:
            number = last_errno()
            if number == errno.EAGAIN:
                raise BlockingIOError(number, os.strerror(number))
            raise OSError(number, os.strerror(number))
        return taken

    def _remember(self, address: Address) -> bytes:
        host, port = address
        if self._is_ipv6:
            name = struct.pack(
                "=HHI16sI", socket.AF_INET6, socket.htons(port), 0, socket.inet_pton(socket.AF_INET6, host), 0
            )
        else:
            name = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), socket.inet_pton(socket.AF_INET, host))
        if len(self._known) >= ADDRESSES_MAX:
            self._known.clear()
        self._known[address] = name
        return name
