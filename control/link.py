"""The control plane's end of the Unix socket to the switch (`switch/frames.py`).

It keeps one connection, opens it again with back-off when it breaks, and matches replies to
requests by id. A connection is used once its Hello was handled: until then every request fails
with `SwitchAway`, so that nobody talks to a switch whose configuration is not known.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from control.services.errors import SwitchAway
from switch.frames import (
    Account,
    Answer,
    BookEntries,
    CallDecision,
    EndCall,
    Entry,
    Hello,
    JournalIngested,
    ListCalls,
    ListRegistrations,
    LiveCall,
    Load,
    PutBalances,
    PutDelta,
    PutSnapshot,
    ReadAccounts,
    ReadCall,
    ReadLoad,
    ReadStats,
    RegistrationRow,
    RemoveRegistration,
    Reply,
    Request,
    Simulate,
    Simulated,
    Stats,
)
from switch.outputs import Event
from switch.snapshot import Delta, Snapshot

REQUEST_TIMEOUT_S: Final = 5.0
ACCOUNTS_TIMEOUT_S: Final = 1.5
"""Lists of customers show balances: they wait no longer, and show the store's."""
SNAPSHOT_TIMEOUT_S: Final = 30.0
"""A whole snapshot opens every deck; that takes longer than a delta."""
RECONNECT_MIN_S: Final = 0.1
RECONNECT_MAX_S: Final = 2.0
FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
"""Nothing the switch says is longer; a greater length means that the stream is out of step."""

_DECISION: Final[Any] = CallDecision | None
_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()
_answer_decoder = msgspec.msgpack.Decoder(Answer)

T = TypeVar("T")
HandleHello = Callable[[Hello], Awaitable[None]]
HandleLost = Callable[[], None]
HandleEvent = Callable[[Event], None]

log = structlog.get_logger("control.link")


class SwitchRefused(Exception):
    """The switch said no; the text is its reason."""


