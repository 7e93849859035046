"""Each torture message at the parser: taken or refused, and with what."""

import pytest

from switch.wire.errors import FramingError, ParseError
from switch.wire.framing import StreamFramer
from switch.wire.headers import CONTACT, CONTENT_LENGTH, OTHER, VIA
from switch.wire.message import Request, Response, parse_message
from switch.wire.name_addr import NameAddr
from switch.wire.uri import parse_uri
from switch.wire.via import Via
from tests.torture.verdicts import CASES, FOLDER, RFC_4475, RFC_5118, Case, expand, load

BY_NAME = {case.file: case for case in CASES}


def parsed(name: str) -> Request | Response:
    return parse_message(load(BY_NAME[name]))


def request(name: str) -> Request:
    found = parsed(name)
    assert isinstance(found, Request)
    return found


def test_every_message_of_both_rfcs_is_here() -> None:
    assert len(RFC_4475) == 49
    assert len(RFC_5118) == 12
    assert {path.stem for path in FOLDER.iterdir()} == set(BY_NAME)


@pytest.mark.parametrize("case", CASES, ids=[case.file for case in CASES])
def test_a_message_is_taken_or_refused_as_its_verdict_says(case: Case) -> None:
    data = load(case)
    if case.parses:
        parse_message(data)
        return
    with pytest.raises(ParseError) as caught:
        parse_message(data)
    assert caught.value.status == case.parse_status
    assert (caught.value.request is not None) == (case.action == "respond")


@pytest.mark.parametrize("case", [case for case in CASES if case.transport != "udp"], ids=lambda case: case.file)
def test_a_message_over_a_stream_is_framed_whole(case: Case) -> None:
    data = load(case)
    assert StreamFramer().feed(data + data) == [data, data]


@pytest.mark.parametrize("name", ["ncl", "mcl01", "inv2543"])
def test_a_message_that_no_stream_can_frame_closes_it(name: str) -> None:
    with pytest.raises(FramingError) as caught:
        StreamFramer().feed(load(BY_NAME[name]))
    assert caught.value.reply is not None
    assert caught.value.reply.startswith(b"SIP/2.0 400 ")


def test_bodies_have_the_length_that_their_files_say() -> None:
    odd = {"clerr", "ncl", "dblreq", "mcl01", "inv2543"}
    for case in CASES:
        head, _, body = load(case).partition(b"\r\n\r\n")
        if case.file in odd:
            continue
        sizes = [
            line.partition(b":")[2]
            for line in head.split(b"\r\n")
            if line.lower().startswith((b"content-length", b"l"))
        ]
        assert int(sizes[0]) == len(body), case.file


def test_conventions_expand() -> None:
    text = b"A: <allOneLine>\n<allOneLine>\nx\n y<repeat count=3>ab</repeat>\n</allOneLine>\n<hex>0a00</hex>\n"
    assert expand(text.removeprefix(b"A: <allOneLine>\n")) == b"x yababab\r\n\n\x00\r\n"


def test_wsinv_reads_as_its_plain_form() -> None:
    wsinv = request("wsinv")
    assert (wsinv.cseq, wsinv.cseq_method, wsinv.max_forwards) == (9, b"INVITE", 68)
    assert (wsinv.to_tag, wsinv.from_tag, wsinv.call_id) == (b"1918181833n", b"98asjd8", b"wsinv.ndaksdj@192.0.2.1")
    assert NameAddr.parse(wsinv.from_value()).display == rb'"J Rosenberg \\\""'
    vias = [Via.parse(value) for value in wsinv.all(VIA)]
    assert [(via.transport, via.host, via.branch) for via in vias] == [
        (b"UDP", b"192.0.2.2", b"390skdjuw"),
        (b"TCP", b"spindle.example.com", b"z9hG4bK9ikj8"),
        (b"UDP", b"192.168.255.111", b"z9hG4bK30239"),
    ]
    contact = NameAddr.parse(wsinv.all(CONTACT)[0])
    assert contact.params == {b"newparam": b"newvalue", b"secondparam": b"", b"q": b"0.33"}
    assert b"UnknownHeaderWithUnusualValue: ;;,,;;,;" in wsinv.lines


