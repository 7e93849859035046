"""Money on a disk that fails, fills up or flips bits: nothing is said that is not kept, and the books agree after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from config.settings import Journal
from switch.frames import BookEntries, Entry
from switch.segments import MARK, segment_path
from tests.e2e.books import PAYMENT_NANOS, Books
from tests.e2e.peer import Dialog, Peer, answered_call, hang_up, reply
from tests.e2e.plane import Plane

pytestmark = pytest.mark.slow

BALANCE = 10**12


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path, journal=Journal(sync="group", group_ms=5), balance_nanos=BALANCE)
    made.start()
    yield made
    made.kill()


def payment(plane: Plane, number: int) -> BookEntries:
    return BookEntries(id=1, entries=(Entry(number, plane.place.base, PAYMENT_NANOS),))


def end(dialog: Dialog, caller: Peer, vendor: Peer, books: Books) -> None:
    """The caller hangs up; after a restart the vendor may be told once more of calls that ended just before."""
    caller.send(dialog.inside("BYE", 2))
    call_id = ""
    while call_id != dialog.call_id:
        bye = vendor.wait_for_request("BYE")
        vendor.send(reply(vendor, bye, 200, "OK"))
        call_id = bye.header("Call-ID")
    assert caller.wait_for_final("BYE").status == 200
    books.ended.add(dialog.call_id)


def test_after_a_failed_sync_no_payment_is_taken_and_calls_end_billed(plane: Plane) -> None:
    books = Books(plane)
    books.pay()
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        first, second, third = [answered_call(caller, vendor)[0] for _ in range(3)]
        with plane.fault("fdatasync:error=EIO"):
            end(first, caller, vendor, books)
            plane.wait(lambda: "journal_failed" in plane.log(), "the alarm")
        refusal = plane.refusal(payment(plane, 2))
        assert refusal.startswith("no money is moved: journal sync failed: Input/output error")
        end(second, caller, vendor, books)
        books.check(calls=1)
        plane.kill()
        plane.start()
        # The third talks on, and the payment that was refused can be made.
        books.check(calls=1)
        books.pay()
        assert books.booked == 2
        end(third, caller, vendor, books)
    books.check()
    plane.assert_sound()


def test_on_a_full_disk_no_payment_is_taken_and_what_memory_held_is_written(plane: Plane) -> None:
    books = Books(plane)
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        first, second, third = [answered_call(caller, vendor)[0] for _ in range(3)]
        with fault_of_full_disk(plane):
            # The payment is what does not fit any more: it is not said to be kept.
            assert "No space left on device" in plane.refusal(payment(plane, 1))
            assert plane.refusal(payment(plane, 1)).startswith("no money is moved")
            end(first, caller, vendor, books)
            end(second, caller, vendor, books)
        plane.wait(lambda: "journal_recovered" in plane.log(), "the journal")
        # It was in the balance, and is now in the journal: asked again, it is there, once.
        books.pay()
        books.check(calls=1)
        plane.kill()
        plane.start()
        books.check(calls=1)
        end(third, caller, vendor, books)
    books.check()
    assert "journal_damaged" not in plane.log()


def test_a_kill_while_the_disk_is_full_brings_back_what_could_not_be_written_as_live(plane: Plane) -> None:
    """The ends that only memory had are gone with it. The calls, and what they hold, are not."""
    books = Books(plane)
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        dialogs = [answered_call(caller, vendor)[0] for _ in range(3)]
        with fault_of_full_disk(plane):
            hang_up(dialogs[0], caller, vendor)
            plane.wait(lambda: "journal_failed" in plane.log(), "the alarm")
            plane.kill()
        plane.start()
        books.check(calls=3)
        books.end_live_calls()
    books.ended |= {dialog.call_id for dialog in dialogs}
    books.check()


def test_a_flipped_byte_in_a_payment_is_told_and_the_books_go_on_without_it(plane: Plane) -> None:
    books = Books(plane)
    books.pay()
    books.pay()
    plane.kill()
    segment = plane.newest_segment()
    data = bytearray(segment.read_bytes())
    inside = data.index(b"\xa8credited")
    place = data.rindex(MARK, 0, inside)
    data[inside + 12] ^= 0x40  # in its number or amount
    segment.write_bytes(data)
    plane.start()
    assert f"{segment}: offset {place}: checksum does not match" in plane.log()
    assert "journal_damaged" in plane.standing_alarms()
    # One payment of the two is in the balance: what cannot be read is not guessed at.
    assert plane.account().balance_nanos == BALANCE + PAYMENT_NANOS


def test_a_checkpoint_that_cannot_be_read_leaves_the_balances_to_the_one_before(plane: Plane) -> None:
    books = Books(plane)
    books.pay()
    with plane.peer(plane.customer) as caller, plane.peer(plane.vendor) as vendor:
        first, second = [answered_call(caller, vendor)[0] for _ in range(2)]
        plane.kill()
        plane.start()
        end(first, caller, vendor, books)
        plane.kill()
        segment = plane.newest_segment()
        data = bytearray(segment.read_bytes())
        data[data.index(b"\xaacheckpoint") + 20] ^= 1
        segment.write_bytes(data)
        plane.start()
        assert plane.log().count("journal_damaged") == 1
        account = plane.account()
        assert account.holds == 1
        end(second, caller, vendor, books)
    assert {call.call_id for call in plane.live_calls()} == set()


def fault_of_full_disk(plane: Plane) -> AbstractContextManager[None]:
    segment = plane.newest_segment()
    following = [segment_path(segment.parent, int(segment.stem) + step) for step in range(1, 40)]
    return plane.fault("write:error=ENOSPC", segment, *following)
