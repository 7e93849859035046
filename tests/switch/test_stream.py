"""TCP and TLS listeners with real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import uvloop

from config.settings import Limits, Listener, Tls
from switch import connection as connection_module
from switch import stream as stream_module
from switch.outputs import Close, Flow, Send
from switch.pump import Pump
from switch.stream import Connections, StreamListener
from switch.tls import Certificates
from tests.fakes.certificates import Authority
from tests.fakes.echo_engine import EchoEngine
from tests.fakes.waiting import until

MESSAGE = (
    b"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nSubject: gr\xc3\xbc\xc3\x9fe\r\nContent-Length: 4\r\n\r\nbody"
)


class Bench:
    """One listener and an echoing engine behind it."""

    def __init__(self, transport: str, limits: Limits, tls: Tls, folder: Path) -> None:
        self.loop = asyncio.get_running_loop()
        self.engine = EchoEngine()
        self.pump = Pump(self.engine, None, self.loop)
        self.certificates = Certificates(tls, folder)
        self.shared = Connections(limits, tls, self.certificates)
        kind: Literal["tls", "tcp"] = "tls" if transport == "tls" else "tcp"
        self.shell = StreamListener(0, Listener(transport=kind, host="127.0.0.1", port=0), self.shared)
        self.pump.transports = [self.shell]

    async def connect(
        self, context: ssl.SSLContext | None = None, *, local_addr: tuple[str, int] | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            *self.shell.address, ssl=context, server_hostname="us" if context else None, local_addr=local_addr
        )

    def send(self, *items: Send | Close) -> None:
        self.engine.sends.extend(items)
        self.pump.flush(time.monotonic())


Scene = Callable[[Bench], Awaitable[None]]


def play(
    scene: Scene,
    transport: str = "tcp",
    limits: Limits | None = None,
    tls: Tls | None = None,
    folder: Path | None = None,
) -> None:
    async def main() -> None:
        bench = Bench(transport, limits or Limits(), tls or Tls(), folder or Path())
        await bench.shell.start(bench.pump, bench.loop)
        try:
            await scene(bench)
        finally:
            bench.shell.close()
            await asyncio.sleep(0)
            bench.pump.close()
        assert bench.shared.by_number == {}
        assert bench.shared.by_host == {}
        assert bench.shell.by_peer == {}

    uvloop.run(main())


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side closes."""
    data = b""
    try:
        async with asyncio.timeout(5.0):
            while part := await reader.read(65_536):
                data += part
    except ConnectionError:
        pass
    return data


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    authority = Authority()
    certificate, key = authority.issue(tmp_path, "us", "127.0.0.1")
    root = authority.write_root(tmp_path / "root.pem")
    return Tls(certificate=str(certificate), private_key=str(key), ca_file=str(root))


def trusting(tls: Tls) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls.ca_file)


def test_a_message_cut_anywhere_is_handled_once() -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        for index in range(len(MESSAGE)):
            writer.write(MESSAGE[index : index + 1])
            await writer.drain()
            await asyncio.sleep(0)
        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
        assert len(bench.engine.heard) == 1
        writer.close()

    play(scene)


def test_a_hundred_messages_in_one_segment_get_a_hundred_answers() -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        writer.write(MESSAGE * 100)
        assert await reader.readexactly(len(MESSAGE) * 100) == MESSAGE * 100
        assert len(bench.engine.heard) == 100
        writer.close()

    play(scene)