def test_intmeth_keeps_every_odd_byte() -> None:
    data = load(BY_NAME["intmeth"])
    assert len(data) == 641
    intmeth = request("intmeth")
    assert intmeth.method == intmeth.cseq_method == b"!interesting-Method0123456789_*+`.%indeed'~"
    assert (intmeth.target.user, intmeth.target.host) == (
        b"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*",
        b"example.com",
    )
    assert NameAddr.parse(intmeth.to_value()).display == b'"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f"'
    assert intmeth.from_tag == b"_token~1'+`*%!-."
    assert intmeth.via.branch == b"z9hG4bK-.!%66*_+`'~"
    assert b"extensionHeader-!.%*+_`'~:\xef\xbb\xbf\xe5\xa4\xa7\xe5\x81\x9c\xe9\x9b\xbb" in intmeth.lines


def test_an_escaped_at_chooses_no_host() -> None:
    uri = request("esc01").target
    assert (uri.host, uri.user_text()) == (b"example.net", "sips:user@example.com")
    assert request("semiuri").target.host == b"example.com"


def test_an_escaped_nul_routes_nothing() -> None:
    with pytest.raises(ParseError):
        parse_uri(NameAddr.parse(request("escnull").to_value()).uri).user_text()


def test_a_percent_in_a_header_name_is_no_escape() -> None:
    esc02 = request("esc02")
    assert esc02.ids.count(CONTACT) == 2
    assert esc02.ids.count(OTHER) == 1


def test_longreq_has_its_vias_in_order() -> None:
    longreq = request("longreq")
    hosts = [Via.parse(value).host for value in longreq.all(VIA)]
    assert hosts == [b"sip%d.example.com" % number for number in range(33, 0, -1)] + [b"host.example.com"]
    assert longreq.via_count == 34


def test_only_the_first_request_of_dblreq_is_read() -> None:
    dblreq = request("dblreq")
    assert (dblreq.method, dblreq.body, dblreq.ids.count(CONTENT_LENGTH)) == (b"REGISTER", b"", 1)


def test_the_binary_part_of_mpart01_is_kept() -> None:
    body = request("mpart01").body
    assert len(body) == 553
    assert body.count(b"\x00") == 2


def test_a_contact_parameter_is_the_headers_or_the_uris() -> None:
    assert NameAddr.parse(request("cparam01").all(CONTACT)[0]).params == {b"unknownparam": b""}
    inside = NameAddr.parse(request("cparam02").all(CONTACT)[0])
    assert (inside.params, parse_uri(inside.uri).params) == ({}, {b"unknownparam": b""})


def test_a_request_of_rfc_2543_has_no_branch_and_no_tag() -> None:
    old = request("inv2543")
    assert (old.via.branch, old.from_tag, old.max_forwards) == (b"", b"", -1)
    assert request("badbranch").via.branch == b"z9hG4bK"


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("ipv6-good", b"[2001:db8::10]", 0),
        ("port-ambiguous", b"[2001:db8::10:5070]", 0),
        ("port-unambiguous", b"[2001:db8::10]", 5070),
        ("ipv6-bug-abnf-3-colons", b"[2001:db8::192.0.2.1]", 0),
        ("ipv6-correct-abnf-2-colons", b"[2001:db8::192.0.2.1]", 0),
    ],
)
def test_ipv6_targets_are_read(name: str, host: bytes, port: int) -> None:
    target = request(name).target
    assert (target.host, target.port) == (host, port)


def test_received_is_read_with_and_without_brackets() -> None:
    for name in ("via-received-param-with-delim", "via-received-param-no-delim"):
        assert request(name).via.received == b"2001:db8::9:255"
