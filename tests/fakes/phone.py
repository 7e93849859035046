"""A SIP user's phone: registers with a password, and answers what rings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from switch.policy.hashes import digest_response
from switch.wire.auth import parse_challenge
from switch.wire.headers import CONTACT, WWW_AUTHENTICATE
from switch.wire.message import Response
from tests.fakes.world import SWITCH, Address, Vendor, World

USER = "alice"
PASSWORD = "secret"


def hash_of(algorithm: str, password: str = PASSWORD, user: str = USER) -> str:
    name = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[algorithm]
    return hashlib.new(name, f"{user}:tandem:{password}".encode()).hexdigest()


class Phone(Vendor):
    """`contact` is what it says of itself; `address` is where its packets come from."""

    def __init__(self, world: World, address: Address, contact: str = "", user: str = USER) -> None:
        super().__init__(world, address, f"phone{address[1]}")
        self.user = user
        self.contact = contact or f"<sip:{user}@{address[0]}:{address[1]}>"
        self.call_id = f"reg-{address[0]}-{address[1]}"
        self.cseq = 0
        self.nc = 0
        self.nonce = ""
        self.algorithm = ""
        self.algorithms: tuple[str, ...] = ("SHA-256", "MD5")
        self.password = PASSWORD
        self.answers_pings = True

    def on_message(self, message: object) -> None:
        super().on_message(message)  # type: ignore[arg-type]
        if isinstance(message, Response):
            if message.status == 401:
                self._take_challenge(message)
        elif message.method == b"OPTIONS" and not message.to_tag and self.answers_pings:  # type: ignore[attr-defined]
            self.reply(message, 200, tag="p")  # type: ignore[arg-type]

    def _take_challenge(self, refused: Response) -> None:
        """The topmost one that it understands (RFC 8760 §2.4)."""
        for index, header in enumerate(refused.ids):
            if header == WWW_AUTHENTICATE:
                params = parse_challenge(refused.lines[index].partition(b":")[2]).params
                if params["algorithm"].decode() in self.algorithms:
                    self.algorithm = params["algorithm"].decode()
                    self.nonce, self.nc = params["nonce"].decode(), 0
                    return

    def register(
        self,
        contacts: Iterable[str] | None = None,
        *,
        expires: int | None = 3_600,
        extra: Iterable[str] = (),
        cseq: int | None = None,
        to: str = "",
        uri: str = "sip:192.0.2.1",
    ) -> bytes:
        """One REGISTER, with an answer to the last challenge where there was one."""
        self.cseq = self.cseq + 1 if cseq is None else cseq
        lines = [
            f"REGISTER {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bKr{self.address[1]}x{self.cseq}x{self.nc}",
            "Max-Forwards: 70",
            f"From: <sip:{self.user}@192.0.2.1>;tag=reg",
            f"To: {to or f'<sip:{self.user}@192.0.2.1>'}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} REGISTER",
            *[f"Contact: {each}" for each in ([self.contact] if contacts is None else contacts)],
            *extra,
            "User-Agent: Phone of the tests 1.0",
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER, MESSAGE, UPDATE, PRACK, INFO",
        ]
        if expires is not None:
            lines.append(f"Expires: {expires}")
        if self.nonce:
            self.nc += 1
            count = f"{self.nc:08x}"
            response = digest_response(
                self.algorithm,
                hash_of(self.algorithm, self.password, self.user),
                b"REGISTER",
                uri.encode(),
                self.nonce.encode(),
                count.encode(),
                b"0a4f113b",
            )
            lines.append(
                f'Authorization: Digest username="{self.user}",realm="tandem",nonce="{self.nonce}",uri="{uri}",'
                f'qop=auth,nc={count},cnonce="0a4f113b",algorithm={self.algorithm},response="{response}"'
            )
        data = "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()
        self.send(data)
        return data

    def log_in(self, contacts: Iterable[str] | None = None, **arguments: object) -> int:
        """Register with one challenge, and say what came of it."""
        if not self.nonce:
            self.register(contacts, **arguments)  # type: ignore[arg-type]
            self.world.run_for(0.1)
        self.register(contacts, **arguments)  # type: ignore[arg-type]
        self.world.run_for(0.1)
        return self.statuses("REGISTER")[-1]

    def bound(self) -> list[str]:
        """The contacts that the last 200 names."""
        return [value.decode() for value in self.last(200).all(CONTACT)]


__all__ = ["PASSWORD", "SWITCH", "USER", "Phone", "hash_of"]
