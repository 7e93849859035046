"""The ring of messages: all that fits is found, whole, in its order, whatever became of its writer."""

from __future__ import annotations

import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.ring import Ring
from switch.ring_format import BLOCK_BYTES, HEAD_BYTES, RECEIVED, RECORD, SENT, file_bytes
from switch.ring_read import Kept, RingFile

PEER = ("192.0.2.10", 5060)
TWO = 2 * BLOCK_BYTES
LATER_US = 10**15


def options(call_id: str, *, fill: int = 0) -> bytes:
    head = (
        "OPTIONS sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\n"
        "From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
    )
    return f"{head}Call-ID: {call_id}\r\nContent-Length: {fill}\r\n\r\n".encode() + b"x" * fill


def find(path: Path, call_id: str, from_us: int = 0, to_us: int = LATER_US) -> list[Kept]:
    ring = RingFile(path)
    try:
        return ring.find([call_id.encode()], from_us, to_us)
    finally:
        ring.close()


def oldest_us(path: Path) -> int | None:
    ring = RingFile(path)
    try:
        return ring.oldest_us()
    finally:
        ring.close()


def test_what_was_put_in_comes_back_with_its_time_direction_and_peer(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    ring = Ring(path, TWO)
    ring.add(RECEIVED, 0, PEER, options("a@x"), 1_000)
    ring.add(SENT, 1, ("2001:db8::1", 5080), options("b@x"), 2_000)
    ring.add(SENT, 2, PEER, options("a@x", fill=9), 3_000)
    assert find(path, "a@x") == [
        Kept(1_000, RECEIVED, 0, "192.0.2.10:5060", options("a@x")),
        Kept(3_000, SENT, 2, "192.0.2.10:5060", options("a@x", fill=9)),
    ]
    assert [kept.peer for kept in find(path, "b@x")] == ["[2001:db8::1]:5080"]
    assert find(path, "a@x", 1_001, 2_999) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_call_id_that_another_message_only_quotes_does_not_find_it(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    ring = Ring(path, TWO)
    ring.add(RECEIVED, 0, PEER, options("other@x") + b"Call-ID: a@x\r\n", 1)
    ring.add(RECEIVED, 0, PEER, options("prefix-a@x"), 2)
    ring.add(RECEIVED, 0, PEER, options("a@x").replace(b"Call-ID:", b"i \t:"), 3)
    ring.add(RECEIVED, 0, PEER, b"a@x is no message", 4)
    assert [kept.at_us for kept in find(path, "a@x")] == [3]


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 300_000), min_size=1, max_size=40), restarts=st.sets(st.integers(0, 39)))
def test_the_latest_messages_are_there_after_any_number_of_rounds_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], restarts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "ring"
    ring = Ring(path, 4 * BLOCK_BYTES)
    for number, size in enumerate(sizes):
        if number in restarts:
            ring.close()
            ring = Ring(path, 4 * BLOCK_BYTES)
        ring.add(RECEIVED, 0, PEER, options("a@x", fill=size), number + 1)
    found = [kept.at_us for kept in find(path, "a@x")]
    assert found == list(range(len(sizes) - len(found) + 1, len(sizes) + 1)), "a gap"
    # Three blocks are whole at any time, but for what does not fit at their ends.
    if not restarts:
        assert len(found) == len(sizes) or sum(sizes[-len(found) - 1 :]) > 2 * BLOCK_BYTES - 300_000
    assert oldest_us(path) is not None
    assert path.stat().st_size == file_bytes(4)


def test_rounds_never_grow_the_file_and_push_the_oldest_out(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    ring = Ring(path, TWO)
    for number in range(1, 5_000):
        ring.add(RECEIVED, 0, PEER, options(f"{number}@x", fill=700), number)
    assert path.stat().st_size == HEAD_BYTES + TWO
    assert find(path, "1@x") == []
    assert len(find(path, "4999@x")) == 1
    assert 2_500 < (oldest_us(path) or 0) < 4_000


def test_a_killed_writer_loses_nothing_that_it_had_put_in(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    process = get_context("fork").Process(target=_write_and_die, args=(path,))
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert len(find(path, "a@x")) == 1_000
    ring = Ring(path, TWO)
    ring.add(SENT, 0, PEER, options("a@x"), LATER_US)
    assert len(find(path, "a@x")) == 1_001


def _write_and_die(path: Path) -> None:
    ring = Ring(path, TWO)
    for number in range(1_000):
        ring.add(RECEIVED, 0, PEER, options("a@x"), number + 1)
    os.kill(os.getpid(), signal.SIGKILL)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 3_000), filler=st.binary(min_size=1, max_size=64))
def test_bytes_that_a_loss_of_power_has_torn_are_never_read_as_another_message(
    tmp_path_factory: pytest.TempPathFactory, cut: int, filler: bytes
) -> None:
    path = tmp_path_factory.mktemp("ring") / "ring"
    ring = Ring(path, TWO)
    for number in range(10):
        ring.add(RECEIVED, 0, PEER, options("a@x", fill=100), number + 1)
    ring.close()
    with path.open("r+b") as file:
        file.seek(HEAD_BYTES + cut)
        file.write(filler)
    times = [kept.at_us for kept in find(path, "a@x")]
    assert len(times) <= 10
    assert oldest_us(path) is not None or cut < RECORD.size


def test_another_size_begins_a_new_ring_and_a_full_disk_is_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    Ring(path, TWO).add(RECEIVED, 0, PEER, options("a@x"), 1)
    Ring(path, 3 * BLOCK_BYTES)
    assert find(path, "a@x") == []
    assert path.stat().st_size == file_bytes(3)
    with small_files(BLOCK_BYTES), pytest.raises(OSError, match="too large"):
        Ring(tmp_path / "other", TWO)
    assert not (tmp_path / "other").exists()


@contextmanager
def small_files(bytes_max: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_is_no_ring_is_refused_by_readers_and_replaced_by_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a ring"):
        RingFile(path)
    Ring(path, TWO)
    assert oldest_us(path) is None
    os.truncate(path, HEAD_BYTES)
    with pytest.raises(ValueError, match="cut short"):
        RingFile(path)
