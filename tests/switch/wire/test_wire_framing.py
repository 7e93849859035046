import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import FramingError
from switch.wire.framing import StreamFramer
from switch.wire.limits import BODY_BYTES_MAX, HEADER_BYTES_MAX, Limits
from switch.wire.message import parse_message
from tests.fakes.wire import INVITE, OK, bent

UTF8 = bent((b"Subject", "Subject: Grüße".encode()))


def cut(framer: StreamFramer, data: bytes, sizes: list[int]) -> list[bytes]:
    messages: list[bytes] = []
    at = 0
    for size in sizes:
        messages += framer.feed(data[at : at + size])
        at += size
    return messages + framer.feed(data[at:])


def broken(data: bytes, limits: Limits | None = None) -> FramingError:
    with pytest.raises(FramingError) as caught:
        StreamFramer(limits or Limits()).feed(data)
    return caught.value


def test_a_message_in_one_piece_comes_out_at_once() -> None:
    framer = StreamFramer()
    assert framer.feed(INVITE) == [INVITE]
    assert not framer.has_partial


def test_a_message_byte_by_byte_comes_out_once() -> None:
    framer = StreamFramer()
    seen = [message for at in range(len(UTF8)) for message in framer.feed(UTF8[at : at + 1])]
    assert seen == [UTF8]


def test_pipelined_messages_come_out_in_order() -> None:
    each = [bent((b"Call-ID", b"Call-ID: %d@h" % number)) for number in range(100)]
    assert StreamFramer().feed(b"".join(each)) == each


@given(
    st.lists(st.sampled_from([INVITE, OK, UTF8, b"\r\n", b"\r\n\r\n"]), max_size=8),
    st.lists(st.integers(0, 300), max_size=30),
)
def test_cuts_change_neither_messages_nor_pings(parts: list[bytes], sizes: list[int]) -> None:
    data = b"".join(parts)
    whole, pieces = StreamFramer(), StreamFramer()
    assert cut(pieces, data, sizes) == whole.feed(data) == [part for part in parts if part.strip()]
    assert pieces.pings == whole.pings
    assert not pieces.has_partial


def test_keep_alives_are_counted_and_are_no_messages() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r\n") == []
    assert framer.pings == 1
    assert framer.feed(b"\r") == []
    assert framer.feed(b"\n\r") == []
    assert framer.pings == 1
    assert framer.feed(b"\n") == []
    assert framer.pings == 2
    assert framer.feed(b"\r\n") == []
    assert framer.pings == 2, "a single CRLF asks for nothing"
    assert framer.feed(INVITE) == [INVITE]


def test_a_begun_message_is_told_from_an_idle_connection() -> None:
    framer = StreamFramer()
    assert not framer.is_mid_header
    framer.feed(INVITE[:20])
    assert framer.is_mid_header
    assert framer.has_partial
    framer.feed(INVITE[20:-2])
    assert not framer.is_mid_header
    assert framer.has_partial
    framer.feed(INVITE[-2:])
    assert not framer.has_partial


@pytest.mark.parametrize(
    "value",
    [
        b"-1",
        b"-999",
        b"+5",
        b"0x5",
        b"1e3",
        b"\xd9\xa5",
        b"5" * 30,
        b"",
        b"5 5",
        b"4294967328",
        b"18446744073709551621",
    ],
)
def test_a_bad_content_length_is_answered_400_and_closes(value: bytes) -> None:
    error = broken(bent((b"Content-Length", b"Content-Length: " + value)) + OK)
    assert error.messages == []
    assert error.reply is not None
    assert error.reply.startswith(b"SIP/2.0 400 ")


@pytest.mark.parametrize("second", [b"Content-Length: 6", b"l: 5", b"CONTENT-LENGTH : 5", b"Content-Length:\r\n 6"])
def test_two_content_lengths_close(second: bytes) -> None:
    error = broken(bent((b"Max-Forwards", second)))
    assert error.reply is not None
    assert error.reply.startswith(b"SIP/2.0 400 ")


def test_a_missing_content_length_is_answered_400_and_closes() -> None:
    error = broken(bent((b"Content-Length", None)))
    assert error.reply is not None
    assert error.reply.startswith(b"SIP/2.0 400 ")


@pytest.mark.parametrize("line", [b"l :5", b"CONTENT-LENGTH:\r\n 5", b"L\t:\r\n\t 5 "])
def test_odd_spellings_of_content_length_frame_the_same(line: bytes) -> None:
    data = bent((b"Content-Length", line))
    assert StreamFramer().feed(data + OK) == [data, OK]


def test_a_body_over_the_limit_is_answered_413_before_it_is_read() -> None:
    error = broken(bent((b"Content-Length", b"Content-Length: %d" % (BODY_BYTES_MAX + 1))))
    assert error.reply is not None
    assert error.reply.startswith(b"SIP/2.0 413 ")


@pytest.mark.parametrize("is_ended", [True, False])
def test_a_header_section_over_the_limit_is_answered_513(is_ended: bool) -> None:
    filler = (b"X: " + b"y" * 1000 + b"\r\n") * (HEADER_BYTES_MAX // 1000)
    data = INVITE.replace(b"Content-Length", filler + b"Content-Length")
    error = broken(data if is_ended else data[: HEADER_BYTES_MAX + 10])
    assert error.reply is not None
    assert error.reply.startswith(b"SIP/2.0 513 ")


def test_what_was_whole_before_the_trouble_is_kept() -> None:
    error = broken(INVITE + OK + bent((b"Content-Length", b"Content-Length: x")))
    assert error.messages == [INVITE, OK]


def test_nothing_is_read_after_the_trouble() -> None:
    framer = StreamFramer()
    with pytest.raises(FramingError):
        framer.feed(bent((b"Content-Length", b"Content-Length: x")))
    with pytest.raises(FramingError):
        framer.feed(INVITE)
    assert not framer.has_partial


def test_a_broken_response_or_ack_closes_without_a_reply() -> None:
    assert broken(OK.replace(b"Length: 0", b"Length: x")).reply is None
    assert broken(bent((b"Content-Length", b"Content-Length: x"), start=b"ACK sip:a@b SIP/2.0")).reply is None


def test_a_carriage_return_alone_between_messages_closes() -> None:
    framer = StreamFramer()
    assert framer.feed(b"\r\n\r") == []
    with pytest.raises(FramingError):
        framer.feed(b"X")


def test_every_framed_message_has_the_body_that_it_was_framed_with() -> None:
    data = bent((b"Content-Length", b"l: 5"))
    (framed,) = StreamFramer().feed(data)
    assert parse_message(framed).body == b"hello"


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=8))
def test_any_bytes_frame_alike_however_cut(data: bytes, sizes: list[int]) -> None:
    def run(sizes: list[int]) -> tuple[list[bytes], bool]:
        framer = StreamFramer(Limits(header_bytes_max=200))
        messages: list[bytes] = []
        at = 0
        for size in [*sizes, len(data)]:
            try:
                messages += framer.feed(data[at : at + size])
            except FramingError as error:
                return messages + error.messages, True
            at += size
        return messages, False

    assert run(sizes) == run([])
