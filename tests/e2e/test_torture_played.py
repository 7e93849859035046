"""The torture messages of RFC 4475 and RFC 5118, played against a running switch, each followed by a probe."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from msgspec.structs import replace

from sipp_scenarios.places import Place
from switch.snapshot import Endpoint, Record
from tests.e2e.bench import Bench
from tests.e2e.peer import Peer, Seen
from tests.torture.verdicts import CASES, Case, load

pytestmark = pytest.mark.slow

ANSWER_S = 1.0
SILENCE_S = 0.4
FIRST_ADDRESS = 128
"""Each message has a caller's address of its own, so that no answer to another is taken for its own."""


def customer_of_many_addresses(place: Place) -> list[Record]:
    network = f"{place.other(0)[0].rsplit('.', 1)[0]}.{FIRST_ADDRESS}/25"
    return [replace(record, host=network) if isinstance(record, Endpoint) else record for record in place.records()]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("torture"), records=customer_of_many_addresses)
    yield made
    made.close()


def via_ports(data: bytes) -> list[int]:
    """Where answers over UDP may go: the source's own port, and those that its Vias name (RFC 3261 §18.2.2)."""
    named = {int(port) for port in re.findall(rb"(?im)^v(?:ia)?\s*:[^\r\n]*?:\s*(\d{4,5})\b", data)}
    return sorted({5060} | {port for port in named if port <= 65_535})


def play(bench: Bench, case: Case, address: str) -> tuple[list[Seen], list[Seen]]:
    """What came back to the sender, and what reached the vendor."""
    data = load(case)
    with ExitStack() as stack:
        vendor = stack.enter_context(bench.peer(bench.vendor))
        if case.transport == "udp":
            callers = [stack.enter_context(bench.peer((address, port))) for port in via_ports(data)]
        else:
            callers = [stack.enter_context(bench.peer((address, 0), "tcp"))]
        callers[0].send(data)
        ends = time.monotonic() + (SILENCE_S if case.action == "drop" else ANSWER_S)
        while time.monotonic() < ends and not has_final(callers) and not vendor.seen:
            for peer in (*callers, vendor):
                peer.receive(0.02)
        return [seen for caller in callers for seen in caller.seen], vendor.seen


def has_final(callers: list[Peer]) -> bool:
    return any(seen.status >= 200 for caller in callers for seen in caller.seen)


@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES)), ids=[case.file for case in CASES])
def test_a_torture_message_of_a_customer_ends_as_its_verdict_says(bench: Bench, number: int, case: Case) -> None:
    answers, forwarded = play(bench, case, bench.place.other(FIRST_ADDRESS + number)[0])
    finals = {seen.status for seen in answers if seen.status >= 200}
    match case.action:
        case "drop":
            assert answers == []
            assert forwarded == []
        case "respond":
            assert forwarded == []
            assert finals
            assert finals <= case.statuses
        case "forward":
            assert forwarded or finals
            assert finals <= case.statuses
    assert bench.trap.listen() == []
    bench.assert_alive()


@pytest.mark.parametrize("case", CASES, ids=[case.file for case in CASES])
def test_a_torture_message_of_a_stranger_reaches_nobody(bench: Bench, case: Case) -> None:
    before = len(bench.cdrs())
    _, forwarded = play(bench, case, bench.stranger[0])
    assert forwarded == []
    assert len(bench.cdrs()) == before
    bench.assert_alive()


def test_the_route_of_mpart01_is_not_followed(bench: Bench) -> None:
    """It names 127.0.0.1:5080, where on a bench a vendor may well stand."""
    case = next(case for case in CASES if case.file == "mpart01")
    with ExitStack() as stack:
        target = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        try:
            target.bind(("127.0.0.1", 5080))
        except OSError:
            pytest.skip("127.0.0.1:5080 is somebody's")
        target.settimeout(SILENCE_S)
        play(bench, case, bench.place.other(FIRST_ADDRESS + len(CASES))[0])
        with suppress(TimeoutError):
            raise AssertionError(target.recv(65_535))