def test_a_keep_alive_is_answered_and_is_no_message() -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        writer.write(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"\r\n"
        assert bench.engine.heard == []
        writer.close()

    play(scene)


def test_bytes_that_cannot_be_framed_end_the_connection() -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        writer.write(MESSAGE.replace(b"Content-Length: 4", b"Content-Length: -4") + MESSAGE)
        answer = await ended(reader)
        assert answer.startswith(b"SIP/2.0 400")
        assert bench.engine.heard == []
        writer.close()

    play(scene)


def test_a_peer_that_connected_to_us_is_reached_over_its_connection() -> None:
    async def scene(bench: Bench) -> None:
        bench.engine.echoes = False
        reader, writer = await bench.connect()
        writer.write(MESSAGE)
        await until(lambda: bench.engine.heard)
        _, _, source, number = bench.engine.heard[0]
        bench.send(Send(Flow(0, source, number), b"by number"), Send(Flow(0, source), b" by address"))
        assert await reader.readexactly(20) == b"by number by address"
        writer.close()

    play(scene)


def test_a_connection_that_is_gone_fails_what_is_sent_to_it() -> None:
    async def scene(bench: Bench) -> None:
        _, writer = await bench.connect()
        writer.write(MESSAGE)
        await until(lambda: bench.engine.heard)
        _, _, source, number = bench.engine.heard[0]
        writer.close()
        await until(lambda: bench.engine.closed == [number])
        bench.send(Send(Flow(0, source, number), b"late", 4))
        assert bench.engine.failed == [(4, "the connection is gone")]

    play(scene)


def test_requests_open_one_connection_and_use_it_again() -> None:
    async def scene(bench: Bench) -> None:
        accepted: list[asyncio.StreamReader] = []
        server = await asyncio.start_server(lambda reader, writer: accepted.append(reader), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        bench.send(Send(Flow(0, address), b"one ", 1), Send(Flow(0, address), b"two ", 2))
        await until(lambda: accepted)
        bench.send(Send(Flow(0, address), b"three", 3))
        assert await accepted[0].readexactly(13) == b"one two three"
        assert len(accepted) == 1
        assert bench.engine.failed == []
        server.close()

    play(scene)


def test_a_refused_connection_fails_every_message_that_waited_for_it() -> None:
    async def scene(bench: Bench) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            nobody = probe.getsockname()
        bench.send(Send(Flow(0, nobody), b"a", 1), Send(Flow(0, nobody), b"b", 2))
        await until(lambda: len(bench.engine.failed) == 2)
        assert {token for token, _ in bench.engine.failed} == {1, 2}
        assert "refused" in bench.engine.failed[0][1]

    play(scene)


def test_a_peer_that_does_not_accept_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "CONNECT_TIMEOUT_S", 0.1)

    async def scene(bench: Bench) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            bench.send(Send(Flow(0, full.getsockname()), b"a", 1))
            await until(lambda: bench.engine.failed)
            assert bench.engine.failed == [(1, "no connection within the time limit")]
            for filler in fillers:
                filler.close()

    play(scene)


def test_a_reset_right_after_a_request_fails_it() -> None:
    async def scene(bench: Bench) -> None:
        def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        bench.send(Send(Flow(0, server.sockets[0].getsockname()), b"INVITE", 8))
        await until(lambda: bench.engine.failed)
        assert bench.engine.failed[0][0] == 8
        server.close()

    play(scene)


def test_half_a_message_is_cut_after_the_header_time() -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        other_reader, other = await bench.connect()
        writer.write(MESSAGE[:40])
        other.write(MESSAGE)
        await until(lambda: len(bench.shared.by_number) == 2)
        assert await ended(reader) == b""
        assert await other_reader.readexactly(len(MESSAGE)) == MESSAGE
        assert len(bench.shared.by_number) == 1
        writer.close()
        other.close()

    play(scene, limits=Limits(stream_header_time_s=0.05))


def test_an_idle_connection_is_closed() -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        assert await ended(reader) == b""
        writer.close()

    play(scene, limits=Limits(stream_idle_s=0.05))


def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    async def scene(bench: Bench) -> None:
        kept = [await bench.connect() for _ in range(2)]
        await until(lambda: len(bench.shared.by_number) == 2)
        reader, writer = await bench.connect()
        assert await ended(reader) == b""
        assert bench.shared.refused == 1
        kept[0][1].write(MESSAGE)
        assert await kept[0][0].readexactly(len(MESSAGE)) == MESSAGE
        bench.send(Send(Flow(0, ("127.0.0.1", 9)), b"x", 5))
        await until(lambda: bench.engine.failed == [(5, "too many connections")])
        for _, other in [*kept, (reader, writer)]:
            other.close()

    play(scene, limits=Limits(stream_connections_max=2))


def test_one_address_cannot_take_every_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "CONNECTIONS_PER_ADDRESS_MAX", 1)

    async def scene(bench: Bench) -> None:
        _, first = await bench.connect()
        await until(lambda: bench.shared.by_number)
        reader, second = await bench.connect()
        assert await ended(reader) == b""
        assert bench.shared.refused == 1
        first.close()
        second.close()

    play(scene)


def test_a_peer_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "WRITE_BUFFER_BYTES_MAX", 50_000)

    async def scene(bench: Bench) -> None:
        bench.engine.echoes = False
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.connect(bench.shell.address)
        sock.sendall(MESSAGE)
        await until(lambda: bench.engine.heard)
        _, _, source, number = bench.engine.heard[0]
        while not bench.engine.closed:
            bench.send(Send(Flow(0, source, number), b"x" * 40_000))
            await asyncio.sleep(0)
        assert bench.engine.closed == [number]
        sock.close()

    play(scene)


def test_the_engine_can_close_a_connection_after_what_it_sent() -> None:
    async def scene(bench: Bench) -> None:
        bench.engine.echoes = False
        reader, writer = await bench.connect()
        writer.write(MESSAGE)
        await until(lambda: bench.engine.heard)
        _, _, source, number = bench.engine.heard[0]
        bench.send(Send(Flow(0, source, number), b"bye"), Close(Flow(0, source, number)))
        assert await ended(reader) == b"bye"
        writer.close()

    play(scene)


def test_a_message_over_tls_is_handled_and_answered(tls: Tls) -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect(trusting(tls))
        writer.write(MESSAGE * 50)
        assert await reader.readexactly(len(MESSAGE) * 50) == MESSAGE * 50
        writer.close()

    play(scene, "tls", tls=tls)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_tls_below_1_2_is_refused(tls: Tls) -> None:
    async def scene(bench: Bench) -> None:
        old = trusting(tls)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await bench.connect(old)
        assert bench.engine.heard == []

    play(scene, "tls", tls=tls)


