"""Datagrams by the batch: `recvmmsg` and `sendmmsg`, which Python's sockets do not offer.

One system call takes all that the kernel holds and one hands over all that a wake-up has to say.
The structures that the kernel reads are made once and point into buffers of our own; what changes
with each message, its length and address, is written through memory views. Source: recvmmsg(2),
sendmmsg(2), as Linux has them since 3.0.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import Final

from switch.flow import Address

RECEIVE_SLOTS: Final = 64
SEND_SLOTS: Final = 64
SLOT_BYTES: Final = 65_536
"""The largest datagram fits; pages that no message reaches cost nothing."""
ADDRESSES_MAX: Final = 65_536
"""Peers whose socket addresses are remembered; then the memory begins anew."""
_NAME_BYTES: Final = 28
_NAME_BYTES_IPV4: Final = 16


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_recvmmsg: Final = _LIBC.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg: Final = _LIBC.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

_HEADER_BYTES: Final = ctypes.sizeof(_Mmsghdr)
_LENGTH_STEP: Final = _HEADER_BYTES // 4
_LENGTH_AT: Final = _Mmsghdr.length.offset // 4
_IOVEC_STEP: Final = ctypes.sizeof(_Iovec) // ctypes.sizeof(ctypes.c_size_t)
_IOVEC_LENGTH_AT: Final = _Iovec.length.offset // ctypes.sizeof(ctypes.c_size_t)


class _Slots:
    """Message headers for so many datagrams, each with its buffer and its socket address."""

    def __init__(self, count: int, name_bytes: int) -> None:
        self.headers = bytearray(count * _HEADER_BYTES)
        self.iovecs = bytearray(count * ctypes.sizeof(_Iovec))
        self.names = bytearray(count * _NAME_BYTES)
        self.buffer = bytearray(count * SLOT_BYTES)
        self.address = _address_of(self.headers)
        iovecs_at, names_at, buffer_at = _address_of(self.iovecs), _address_of(self.names), _address_of(self.buffer)
        headers = (_Mmsghdr * count).from_buffer(self.headers)
        iovecs = (_Iovec * count).from_buffer(self.iovecs)
        for index in range(count):
            iovecs[index].base = buffer_at + index * SLOT_BYTES
            iovecs[index].length = SLOT_BYTES
            header = headers[index].header
            header.name = names_at + index * _NAME_BYTES
            header.name_length = name_bytes
            header.iov = iovecs_at + index * ctypes.sizeof(_Iovec)
            header.iov_count = 1
        self.lengths = memoryview(self.headers).cast("I")
        self.sizes = memoryview(self.iovecs).cast("L")
        self.names_view = memoryview(self.names)
        self.view = memoryview(self.buffer)


class Receiver:
    """Takes what a UDP socket holds, up to `RECEIVE_SLOTS` datagrams at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._fd = sock.fileno()
        self._is_ipv6 = sock.family == socket.AF_INET6
        # The kernel writes back how long each address is: always the same for one family.
        self._name_bytes = _NAME_BYTES if self._is_ipv6 else _NAME_BYTES_IPV4
        self._key_bytes = _NAME_BYTES if self._is_ipv6 else 8
        self._slots = _Slots(RECEIVE_SLOTS, self._name_bytes)
        self._known: dict[bytes, Address] = {}

    def receive(self) -> list[tuple[bytes, Address]]:
        """Datagrams with where they came from, in the order of their arrival; fewer than `RECEIVE_SLOTS`: that was all.

        Raises:
            BlockingIOError: there is none.
            OSError: the socket has an error to report first.
        """
        slots = self._slots
        count = _recvmmsg(self._fd, slots.address, RECEIVE_SLOTS, socket.MSG_DONTWAIT, None)
        if count <= 0:
            number = ctypes.get_errno()
            if number == errno.EAGAIN:
                raise BlockingIOError(number, "nothing to read")
            raise OSError(number, os.strerror(number))
        lengths, names, view, known, key_bytes = (
            slots.lengths,
            slots.names_view,
            slots.view,
            self._known,
            self._key_bytes,
        )
        found: list[tuple[bytes, Address]] = []
        for index in range(count):
            name_at = index * _NAME_BYTES
            name = bytes(names[name_at : name_at + key_bytes])
            address = known.get(name)
            if address is None:
                address = self._remember(name)
            at = index * SLOT_BYTES
            found.append((bytes(view[at : at + lengths[index * _LENGTH_STEP + _LENGTH_AT]]), address))
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
        self._fd = sock.fileno()
        self._is_ipv6 = sock.family == socket.AF_INET6
        self._slots = _Slots(SEND_SLOTS, _NAME_BYTES if self._is_ipv6 else _NAME_BYTES_IPV4)
        self._known: dict[Address, bytes] = {}

    def put(self, index: int, data: bytes, address: Address) -> None:
        """Make `data` the message of slot `index`.

        Raises:
            OSError: the address is none, or the message is longer than any datagram.
        """
        slots = self._slots
        name = self._known.get(address)
        if name is None:
            name = self._remember(address)
        size = len(data)
        if size > SLOT_BYTES:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        name_at = index * _NAME_BYTES
        slots.names_view[name_at : name_at + len(name)] = name
        at = index * SLOT_BYTES
        slots.view[at : at + size] = data
        slots.sizes[index * _IOVEC_STEP + _IOVEC_LENGTH_AT] = size

    def send(self, first: int, count: int) -> int:
        """Send slots `first` to `count`; returns how many the kernel took, at least one.

        Raises:
            OSError: not even the first; BlockingIOError where the kernel has no room.
        """
        taken: int = _sendmmsg(
            self._fd, self._slots.address + first * _HEADER_BYTES, count - first, socket.MSG_DONTWAIT
        )
        if taken <= 0:
            number = ctypes.get_errno()
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


def _address_of(buffer: bytearray) -> int:
    """Where a buffer lies. It stays there: whoever has a memory view of it cannot change its size."""
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
