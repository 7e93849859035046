"""The system calls `recvmmsg` and `sendmmsg`, and the structures that they take, by ctypes.

Source: recvmmsg(2), sendmmsg(2), as Linux has them since 3.0.
"""

from __future__ import annotations

import ctypes
from typing import Final

NAME_BYTES: Final = 28
NAME_BYTES_IPV4: Final = 16
SLOT_BYTES: Final = 65_536
"""The largest datagram fits; pages that no message reaches cost nothing."""
_SLOT_STEP: Final = SLOT_BYTES + 1_088
"""From one slot to the next. By powers of two all messages would share the same few lines of the caches."""


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
recvmmsg: Final = _LIBC.recvmmsg
recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
sendmmsg: Final = _LIBC.sendmmsg
sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

HEADER_BYTES: Final = ctypes.sizeof(_Mmsghdr)
_LENGTH_STEP: Final = HEADER_BYTES // 4
_LENGTH_AT: Final = _Mmsghdr.length.offset // 4
_IOVEC_STEP: Final = ctypes.sizeof(_Iovec) // ctypes.sizeof(ctypes.c_size_t)
_IOVEC_LENGTH_AT: Final = _Iovec.length.offset // ctypes.sizeof(ctypes.c_size_t)


def last_errno() -> int:
    """Why the last of the calls has failed."""
    return ctypes.get_errno()


class Slots:
    """Message headers for so many datagrams, each with its buffer and its socket address."""

    def __init__(self, count: int, name_bytes: int) -> None:
        self.headers = bytearray(count * HEADER_BYTES)
        self.iovecs = bytearray(count * ctypes.sizeof(_Iovec))
        self.names = bytearray(count * NAME_BYTES)
        self.buffer = bytearray(count * _SLOT_STEP)
        self.address = _address_of(self.headers)
        iovecs_at, names_at, buffer_at = _address_of(self.iovecs), _address_of(self.names), _address_of(self.buffer)
        headers = (_Mmsghdr * count).from_buffer(self.headers)
        iovecs = (_Iovec * count).from_buffer(self.iovecs)
        for index in range(count):
            iovecs[index].base = buffer_at + index * _SLOT_STEP
            iovecs[index].length = SLOT_BYTES
            header = headers[index].header
            header.name = names_at + index * NAME_BYTES
            header.name_length = name_bytes
            header.iov = iovecs_at + index * ctypes.sizeof(_Iovec)
            header.iov_count = 1
        self.lengths = memoryview(self.headers).cast("I")
        """With `length_places`: how long the message of each slot is that was received."""
        self.sizes = memoryview(self.iovecs).cast("L")
        """With `size_places`: how long the message of each slot is that is to be sent."""
        self.length_places = [index * _LENGTH_STEP + _LENGTH_AT for index in range(count)]
        self.size_places = [index * _IOVEC_STEP + _IOVEC_LENGTH_AT for index in range(count)]
        view = memoryview(self.buffer)
        self.views = [view[index * _SLOT_STEP : index * _SLOT_STEP + SLOT_BYTES] for index in range(count)]
        self._count = count

    def names_of(self, size: int) -> list[memoryview]:
        """The first bytes of each socket address."""
        view = memoryview(self.names)
        return [view[index * NAME_BYTES : index * NAME_BYTES + size] for index in range(self._count)]


def _address_of(buffer: bytearray) -> int:
    """Where a buffer lies. It stays there: whoever has a memory view of it cannot change its size."""
    return ctypes.addressof((ctypes.c_char * len(buffer)).from_buffer(buffer))