def test_plain_text_to_a_tls_listener_is_no_message(tls: Tls) -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        writer.write(MESSAGE)
        await ended(reader)
        assert bench.engine.heard == []
        writer.close()

    play(scene, "tls", tls=tls)


def test_stalled_handshakes_do_not_keep_others_out(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANDSHAKE_GRACE_S", 0.0)

    async def scene(bench: Bench) -> None:
        stalled = [await bench.connect() for _ in range(12)]
        await until(lambda: bench.shared.refused >= 8)
        assert len(bench.shared.handshakes) <= 4
        reader, writer = await bench.connect(trusting(tls))
        writer.write(MESSAGE)
        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
        for _, other in [*stalled, (reader, writer)]:
            other.close()

    play(scene, "tls", tls=msgspec.structs.replace(tls, handshakes_open_max=4))


def test_who_has_most_of_the_handshakes_makes_room_for_others(tls: Tls) -> None:
    """At once, without waiting for the grace that all have."""

    async def scene(bench: Bench) -> None:
        stalled = [await bench.connect() for _ in range(4)]
        await until(lambda: len(bench.shared.handshakes) == 4)
        reader, writer = await bench.connect(trusting(tls), local_addr=("127.0.0.77", 0))
        writer.write(MESSAGE)
        assert await reader.readexactly(len(MESSAGE)) == MESSAGE
        assert len(bench.shared.handshakes) == 3
        stalled.append(await bench.connect())
        await until(lambda: len(bench.shared.handshakes) == 4)
        surplus, other = await bench.connect()  # of the greedy address itself: the newest is refused
        assert await ended(surplus) == b""
        assert len(bench.shared.handshakes) == 4
        for _, opened in [*stalled, (reader, writer), (surplus, other)]:
            opened.close()

    play(scene, "tls", tls=msgspec.structs.replace(tls, handshakes_open_max=4))


def test_a_stalled_handshake_ends_after_its_time(tls: Tls) -> None:
    async def scene(bench: Bench) -> None:
        reader, writer = await bench.connect()
        assert await ended(reader) == b""
        assert bench.shared.handshakes == {}
        writer.close()

    play(scene, "tls", tls=msgspec.structs.replace(tls, handshake_timeout_s=0.05))


async def vendor(folder: Path, authority: Authority, *names: str, days: int = 2) -> tuple[asyncio.Server, list[bytes]]:
    """A vendor that speaks TLS under a certificate for these names, and what it heard."""
    certificate, key = authority.issue(folder, *names, stem="vendor", days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))

    return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context), heard


@pytest.mark.parametrize(
    ("names", "days", "is_trusted", "verifies", "is_reached"),
    [
        (["vendor.example"], 2, True, True, True),
        (["other.example"], 2, True, True, False),
        (["vendor.example"], -1, True, True, False),
        (["vendor.example"], 2, False, True, False),
        (["other.example"], -1, False, False, True),
    ],
    ids=["right", "wrong name", "run out", "unknown root", "not verified"],
)
def test_a_vendor_is_called_only_under_a_right_certificate(
    tmp_path: Path, names: list[str], days: int, is_trusted: bool, verifies: bool, is_reached: bool
) -> None:
    authority = Authority()
    root = authority.write_root(tmp_path / "root.pem")
    ours = authority.issue(tmp_path, "us")

    async def scene(bench: Bench) -> None:
        server, heard = await vendor(tmp_path, authority if is_trusted else Authority("Stranger"), *names, days=days)
        flow = Flow(0, server.sockets[0].getsockname(), 0, "vendor.example", verifies)
        bench.send(Send(flow, b"INVITE", 1))
        await until(lambda: heard or bench.engine.failed)
        if is_reached:
            assert heard == [b"INVITE"]
            assert bench.engine.failed == []
        else:
            assert heard in ([], [b""])
            assert bench.engine.failed[0][0] == 1
            assert bench.engine.failed[0][1].startswith("TLS: ")
        server.close()

    settings = Tls(certificate=str(ours[0]), private_key=str(ours[1]), ca_file=str(root))
    play(scene, "tls", tls=settings, folder=tmp_path)


def test_an_unverified_connection_is_not_used_for_a_verified_send(tmp_path: Path) -> None:
    authority = Authority()
    root = authority.write_root(tmp_path / "root.pem")
    ours = authority.issue(tmp_path, "us")

    async def scene(bench: Bench) -> None:
        server, heard = await vendor(tmp_path, authority, "other.example")
        address = server.sockets[0].getsockname()
        bench.send(Send(Flow(0, address, 0, "vendor.example", False), b"open", 1))
        await until(lambda: heard)
        bench.send(Send(Flow(0, address, 0, "vendor.example", True), b"secret", 2))
        await until(lambda: bench.engine.failed)
        assert bench.engine.failed[0][0] == 2
        assert b"secret" not in b"".join(heard)
        server.close()

    settings = Tls(certificate=str(ours[0]), private_key=str(ours[1]), ca_file=str(root))
    play(scene, "tls", tls=settings, folder=tmp_path)