class SwitchLink:
    """One switch, as the services see it: requests that return values or raise `SwitchAway`."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._last_id = 0
        self._is_ready = False
        self._became_ready = asyncio.Event()
        self.hello: Hello | None = None
        self.handle_hello: HandleHello | None = None
        """Awaited before a new connection is used; brings the switch's snapshot up to date."""
        self.handle_lost: HandleLost | None = None
        self.handle_event: HandleEvent | None = None

    @property
    def is_connected(self) -> bool:
        return self._is_ready

    async def wait_connected(self) -> None:
        """Return once the switch has been there and taken its configuration."""
        await self._became_ready.wait()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        delay = RECONNECT_MIN_S
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(delay)
                delay = min(RECONNECT_MAX_S, delay * 2)
                continue
            try:
                await self._talk(reader, writer)
            except EOFError:
                log.warning("the switch has closed the link")
            except (OSError, msgspec.DecodeError, SwitchAway) as error:
                log.warning("link to the switch lost", reason=str(error) or type(error).__name__)
            finally:
                # A switch that cannot be made ready is not asked ten times a second.
                delay = RECONNECT_MIN_S if self._is_ready else min(RECONNECT_MAX_S, delay * 2)
                self._close("The link to the switch was lost.")
            await asyncio.sleep(delay)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        greeting: asyncio.Task[None] | None = None
        try:
            while True:
                answer = await _read(reader)
                if isinstance(answer, Reply):
                    future = self._waiting.pop(answer.id, None)
                    if future is not None and not future.done():
                        future.set_result(answer)
                elif isinstance(answer, Hello):
                    # Its own task: what it sends is answered by frames that this loop reads.
                    greeting = asyncio.get_running_loop().create_task(self._greet(answer))
                elif self.handle_event is not None:
                    self.handle_event(answer)
        finally:
            if greeting is not None:
                greeting.cancel()

    async def _greet(self, hello: Hello) -> None:
        self.hello = hello
        try:
            if self.handle_hello is not None:
                await self.handle_hello(hello)
        except SwitchAway as error:
            log.warning("the switch cannot be used yet", reason=str(error))
            self._close(str(error))
            return
        except (SQLAlchemyError, OSError) as error:
            log.error("the store failed while the switch was greeted", reason=str(error))
            self._close("The store failed.")
            return
        self._is_ready = True
        self._became_ready.set()
        log.info("switch connected", compiled=hello.is_compiled, snapshot=hello.snapshot_version)

    def _close(self, reason: str) -> None:
        self._is_ready = False
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        if self.handle_lost is not None:
            self.handle_lost()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(SwitchAway(reason))

    def drop(self, reason: str) -> None:
        """Close the connection; the next one begins with a Hello that says where the switch is."""
        self._close(reason)

    async def put_snapshot(self, snapshot: Snapshot) -> None:
        await self._request(PutSnapshot(id=self._next_id(), snapshot=snapshot), SNAPSHOT_TIMEOUT_S)

    async def put_delta(self, delta: Delta) -> None:
        await self._request(PutDelta(id=self._next_id(), delta=delta), REQUEST_TIMEOUT_S)

    async def put_balances(self, entry_id: int, balances: dict[int, int]) -> None:
        await self._request(PutBalances(id=self._next_id(), entry_id=entry_id, balances=balances), SNAPSHOT_TIMEOUT_S)

    async def book_entries(self, entries: Sequence[Entry]) -> None:
        await self._request(BookEntries(id=self._next_id(), entries=tuple(entries)), REQUEST_TIMEOUT_S)

    async def read_accounts(self, customer_ids: Sequence[int] | None = None) -> list[Account]:
        asked = None if customer_ids is None else tuple(customer_ids)
        request = ReadAccounts(id=self._next_id(), customer_ids=asked)
        return await self._ask(request, list[Account], ACCOUNTS_TIMEOUT_S)

    async def list_calls(self, customer_id: int | None = None, *, with_waiting: bool = False) -> list[LiveCall]:
        request = ListCalls(id=self._next_id(), customer_id=customer_id, with_waiting=with_waiting)
        return await self._ask(request, list[LiveCall])

    async def read_call(self, cdr_id: str) -> CallDecision | None:
        """How a live call was decided; None: it is not up (any more)."""
        found: CallDecision | None = await self._ask(ReadCall(id=self._next_id(), cdr_id=cdr_id), _DECISION)
        return found

    async def load(self) -> Load:
        return await self._ask(ReadLoad(id=self._next_id()), Load, ACCOUNTS_TIMEOUT_S)

    async def end_call(self, cdr_id: str, by: str) -> bool:
        """End a live call by BYE both ways. False: there is no such call (any more)."""
        return await self._ask(EndCall(id=self._next_id(), cdr_id=cdr_id, by=by), bool)

    async def list_registrations(self, sip_user_id: int) -> list[RegistrationRow]:
        return await self._ask(ListRegistrations(id=self._next_id(), sip_user_id=sip_user_id), list[RegistrationRow])

    async def remove_registration(self, sip_user_id: int, registration_id: str) -> bool:
        request = RemoveRegistration(id=self._next_id(), sip_user_id=sip_user_id, registration_id=registration_id)
        return await self._ask(request, bool)

    async def simulate(
        self,
        *,
        dialled: str,
        cli: str = "",
        source_ip: str = "",
        transport: str = "udp",
        username: str = "",
        at_ms: int | None = None,
        pai: str = "",
        is_private: bool = False,
        codecs: tuple[str, ...] = (),
    ) -> Simulated:
        request = Simulate(
            id=self._next_id(),
            dialled=dialled,
            cli=cli,
            source_ip=source_ip,
            transport=transport,
            username=username,
            at_ms=at_ms,
            pai=pai,
            is_private=is_private,
            codecs=codecs,
        )
        return await self._ask(request, Simulated)

    async def stats(self) -> Stats:
        return await self._ask(ReadStats(id=self._next_id()), Stats)

    def journal_ingested(self, sequence: int) -> None:
        """Tell the switch what it may drop; nothing comes back, and losing it harms nothing."""
        if self._is_ready:
            self._write(JournalIngested(sequence=sequence))

    async def _ask(self, request: Any, kind: type[T], timeout_s: float | None = None) -> T:
        if not self._is_ready:
            raise SwitchAway("The switch is not connected.")
        try:
            reply = await self._request(request, REQUEST_TIMEOUT_S if timeout_s is None else timeout_s)
        except SwitchRefused as error:
            raise SwitchAway(f"The switch could not answer: {error}.") from error
        return msgspec.msgpack.decode(reply.result, type=kind)

    async def _request(self, request: Any, timeout_s: float) -> Reply:
        if self._writer is None:
            raise SwitchAway("The switch is not connected.")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[request.id] = future
        self._write(request)
        try:
            async with asyncio.timeout(timeout_s):
                reply = await future
        except TimeoutError as error:
            raise SwitchAway(f"The switch did not answer within {timeout_s:g} s.") from error
        finally:
            self._waiting.pop(request.id, None)
        if reply.error:
            raise SwitchRefused(reply.error)
        return reply

    def _write(self, request: Request) -> None:
        assert self._writer is not None, "checked by the callers"
        body = _encoder.encode(request)
        self._writer.write(_LENGTH.pack(len(body)) + body)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


async def _read(reader: asyncio.StreamReader) -> Hello | Reply | Event:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > FRAME_BYTES_MAX:
        raise SwitchAway(f"The switch sent a frame of {length} bytes.")
    answer: Hello | Reply | Event = _answer_decoder.decode(await reader.readexactly(length))
    return answer
