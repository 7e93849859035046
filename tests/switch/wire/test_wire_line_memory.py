"""Lines that were read before: they say the same, are bounded in number, and let nothing broken in."""

from __future__ import annotations

import pytest

from switch.build import is_compiled
from switch.wire import message as module
from switch.wire.errors import ParseError
from switch.wire.message import LINES_MAX, Message, Request, parse_message
from tests.fakes.wire import INVITE, OK, bent


def facts(message: Message) -> tuple[object, ...]:
    return (
        message.lines,
        message.ids,
        message.call_id,
        message.cseq,
        message.cseq_method,
        message.from_tag,
        message.to_tag,
        message.via.raw,
        message.via_count,
        message.max_forwards if isinstance(message, Request) else None,
    )


@pytest.mark.parametrize("data", [INVITE, OK])
def test_a_message_reads_the_same_the_second_time(data: bytes) -> None:
    assert facts(parse_message(data)) == facts(parse_message(data))


def test_a_contact_let_through_in_a_response_is_still_refused_in_a_request() -> None:
    broken = b"Contact: <sip:a@[::>, x"
    parse_message(OK.replace(b"Contact: <sip:15551230001@203.0.113.9>", broken))
    for _ in range(2):
        with pytest.raises(ParseError):
            parse_message(bent((b"Contact", broken)))


def test_max_forwards_let_through_in_a_response_is_still_refused_in_a_request() -> None:
    parse_message(OK.replace(b"Content-Length", b"Max-Forwards: 999\r\nContent-Length"))
    for _ in range(2):
        with pytest.raises(ParseError):
            parse_message(bent((b"Max-Forwards", b"Max-Forwards: 999")))


def test_a_broken_line_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ParseError):
            parse_message(bent((b"CSeq", b"CSeq: 4294967296 INVITE")))


@pytest.mark.skipif(is_compiled(), reason="looks inside")
def test_the_memory_is_bounded_and_keeps_no_credentials() -> None:
    for number in range(3 * LINES_MAX):
        parse_message(bent((b"Call-ID", b"Call-ID: %d" % number)))
    memory = module._memory
    assert len(memory.young) <= LINES_MAX
    assert len(memory.old) <= LINES_MAX
    assert b"Max-Forwards: 70" in {**memory.young, **memory.old}
    secret = b'Authorization: Digest username="a", response="b"'
    parse_message(bent((b"Authorization", secret)))
    assert secret not in memory.young
